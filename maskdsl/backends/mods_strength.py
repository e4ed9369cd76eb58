"""Cheaper forms of what a program computes, found from the ranges of its ints: for mods that become GPU kernels.

    x // 8          →  shift_right(x, 3)
    x % 8           →  bit_and(x, 7)
    q >= 0 and e    →  e

Laws: `>>` and `&` of int32 round down as `//` and `%` do, for negative x too, when the divisor is a power of two. A
comparison whose two sides lie in ranges that decide it is a constant. q and k are at least 0, b and h too; the tables'
values lie in what facts say of them, else anywhere in int32.

Not here: comparisons that only a tile decides. Full tiles skip the mask, and empty ones all of it, by the lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from maskdsl.ir.algebra import FALSE, TRUE
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, INT
from maskdsl.ir.walk import rewrite, topological
from maskdsl.tiles.limits import Limits, Ranges, known_limits, static_interval

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})


@dataclass(slots=True)
class Strength:
    """Reduces programs; `ranges` are those of int tables, the others' values may be any int32."""

    ranges: Ranges
    limits: Limits = field(default_factory=Limits)

    def reduced(self, root: Node) -> Node:
        """The program in its cheapest form."""
        tables = {n.table for n in topological(root) if isinstance(n, Lookup) and n.table.type is INT}
        self.limits = known_limits(self.ranges, tables)
        return rewrite(root, self._cheaper)

    def is_natural(self, node: Node) -> bool:
        """Whether a node is an int that is at least 0 at every coordinate."""
        return node.type is INT and static_interval(node, self.limits).low >= 0

    def _cheaper(self, node: Node) -> Node | None:
        match node:
            case Op(name="floordiv" | "mod" as name, args=(x, Literal(value=int(y)))) if node.type is INT:
                return _by_bits(name, x, y, node)
            case Op(name=name, args=(x, _)) if name in COMPARISONS and x.type is INT:
                return self._decided(node)
            case Op(name="and" | "or" | "not" | "choose"):
                return _of_constants(node)
        return None

    def _decided(self, node: Node) -> Node | None:
        found = static_interval(node, self.limits)
        bounds = {b.value for b in (found.lo, found.hi) if isinstance(b, Literal)}
        both = isinstance(found.lo, Literal) and isinstance(found.hi, Literal) and len(bounds) == 1
        return literal(bounds.pop()) if both else None


def _by_bits(name: str, x: Node, y: int, node: Op) -> Node | None:
    # Law: floor(x / 2**n) is x >> n, and what is left over is the last n bits of x.
    if y <= 0 or y & (y - 1):
        return None
    if name == "floordiv":
        return make("shift_right", x, literal(y.bit_length() - 1), span=node.span, hint=node.hint)
    return make("bit_and", x, literal(y - 1), span=node.span, hint=node.hint)


def _of_constants(node: Op) -> Node | None:
    """A connective with a constant among its arguments."""
    match node:
        case Op(name="not", args=(Literal(value=value),)):
            return FALSE if value else TRUE
        case Op(name="choose", args=(Literal(value=value), x, y)):
            return x if value else y
        case Op(name="and" | "or" as name, args=(x, y)) if node.type is BOOL:
            for constant, other in ((x, y), (y, x)):
                if isinstance(constant, Literal):
                    return other if bool(constant.value) == (name == "and") else constant
    return None
