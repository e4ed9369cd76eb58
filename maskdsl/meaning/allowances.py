"""Lints that a file says are meant: `# allow W0806: the reason` on a line of its own, right above a definition.

Not here: the lints themselves (`lints`, `maskdsl.library.examples`, `maskdsl.tiles.outlook`).
"""

from __future__ import annotations

import re
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

    def covers(self, found: Diagnostic) -> bool:
        """Whether a diagnostic is of this code and within what this line stands above."""
        place, about = found.span, self.about
        if place is None or about is None or found.code != self.code or self.code not in LINTS:
            return False
        return place.source is about.source and about.start <= place.start and place.end <= about.end


def settle(file: ast.File, found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """What a file's lints come to: without the allowed ones, and with W0807 for each allowance that is of no use.

    `found` is everything that is reported of a file without errors.
    """
    waiting, lines = tuple(found), tuple(allowances_of(file))
    kept = [d for d in waiting if not any(line.covers(d) for line in lines)]
    useless = [told for line in lines if (told := _fault(line, waiting)) is not None]
    return (*kept, *useless)


def allowances_of(file: ast.File) -> Iterator[Allowance]:
    """The allowances of a file, in its order."""
    source = file.span.source
    starts = {_start_above(source, d.span.start): d for d in file.definitions}
    for comment in comments_of(source).waiting:
        match = _ALLOW.fullmatch(comment.text)
        if match and comment.alone:
            about = next((d.span for start, d in starts.items() if start <= comment.start < d.span.start), None)
            span = Span(source, comment.start, comment.start + len(comment.text))
            yield Allowance(match[1], match[3].strip() if match[2] else "", span, about)


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


def _fault(line: Allowance, found: tuple[Diagnostic, ...]) -> Diagnostic | None:
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
    if not any(line.covers(d) for d in found):
        return Diagnostic("W0807", f"`{code}` is not reported here", line.span, "this line can go")
    if not line.reason:
        advice = f"write `# allow {code}: why it is meant`"
        return Diagnostic("W0807", f"why `{code}` is meant is not said", line.span, help=(advice,))
    return None
