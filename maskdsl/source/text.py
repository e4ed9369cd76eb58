"""Source texts and the spans that point into them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One text to compile: `name` is what diagnostics print, `path` is None for text that is no file."""

    name: str
    text: str
    path: Path | None = None

    def position(self, offset: int) -> tuple[int, int]:
        """The 1-based (line, column) of a 0-based character offset."""
        line = self.text.count("\n", 0, offset) + 1
        return line, offset - (self.text.rfind("\n", 0, offset) + 1) + 1


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open range `[start, end)` of 0-based character offsets in a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters that the span covers."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, other.end)


NOWHERE = Span(Source("<none>", ""), 0, 0)
"""The span of a node that no text stands for (made by a pass or by hand)."""
