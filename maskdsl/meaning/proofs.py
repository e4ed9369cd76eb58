"""What is proved of every definition on its own: constants keep `requires`, lookups stay in bounds, it stays small.

Not here: the prover (`prove`), which goals a definition has (`obligations`).
"""

from __future__ import annotations

from collections.abc import Iterator

from maskdsl.ir import ops
from maskdsl.ir.nodes import Call, Literal, Node, Op, Quantified, Size, Symbol, Use, Variant
from maskdsl.ir.substitute import NODE_LIMIT, inline
from maskdsl.ir.types import INT
from maskdsl.ir.walk import topological
from maskdsl.meaning.constants import constant_value
from maskdsl.meaning.demands import demands
from maskdsl.meaning.facts import all_facts
from maskdsl.meaning.findings import Findings, quoted
from maskdsl.meaning.growth import LONGEST_RANGE, steps_of, unrolled_size
from maskdsl.meaning.obligations import obligations
from maskdsl.meaning.prove import prove
from maskdsl.meaning.reads import first_illegal
from maskdsl.meaning.requirements import verify_calls
from maskdsl.source.diagnostic import MaskError

MOST_JUDGED = 200
"""Only masks of no more operations than this are asked whether they are constant."""

MOST_KNOWN = 4096
_known_to_ask: dict[Variant, bool] = {}


def verify_definition(findings: Findings, variant: Variant) -> bool:
    """Whether the definition is sound for all constants, tables and places that keep its facts; else it is reported."""
    before = findings.errors
    try:
        verify_calls(findings, variant)
        verify_size(findings, variant)
        if findings.errors == before:
            prove_definition(findings, variant)
    except MaskError as error:
        for diagnostic in error.diagnostics:
            findings.add(diagnostic)
    return findings.errors == before


def verify_size(findings: Findings, variant: Variant) -> None:
    """Report quantifiers that are too long, and what is too large once they are unrolled (E0403, E0406).

    Constants that are still open are taken for their defaults.
    """
    defaults = {c: d.value for c, d in variant.defaults if isinstance(d, Literal)}
    for _, root in variant.roots:
        before = findings.errors
        for node in topological(root):
            if isinstance(node, Quantified) and (steps := steps_of(node, defaults)) > LONGEST_RANGE:
                told = f"the quantifier has {steps:,} steps, more than {LONGEST_RANGE:,}"
                open_bounds = steps_of(node) != steps
                notes = ("so it is with the defaults of its constants",) if open_bounds else ()
                findings.tell("E0403", told, node.stop.span, notes=notes, help=("use a shorter range, or a table",))
        size = unrolled_size(root, defaults)
        if size > NODE_LIMIT and findings.errors == before:
            findings.tell(
                "E0406", f"`{variant.name}` has {size:,} operations when unrolled, more than {NODE_LIMIT:,}", root.span,
                notes=("every step of a quantifier becomes code",), help=("use shorter ranges",),
            )


def prove_definition(findings: Findings, variant: Variant) -> None:
    """Report what cannot be proved (E0402, E0404, E0405, E0411). Raises MaskError E0406 when it grows too large."""
    if not _asks(variant):
        return
    for diagnostic in obligations(variant):
        findings.add(diagnostic)
    for _, root in variant.roots:
        _verify_exponents(findings, inline(root))


def _asks(variant: Variant) -> bool:
    """Whether anything in a definition, or in what it calls, needs a proof."""
    if len(_known_to_ask) > MOST_KNOWN:
        _known_to_ask.clear()
    seen, waiting, asks = {variant}, [variant], False
    while waiting and not asks:
        top = waiting.pop()
        for node in topological([*(root for _, root in top.roots), *top.facts]):
            asks = asks or next(demands(node), None) is not None or (isinstance(node, Op) and node.name == "pow")
            if isinstance(node, Call) and node.target not in seen:
                seen.add(node.target)
                asks = asks or _known_to_ask.get(node.target, False)
                waiting.extend([] if node.target in _known_to_ask else [node.target])
    _known_to_ask[variant] = asks
    return asks


def constant_mask(variant: Variant) -> bool | None:
    """The value of a mask that is surely the same for every pair; None for any other, and where it is not known."""
    assert variant.mask is not None
    try:
        mask, facts = inline(variant.mask, MOST_JUDGED), [inline(f) for f in all_facts(variant)]
    except MaskError:
        return None
    if prove(mask, facts):
        return True
    return False if prove(ops.make("not", mask), facts) else None


# ---------------------------------------------------------------- exponents


def _verify_exponents(findings: Findings, root: Node) -> None:
    """Report powers of ints whose exponent may be negative; constants that are still open are looked at when fixed."""
    nodes = list(topological(root))
    counters = {n.variable for n in nodes if isinstance(n, Quantified) and _is_natural(n.start, frozenset())}
    for power in _int_powers(nodes):
        exponent = power.args[1]
        value = constant_value(exponent)
        if value is not None and value < 0:
            message = f"an int's exponent is not negative, but {quoted(exponent.span)} is {value}"
            findings.tell("E0411", message, power.span, help=("for a float write the base as one, such as `2.0`",))
        elif first_illegal(exponent, _is_open_constant) and not _is_natural(exponent, frozenset(counters)):
            message = f"an int's exponent is not negative, but {quoted(exponent.span)} may be"
            findings.tell("E0411", message, power.span, help=(f"write `max({quoted(exponent.span).strip('`')}, 0)`",))


def _int_powers(nodes: list[Node]) -> Iterator[Op]:
    yield from (n for n in nodes if isinstance(n, Op) and n.name == "pow" and n.type is INT)


def _is_open_constant(node: Node) -> bool:
    return isinstance(node, Literal | Use | Op)


def _is_natural(root: Node, counters: frozenset[str]) -> bool:
    """Whether an int is surely not negative; `counters` are variables that are not."""
    known: dict[int, bool] = {}
    for node in topological(root):
        match node:
            case Literal(value=value):
                known[id(node)] = value >= 0
            case Size():
                known[id(node)] = True
            case Symbol(name=name):
                known[id(node)] = name in counters
            case Op(name="max", args=args):
                known[id(node)] = any(known[id(a)] for a in args)
            case Op(name="add" | "mul" | "floordiv" | "mod" | "min" | "pow" | "choose", args=args):
                known[id(node)] = all(known[id(a)] for a in args[-2:])
            case _:
                known[id(node)] = False
    return known[id(root)]
