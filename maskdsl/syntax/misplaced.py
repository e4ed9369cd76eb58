"""Rules that know parts of the language itself in the wrong place: `where` after `requires`, an `if` with no `else`."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from maskdsl.source.diagnostic import Diagnostic, Label
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span
from maskdsl.syntax.stop import Stop, line_around, outside_brackets, shorten

FIELDS = ("mask", "score", "scale", "sink", "normalize")
KINDS = ("mask", "score", "variant", "example")
SCALARS = ("bool", "int", "float", "mask")
COORDINATES = tuple("b h q k q_idx kv_idx k_idx score batch head batch_idx head_idx".split())
"""What torch's mods take as parameters, and this language does not."""
AFTER_A_BODY = ("where", "requires", "then", *FIELDS, "variant", "example")
ROW = re.compile(r"\|[ \t]*[x.]([ \t]*[x.])*[ \t\r]*(#.*)?")


# ---------------------------------------------------------------- pictures


def picture_row(stop: Stop) -> Diagnostic | None:
    """A row of a picture with other characters than `x` and `.`, or a row outside of an example."""
    if stop.text not in ("|", "||"):
        return None
    line = stop.source.text[stop.place.start : stop.end].split("\n", 1)[0]
    if "ROW" in stop.expected:
        return _bad_row(stop, line)
    return None


def bare_row(stop: Stop) -> Diagnostic | None:
    """A row of a picture without its bar."""
    text, at = stop.source.text, stop.place.start
    if "ROW" not in stop.expected or stop.text not in ("x", ".") or text[text.rfind("\n", 0, at) + 1 : at].strip():
        return None
    return stop.wrong("a row of a picture begins with `|`", "write `| x . .`")


def stray_row(stop: Stop) -> Diagnostic | None:
    """A well-formed row that belongs to no example."""
    if stop.text != "|":
        return None
    text, at = stop.source.text, stop.place.start
    line = text[at : stop.end].split("\n", 1)[0]
    if text[text.rfind("\n", 0, at) + 1 : at].strip() or not ROW.fullmatch(line) or stop.kind == "from":
        return None
    return stop.wrong("a picture stands in an example", "write `example NAME(arguments)` above the rows",
                      span=Span(stop.source, at, at + len(line.rstrip())))


def _bad_row(stop: Stop, line: str) -> Diagnostic:
    at = next((i for i, c in enumerate(line) if i and c not in "x. \t\r"), None)
    if at is None or line[at] == "#":
        return stop.wrong("a row of the picture is empty", "a row is `| x . .`: `x` is visible, `.` is not")
    span = Span(stop.source, stop.place.start + at, stop.place.start + at + 1)
    return stop.wrong(f"`{line[at]}` has no meaning in a picture", "`x` is visible, `.` is not: `| x . .`", span=span)


# ---------------------------------------------------------------- definitions


def unknown_kind(stop: Stop) -> Diagnostic | None:
    """A word at the start that begins no definition."""
    if stop.before or not re.match(r"[A-Za-z_]", stop.text) or "EXAMPLE" not in stop.expected:
        return None
    return stop.wrong(f"`{shorten(stop.text)}` does not begin a definition", *did_you_mean(stop.text, KINDS),
                      "a definition begins with `mask`, `score`, `variant` or `example`")


def lonely_doc(stop: Stop) -> Diagnostic | None:
    """Documentation in the middle of a definition, or above nothing."""
    if stop.text.startswith("##"):
        return stop.wrong("documentation stands above a definition, not inside", "a comment is `# …`")
    if not stop.previous.startswith("##") or stop.kind and stop.found is not None:
        return None
    doc = stop.before[-1]
    if line_around(doc).start < doc.start:
        return stop.wrong("documentation stands on the lines above its definition", "a comment is `# …`", span=doc)
    return stop.wrong("documentation must stand above a definition", "a comment is `# …`", span=doc)


def untyped_parameter(stop: Stop) -> Diagnostic | None:
    """A parameter without its type, perhaps a coordinate; or with the type before it."""
    if stop.expected != {"COLON"}:
        return None
    name = stop.before[-1]
    if name.text in SCALARS and re.match(r"[A-Za-z_]", stop.text):
        return stop.wrong("a parameter's type follows its name", f"write `{shorten(stop.text)}: {name.text}`")
    if stop.text not in (",", ")", "="):
        return None
    if name.text in COORDINATES:
        help = "`b`, `h`, `q`, `k` and a score's `score` are there without being declared: leave them out"
        return stop.wrong(f"`{name.text}` is no parameter", help, span=name)
    return stop.wrong(f"the parameter `{shorten(name.text)}` has no type",
                      f"write `{shorten(name.text)}: int`, or `bool`, `float`, `mask`, or a table such as `int[batch]`",
                      span=name)


def second_bracket(stop: Stop) -> Diagnostic | None:
    """`t[b][q]`, and `[…]` after what is no table."""
    if stop.text != "[" or stop.previous not in ("]", ")") or not stop.wants_operator:
        return None
    if stop.previous == ")":
        return stop.wrong("only a table has indices", "a table is named: `t[b, q]`")
    return stop.wrong("a table is indexed once", "all its indices stand in one pair of brackets: `t[b, q]`")


def mask_axes(stop: Stop) -> Diagnostic | None:
    """`inner: mask[batch]`."""
    if stop.text != "[" or stop.previous != "mask":
        return None
    return stop.wrong("a mask has no axes", "write `mask`; a table of conditions is `bool[batch, position]`")


def braces(stop: Stop) -> Diagnostic | None:
    """`mask f { … }`, and `,` between the fields of a variant."""
    if stop.text == "{" and not stop.in_head:
        return stop.wrong("braces only hold the fields of a variant", "an expression is grouped by `(` and `)`")
    if stop.text == "{" and stop.kind in ("mask", "score"):
        return stop.wrong(f"a {stop.kind} is an equation; only a variant has braces", "write `=` and the formula")
    if stop.text == "," and stop.opened and stop.opened[-1].text == "{":
        return stop.wrong("the fields of a variant are not separated by `,`", "leave it out")
    return None


def unknown_field(stop: Stop) -> Diagnostic | None:
    """A word in a variant that is none of its fields."""
    is_word = re.match(r"[A-Za-z_]", stop.text) is not None
    if "SCALE" not in stop.expected or not is_word or _next_is_not_becomes(stop):
        return None
    return stop.wrong(f"a variant has no field `{shorten(stop.text)}`", *did_you_mean(stop.text, FIELDS),
                      "its fields are `mask`, `score`, `scale`, `sink` and `normalize`")


def _next_is_not_becomes(stop: Stop) -> bool:
    rest = stop.source.text[stop.place.end : stop.end].lstrip()
    return not rest.startswith("=") or rest.startswith("==")


def order(stop: Stop) -> Diagnostic | None:
    """`where` after `requires`, a second `where` or `requires`, `then` outside of a variant's score."""
    if stop.text not in ("where", "requires", "then") or stop.opened and stop.opened[-1].text != "{":
        return None
    if stop.text == "then":
        return None if stop.wants_value else stop.wrong("`then` only joins the stages of a variant's `score`")
    if stop.wants_value or stop.kind not in ("mask", "score"):
        return _no_clauses(stop)
    outside = outside_brackets(stop.before)
    earlier = next((span for span in outside if span.text == stop.text), None)
    if earlier is not None:
        return stop.wrong(f"a definition has one `{stop.text}`", "separate its parts with `,`",
                          also=(Label(earlier, f"the first `{stop.text}`"),))
    later = next((span for span in outside if span.text == "requires"), None)
    if later is None:
        return None
    return stop.wrong("`where` comes before `requires`", also=(Label(later, "this comes last"),))


def _no_clauses(stop: Stop) -> Diagnostic | None:
    if stop.kind not in ("variant", "example"):
        return None
    return stop.wrong(f"a{'n' * (stop.kind == 'example')} {stop.kind} has no `{stop.text}`",
                      f"`{stop.text}` belongs to a mask or a score")


def late_edition(stop: Stop) -> Diagnostic | None:
    """`language 1` anywhere but first."""
    return stop.wrong("the edition of the language stands first in a file") if stop.text == "language" else None


# ---------------------------------------------------------------- expressions


def choice(stop: Stop) -> Diagnostic | None:
    """`if c then x`, `else if` and `x if c` without its `else`."""
    if stop.text == "if" and stop.wants_value:
        help = "write `x if c else y if d else z`" if stop.previous == "else" else "write `x if condition else y`"
        return stop.wrong("a choice begins with its value, not with `if`", help)
    is_value = re.match(r"[\w(\[]", stop.text) is not None and stop.text not in AFTER_A_BODY
    if "_ELSE" in stop.expected and not is_value:
        return stop.wrong("this `if` has no `else`", "write `x if condition else y`", span=_last(stop, "if"))
    return None


def quantifier(stop: Stop) -> Diagnostic | None:
    """`any`, `all` or `sum` without `for … in range(…)`."""
    if "_FOR" in stop.expected and stop.text in (")", ",", ""):
        kind = _before_bracket(stop) or "any"
        return stop.wrong(f"`{kind}` must be told what it counts", f"write `{kind}(… for i in range(n))`")
    if stop.expected in ({"_RANGE"}, {"_IN"}):
        return stop.wrong("a quantifier counts over a range", "write `for i in range(n)` or `range(start, stop)`")
    if stop.text == "," and stop.expected == {"RPAR"} and _before_bracket(stop) == "range":
        return stop.wrong("a range takes no step", "take the multiple in the body: `any(… 2 * i … for i in range(n))`")
    if stop.text == "for":
        return stop.wrong("`for` stands only in `any(…)`, `all(…)` and `sum(…)`", "write `any(… for i in range(n))`")
    return None


def _before_bracket(stop: Stop) -> str:
    """The word before the innermost open bracket."""
    return next((a.text for a, b in pairwise(stop.before) if stop.opened and b == stop.opened[-1]), "")


def buried_not(stop: Stop) -> Diagnostic | None:
    """`a == not b`."""
    if stop.text != "not" or not stop.wants_value:
        return None
    return stop.wrong(f"`not` after `{stop.previous}` needs parentheses", "write `(not x)`")


def _last(stop: Stop, text: str) -> Span:
    return next((span for span in reversed(stop.before) if span.text == text), stop.place)


MISPLACED: tuple[Callable[[Stop], Diagnostic | None], ...] = (
    unknown_kind, lonely_doc, untyped_parameter, second_bracket, mask_axes, braces, unknown_field, order, late_edition,
    choice, quantifier, buried_not,
)  # fmt: skip
