"""The bounds of bit functions and shifts."""

from __future__ import annotations

from maskdsl.ir.algebra import build, choose, greater, lesser, sub
from maskdsl.ir.interval import Interval, fitted, unknown, within
from maskdsl.ir.nodes import Node, literal
from maskdsl.ir.ops_bounds_int import ZERO, bound_distance, bound_product, bound_remainder
from maskdsl.ir.ops_reference import INT_MAX, INT_MIN
from maskdsl.ir.types import INT


def bound_common_bits(x: Interval, y: Interval) -> Interval:
    """bit_and(x, y)."""
    if x.constant is not None:
        x, y = y, x
    mask = y.constant
    if mask is not None and mask >= 0 and mask < INT_MAX and mask & (mask + 1) == 0:  # the low n bits: x % 2**n
        return bound_remainder(x, Interval(literal(mask + 1), literal(mask + 1)))
    if mask is not None and mask < 0 and -mask & (-mask - 1) == 0:  # all but the low n bits: grows with x
        return Interval(build("bit_and", x.lo, y.lo), build("bit_and", x.hi, y.lo), x.low & mask, x.high & mask)
    if x.low < 0 and y.low < 0:
        return unknown(INT)
    if min(x.low, y.low) < 0:
        return Interval(ZERO, y.hi if y.low >= 0 else x.hi, 0, y.high if y.low >= 0 else x.high)
    lo, hi = _bounds_of_prefix("bit_and", x, y)
    return Interval(lo, lesser(hi, lesser(x.hi, y.hi)), 0, min(x.high, y.high))


def bound_joined_bits(x: Interval, y: Interval) -> Interval:
    """bit_or(x, y)."""
    return _bound_by_prefix("bit_or", x, y)


def bound_different_bits(x: Interval, y: Interval) -> Interval:
    """bit_xor(x, y)."""
    return _bound_by_prefix("bit_xor", x, y)


def _bound_by_prefix(name: str, x: Interval, y: Interval) -> Interval:
    if min(x.low, y.low) < 0:
        return unknown(INT)
    lo, hi = _bounds_of_prefix(name, x, y)
    return Interval(lo, hi, 0, 2 ** max(x.high, y.high).bit_length() - 1)


def _bounds_of_prefix(name: str, x: Interval, y: Interval) -> tuple[Node, Node]:
    """Of two ints of at least 0: the leading bits that all of an operand's values share are known, the rest is free."""
    varying = build("bit_or", build("bit_xor", x.lo, x.hi), build("bit_xor", y.lo, y.hi))
    free = build("shift_right", literal(INT_MAX), sub(literal(31), build("bit_length", varying)))
    known = build(name, x.lo, y.lo)
    return build("bit_and", known, build("bit_xor", free, literal(-1))), build("bit_or", known, free)


def bound_shifted_left(x: Interval, n: Interval) -> Interval:
    """shift_left(x, n), which is x * 2**n."""
    if n.low < 0 or n.high > 31:
        return unknown(INT)
    if n.constant is not None and n.constant < 31:
        factor = literal(2**n.constant)
        return bound_product(x, Interval(factor, factor))
    corners = [a << b for a in (x.low, x.high) for b in (n.low, n.high)]
    low, high = _shifts("shift_left", x.lo, n), _shifts("shift_left", x.hi, n)
    return fitted(lesser(*low), greater(*high), min(corners), max(corners))


def bound_shifted_right(x: Interval, n: Interval) -> Interval:
    """shift_right(x, n), which is x // 2**n."""
    if n.low < 0 or n.high > 31:
        return Interval(lesser(x.lo, ZERO), greater(x.hi, literal(-1)), min(x.low, 0), max(x.high, -1))
    corners = [a >> b for a in (x.low, x.high) for b in (n.low, n.high)]
    low, high = _shifts("shift_right", x.lo, n), _shifts("shift_right", x.hi, n)
    lo = low[1] if x.low >= 0 else lesser(*low)
    hi = high[0] if x.low >= 0 else greater(*high)
    return Interval(lo, hi, min(corners), max(corners))


def _shifts(name: str, bound: Node, count: Interval) -> tuple[Node, Node]:
    """The bound shifted by both ends of the count."""
    shifted = build(name, bound, count.lo)
    one = count.is_point or count.constant is not None
    return shifted, shifted if one else build(name, bound, count.hi)


def bound_bit_length(x: Interval) -> Interval:
    """bit_length(x), which grows with abs(x); INT_MIN has 32 bits."""
    distance = bound_distance(x)
    lo, hi = build("bit_length", distance.lo), build("bit_length", distance.hi)
    if x.low > INT_MIN:
        return Interval(lo, hi, distance.low.bit_length(), distance.high.bit_length())
    safe = within(x, -INT_MAX, INT_MAX)
    return Interval(choose(safe, lo, ZERO), choose(safe, hi, literal(32)), 0, 32)
