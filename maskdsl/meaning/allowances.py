"""Lints that a file says are meant: `# allow W0806: the reason` on a line of its own, right above a definition.

Not here: the lints themselves (`lints`, `maskdsl.library.examples`, `maskdsl.tiles.outlook`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from maskdsl.source.codes import CODES
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast
from maskdsl.syntax.comments import comments_of

_ALLOW = re.compile(r"#\s*allow\s+([A-Za-z]\d+)\b[ \t]*(:?)[ \t]*(.*)")
LINTS = tuple(code for code in CODES if code.startswith("W") and code != "W0807")
"""The codes that can be allowed."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A line that allows `code` in the definition or example below it: `about`, None where there is none."""

    code: str
    reason: str
    span: Span
    about: Span | None


def settle(file: ast.File, found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """What a file's lints come to: without the allowed ones, and with W0807 for each allowance that is of no use.

    `found` is everything that is reported of a file without errors.
    """
    lines = tuple(allowances_of(file))
    if not lines:
        return tuple(found)
    spans = _Spans([d.span for d in file.definitions])
    allowed = {(line.code, line.about) for line in lines if line.about is not None and line.code in LINTS}
    used: set[tuple[str, Span]] = set()
    kept: list[Diagnostic] = []
    for diagnostic in found:
        about = spans.around(diagnostic.span)
        if about is not None and (diagnostic.code, about) in allowed:
            used.add((diagnostic.code, about))
        else:
            kept.append(diagnostic)
    useless = (_fault(line, line.about is not None and (line.code, line.about) in used) for line in lines)
    return (*kept, *(told for told in useless if told is not None))


def allowances_of(file: ast.File) -> Iterator[Allowance]:
    """The allowances of a file, in its order."""
    source = file.span.source
    found = [(c, m) for c in comments_of(source).waiting if c.alone and (m := _ALLOW.fullmatch(c.text))]
    spans = _Spans([d.span for d in file.definitions] if found else [])
    starts: dict[Span, int] = {}
    for comment, match in found:
        below = spans.after(comment.start)
        if below is not None and below not in starts:
            starts[below] = _start_above(source, below.start)
        about = below if below is not None and starts[below] <= comment.start else None
        span = Span(source, comment.start, comment.start + len(comment.text))
        yield Allowance(match[1], match[3].strip() if match[2] else "", span, about)


class _Spans:
    """The spans of a file's definitions and examples, which do not overlap, in its order."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans
        self.starts = [span.start for span in spans]

    def after(self, offset: int) -> Span | None:
        """The first that begins after an offset."""
        place = bisect_right(self.starts, offset)
        return self.spans[place] if place < len(self.spans) else None

    def around(self, span: Span | None) -> Span | None:
        """The one that another span lies in."""
        place = bisect_right(self.starts, span.start) if span is not None else 0
        found = self.spans[place - 1] if place else None
        inside = span is not None and found is not None and span.source is found.source and span.end <= found.end
        return found if inside else None


def _start_above(source: Source, start: int) -> int:
    """Where the lines of comments and documentation begin that stand right above the definition at `start`."""
    text = source.text
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].strip("\ufeff \t\r\f"):
        return start
    while line > 0:
        above = text.rfind("\n", 0, line - 1) + 1
        if not text[above : line - 1].strip("\ufeff \t\r\f").startswith("#"):
            break
        line = above
    return line


def _fault(line: Allowance, is_used: bool) -> Diagnostic | None:
    """The warning of an allowance that is of no use, or whose reason is missing."""
    code = line.code
    if code not in CODES:
        return Diagnostic("W0807", f"`{code}` is no lint", line.span, help=did_you_mean(code, LINTS))
    if code not in LINTS:
        told = f"`{code}` cannot be allowed"
        return Diagnostic("W0807", told, line.span, notes=("only lints can be, other than this one",))
    if line.about is None:
        advice = "move it to the comments and documentation right above a definition or an example"
        return Diagnostic("W0807", "this line is about nothing", line.span, help=(advice,))
    if not is_used:
        return Diagnostic("W0807", f"`{code}` is not reported here", line.span, "this line can go")
    if not line.reason:
        advice = f"write `# allow {code}: why it is meant`"
        return Diagnostic("W0807", f"why `{code}` is meant is not said", line.span, help=(advice,))
    return None
