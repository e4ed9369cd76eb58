"""What every lookup, int division and shift demands, and the formula that would have to hold if it were not met.

Not here: where a demand has to be met (`obligations`), how it is met by force (the pass `guard_lookups`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Size, Symbol
from maskdsl.ir.types import INT
from maskdsl.meaning.polynomials import Formula, at_least, equal
from maskdsl.meaning.reading import Reader
from maskdsl.meaning.terms import AXES

DIVISIONS, SHIFTS = ("floordiv", "mod"), ("shift_left", "shift_right")


@dataclass(frozen=True, slots=True)
class Demand:
    """`child` number `place` of `node` must lie in a range.

    `kind` is "low" (an index or a shift count is at least 0), "high" (it is below its axis' size, or 32) or "zero"
    (a divisor is not 0).
    """

    node: Lookup | Op
    kind: str
    place: int

    @property
    def child(self) -> Node:
        """The index, the divisor or the shift count."""
        return (self.node.indices if isinstance(self.node, Lookup) else self.node.args)[self.place]


def demands(node: Node) -> Iterator[Demand]:
    """What a node demands of its children, without what literals meet at sight."""
    match node:
        case Lookup(indices=indices):
            for place in range(len(indices)):
                yield Demand(node, "low", place)
                yield Demand(node, "high", place)
        case Op(name=name, args=(_, right)) if name in DIVISIONS and right.type is INT:
            if not (isinstance(right, Literal) and right.value):
                yield Demand(node, "zero", 1)
        case Op(name=name, args=(_, right)) if name in SHIFTS:
            if not (isinstance(right, Literal) and 0 <= right.value <= 31):
                yield Demand(node, "low", 1)
                yield Demand(node, "high", 1)


def is_safe_by_type(demand: Demand) -> bool:
    """Whether a lookup's index is a coordinate along its own axis, so that it is in bounds wherever it is read."""
    if not isinstance(demand.node, Lookup):
        return False
    axis = demand.node.table.axes[demand.place]
    match demand.child:
        case Symbol(name=name):
            return AXES.get(name) == axis
        case Op(name="floordiv", args=(Symbol(name="h"), Op(name="floordiv", args=(Size() as x, Size() as y)))):
            return (x.axis, y.axis, axis) == ("head", "kv_head", "kv_head")
    return False


def failure(demand: Demand, reader: Reader) -> Formula:
    """The formula that follows if the demand is not met."""
    value = reader.value(demand.child)
    if demand.kind == "zero":
        return equal(value, 0)
    if demand.kind == "low":
        return at_least(-value - 1)
    if isinstance(demand.node, Lookup):
        return at_least(value - reader.terms.extent(demand.node.table.axes[demand.place]))
    return at_least(value - 32)
