"""What is said of a lookup, a divisor or a shift that is not proven: where, why, and the text that would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from maskdsl.ir.nodes import Literal, Lookup, Node, Symbol, Use, Variant
from maskdsl.ir.print import text
from maskdsl.ir.types import Axis, Table
from maskdsl.meaning.demands import Demand
from maskdsl.meaning.facts import calls_of
from maskdsl.source.diagnostic import Diagnostic, Label
from maskdsl.source.text import NOWHERE, Span


@dataclass(frozen=True, slots=True)
class Unmet:
    """A child of a node that lacks a proof: which ends of its range (`kinds`), and a fact that would settle it.

    `wraps`: the value would be in range if ints did not wrap around. `late`: a fact that stands later proves it.
    """

    demand: Demand
    kinds: frozenset[str]
    fact: Node | None = None
    wraps: bool = False
    late: bool = False


def report(variant: Variant, unmet: Sequence[Unmet]) -> list[Diagnostic]:
    """A diagnostic for every index, divisor and shift count with unmet demands, in the order of the text.

    What is written several times is told once, with the other places beside it.
    """
    found: dict[tuple[str, str, str], list[Unmet]] = {}
    for one in sorted(unmet, key=lambda u: u.demand.child.span.start):
        whole = _spelt(one.demand.node) if isinstance(one.demand.node, Lookup) else ""
        found.setdefault((_code(one.demand), whole, _spelt(one.demand.child)), []).append(one)
    told = [_tell_all(variant, code, ones) for (code, _, _), ones in found.items()]
    return sorted(told, key=lambda d: d.span.start if d.span else 0)


def _code(demand: Demand) -> str:
    if demand.kind == "zero":
        return "E0404"
    return "E0402" if isinstance(demand.node, Lookup) else "E0405"


def _tell_all(variant: Variant, code: str, ones: list[Unmet]) -> Diagnostic:
    kinds = frozenset(kind for one in ones for kind in one.kinds)
    told = _tell(variant, code, replace(ones[0], kinds=kinds))
    known = {told.span, *(label.span for label in told.also)}
    spans = dict.fromkeys(one.demand.child.span for one in ones)
    again = tuple(Label(s, "and here") for s in spans if s not in known and s is not NOWHERE)
    return replace(told, also=(*told.also, *again))


def _tell(variant: Variant, code: str, unmet: Unmet) -> Diagnostic:
    node = unmet.demand.node
    told = _tell_lookup(node, unmet) if isinstance(node, Lookup) else _TELL[code](unmet)
    lines = told.help
    if unmet.late:
        lines = ("facts are checked in order: put the fact that proves it first",)
    elif unmet.fact is not None and variant.kind != "variant":
        lines = (f"state what is known: `requires {text(unmet.fact)}`", *(f"or {line}" for line in lines))
    return _placed(variant, node, replace(told, help=lines))


# ---------------------------------------------------------------- the three reports


def _tell_lookup(lookup: Lookup, unmet: Unmet) -> Diagnostic:
    demand, axis = unmet.demand, lookup.table.axes[unmet.demand.place]
    index = _spelt(demand.child)
    ends = (("low", "be negative"), ("high", f"reach `{_size(axis)}`"))
    reach = " or ".join(told for kind, told in ends if kind in unmet.kinds)
    advice, clamped = "keep the index in range", f"clamp({index}, 0, {_less_one(axis)})"
    if isinstance(demand.child, Literal) and "low" in unmet.kinds:
        advice, clamped = "the last entry is", _less_one(axis)  # for -1, as in Python
    here = _is_inside(demand.child.span, lookup.span)
    notes = ["a proof comes from the expression, from `requires`, and from the conditions around the lookup"]
    notes += [f"`{index}` may wrap around: ints have 32 bits"] if unmet.wraps else []
    return Diagnostic(
        "E0402", f"the lookup `{_spelt(lookup)}` is not proven in bounds", demand.child.span, f"may {reach}",
        also=(*(() if here else (Label(lookup.span, "read here"),)), *_declared(lookup.table)), notes=tuple(notes),
        help=(f"{advice}: `{_with_index(lookup, demand.place, clamped) if here else clamped}`",),
    )


def _tell_divisor(unmet: Unmet) -> Diagnostic:
    divisor = _spelt(unmet.demand.child)
    if isinstance(unmet.demand.child, Literal):
        return Diagnostic("E0404", "the divisor is zero", unmet.demand.child.span)
    return Diagnostic(
        "E0404", f"the divisor `{divisor}` may be zero", unmet.demand.child.span, "not proven to differ from 0",
        help=(f"hold it above zero: `max({divisor}, 1)`",),
    )


def _tell_shift(unmet: Unmet) -> Diagnostic:
    child = unmet.demand.child
    count = _spelt(child)
    reach = " or ".join(told for kind, told in (("low", "negative"), ("high", "more than 31")) if kind in unmet.kinds)
    wrapped = count if isinstance(child, Literal | Symbol | Use | Lookup) else f"({count})"
    return Diagnostic(
        "E0405", f"the shift count `{count}` is not proven to lie in 0 to 31", child.span, f"may be {reach}",
        help=(f"take the bit within a word: `{wrapped} % 32`",),
    )


_TELL = {"E0404": _tell_divisor, "E0405": _tell_shift}


# ---------------------------------------------------------------- places


def _placed(variant: Variant, node: Node, told: Diagnostic) -> Diagnostic:
    """The diagnostic where the user can act: at the call, when the place is inside of a definition that is called."""
    if node.span is NOWHERE or any(_is_inside(span, variant.span) for span in (node.span, told.span or node.span)):
        return told
    call = next((c for c in calls_of(variant) if _reaches(c.target, node.span)), None)
    if call is None:
        return told
    here = Label(told.span or node.span, told.label)
    return replace(told, span=call.span, label="as it is used here", also=(here, *told.also))


def _reaches(variant: Variant, span: Span) -> bool:
    """Whether a span lies in a definition or in one that it calls."""
    waiting, seen = [variant], {variant}
    while waiting:
        current = waiting.pop()
        if _is_inside(span, current.span):
            return True
        fresh = {c.target for c in calls_of(current)} - seen
        seen |= fresh
        waiting += fresh
    return False


def _is_inside(span: Span, outer: Span) -> bool:
    return span.source is outer.source and outer.start <= span.start and span.end <= outer.end


def _declared(table: Table) -> tuple[Label, ...]:
    return () if table.span is NOWHERE else (Label(table.span, "the table"),)


# ---------------------------------------------------------------- the user's words


def _spelt(node: Node) -> str:
    """The node as the user wrote it, on one line and without outer parentheses; printed when no text stands for it."""
    told = " ".join(node.span.text.split())
    while told.startswith("(") and told.endswith(")") and _is_balanced(told[1:-1]):
        told = told[1:-1].strip()
    return told or text(node)


def _is_balanced(told: str) -> bool:
    depths = list(accumulate((c == "(") - (c == ")") for c in told))
    return not depths or (min(depths) >= 0 and depths[-1] == 0)


def _size(axis: Axis) -> str:
    return str(axis) if isinstance(axis, int) else f"size({axis})"


def _less_one(axis: Axis) -> str:
    return str(axis - 1) if isinstance(axis, int) else f"size({axis}) - 1"


def _with_index(lookup: Lookup, place: int, index: str) -> str:
    indices = [index if i == place else _spelt(node) for i, node in enumerate(lookup.indices)]
    return f"{lookup.table.name}[{', '.join(indices)}]"
