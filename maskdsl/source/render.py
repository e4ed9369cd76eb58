"""How a diagnostic looks: text with the lines it points into, or a dictionary for JSON.

Not here: how the lines are measured and cut (`excerpt`). Nothing third-party is imported, so that errors are quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from maskdsl.source.diagnostic import Diagnostic, Label
from maskdsl.source.excerpt import Mark, Row, excerpt, printable
from maskdsl.source.text import NOWHERE, Source, Span

STYLES = {"error": "1;31", "warning": "1;33", "frame": "1;34", "second": "1;34", "message": "1", "help": "1;32"}
"""The ANSI attributes of each part."""


def render_text(diagnostic: Diagnostic, color: bool = False) -> str:
    """The diagnostic as lines for a terminal, without a newline at the end; `color` adds ANSI colours."""
    parts = _parts(diagnostic)
    return "\n".join("".join(_paint(text, style, color) for text, style in line) for line in parts)


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The diagnostic as plain values: lines and columns count from 1, offsets (characters) from 0, ends are exclusive.

    `file`, `start` and `end` are None where the diagnostic has no place.
    """
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_place(diagnostic.span, diagnostic.label),
        "also": [_place(also.span, also.text) for also in diagnostic.also],
        "notes": list(diagnostic.notes),
        "help": list(diagnostic.help),
    }


def _place(span: Span | None, label: str) -> dict[str, Any]:
    if _is_somewhere(span):
        start, end = _position(span.source, span.start), _position(span.source, span.end)
        return {"file": span.source.name, "start": start, "end": end, "label": label}
    return {"file": None, "start": None, "end": None, "label": label}


def _position(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    return {"line": line, "column": column, "offset": offset}


def _is_somewhere(span: Span | None) -> TypeGuard[Span]:
    return span is not None and span.source is not NOWHERE.source


# ---------------------------------------------------------------- lines of (text, style) pieces

Line = list[tuple[str, str]]


def _parts(diagnostic: Diagnostic) -> Iterator[Line]:
    groups = [(source, excerpt(source, marks)) for source, marks in _marks_by_source(diagnostic)]
    width = max((len(str(row.number)) for _, rows in groups for row in rows if row.number), default=1)
    severity = diagnostic.severity
    yield [(f"{severity}[{diagnostic.code}]", severity), (f": {printable(diagnostic.message)}", "message")]
    for arrow, (source, rows) in zip(["-->", *[":::"] * len(groups)], groups, strict=False):
        line, column = source.position(_first_offset(diagnostic, source))
        yield [(" " * width + arrow, "frame"), (f" {printable(source.name)}:{line}:{column}", "")]
        yield [(" " * width + " |", "frame")]
        yield from (_row(row, width, severity) for row in rows)
    if groups:
        yield [(" " * width + " |", "frame")]
    yield from _tail(diagnostic, " " * width)


def _marks_by_source(diagnostic: Diagnostic) -> list[tuple[Source, list[Mark]]]:
    """The places to show, of each text: the main one's text first."""
    main = [(Label(diagnostic.span, diagnostic.label), True)] if diagnostic.span is not None else []
    groups: dict[int, tuple[Source, list[Mark]]] = {}
    for label, is_main in [*main, *((also, False) for also in diagnostic.also)]:
        if _is_somewhere(label.span):
            source = label.span.source
            mark = Mark(label.span.start, label.span.end, label.text, is_main)
            groups.setdefault(id(source), (source, []))[1].append(mark)
    return list(groups.values())


def _first_offset(diagnostic: Diagnostic, source: Source) -> int:
    spans = [diagnostic.span, *(also.span for also in diagnostic.also)]
    return next(s.start for s in spans if s is not None and s.source is source)


def _row(row: Row, width: int, severity: str) -> Line:
    if row.skipped:
        return [("...", "frame")]
    gutter = str(row.number).rjust(width) if row.number else " " * width
    styles = {"main": severity, "second": "second", "": ""}
    return [(f"{gutter} |", "frame"), *((text, styles[style]) for text, style in row.pieces)]


def _tail(diagnostic: Diagnostic, margin: str) -> Iterator[Line]:
    frame = (f"{margin} = ", "frame")
    told = [("note", n) for n in diagnostic.notes] + [("help", h) for h in diagnostic.help]
    for kind, text in told:
        indent = "\n" + margin + " " * len(f" = {kind}: ")
        body = indent.join(printable(line) for line in text.split("\n"))
        yield [frame, (f"{kind}: ", "help" if kind == "help" else "message"), (body, "")]
    yield [frame, (f"`maskdsl explain {diagnostic.code}` tells more", "")]


def _paint(text: str, style: str, color: bool) -> str:
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if color and style and text else text
