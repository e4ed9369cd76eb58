"""What is known of int values before any tile is looked at: the ranges of coordinates, lengths, sizes and tables.

Bounds that might wrap around in int32 say nothing, so these limits decide how precise the analysis can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from maskdsl.ir.interval import Interval, of_literal, unknown
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Symbol, literal
from maskdsl.ir.ops import OPS
from maskdsl.ir.types import INT, Table
from maskdsl.ir.walk import children
from maskdsl.meaning.table_facts import limits, patterns

INT32 = (-(2**31), 2**31 - 1)
POSITIONS = (0, 2**30 - 1)
LONGEST = POSITIONS[1]
"""The most positions that a call has, and entries that an axis of a table has: who binds and calls checks it."""

SMALL = (-(2**26), 2**26 - 1)
"""Where the values of an int table lie unless `Limits.tables` says otherwise; whoever binds a table checks it. Sums of
several such and of positions cannot wrap around.
"""


@dataclass(slots=True)
class Limits:
    """Static ranges, inclusive: int tables (SMALL by default), and a memory of what was derived."""

    tables: Mapping[Table, tuple[int, int]] = field(default_factory=dict)
    memory: dict[int, tuple[Node, Interval]] = field(default_factory=dict)

    def of_table(self, table: Table) -> tuple[int, int]:
        """The range of an int table's values."""
        return self.tables.get(table, SMALL)


Ranges = Mapping[Table, tuple[int, int]]
"""Ranges of the values of int tables, inclusive."""


def ranges_of_facts(facts: Iterable[Node]) -> Ranges:
    """The ranges that facts such as `stride[h] >= 1` give to tables."""
    found = limits(patterns(facts)).items()
    return {key[1]: limit for key, limit in found if isinstance(key, tuple) and isinstance(key[1], Table)}


def known_limits(ranges: Ranges, beyond: Iterable[Table]) -> Limits:
    """The limits of tables whose values lie in `ranges`, and all but those `beyond` also in SMALL."""
    wide = {*beyond}
    within = {t: r for t, r in ((t, _common(SMALL, r)) for t, r in ranges.items() if t not in wide) if r is not None}
    return Limits({**within, **{t: ranges.get(t, INT32) for t in wide}})


def _common(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int] | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def static_limits(node: Node, limits: Limits) -> tuple[int, int]:
    """The least and the greatest value that an int node can take at any coordinate."""
    found = _static(node, limits)
    return found.low, found.high


def static_interval(node: Node, limits: Limits) -> Interval:
    """What encloses the value of a node at every coordinate."""
    return _static(node, limits)


def _static(root: Node, limits: Limits) -> Interval:
    stack = [root]
    while stack:
        node = stack[-1]
        missing = [c for c in children(node) if id(c) not in limits.memory] if isinstance(node, Op) else []
        if missing and id(node) not in limits.memory:
            stack.extend(missing)
            continue
        stack.pop()
        if id(node) not in limits.memory:
            limits.memory[id(node)] = (node, _static_of(node, limits))
    return limits.memory[id(root)][1]


def _static_of(node: Node, limits: Limits) -> Interval:
    match node:
        case Literal():
            return of_literal(node)
        case Symbol(type=type) if type is INT:
            return Interval(literal(POSITIONS[0]), literal(POSITIONS[1]))
        case Lookup(table=table) if table.type is INT:
            least, most = limits.of_table(table)
            return Interval(literal(least), literal(most))
        case Op(name=name, args=args):
            return OPS[name].bounds(*(limits.memory[id(a)][1] for a in args))
    if node.type is INT:  # a size: at least 1
        return Interval(literal(1), literal(LONGEST))
    return unknown(node.type)
