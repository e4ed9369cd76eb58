"""Cheaper forms of what a program computes, found from the ranges of its ints: for mods that become GPU kernels.

    x // 8            →  shift_right(x, 3)
    x % 8             →  bit_and(x, 7)
    q // 8 == k // 8  →  bit_xor(q, k) < 8       (where every pair computes its own quotients)
    abs(x) <= 8       →  -8 <= x <= 8
    max(x, y) <= 8    →  x <= 8 and y <= 8
    x - y * (q - k)   →  x + y * (k - q)         (x and y floats: no negation is left to do for every pair)
    q >= 0 and e      →  e

Laws: `>>` and `&` of int32 round down as `//` and `%` do, for negative x too, when the divisor is a power of two. Two
ints of at least 0 have the same quotient if they differ in no bit above the divisor's. A maximum is at most y if all
its arguments are. A comparison whose two sides lie in ranges that decide it is a constant. q and k are at least 0, b
and h too; the tables' values lie in what facts say of them, else anywhere in int32.

Comparisons are not fewer instructions than maxima of distances, but sure ones: ptxas drops abs(x) and -x from maxima
of three (`ops_triton`). Where such maxima stay and ints have shifts, they are of what it cannot see through.

Not here: comparisons that only a tile decides. Full tiles skip the mask, and empty ones all of it, by the lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from maskdsl.ir.algebra import FALSE, TRUE
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Symbol, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, FLOAT, INT
from maskdsl.ir.walk import rewrite, topological
from maskdsl.tiles.limits import INT32, Limits, Ranges, known_limits, static_interval, static_limits

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})

MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
"""`x < y` is `y > x`."""


@dataclass(slots=True)
class Strength:
    """Reduces programs; `ranges` are those of int tables, the others' values may be any int32.

    Without `shifts`, `//` stays as it is. With `vectors`, what one of q and k decides costs next to nothing.
    """

    ranges: Ranges
    shifts: bool = True
    vectors: bool = False
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
            case Op(name="mod", args=(x, Literal(value=int(y)))) if node.type is INT:
                return _by_bits(node, x, y)
            case Op(name="floordiv", args=(x, Literal(value=int(y)))) if node.type is INT and self.shifts:
                return _by_bits(node, x, y)
            case Op(name=name, args=(x, _)) if name in COMPARISONS and x.type is INT:
                return self._decided(node) or self._apart(node) or (None if self.vectors else self._same_quotient(node))
            case Op(name="min" | "max") if node.type is INT:
                return _visible(node) if self.shifts else None
            case Op(name="sub", args=(x, Op(name="mul", args=factors))) if node.type is FLOAT and self.vectors:
                return self._turned(node, x, factors)
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

    def _turned(self, node: Op, x: Node, factors: tuple[Node, ...]) -> Node | None:
        # Law: -float(a - b) is float(b - a), and x - y is x + -y, whatever is rounded on the way.
        for place, factor in enumerate(factors):
            match factor:
                case Op(name="to_float", args=(Op(name="sub", args=(a, b)) as difference,)) if (
                    a.type is INT and static_limits(difference, self.limits)[0] > INT32[0]
                ):
                    opposite = make("to_float", make("sub", b, a))
                    turned = [opposite if i == place else f for i, f in enumerate(factors)]
                    return make("add", x, make("mul", *turned), span=node.span, hint=node.hint)
        return None

    def _apart(self, node: Op) -> Node | None:
        """A comparison of a maximum, a minimum or a distance by comparisons of what it is of; None for others."""
        name, (x, y) = node.name, node.args
        return (self._parts(name, x, y) or self._parts(MIRRORED[name], y, x)) if name in MIRRORED else None

    def _parts(self, name: str, x: Node, y: Node) -> Node | None:
        # Laws: max(a, b) <= y exactly if a <= y and b <= y, min(a, b) <= y if a <= y or b <= y, and abs(a) <= y if
        # a <= y and a >= -y; `<`, `>=` and `>` likewise.
        below = name in ("lt", "le")
        match x:
            case Op(name="max" | "min" as which, args=(a, b)):
                join = "and" if below == (which == "max") else "or"
                return make(join, self._test(name, a, y), self._test(name, b, y))
            case Op(name="abs", args=(a,)) if isinstance(y, Literal):
                bound = int(y.value)
                if INT32[0] not in (bound, static_limits(a, self.limits)[0]):  # it has no negative
                    other = self._test(MIRRORED[name], a, literal(-bound))
                    return make("and" if below else "or", self._test(name, a, y), other)
        return None

    def _test(self, name: str, x: Node, y: Node) -> Node:
        test = make(name, x, y)
        assert isinstance(test, Op)
        return self._decided(test) or self._apart(test) or test

    def _decided(self, node: Node) -> Node | None:
        found = static_interval(node, self.limits)
        bounds = {b.value for b in (found.lo, found.hi) if isinstance(b, Literal)}
        both = isinstance(found.lo, Literal) and isinstance(found.hi, Literal) and len(bounds) == 1
        return literal(bounds.pop()) if both else None


def _visible(node: Op) -> Node | None:
    """A minimum or maximum of three ints or more, with what is negated in it taken from a 0 that only the GPU knows."""
    leaves = [leaf for a in node.args for leaf in (a.args if isinstance(a, Op) and a.name == node.name else (a,))]
    sure = [_subtracted(leaf) for leaf in leaves]
    if len(leaves) < 3 or all(x is y for x, y in zip(leaves, sure, strict=True)):
        return None
    first, *rest = sure
    for leaf in rest:
        first = make(node.name, first, leaf)
    return first


def _subtracted(node: Node) -> Node:
    # Law: no position is 2**30 or more. Every loop of a kernel counts one of q and k itself, and the other is loaded.
    zero = make("shift_right", make("bit_or", Symbol("q"), Symbol("k")), literal(30))
    match node:
        case Op(name="abs", args=(x,)):
            return make("choose", make("lt", x, literal(0)), make("sub", zero, x), x)
        case Op(name="neg", args=(x,)):  # what `0 - x` and `x * -1` are after the passes
            return make("sub", zero, x)
    return node


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
