"""The laws of a well-made IR, asserted between passes in tests: a broken one is our own fault, never the user's."""

from __future__ import annotations

from collections.abc import Iterable

from maskdsl.ir.nodes import (
    COORDINATES,
    LENGTHS,
    Ascending,
    Call,
    Fill,
    Literal,
    Lookup,
    Moved,
    Node,
    Op,
    Quantified,
    Size,
    Symbol,
    Use,
    Variant,
)
from maskdsl.ir.ops import OPS
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Table
from maskdsl.ir.walk import children, topological

ROOT_TYPES = {"mask": BOOL, "score": FLOAT, "scale": FLOAT, "sink": FLOAT, "normalize": BOOL}
"""The type of each field of a variant."""

_PLACE = {**dict.fromkeys((*COORDINATES, *LENGTHS), INT), "score": FLOAT}
_PYTHON = {BOOL: bool, INT: int, FLOAT: float}


def verify(variant: Variant, gone: tuple[type, ...] = ()) -> None:
    """Assert that types fit, that names are bound, and that no node of a class in `gone` is left in a root.

    Raises AssertionError, with the definition's name and what is wrong.
    """
    for name, root in variant.roots:
        assert root.type is ROOT_TYPES[name], f"{variant.name}: {name} is {root.type}"
        _verify_expression(variant, root, gone)
    for fact in variant.facts:
        assert fact.type is BOOL, f"{variant.name}: a fact is {fact.type}"
        _verify_expression(variant, fact, (Fill, Call, Moved))
    if variant.mask is not None:
        assert "score" not in _free_names(variant.mask), f"{variant.name}: the mask reads score"


def _verify_expression(variant: Variant, root: Node, gone: tuple[type, ...]) -> None:
    for node in topological(root):
        assert not isinstance(node, gone), f"{variant.name}: {type(node).__name__} is left"
        wrong = _fault(node) or _foreign(node, variant)
        assert not wrong, f"{variant.name}: {type(node).__name__}: {wrong}"
    unbound = _free_names(root) - set(_PLACE)
    assert not unbound, f"{variant.name}: nothing binds {', '.join(sorted(unbound))}"


def _fault(node: Node) -> str:
    """What is wrong with the node and its children's types; "" if nothing is."""
    match node:
        case Literal(value=value, type=kind):
            fits = type(value) is _PYTHON[kind] and (kind is not INT or -(2**31) <= value < 2**31)
            return "" if fits else f"{value!r} is no {kind}"
        case Symbol(name=name, type=kind):
            return "" if kind is _PLACE.get(name, INT) else f"{name} is {kind}"
        case Use(constant=constant, type=kind):
            return "" if kind is constant.type else f"{constant.name} is {kind}"
        case Op(name=name, args=args, type=kind):
            fits = name in OPS and OPS[name].result(tuple(a.type for a in args)) is kind
            return "" if fits else f"{name} of {_types(args)} as {kind}"
        case Lookup(table=table, indices=indices, type=kind):
            fits = kind is table.type and len(indices) == len(table.axes) and all(i.type is INT for i in indices)
            return "" if fits else f"{table.name} as {kind} at {_types(indices)}"
        case Ascending(table=table, axis=axis):
            return "" if 0 <= axis < len(table.axes) else f"{table.name} has no axis {axis}"
    return _fault_of_binder(node)


def _fault_of_binder(node: Node) -> str:
    match node:
        case Quantified(kind=kind, variable=variable, start=start, stop=stop, body=body, type=result):
            if variable in _PLACE or (start.type, stop.type) != (INT, INT):
                return f"{variable} from {start.type} to {stop.type}"
            wanted = {"any": (BOOL,), "all": (BOOL,), "sum": (INT, FLOAT)}.get(kind, ())
            return "" if body.type in wanted and body.type is result else f"{kind} of {body.type} as {result}"
        case Moved(body=body, moves=moves, type=kind):
            fits = all(n in (*COORDINATES, "score") and v.type is _PLACE[n] for n, v in moves)
            return "" if fits and kind is body.type else f"{kind} moved by {[n for n, _ in moves]}"
        case Call(target=target, arguments=arguments, type=kind):
            called = target.mask if kind is BOOL else target.score
            given = tuple(p for p, _ in arguments)
            fits = called is not None and given == target.parameters and all(_fits(p, a) for p, a in arguments)
            return "" if fits else f"{target.name} as {kind}"
    return ""


def _fits(parameter: Table | Constant | Hole, argument: Node | Table) -> bool:
    match parameter:
        case Table(type=kind, axes=axes):
            return isinstance(argument, Table) and argument.type is kind and len(argument.axes) == len(axes)
        case Constant(type=kind):
            return not isinstance(argument, Table) and argument.type is kind
    return not isinstance(argument, Table) and argument.type is BOOL


def _foreign(node: Node, variant: Variant) -> str:
    """A parameter or axis that the definition does not have; "" if it has all that the node names."""
    match node:
        case Lookup(table=parameter) | Ascending(table=parameter) | Use(constant=parameter) | Fill(hole=parameter):
            known = (*variant.parameters, *(d.table for d in variant.derived))
            return "" if parameter in known else f"{parameter.owner}'s {parameter.name}"
        case Call(arguments=arguments):
            strange = [a.name for _, a in arguments if isinstance(a, Table) and a not in variant.parameters]
            return f"the tables {strange}" if strange else ""
        case Size(axis=axis):
            axes = {"batch", "head", "kv_head", "position", *(a for t in variant.tables for a in t.axes)}
            return "" if axis in axes else f"size of {axis}"
    return ""


def _types(nodes: Iterable[Node]) -> str:
    return f"({', '.join(str(n.type) for n in nodes)})"


def _free_names(root: Node) -> frozenset[str]:
    """The names that the expression reads from its place: coordinates, lengths, score, unbound variables.

    The values of a move are read outside of it, so a moved coordinate still counts as read.
    """
    free: dict[int, frozenset[str]] = {}
    for node in topological(root):
        names = frozenset[str]().union(*(free[id(c)] for c in children(node)))
        if isinstance(node, Quantified):
            outside = free[id(node.start)] | free[id(node.stop)]
            names = (free[id(node.body)] - {node.variable}) | outside
        free[id(node)] = frozenset({node.name}) if isinstance(node, Symbol) else names
    return free[id(root)]
