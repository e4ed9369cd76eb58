"""Why a chunk did not parse, as one diagnostic: the first rule that knows the mistake, else what was expected.

Not here: the tables of habits (`habits`), the sentences of expectation (`expectations`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from lark import UnexpectedInput

from maskdsl.source.diagnostic import Diagnostic, Label
from maskdsl.source.text import Source, Span
from maskdsl.syntax.expectations import expectation
from maskdsl.syntax.foreign import FOREIGN
from maskdsl.syntax.habits import CHARACTERS
from maskdsl.syntax.misplaced import MISPLACED, bare_row, picture_row, stray_row
from maskdsl.syntax.stop import CLOSER, Stop, shorten, stop_of

Rule = Callable[[Stop], Diagnostic | None]


def explain_unexpected(source: Source, start: int, end: int, error: UnexpectedInput) -> Diagnostic:
    """The one mistake at which reading of the chunk `[start, end)` stopped."""
    stop = stop_of(source, start, end, error)
    for rule in RULES:
        known = rule(stop)
        if known is not None:
            return known
    return _expected(stop)


def _expected(stop: Stop) -> Diagnostic:
    wanted = expectation(stop.expected, stop.previous)
    if stop.found is not None:
        return stop.wrong(f"expected {wanted}, but found `{shorten(stop.text)}`")
    after = f" after `{shorten(stop.previous)}`" if stop.before else ""
    return stop.wrong(f"the text ends too early: expected {wanted}{after}", code="E0102")


# ---------------------------------------------------------------- brackets

_CLAUSES = ("where", "requires", "then")
_STARTS = ("mask", "score", "scale", "sink", "normalize", "variant", "example")


def unclosed(stop: Stop) -> Diagnostic | None:
    """A bracket that is still open where its definition ends or goes on with its next part."""
    if not stop.opened or not (stop.found is None or _goes_on(stop)):
        return None
    bracket = stop.opened[-1]
    also = (Label(stop.found, f"expected `{CLOSER[bracket.text]}` before this"),) if stop.found is not None else ()
    return stop.wrong(f"`{bracket.text}` is never closed", code="E0102" if stop.found is None else "E0101",
                      span=bracket, also=also)


def _goes_on(stop: Stop) -> bool:
    """Whether the lexeme can only belong to what surrounds the innermost bracket."""
    if stop.opened[-1].text == "{" or stop.text == "score" and stop.wants_value:
        return False
    if stop.text == "{":
        return stop.kind == "variant"
    if stop.text == "}":
        return any(span.text == "{" for span in stop.opened)
    is_row = stop.text == "|" and "ROW" not in stop.expected
    return stop.text in _CLAUSES or (stop.text in _STARTS or is_row) and _begins_line(stop)


def _begins_line(stop: Stop) -> bool:
    text, at = stop.source.text, stop.place.start
    return not text[text.rfind("\n", 0, at) + 1 : at].strip()


def mismatched(stop: Stop) -> Diagnostic | None:
    """A closing bracket of the wrong kind, or one that closes nothing."""
    if stop.text not in (")", "]", "}"):
        return None
    if not stop.opened:
        return stop.wrong(f"`{stop.text}` closes nothing")
    opened = stop.opened[-1]
    if CLOSER[opened.text] == stop.text:
        return None
    return stop.wrong(f"`{stop.text}` does not close `{opened.text}`", f"write `{CLOSER[opened.text]}`",
                      also=(Label(opened, "opened here"),))


# ---------------------------------------------------------------- characters


def strange(stop: Stop) -> Diagnostic | None:
    """A character that no word, number or sign of the language contains."""
    if stop.found is None or stop.text.isascii() and stop.text.isprintable() and stop.text != "?":
        return None
    at, character = next((i, c) for i, c in enumerate(stop.text) if not c.isascii() or not c.isprintable() or c == "?")
    span = Span(stop.source, stop.found.start + at, stop.found.start + at + 1)
    if character in CHARACTERS:
        instead = CHARACTERS[character]
        help = f"write `{instead}`" if instead.strip() else "write a space" if instead else "leave it out"
    elif character.isalpha():
        help = "names are made of the letters a to z and A to Z, digits and `_`"
    else:
        help = "programs are ASCII; only comments and documentation may hold any text"
    return stop.wrong(f"the language does not know {_called(character)}", help, code="E0103", span=span)


def _called(character: str) -> str:
    number = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "").lower()
    shown = f"`{character}` " if character.isprintable() else "the character "
    if character.isascii() and character.isprintable():
        return f"the character `{character}`"
    return f"{shown}({number}{f', {name}' if name else ''})"


RULES: tuple[Rule, ...] = (picture_row, bare_row, unclosed, stray_row, *FOREIGN, strange, mismatched, *MISPLACED)
