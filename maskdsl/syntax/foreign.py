"""Rules that know the habits of Python, PyTorch and C: each gives its own sentence for what it recognises."""

from __future__ import annotations

import re
from collections.abc import Callable

from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.text import Span
from maskdsl.syntax.grammar import can_parse
from maskdsl.syntax.habits import NAMES, SIGNS, STRING_QUOTES, TYPES, WORDS, Habit
from maskdsl.syntax.stop import Stop, lexemes, line_around, shorten

MODULES = ("torch", "np", "numpy", "math", "tl", "jnp", "F")
BEFORE_A_VALUE = tuple("return lambda let var const while assert def fn func function class".split())
FIELDS = ("mask", "score", "scale", "sink", "normalize")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def _answer(stop: Stop, habit: Habit, span: Span) -> Diagnostic:
    line = _corrected(stop, habit, span)
    help = (*habit.help, f"the line is then `{line}`") if line else habit.help
    return stop.wrong(habit.message.replace("{0}", span.text), *help, code="E0108", span=span)


def _corrected(stop: Stop, habit: Habit, span: Span) -> str:
    """The line with its foreign signs exchanged, or nothing where that alone does not make the chunk readable."""
    line = line_around(span)
    if habit.instead is None or len(line.text) > 100:
        return ""
    pieces, at = [], line.start
    for found in lexemes(stop.source, line.start, line.end):
        known = habit if (found.start, found.end) == (span.start, span.end) else SIGNS.get(found.text)
        if known is not None and known.instead is not None:
            pieces += [stop.source.text[at : found.start], known.instead]
            at = found.end
    exchanged = re.sub(r"(?<=\S)[ \t]{2,}", " ", "".join([*pieces, stop.source.text[at : line.end]])).strip()
    whole = f"{stop.source.text[stop.start : line.start]}{exchanged}{stop.source.text[line.end : stop.end]}"
    return exchanged if can_parse(whole) else ""


# ---------------------------------------------------------------- comments, signs and words


def other_comment(stop: Stop) -> Diagnostic | None:
    """`// text` and `-- text`, read as an operator until the second word of the text."""
    line = stop.source.text.rfind("\n", 0, stop.place.start) + 1
    signs = [span for span in stop.before if span.start >= line and span.text in ("//", "--")]
    is_word = stop.text[:1].isalpha() and stop.wants_operator
    if not signs or not is_word or not stop.before[-1].text[-1:].isalpha():
        return None
    return stop.wrong(f"`{signs[0].text}` does not begin a comment", "a comment is `# …`, to the end of its line",
                      code="E0108", span=signs[0])


def sign(stop: Stop) -> Diagnostic | None:
    """A sign that other languages have, also one read in two parts such as `<` `<`."""
    if stop.found is None or not stop.before or stop.text == "|" and "ROW" in stop.expected:
        return None
    if stop.before and stop.before[-1].end == stop.found.start:
        both = stop.before[-1].to(stop.found)
        if both.text in SIGNS and not both.text.isalpha():
            return _answer(stop, SIGNS[both.text], both)
    if stop.text == "++" or stop.text not in SIGNS:
        return _answer(stop, SIGNS["++"], stop.found) if stop.text == "++" else None
    return _answer(stop, SIGNS[stop.text], stop.found)


def word(stop: Stop) -> Diagnostic | None:
    """`return`, `lambda`, `def` and the like: where reading stopped, or read as a name just before."""
    if stop.found is not None and stop.text in WORDS and not stop.expected & {"_IN"}:
        return _answer(stop, WORDS[stop.text], stop.found)
    starts_value = re.match(r"[\w(:*]", stop.text) is not None
    if stop.previous in BEFORE_A_VALUE and starts_value:
        return _answer(stop, WORDS[stop.previous], stop.before[-1])
    return None


def string(stop: Stop) -> Diagnostic | None:
    """A text in quotes."""
    habit = STRING_QUOTES.get(stop.text[:1])
    return _answer(stop, habit, stop.place) if habit else None


def question(stop: Stop) -> Diagnostic | None:
    """`condition ? x : y`."""
    rest = stop.source.text[stop.place.start : stop.end].split("\n", 1)[0]
    if stop.text != "?" or ":" not in rest:
        return None
    return stop.wrong("a choice is not written with `?` and `:`", "write `x if condition else y`", code="E0108")


# ---------------------------------------------------------------- dots


def attribute(stop: Stop) -> Diagnostic | None:
    """`torch.where(…)`, `t.shape`: names have no dots outside of imports."""
    if stop.text != "." or not re.match(r"[A-Za-z_]", stop.previous) or stop.kind == "from":
        return None
    dotted = _DOTTED.match(stop.source.text, stop.before[-1].start, stop.end)
    assert dotted is not None
    span = Span(stop.source, dotted.start(), dotted.end())
    first, *_, last = dotted[0].split(".") if "." in dotted[0] else (dotted[0], "")
    if first not in MODULES:
        return stop.wrong(f"`{shorten(dotted[0])}`: values have no attributes and no methods",
                          *_known(last), code="E0108", span=span)
    advice = (NAMES[last],) if last in NAMES else (f"write `{last}(…)`",)
    return stop.wrong(f"`{shorten(dotted[0])}` is not known here: functions have no module", *advice, code="E0108",
                      span=span)


def _known(name: str) -> tuple[str, ...]:
    if name in ("shape", "size", "numel"):
        return ("the length of an axis is `size(axis)`",)
    return (NAMES[name],) if name in NAMES else ("call a function on the value: `exp(x)`",)


# ---------------------------------------------------------------- numbers


def number(stop: Stop) -> Diagnostic | None:
    """`0x1F`, `1.0f`, `10k`, `.5`: numbers that the language writes in another way."""
    if stop.found is None:
        return None
    after_dot = re.match(r"\.[0-9]+", stop.source.text[stop.found.start : min(stop.end, stop.found.start + 40)])
    if after_dot and stop.wants_value:
        span = Span(stop.source, stop.found.start, stop.found.start + after_dot.end())
        return stop.wrong(f"`{span.text}` lacks a digit before its dot", f"write `0{span.text}`", code="E0108",
                          span=span)
    if not stop.before or not stop.previous[0].isdigit() or stop.before[-1].end != stop.found.start:
        return None
    if not re.match(r"[\w.]", stop.text):
        return None
    span = stop.before[-1].to(stop.found)
    return stop.wrong(f"`{shorten(span.text)}` is not a number", *_decimal(span.text), code="E0108", span=span)


def _decimal(text: str) -> tuple[str, ...]:
    if len(text) < 20 and re.fullmatch(r"0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+", text):
        return (f"write it in decimal: `{int(text, 0)}`",)
    return ("numbers are written like `4096`, `4_096`, `0.5` and `1e-3`",)


# ---------------------------------------------------------------- `:`, `=` and `==`


def colon(stop: Stop) -> Diagnostic | None:
    """`:` of a block, a slice or a named argument."""
    if stop.text != ":":
        return None
    inner = stop.opened[-1].text if stop.opened else ""
    if stop.in_head and stop.kind in ("mask", "score"):
        habit = Habit("a definition has no block", ("it is an equation: write `=`",), " = ")
    elif stop.kind == "variant" and stop.previous in FIELDS or inner == "(" and re.match(r"[A-Za-z_]", stop.previous):
        habit = Habit("a value is given with `=`, not `:`", (), " = ")
    elif stop.in_head and stop.kind == "variant":
        habit = Habit("a variant's fields stand in braces", ("write `variant NAME { mask = … }`",))
    elif inner == "[":
        habit = Habit("tables have no slices", ("one element is `t[b, q]`",))
    else:
        habit = Habit("the language has no blocks, so `:` only gives a parameter its type",
                      ("a choice is written `x if condition else y`",))
    return _answer(stop, habit, stop.place)


def equals(stop: Stop) -> Diagnostic | None:
    """`=` where `==` is meant, and the other way round."""
    if stop.text != "=" or stop.found is None:
        return None
    if stop.previous == "=" and stop.before[-1].end == stop.found.start:
        habit = Habit("`==` compares two values; it gives none to a name", ("a name gets its value by `=`",), "=")
        return _answer(stop, habit, stop.before[-1].to(stop.found))
    if stop.kind == "variant" and "LBRACE" in stop.expected:
        return _answer(stop, Habit("a variant's fields stand in braces", ("leave the `=` out",), ""), stop.place)
    if stop.wants_operator or "EQUAL" in stop.expected:
        habit = Habit("`=` gives a name its value; it does not compare", ("equality is `==`",), "==")
        return _answer(stop, habit, stop.place)
    return None


# ---------------------------------------------------------------- types and imports


def type_name(stop: Stop) -> Diagnostic | None:
    """`Tensor`, `int32`: types of other languages."""
    if "SCALAR" not in stop.expected or not re.match(r"[A-Za-z_]", stop.text):
        return None
    known = (TYPES[stop.text],) if stop.text in TYPES else ()
    return stop.wrong(f"`{shorten(stop.text)}` is not a type", *known,
                      "the types are `bool`, `int`, `float` and `mask`; a table is `int[batch]`", code="E0108")


def import_habit(stop: Stop) -> Diagnostic | None:
    """`import x`, `from x import *`, `from ..x`."""
    if stop.text == "import" and not stop.before:
        return stop.wrong("an import says what it takes", "write `from module import name`", code="E0108")
    if stop.kind == "from" and stop.text == "*":
        return stop.wrong("an import names each thing that it takes", "write `from module import name, other`",
                          code="E0108")
    if stop.kind == "from" and stop.text == "." and stop.previous == ".":
        return stop.wrong("an import with a dot only reaches the file's own folder", "write `from .module import name`",
                          code="E0108")
    return None


FOREIGN: tuple[Callable[[Stop], Diagnostic | None], ...] = (
    number, other_comment, sign, string, question, import_habit, type_name, attribute, colon, equals, word,
)  # fmt: skip
