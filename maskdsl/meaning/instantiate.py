"""Fixing the constants and masks of a definition: values for names, facts about constants checked, proofs repeated.

Not here: the tensors of tables (`maskdsl.binding`), folding what has become constant (`passes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from maskdsl.ir.nodes import Literal, Lookup, Node, Value, Variant
from maskdsl.ir.substitute import substitute
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Parameter
from maskdsl.ir.walk import topological
from maskdsl.meaning.constants import LARGEST_INT, constant_value, fits, kind_of, verify_value
from maskdsl.meaning.facts import all_facts
from maskdsl.meaning.findings import Findings, an, listed
from maskdsl.meaning.proofs import prove_definition, verify_size
from maskdsl.meaning.reads import first_illegal, is_scoreless
from maskdsl.meaning.requirements import shown, verify_constants
from maskdsl.source.diagnostic import Label, MaskError
from maskdsl.source.suggest import did_you_mean


def instantiate(
    variant: Variant, constants: Mapping[str, Any] | None = None, masks: Mapping[str, Node] | None = None
) -> Variant:
    """The definition with all its constants and masks fixed: its parameters are tables alone, its facts are complete.

    `constants` are Python values by name (a bool, an int, a float; an int will do for a float); those left out have
    their defaults. A mask is a bool node over `b h q k`; tables it reads become parameters. Raises MaskError with all
    mistakes: E0208 unknown, E0209 missing, E0301, E0302 and E0106 for values that do not fit, E0408 for values that
    break a fact, E0402 to E0406 and E0410 for what these values make unsound.
    """
    findings = Findings()
    _refuse_unknown(findings, variant, [*(constants or {}), *(masks or {})])
    values = _values(findings, variant, constants or {})
    holes = _holes(findings, variant, masks or {})
    _stop(findings)
    facts = all_facts(variant)
    verify_constants(findings, facts, values)
    _stop(findings)
    if not variant.constants and not variant.holes:
        return replace(variant, facts=facts)
    fixed = _fixed(variant, values, holes)
    verify_constants(findings, fixed.facts, {})
    _stop(findings)
    _verify(findings, fixed)
    _stop(findings)
    return fixed


def _stop(findings: Findings) -> None:
    if findings.errors:
        raise MaskError(findings.diagnostics)


def _fixed(variant: Variant, values: Mapping[Constant, Value], holes: Mapping[Hole, Node]) -> Variant:
    literals = {c: Literal(v, c.type, c.span) for c, v in values.items()}
    roots = {name: substitute(root, constants=literals, holes=holes) for name, root in variant.roots}
    facts = tuple(substitute(f, constants=literals) for f in variant.facts)
    tables = dict.fromkeys((*variant.tables, *(n.table for n in topological(holes.values()) if isinstance(n, Lookup))))
    fixed = replace(variant, **roots, parameters=tuple(tables), defaults=(), facts=facts)  # type: ignore[arg-type]
    return replace(fixed, facts=tuple(f for f in all_facts(fixed) if constant_value(f) is not True))


def _verify(findings: Findings, fixed: Variant) -> None:
    """Report what the values make unsound."""
    try:
        verify_size(findings, fixed)
        prove_definition(findings, fixed)
    except MaskError as error:
        for diagnostic in error.diagnostics:
            findings.add(diagnostic)
    for root in (fixed.scale, fixed.normalize):
        if root is not None:
            verify_value(findings, root)


# ---------------------------------------------------------------- values


def _refuse_unknown(findings: Findings, variant: Variant, given: list[str]) -> None:
    names = [p.name for p in variant.parameters]
    tables = {t.name for t in variant.tables}
    for name in given:
        if name in tables:
            told, advice = f"`{name}` is a table of `{variant.name}`, not a constant", f"`.bind({name}=…)`"
            place = next(t.span for t in variant.tables if t.name == name)
            findings.tell("E0208", told, place, "a table", help=(f"give it when tables are bound: {advice}",))
        elif name not in names:
            takes = f"its parameters are {listed(names)}" if names else "it has no parameters"
            told = f"`{variant.name}` has no parameter `{name}`"
            findings.tell("E0208", told, variant.span, notes=(takes,), help=did_you_mean(name, names))


def _values(findings: Findings, variant: Variant, given: Mapping[str, Any]) -> dict[Constant, Value]:
    defaults = {c: d.value for c, d in variant.defaults if isinstance(d, Literal)}
    values: dict[Constant, Value] = {}
    for constant in variant.constants:
        if constant.name in given:
            value = _converted(findings, constant, given[constant.name])
        elif constant in defaults:
            value = defaults[constant]
        else:
            value = _missing(findings, variant, constant)
        if value is not None:
            values[constant] = value
    return values


def _converted(findings: Findings, constant: Constant, given: Any) -> Value | None:
    """A Python or NumPy value as the constant's type has it."""
    value = given.item() if hasattr(given, "item") and getattr(given, "ndim", 0) == 0 else given
    if not isinstance(value, bool | int | float):
        told = f"the text `{value[:40]}`" if isinstance(value, str) else f"a `{type(given).__name__}`"
        return _refuse(findings, "E0301", constant, told)
    kind = kind_of(value)
    if (kind, constant.type) == (INT, FLOAT):
        return float(value)
    if kind is not constant.type:
        return _refuse(findings, "E0302" if (kind, constant.type) == (FLOAT, INT) else "E0301", constant, an(kind))
    if fits(value, kind):
        return value
    limits = "no number" if kind is FLOAT else f"not within {-LARGEST_INT - 1:,} to {LARGEST_INT:,}"
    told = f"the value of `{constant.name}` is {limits}"
    return findings.tell("E0106", told, constant.span, f"{shown(value)} was given")


def _refuse(findings: Findings, code: str, constant: Constant, given: str) -> None:
    findings.tell(
        code, f"`{constant.name}` is {an(constant.type)}, but {given} was given", constant.span, an(constant.type),
    )


def _missing(findings: Findings, variant: Variant, parameter: Parameter) -> None:
    findings.tell(
        "E0209", f"`{variant.name}` needs `{parameter.name}`", parameter.span, "no default",
        help=(f"give `{parameter.name}=…`",),
    )


def _holes(findings: Findings, variant: Variant, given: Mapping[str, Node]) -> dict[Hole, Node]:
    holes: dict[Hole, Node] = {}
    for hole in variant.holes:
        if hole.name not in given:
            _missing(findings, variant, hole)
            continue
        node = given[hole.name]
        illegal = first_illegal(node, is_scoreless)
        if illegal is not None:
            also = (Label(illegal.span, "read here"),) if illegal.span.text else ()
            findings.tell("E0401", "a mask may not read `score`", hole.span, f"given for `{hole.name}`", also=also)
        elif node.type is not BOOL:
            findings.tell("E0301", f"`{hole.name}` is a mask, but {an(node.type)} was given", hole.span, "a mask")
        else:
            holes[hole] = node
    return holes
