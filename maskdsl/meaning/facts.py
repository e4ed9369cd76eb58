"""Facts: what `requires` states, and all that holds for a definition because of the definitions it calls."""

from __future__ import annotations

from collections.abc import Mapping

from maskdsl.ir.nodes import (
    Ascending,
    Call,
    Literal,
    Lookup,
    Node,
    Op,
    Quantified,
    Size,
    Symbol,
    Use,
    Variant,
)
from maskdsl.ir.substitute import binding, substitute
from maskdsl.ir.types import BOOL
from maskdsl.ir.walk import children, topological
from maskdsl.meaning.findings import an, quoted
from maskdsl.meaning.lower_expressions import lower
from maskdsl.meaning.lowering import Lowering, Setting
from maskdsl.meaning.reads import first_illegal, is_fact_part, is_variable, refuse_read
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Span
from maskdsl.syntax import ast

MOST_FACTS = 256
"""How many facts one definition may inherit before it counts as too large (E0406)."""

_MOST_KNOWN = 4096
_known: dict[Variant, tuple[Node, ...]] = {}
_known_of_call: dict[Call, tuple[Node, ...]] = {}


def lower_facts(lowering: Lowering, requires: tuple[ast.Expression, ...]) -> tuple[Node, ...]:
    """The facts of a definition; `a and b` states two."""
    parts = [part for expression in requires for part in _parts(expression)]
    found = [_lower_fact(lowering.set(Setting.FACT), part) for part in parts]
    return tuple(f for f in found if f is not None)


def all_facts(variant: Variant) -> tuple[Node, ...]:
    """The variant's facts and those of everything it calls, the latter about the arguments given.

    Facts about tables hold for every value of the coordinates in them, so moves change nothing. Raises MaskError
    E0406 when there are too many.
    """
    found: dict[Variant, tuple[Node, ...]] = {}
    stack = [variant]
    while stack:
        top = stack[-1]
        if top in _known:
            found[stack.pop()] = _known[top]
            continue
        waiting = [c.target for c in calls_of(top) if c.target not in found]
        stack.extend(waiting)
        if not waiting:
            found[stack.pop()] = _gathered(top, found)
    if len(_known) > _MOST_KNOWN:
        _known.clear()
    _known.update(found)
    return found[variant]


def calls_of(variant: Variant) -> tuple[Call, ...]:
    """The calls in all the expressions of a variant, each shared one once."""
    return tuple(n for n in topological([root for _, root in variant.roots]) if isinstance(n, Call))


def counters_of(variant: Variant) -> dict[str, Quantified]:
    """The quantifiers in the expressions of a variant, by the names of their variables, which differ."""
    nodes = topological([root for _, root in variant.roots])
    return {n.variable: n for n in nodes if isinstance(n, Quantified)}


def facts_of_call(call: Call, facts: tuple[Node, ...], counters: Mapping[str, Quantified]) -> tuple[Node, ...]:
    """All the facts of the call's target, `facts`, about the arguments of the call.

    An argument may hold variables of the quantifiers around the call: the fact then is for all their values.
    """
    if not call.arguments or not facts:
        return facts
    if call not in _known_of_call:
        bound = binding(call)
        found = [substitute(f, constants=bound.constants, tables=bound.tables, sizes=bound.sizes) for f in facts]
        if any(is_variable(n) for n in topological(bound.constants.values())):
            found = [_for_all(f, counters) for f in found]
        if len(_known_of_call) > _MOST_KNOWN:
            _known_of_call.clear()
        _known_of_call[call] = tuple(found)
    return _known_of_call[call]


def _for_all(fact: Node, counters: Mapping[str, Quantified]) -> Node:
    """The fact under `all` for each of its free variables, those whose bounds read others inside the others'."""
    free = _free_variables(fact)
    while free:
        inner = next(v for v in free if not any(v in _free_variables_of(counters[w]) for w in free if w != v))
        around = counters[inner]
        fact = Quantified("all", inner, around.start, around.stop, fact, BOOL, fact.span)
        free = _free_variables(fact)
    return fact


def _free_variables_of(counter: Quantified) -> frozenset[str]:
    return _free_variables(counter.start, counter.stop)


def _free_variables(*roots: Node) -> frozenset[str]:
    nodes = list(topological(roots))
    bound = {n.variable for n in nodes if isinstance(n, Quantified)}
    return frozenset(n.name for n in nodes if isinstance(n, Symbol) and is_variable(n) and n.name not in bound)


def _gathered(variant: Variant, known: dict[Variant, tuple[Node, ...]]) -> tuple[Node, ...]:
    numbers: dict[object, int] = {}
    found: dict[int, Node] = {}
    for fact in variant.facts:
        found.setdefault(_structure(fact, numbers), fact)
    counters = counters_of(variant)
    for call in calls_of(variant):
        for fact in facts_of_call(call, known[call.target], counters):
            found.setdefault(_structure(fact, numbers), fact)
        if len(found) > MOST_FACTS:
            raise MaskError(_too_many(variant.span))
    return tuple(found.values())


def _structure(root: Node, numbers: dict[object, int]) -> int:
    """A number that two facts share if they say the same in the same words."""
    found: dict[int, int] = {}
    for node in topological(root):
        key = (type(node), _words(node), tuple(found[id(c)] for c in children(node)))
        found[id(node)] = numbers.setdefault(key, len(numbers))
    return found[id(root)]


def _words(node: Node) -> object:
    match node:
        case Literal(value=value, type=kind):
            return (kind, repr(value))
        case Symbol(name=name) | Op(name=name):
            return name
        case Size(axis=axis):
            return axis
        case Use(constant=constant):
            return constant
        case Lookup(table=table):
            return table
        case Ascending(table=table, axis=axis):
            return (table, axis)
        case Quantified(kind=kind, variable=variable):
            return (kind, variable)
    raise AssertionError(f"a fact has no {type(node).__name__}")


def _too_many(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0406", f"the definitions called here state more than {MOST_FACTS:,} facts", span,
        help=("use fewer nested calls",),
    )


def _parts(expression: ast.Expression) -> list[ast.Expression]:
    parts: list[ast.Expression] = []
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.And):
            waiting.extend(reversed(part.operands))
        else:
            parts.append(part)
    return parts


def _lower_fact(lowering: Lowering, expression: ast.Expression) -> Node | None:
    node = lower(lowering, expression)
    if node is None:
        return None
    illegal = first_illegal(node, is_fact_part)
    if illegal is not None:
        message = "a fact speaks of constants, tables and sizes"
        note = "facts are checked once, before anything runs"
        return refuse_read(lowering.findings, "E0412", message, expression.span, illegal, notes=(note,))
    nested = next((n for n in topological(children(node)) if isinstance(n, Ascending)), None)
    if nested is not None:
        message = "`ascending` is a fact of its own: it cannot be part of another"
        return lowering.findings.tell("E0412", message, nested.span, help=("separate facts by commas",))
    if node.type is BOOL:
        return node
    return lowering.findings.tell(
        "E0301", f"a fact is a bool, but {quoted(expression.span)} is {an(node.type)}", expression.span, an(node.type),
        help=("state a comparison, such as `… >= 1`",),
    )
