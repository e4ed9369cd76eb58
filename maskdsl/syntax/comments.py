"""The comments of a text, handed out in order to whoever writes what they stand next to.

Not here: documentation lines (`## …`), which belong to the syntax tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from maskdsl.source.text import Source

_HASH = re.compile(r"#[^\n]*")
_DOC = re.compile(r"##(?!#)")
_BLANK = re.compile(r"\n[ \t\r\f]*\n")


@dataclass(frozen=True, slots=True)
class Comment:
    """`text` as written; `alone` on its line, or after something; whether a blank line follows."""

    start: int
    text: str
    alone: bool
    before_blank: bool


@dataclass(slots=True)
class Comments:
    """The comments not yet written, in order."""

    waiting: list[Comment] = field(default_factory=list)

    def take(self, before: int) -> list[Comment]:
        """Those that start before an offset."""
        count = next((n for n, comment in enumerate(self.waiting) if comment.start >= before), len(self.waiting))
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def take_trailing(self, before: int) -> Comment | None:
        """The next one, if it starts before an offset and stands on the line of what precedes it."""
        if not self.waiting or self.waiting[0].alone or self.waiting[0].start >= before:
            return None
        return self.waiting.pop(0)

    def has(self, before: int) -> bool:
        """Whether a comment that is not yet written starts before an offset."""
        return bool(self.waiting) and self.waiting[0].start < before


def comments_of(source: Source) -> Comments:
    """All comments of a source; the language has no strings, so every `#` begins one or a documentation line."""
    text = source.text
    found = [match for match in _HASH.finditer(text) if not _DOC.match(match[0])]
    return Comments([_comment(text, match.start(), match.end()) for match in found])


def _comment(text: str, start: int, end: int) -> Comment:
    line = text.rfind("\n", 0, start) + 1
    after = _BLANK.match(text, end) is not None
    return Comment(start, text[start:end].rstrip(), not text[line:start].strip("\ufeff \t\r\f"), after)
