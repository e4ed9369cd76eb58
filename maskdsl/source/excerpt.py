"""The lines of a text that a diagnostic shows, with their marks under them: measured, cut and escaped.

Columns are terminal cells: a tab runs to the next multiple of four, a wide character takes two cells, a combining one
none; a character that would move the cursor or reorder the text is shown as its escape.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from maskdsl.source.text import Source

BUDGET = 120
"""Lines with more characters than this are cut around their marks."""

CUT = "..."
TAB = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """A range of offsets `[start, end)` to underline, and what to say there; the main one with `^`, others with `-`."""

    start: int
    end: int
    text: str
    main: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One output row: a source line (`number`), a row of marks (no number), or lines left out (`skipped`).

    `pieces` are (text, style) with style `"main"`, `"second"` or `""`.
    """

    number: int = 0
    pieces: tuple[tuple[str, str], ...] = ()
    skipped: bool = False


@dataclass(slots=True)
class _Line:
    """A source line and the marks on it, as offsets into the line."""

    number: int
    text: str
    marks: list[Mark] = field(default_factory=list)


def excerpt(source: Source, marks: Iterable[Mark]) -> list[Row]:
    """The rows that show `marks` in the text, in order of lines; lines far from any mark are left out."""
    lines: dict[int, _Line] = {}
    for mark in marks:
        for part, number, start in _split(source.text, mark):
            line = lines.setdefault(start, _Line(number, _line_text(source.text, start)))
            line.marks.append(part)
    rows: list[Row] = []
    last: _Line | None = None
    for start in sorted(lines):
        line = lines[start]
        rows += _between(source.text, start, last, line)
        rows += _draw(line)
        last = line
    return rows


def printable(text: str) -> str:
    """The text with every character that would not stand still on a terminal as its escape; one line."""
    return "".join(_shown(c) for c in text)


# ---------------------------------------------------------------- from offsets to lines


def _split(text: str, mark: Mark) -> list[tuple[Mark, int, int]]:
    """The mark cut at line ends: its first and last line, each with its line number and the offset of the line."""
    start = min(mark.start, len(text))
    end = max(start, min(mark.end, len(text)))
    last = end - 1 if end > start else end
    first_line, last_line = _line_start(text, start), _line_start(text, last)
    number = text.count("\n", 0, first_line) + 1
    if first_line == last_line:
        return [(Mark(start - first_line, end - first_line, mark.text, mark.main), number, first_line)]
    stop = len(_line_text(text, first_line))
    indent = len(tail := _line_text(text, last_line)) - len(tail.lstrip())
    head = Mark(start - first_line, max(stop, start - first_line), "", mark.main)
    foot = Mark(min(indent, end - 1 - last_line), end - last_line, mark.text, mark.main)
    return [(head, number, first_line), (foot, number + text.count("\n", first_line, last_line), last_line)]


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _line_text(text: str, start: int) -> str:
    stop = text.find("\n", start)
    return text[start : stop if stop >= 0 else len(text)].removesuffix("\r")


def _between(text: str, start: int, last: _Line | None, line: _Line) -> list[Row]:
    """What stands between two shown lines: nothing, the one line itself, or a sign that lines are left out."""
    if last is None or line.number == last.number + 1:
        return []
    if line.number > last.number + 2:
        return [Row(skipped=True)]
    alone = _Line(line.number - 1, _line_text(text, _line_start(text, start - 1)))
    return _draw(alone)


# ---------------------------------------------------------------- from characters to cells


def _shown(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else f"\\x{ord(character):02x}"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"\\u{{{ord(character):x}}}"
    return character


def _cells(shown: str) -> int:
    if shown.isascii():
        return len(shown)
    if unicodedata.category(shown) in ("Mn", "Me") or "\u1160" <= shown <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(shown) in "WF" else 1


def _kept(line: _Line) -> list[tuple[int, int]]:
    """The ranges of the line's characters that are shown: all, or those near the ends of its marks."""
    if len(line.text) <= BUDGET:
        return [(0, len(line.text))]
    margin = max(10, BUDGET // (4 * max(1, len(line.marks))))
    points = sorted({p for m in line.marks for p in (m.start, m.end)} or {0})
    kept: list[tuple[int, int]] = []
    for low, high in ((max(0, p - margin), min(len(line.text), p + margin)) for p in points):
        if kept and low <= kept[-1][1] + len(CUT):
            low = kept.pop()[0]
        kept.append((low, max(low, high)))
    return kept


def _layout(line: _Line) -> tuple[str, dict[int, int]]:
    """The line as shown, and the column of every character shown (and of the place after the last)."""
    text, column = "", 0
    columns: dict[int, int] = {}
    for low, high in _kept(line):
        if low > 0:
            text, column = text + CUT, column + len(CUT)
        for at in range(low, high):
            shown = " " * (TAB - column % TAB) if line.text[at] == "\t" else _shown(line.text[at])
            width = _cells(shown)
            columns[at] = column if width or not column else column - 1
            text, column = text + shown, column + width
        columns[high] = column
    cut = max(columns, default=0) < len(line.text)
    return text + CUT * cut, columns


# ---------------------------------------------------------------- from marks to rows


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A mark in columns of the line as shown."""

    start: int
    end: int
    text: str
    main: bool


def _draw(line: _Line) -> list[Row]:
    text, columns = _layout(line)
    rows = [Row(line.number, ((f" {text}", ""),) if text else ())]
    if not line.marks:
        return rows
    strokes = sorted((_stroke(m, columns) for m in line.marks), key=lambda s: (s.start, s.end))
    inline = strokes[-1] if strokes[-1].end >= max(s.end for s in strokes) else None
    rows.append(_underline(strokes, inline))
    hanging = [s for s in strokes if s is not inline and s.text]
    if hanging:
        rows.append(_bars(hanging, None))
    while hanging:
        label = hanging.pop()
        rows.append(_bars(hanging, label))
    return rows


def _stroke(mark: Mark, columns: dict[int, int]) -> _Stroke:
    end_of_line = max(columns, default=0)
    start = columns.get(min(mark.start, end_of_line), 0)
    end = columns.get(min(mark.end, end_of_line), start)
    return _Stroke(start, max(end, start + 1), printable(mark.text), mark.main)


def _underline(strokes: Sequence[_Stroke], inline: _Stroke | None) -> Row:
    width = max(s.end for s in strokes)
    drawn = [(" ", "")] * width
    for stroke in sorted(strokes, key=lambda s: s.main):
        piece = ("^", "main") if stroke.main else ("-", "second")
        drawn[stroke.start : stroke.end] = [piece] * (stroke.end - stroke.start)
    label = [(f" {inline.text}", _style(inline))] if inline and inline.text else []
    return Row(pieces=((" ", ""), *_joined(drawn), *label))


def _bars(hanging: Sequence[_Stroke], label: _Stroke | None) -> Row:
    """A row of `|` under the strokes whose labels are still to come, then the label of the one that is next."""
    pieces: list[tuple[str, str]] = [(" ", "")]
    column = 0
    for stroke in hanging:
        if stroke.start >= column and (label is None or stroke.start < label.start):
            pieces += [(" " * (stroke.start - column), ""), ("|", _style(stroke))]
            column = stroke.start + 1
    if label:
        pieces += [(" " * (label.start - column), ""), (label.text, _style(label))]
    return Row(pieces=tuple(p for p in pieces if p[0]))


def _style(stroke: _Stroke) -> str:
    return "main" if stroke.main else "second"


def _joined(cells: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbouring cells of one style as one piece."""
    pieces: list[tuple[str, str]] = []
    for text, style in cells:
        if pieces and pieces[-1][1] == style:
            text = pieces.pop()[0] + text
        pieces.append((text, style))
    return pieces
