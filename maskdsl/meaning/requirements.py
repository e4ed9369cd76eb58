"""Facts about constants, checked as soon as the constants are known: in calls, in defaults, when compiled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maskdsl.ir.nodes import Literal, Node, Quantified, Use, Value, Variant
from maskdsl.ir.types import Constant
from maskdsl.ir.walk import topological
from maskdsl.meaning.constants import constant_value
from maskdsl.meaning.facts import all_facts, calls_of, counters_of, facts_of_call
from maskdsl.meaning.findings import Findings, quoted
from maskdsl.meaning.reads import first_illegal, is_literal_part, is_variable
from maskdsl.source.diagnostic import Label


def verify_calls(findings: Findings, variant: Variant) -> None:
    """Report calls whose constants break a fact of what they call, and defaults that break a fact (E0408).

    Raises MaskError E0406 when there are too many facts.
    """
    broken = set()
    counters = counters_of(variant)
    for call in calls_of(variant):
        for fact in facts_of_call(call, all_facts(call.target), counters):
            value = constant_value(fact)
            if fact.span not in broken and (value is False or (value is None and is_closed(fact))):
                broken.add(fact.span)
                told = f"`{call.target.name}` requires {quoted(fact.span)}"
                label = "not so here" if value is False else "this has no value here"
                findings.tell("E0408", told, call.span, label, also=(Label(fact.span, "required here"),))
    defaults = {c: d.value for c, d in variant.defaults if isinstance(d, Literal)}
    for fact in all_facts(variant):
        used = constants_of(fact)
        if fact.span not in broken and constant_value(fact, defaults) is False:
            place = next((d.span for c, d in variant.defaults if c in used), variant.span)
            also = (Label(fact.span, "required here"),)
            findings.tell("E0408", f"the default breaks {quoted(fact.span)}", place, also=also)


def verify_constants(findings: Findings, facts: Iterable[Node], constants: Mapping[Constant, Value]) -> None:
    """Report the facts that these constants break (E0408)."""
    for fact in facts:
        if constant_value(fact, constants) is False:
            used = constants_of(fact)
            values = ", ".join(f"`{c.name}` is {shown(constants[c])}" for c in used if c in constants)
            findings.tell(
                "E0408", f"{quoted(fact.span)} does not hold", fact.span, "required here",
                also=tuple(Label(c.span, f"{shown(constants[c])} was given") for c in used if c in constants),
                notes=(values,) if values else (),
            )


def is_closed(root: Node) -> bool:
    """Whether an expression is made of literals alone: if its value is not known, it has none."""
    return first_illegal(root, lambda n: is_literal_part(n) or isinstance(n, Quantified) or is_variable(n)) is None


def constants_of(root: Node) -> list[Constant]:
    """The constants that an expression reads, each once."""
    return list(dict.fromkeys(n.constant for n in topological(root) if isinstance(n, Use)))


def shown(value: Value) -> str:
    """A value as the language writes it; of an int too long for any line its length."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length():,} bits"
    return str(value).lower() if isinstance(value, bool) else repr(value)


