"""Rewrites a mask so that interval analysis loses nothing that algebra could keep.

Interval analysis takes two occurrences of one value for independent. Comparisons are therefore written without the
terms that stand on both sides, and a remainder that is compared with a constant is moved to zero:

    k - first <= q - first        ->  k <= q
    (k - q + w) - (k - q) < c     ->  w < c
    (q - k) % 64 == 3             ->  (q - k - 3) % 64 == 0
    q % 64 == k % 64              ->  (q - k) % 64 == 0
    (q % 64 - 4) % 64             ->  (q - 4) % 64
    q - k <= window[q]            ->  q - window[q] <= k
    bit_and(x, x - 1) == 0        ->  x == 0 or bit_length(x - 1) < bit_length(x)

Only sums that cannot wrap around in int32 take part, whatever the coordinates are.
"""

from __future__ import annotations

from dataclasses import replace

from maskdsl.ir.algebra import build
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, literal
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.types import INT
from maskdsl.ir.walk import rewrite, topological
from maskdsl.source.text import NOWHERE
from maskdsl.tiles.limits import INT32, Limits, static_limits
from maskdsl.tiles.linear import COMPARISONS, Linear, expression, linear, sum_of
from maskdsl.tiles.width import never_wraps


def normalize(root: Node, limits: Limits) -> Node:
    """The same truth for every coordinate, in the form that the tile analysis reads best (`limits`: static bounds)."""
    return rewrite(root, lambda n: _fold(n) or _join_periods(n, limits) or _normalize_comparison(n, limits))


def _fold(node: Node) -> Node | None:
    """What is left of an operation on literals: those that comparisons became."""
    if not isinstance(node, Op) or not any(isinstance(a, Literal) for a in node.args):
        return None
    made = build(node.name, *node.args)
    same = isinstance(made, Op) and made.name == node.name and made.args == node.args
    return None if same else spanned(made, node)


def _normalize_comparison(node: Node, limits: Limits) -> Node | None:
    if not isinstance(node, Op) or node.name not in COMPARISONS or node.args[0].type is not INT:
        return None
    made = _find_power(node, limits) or _join_remainders(node, limits) or _shift_remainder(node, limits)
    made = made or _cancel(node, limits) or _separate(node, limits)
    return spanned(made, node) if made is not None else None


def spanned(node: Node, of: Node) -> Node:
    """The node with the span of the one that it replaces, if it has none."""
    return replace(node, span=of.span) if isinstance(node, Op) and node.span is NOWHERE else node


def _cancel(node: Op, limits: Limits) -> Node | None:
    left, right = (linear(a, limits) for a in node.args)
    difference = left.plus(right, -1)
    if len(difference.terms) == sum(_count_terms(a, limits) for a in node.args):
        return None
    sides = [sum_of(difference, sign, limits) for sign in (1, -1)]
    if None in sides:
        return None
    return build(node.name, *(s for s in sides if s is not None))


def _count_terms(root: Node, limits: Limits) -> int:
    """How many terms a sum is written with, equal ones and those that cancel too."""
    found, stack = 0, [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Op) and node.name in ("add", "sub", "neg") and never_wraps(node, limits):
            stack.extend(node.args)
        else:
            found += len(linear(node, limits).terms)
    return found


def _join_periods(node: Node, limits: Limits) -> Node | None:
    """`(x % c + d) % c` is `(x + d) % c`."""
    match node:
        case Op(name="mod", args=(y, Literal(value=c))) if y.type is INT and isinstance(y, Op) and int(c) > 0:
            form = linear(y, limits)
            match [*form.terms.values()]:
                case [(Op(name="mod", args=(x, Literal(value=inner))), 1)] if inner == c:
                    moved = expression(linear(x, limits).plus(Linear({}, form.constant)), limits)
                    return None if moved is None else spanned(build("mod", moved, literal(int(c))), node)
    return None


def _separate(node: Op, limits: Limits) -> Node | None:
    """Everything of q on one side and everything of k on the other, where tables then know more: `q - t[q] <= k`."""
    if not _reads_tables(node):
        return None
    left, right = (linear(a, limits) for a in node.args)
    form, reads = left.plus(right, -1), symbols_read(node)
    of_q = form.where(lambda n: reads[id(n)] & {"q", "k"} == {"q"})
    of_k = form.where(lambda n: reads[id(n)] & {"q", "k"} == {"k"})
    if not _mixes(of_q) and not _mixes(of_k):
        return None
    if of_q.terms.keys() in (left.terms.keys(), right.terms.keys()):
        return None
    mine, rest = expression(of_q, limits), expression(of_q.plus(form, -1), limits)
    return None if mine is None or rest is None else build(node.name, mine, rest)


def _mixes(form: Linear) -> bool:
    """Whether a sum has several terms, and tables among them."""
    return len(form.terms) > 1 and any(_reads_tables(node) for node, _ in form.terms.values())


def _reads_tables(node: Node) -> bool:
    return any(isinstance(n, Lookup) for n in topological(node))


def _find_power(node: Op, limits: Limits) -> Node | None:
    """`bit_and(x, x - 1) == 0` holds of 0 and of powers of two, which is where `bit_length` grows."""
    match node:
        case Op(name=("eq" | "ne") as name, args=(Op(name="bit_and", args=(x, y)), Literal(value=0))):
            for less, more in ((x, y), (y, x)):
                distance = linear(more, limits).plus(linear(less, limits), -1)
                if not distance.terms and distance.constant == 1:
                    grows = build("lt", build("bit_length", less), build("bit_length", more))
                    power = build("or", build("eq", more, literal(0)), grows)
                    return power if name == "eq" else build("not", power)
    return None


def _shift_remainder(node: Op, limits: Limits) -> Node | None:
    """`x % c == r` is `(x - r) % c == 0` for a constant 0 < r < c: only then is a straddling tile decided exactly."""
    match node:
        case Op(name=("eq" | "ne") as name, args=(Op(name="mod", args=(x, Literal(value=c))), Literal(value=r))):
            if 0 < int(r) < int(c) and static_limits(x, limits)[0] - int(r) >= INT32[0]:
                moved = build("sub", x, literal(int(r)))
                return build(name, build("mod", moved, literal(int(c))), literal(0))
    return None


def _join_remainders(node: Op, limits: Limits) -> Node | None:
    """`x % c == y % c` is `(x - y) % c == 0`."""
    match node:
        case Op(
            name=("eq" | "ne") as name,
            args=(Op(name="mod", args=(x, Literal(value=c))), Op(name="mod", args=(y, Literal(value=d)))),
        ) if c == d and int(c) > 0:
            difference = build("sub", x, y)
            if isinstance(difference, Op) and never_wraps(difference, limits):
                return build(name, build("mod", difference, literal(int(c))), literal(0))
    return None
