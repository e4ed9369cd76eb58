"""Cheaper forms of what a program computes, found from the ranges of its ints: for mods that become GPU kernels.

    x // 8            →  shift_right(x, 3)
    x % 8             →  bit_and(x, 7)
    q // 8 == k // 8  →  bit_xor(q, k) < 8       (where every pair computes its own quotients)
    float(q - k)      →  float(q) - float(k)     (where they are computed once for a row or a column of a tile)
    q >= 0 and e      →  e

Laws: `>>` and `&` of int32 round down as `//` and `%` do, for negative x too, when the divisor is a power of two. Two
ints of at least 0 have the same quotient if they differ in no bit above the divisor's. float32 holds every int up to
2**24, so sums of such ints are the same as floats; a GPU converts 16 ints where it adds 128 floats. A comparison whose
two sides lie in ranges that decide it is a constant. q and k are at least 0, b and h too; the tables' values lie in what
facts say of them, else anywhere in int32.

Not here: comparisons that only a tile decides. Full tiles skip the mask, and empty ones all of it, by the lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from maskdsl.ir.algebra import FALSE, TRUE
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Symbol, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, INT
from maskdsl.ir.walk import rewrite, topological
from maskdsl.tiles.limits import LONGEST, Limits, Ranges, known_limits, static_interval, static_limits

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})

EXACT = 2**24
"""float32 holds every int up to this."""

AS_FLOATS = frozenset({"add", "sub", "abs", "min", "max"})
"""Functions of ints that give the same of floats of the same values (`neg` makes a -0.0)."""


@dataclass(slots=True)
class Strength:
    """Reduces programs; `ranges` are those of int tables, the others' values may be any int32.

    Without `shifts`, `//` stays as it is. With `vectors`, what one of q and k decides costs next to nothing.
    `furthest` is the greatest coordinate and length.
    """

    ranges: Ranges
    shifts: bool = True
    vectors: bool = False
    furthest: int = LONGEST
    limits: Limits = field(default_factory=Limits)

    def reduced(self, root: Node) -> Node:
        """The program in its cheapest form."""
        tables = {n.table for n in topological(root) if isinstance(n, Lookup) and n.table.type is INT}
        self.limits = known_limits(self.ranges, tables, self.furthest)
        return rewrite(root, self._cheaper)

    def is_natural(self, node: Node) -> bool:
        """Whether a node is an int that is at least 0 at every coordinate."""
        return node.type is INT and static_interval(node, self.limits).low >= 0

    def _cheaper(self, node: Node) -> Node | None:
        match node:
            case Op(name="mod", args=(x, Literal(value=int(y)))) if node.type is INT:
                return _by_bits(node, x, y)
            case Op(name="floordiv", args=(x, Literal(value=int(y)))) if node.type is INT and self.shifts:
                return _by_bits(node, x, y)
            case Op(name=name, args=(x, _)) if name in COMPARISONS and x.type is INT:
                return self._decided(node) or (None if self.vectors else self._same_quotient(node))
            case Op(name="to_float", args=(x,)) if self.vectors and x.type is INT and _is_of_pairs(x):
                return self._of_floats(x)
            case Op(name="and" | "or" | "not" | "choose"):
                return _of_constants(node)
        return None

    def _same_quotient(self, node: Op) -> Node | None:
        # Law: floor(x / 2**n) == floor(y / 2**n) exactly if x ^ y < 2**n, for x, y >= 0.
        x, y = (_quotient(a) for a in node.args)
        if node.name not in ("eq", "ne") or x is None or y is None or x[1] != y[1]:
            return None
        if not (self.is_natural(x[0]) and self.is_natural(y[0])):
            return None
        different = make("bit_xor", x[0], y[0], span=node.span)
        return make("lt" if node.name == "eq" else "ge", different, literal(x[1]), span=node.span, hint=node.hint)

    def _of_floats(self, node: Node) -> Node | None:
        """The float of an int that differs from pair to pair, of floats of what does not; None where it may round."""
        if not _is_of_pairs(node):
            return literal(float(node.value)) if isinstance(node, Literal) else make("to_float", node)
        least, most = static_limits(node, self.limits)
        if not isinstance(node, Op) or node.name not in AS_FLOATS or max(-least, most) > EXACT:
            return None
        parts = [self._of_floats(a) for a in node.args]
        exact = all(max(map(abs, static_limits(a, self.limits))) <= EXACT for a in node.args)
        return make(node.name, *(p for p in parts if p is not None)) if exact and None not in parts else None

    def _decided(self, node: Node) -> Node | None:
        found = static_interval(node, self.limits)
        bounds = {b.value for b in (found.lo, found.hi) if isinstance(b, Literal)}
        both = isinstance(found.lo, Literal) and isinstance(found.hi, Literal) and len(bounds) == 1
        return literal(bounds.pop()) if both else None


def _is_of_pairs(node: Node) -> bool:
    """Whether both coordinates of a pair decide a value."""
    return {"q", "k"} <= {n.name for n in topological([node]) if isinstance(n, Symbol)}


def _quotient(node: Node) -> tuple[Node, int] | None:
    """What is divided, and by which power of two, if the node is such a quotient."""
    match node:
        case Op(name="floordiv", args=(x, Literal(value=int(y)))) if _is_power_of_two(y):
            return x, y
        case Op(name="shift_right", args=(x, Literal(value=int(n)))) if n < 31:
            return x, 1 << n
    return None


def _is_power_of_two(y: int) -> bool:
    return y > 0 and not y & (y - 1)


def _by_bits(node: Op, x: Node, y: int) -> Node | None:
    # Law: floor(x / 2**n) is x >> n, and what is left over is the last n bits of x.
    if not _is_power_of_two(y):
        return None
    if node.name == "floordiv":
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
