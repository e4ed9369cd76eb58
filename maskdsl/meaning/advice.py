"""Facts that a definition may be missing: candidates to try where a demand is not met.

Not here: which of them settles it (`obligations`), how it is told (`obligation_texts`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Quantified, Size, Symbol, Use, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, INT, Axis, Table
from maskdsl.ir.walk import children, topological
from maskdsl.meaning.demands import Demand

COORDINATE = {"batch": ("b",), "head": ("h",), "position": ("q", "k")}
COUNTERS = ("i", "j", "l", "m")

Statement = Callable[[Node], Node]

LEAF_LIMIT = 4
"""How many tables and constants below an index are tried."""


def candidates(demand: Demand, kinds: Collection[str]) -> Iterator[Node]:
    """Facts, the most telling first, that a user could state so that a demand is met."""
    child = demand.child
    if demand.kind == "zero":
        yield from (about(leaf, lambda it: make("ge", it, literal(1))) for leaf in _leaves(child))
        return
    stop = size_of(demand.node.table.axes[demand.place]) if isinstance(demand.node, Lookup) else literal(32)
    if isinstance(child, Lookup) or _is_constant(child):
        yield about(child, lambda it: _within(it, stop, kinds))
    if isinstance(child, Op) and child.name == "floordiv" and _is_constant(child.args[1]):
        yield make("ge", make("mul", stop, child.args[1]), Size("position"))
    if isinstance(demand.node, Lookup) and isinstance(demand.node.table.axes[demand.place], str):
        yield make("ge", stop, Size("position"))
    yield from (about(leaf, lambda it: make("ge", it, literal(0))) for leaf in _leaves(child) if leaf is not child)


def size_of(axis: Axis) -> Node:
    """The length of an axis."""
    return literal(axis) if isinstance(axis, int) else Size(axis)


def _within(value: Node, stop: Node, kinds: Collection[str]) -> Node:
    low, high = make("le", literal(0), value), make("lt", value, stop)
    if len(kinds) == 2:
        return make("and", low, high)
    return make("ge", value, literal(0)) if "low" in kinds else high


def _leaves(root: Node) -> list[Node]:
    """The int tables and constants that an expression reads, those nearest to the root first."""
    found: dict[object, Node] = {}
    for node in reversed(list(topological(root))):
        if isinstance(node, Lookup) and node.type is INT:
            found.setdefault(node.table, node)
        elif isinstance(node, Use) and node.type is INT:
            found.setdefault(node.constant, node)
    return list(found.values())[:LEAF_LIMIT]


def _is_constant(root: Node) -> bool:
    leaves = [n for n in topological(root) if not children(n)]
    return all(isinstance(n, Literal | Use) for n in leaves) and any(isinstance(n, Use) for n in leaves)


def about(node: Node, statement: Statement) -> Node:
    """The statement about a constant, or about every entry of a lookup's table."""
    return _about_entries(node.table, statement) if isinstance(node, Lookup) else statement(node)


def _about_entries(table: Table, statement: Statement) -> Node:
    """The statement about `t[b, q]`, with `all` over the axes that no coordinate runs along."""
    indices: list[Node] = []
    counted: list[tuple[str, Axis]] = []
    used: set[str] = set()
    counters = iter(COUNTERS)
    for axis in table.axes:
        name = next((c for c in COORDINATE.get(str(axis), ()) if c not in used), None)
        if name is None:
            name = next(counters)
            counted.append((name, axis))
        used.add(name)
        indices.append(Symbol(name))
    fact = statement(Lookup(table, tuple(indices), table.type))
    for name, axis in reversed(counted):
        fact = Quantified("all", name, literal(0), size_of(axis), fact, BOOL)
    return fact

