"""What a check has found so far: the one place through which `meaning` reports, and the words that messages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from maskdsl.ir.types import BOOL, INT, Axis, Scalar, Table
from maskdsl.source.diagnostic import Diagnostic, Label
from maskdsl.source.text import Span

MOST_ADVISED = 50
"""Names are compared with those that there are until a file has this many errors: it takes long where both are many."""

WIDEST = 48
"""Quoted text longer than this many characters is cut."""


@dataclass(slots=True)
class Findings:
    """Diagnostics in the order found, and how many are errors; the same mistake at the same place is kept once.

    `line_for` gives the line that would import a name, "" where there is none.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list)
    errors: int = 0
    line_for: Callable[[str], str] = lambda name: ""
    _known: set[tuple[str, str, Span | None]] = field(default_factory=set)

    def tell(
        self, code: str, message: str, span: Span | None, label: str = "", *,
        also: tuple[Label, ...] = (), notes: tuple[str, ...] = (), help: tuple[str, ...] = (),
    ) -> None:
        """Report a mistake; returns None, the value of an expression that has an error."""
        self.add(Diagnostic(code, message, span, label, also, notes, help))

    def add(self, diagnostic: Diagnostic) -> None:
        """Report a diagnostic that another part has made."""
        key = (diagnostic.code, diagnostic.message, diagnostic.span)
        if key not in self._known:
            self._known.add(key)
            self.diagnostics.append(diagnostic)
            self.errors += diagnostic.severity == "error"


def quoted(span: Span) -> str:
    """The text of a span in backticks, on one line, cut where it is long."""
    text = " ".join(span.text.split())
    return f"`{text if len(text) <= WIDEST else text[: WIDEST - 1] + '…'}`"


def an(scalar: Scalar) -> str:
    """`a bool`, `an int`, `a float`."""
    return f"an {scalar}" if scalar is INT else f"a {scalar}"


def as_int(text: str, scalar: Scalar) -> str:
    """The advice for a value that must become an int."""
    inside = text.strip("`")
    bare = inside[1:-1] if inside.startswith("(") and inside.find(")") == len(inside) - 1 else inside
    return f"`int({bare})` {'is 0 or 1' if scalar is BOOL else 'cuts off the fraction'}"


def spelt(table: Table) -> str:
    """The type of a table as the language writes it: `int[batch, position]`."""
    return f"{table.type}[{', '.join(map(str, table.axes))}]"


def listed(names: list[str]) -> str:
    """`a`, `b` and `c`."""
    shown = [f"`{n}`" for n in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 index`, `2 indices`."""
    plural = {"index": "indices", "axis": "axes"}.get(noun, noun + "s")
    return f"{number} {noun if number == 1 else plural}"


def axis_noun(axis: Axis) -> str:
    """What an axis is called in a message."""
    return f"one of {axis}" if isinstance(axis, int) else str(axis)
