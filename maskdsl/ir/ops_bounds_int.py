"""The bounds of int arithmetic: sound under int32's wrap-around, exact over the corners where nothing can wrap.

Where the static limits allow wrapping, a rule checks the operands' own bounds when the tile is looked at, and gives up
(any int) where they do not rule it out. Not here: bits and shifts (`ops_bounds_bits`).
"""

from __future__ import annotations

from maskdsl.ir.algebra import (
    TRUE,
    add,
    both,
    build,
    choose,
    eq,
    floordiv,
    ge,
    greater,
    le,
    lesser,
    lt,
    mod,
    mul,
    neg,
    sub,
)
from maskdsl.ir.interval import Interval, fitted, unknown, within
from maskdsl.ir.nodes import Node, literal
from maskdsl.ir.ops_reference import INT_MAX, INT_MIN
from maskdsl.ir.types import INT

HALF = 2**30
"""The sum or difference of two ints in [-HALF, HALF) fits int32."""

ZERO = literal(0)


def bound_sum(x: Interval, y: Interval) -> Interval:
    """x + y."""
    return fitted(add(x.lo, y.lo), add(x.hi, y.hi), x.low + y.low, x.high + y.high, _halves(x, y))


def bound_difference(x: Interval, y: Interval) -> Interval:
    """x - y."""
    return fitted(sub(x.lo, y.hi), sub(x.hi, y.lo), x.low - y.high, x.high - y.low, _halves(x, y))


def _halves(x: Interval, y: Interval) -> Node:
    return both(within(x, -HALF, HALF - 1), within(y, -HALF, HALF - 1))


def bound_negative(x: Interval) -> Interval:
    """-x; only INT_MIN wraps."""
    return fitted(neg(x.hi), neg(x.lo), -x.high, -x.low, within(x, -INT_MAX, INT_MAX))


def bound_distance(x: Interval) -> Interval:
    """abs(x); INT_MIN stays what it is."""
    if x.low >= 0:
        return x
    if x.high <= 0:
        return bound_negative(x)
    lo, hi = greater(greater(x.lo, neg(x.hi)), ZERO), greater(neg(x.lo), x.hi)
    return fitted(lo, hi, 0, max(-x.low, x.high), within(x, -INT_MAX, INT_MAX))


def bound_product(x: Interval, y: Interval) -> Interval:
    """x * y, from the corners that the operands' signs leave."""
    lo, hi = _corner_products(x, y) if y.low >= 0 or y.high <= 0 else _corner_products(y, x)
    corners = [a * b for a in (x.low, x.high) for b in (y.low, y.high)]
    least, most = min(corners), max(corners)
    safe = None if INT_MIN <= least and most <= INT_MAX else _product_fits(x, y)
    return fitted(lo, hi, least, most, safe)


def _corner_products(x: Interval, y: Interval) -> tuple[Node, Node]:
    """The least and the greatest corner; cheap if y's sign is known, cheaper if x's is too."""
    low, high = _products(x.lo, y), _products(x.hi, y)
    if y.low >= 0:
        least = low[0] if x.low >= 0 else low[1] if x.high <= 0 else lesser(*low)
        return least, high[1] if x.low >= 0 else high[0] if x.high <= 0 else greater(*high)
    if y.high <= 0:
        least = high[0] if x.low >= 0 else high[1] if x.high <= 0 else lesser(*high)
        return least, low[1] if x.low >= 0 else low[0] if x.high <= 0 else greater(*low)
    return lesser(lesser(*low), lesser(*high)), greater(greater(*low), greater(*high))


def _products(bound: Node, factor: Interval) -> tuple[Node, Node]:
    """The bound times both ends of the factor, one node if these are one value."""
    product = mul(bound, factor.lo)
    return product, product if factor.is_point or factor.constant is not None else mul(bound, factor.hi)


def _product_fits(x: Interval, y: Interval) -> Node:
    """A bool node: x * y cannot wrap. By comparing one operand with a literal where the other's limits are small."""
    room_x, room_y = INT_MAX // max(-y.low, y.high, 1), INT_MAX // max(-x.low, x.high, 1)
    if max(room_x, room_y) >= 2**15:
        return within(x, -room_x, room_x) if room_x >= room_y else within(y, -room_y, room_y)
    negatable = both(within(x, -INT_MAX, INT_MAX), within(y, -INT_MAX, INT_MAX))
    room = floordiv(literal(INT_MAX), greater(_magnitude(y), literal(1)))
    return both(negatable, le(_magnitude(x), room))


def _magnitude(x: Interval) -> Node:
    return greater(neg(x.lo), x.hi)


def bound_quotient(x: Interval, y: Interval) -> Interval:
    """x // y; a divisor of 0 has no value, so its lanes do not count."""
    if y.low >= 1:
        return _quotient_by_positive(x, y)
    if y.constant is not None and y.constant < -1:
        quotients = floordiv(x.hi, y.lo), floordiv(x.lo, y.lo)
        return Interval(*quotients, x.high // y.constant, x.low // y.constant)
    if y.constant == -1:
        return bound_negative(x)
    if y.high <= -1:  # x // y = (-x) // (-y)
        exact = min(x.low, y.low) > INT_MIN
        return _quotient_by_positive(bound_negative(x), bound_negative(y)) if exact else unknown(INT)
    most = max(-x.low, x.high)
    wide = fitted(neg(_magnitude(x)), _magnitude(x), -most, most)
    positive = ge(y.lo, literal(1))
    sharp = _quotient_by_positive(x, _at_least_one(y))
    lo, hi = choose(positive, sharp.lo, wide.lo), choose(positive, sharp.hi, wide.hi)
    return Interval(lo, hi, min(wide.low, sharp.low), max(wide.high, sharp.high))


def _at_least_one(y: Interval) -> Interval:
    one = literal(1)
    return Interval(greater(y.lo, one), greater(y.hi, one), 1, max(y.high, 1))


def _quotient_by_positive(x: Interval, y: Interval) -> Interval:
    """x // y grows with x, and shrinks towards 0 or -1 with y."""
    corners = [a // b for a in (x.low, x.high) for b in (y.low, y.high)]
    least, most = min(corners), max(corners)
    low, high = _quotients(x.lo, y), _quotients(x.hi, y)
    lo = low[1] if x.low >= 0 else low[0] if x.high <= -1 else lesser(*low)
    hi = high[0] if x.low >= 0 else high[1] if x.high <= -1 else greater(*high)
    return Interval(lo, hi, least, most)


def _quotients(bound: Node, divisor: Interval) -> tuple[Node, Node]:
    quotient = floordiv(bound, divisor.lo)
    one = divisor.is_point or divisor.constant is not None
    return quotient, quotient if one else floordiv(bound, divisor.hi)


def bound_remainder(x: Interval, y: Interval) -> Interval:
    """x % y; it has the sign of y."""
    if y.constant is not None and y.constant >= 1 or y.is_point and y.low >= 1:
        return _remainder_of_one(x, y)
    if y.low >= 1:
        return _remainder_of_positive(x, y)
    lo, hi = add(lesser(y.lo, literal(-1)), literal(1)), sub(greater(y.hi, literal(1)), literal(1))
    least, most = min(y.low + 1, 0), max(y.high - 1, 0)
    if y.high <= -1:
        return Interval(lo, hi, least, most)
    sharp = _remainder_of_positive(x, _at_least_one(y))
    positive = ge(y.lo, literal(1))
    return Interval(choose(positive, sharp.lo, lo), choose(positive, sharp.hi, hi), least, most)


def _remainder_of_one(x: Interval, y: Interval) -> Interval:
    """By one positive divisor: within one period the remainder grows with x; over several it is anything."""
    if 0 <= x.low and x.high < y.low:
        return x
    same = eq(floordiv(x.lo, y.lo), floordiv(x.hi, y.lo))
    largest = sub(y.lo, literal(1))
    return Interval(choose(same, mod(x.lo, y.lo), ZERO), choose(same, mod(x.hi, y.lo), largest), 0, y.high - 1)


def _remainder_of_positive(x: Interval, y: Interval) -> Interval:
    if 0 <= x.low and x.high < y.low:
        return x
    inside = both(TRUE if x.low >= 0 else ge(x.lo, ZERO), lt(x.hi, y.lo))
    largest = sub(y.hi, literal(1))
    return Interval(choose(inside, x.lo, ZERO), choose(inside, x.hi, largest), 0, y.high - 1)


def bound_power(x: Interval, y: Interval) -> Interval:
    """x ** n for a constant n of at least 0."""
    n = y.constant
    if n is None or n < 0:
        return unknown(INT)
    if n < 2:
        return x if n else Interval(literal(1), literal(1))
    base = x if n % 2 else bound_distance(x)
    root = _root(n)
    lo, hi = build("pow", base.lo, literal(n)), build("pow", base.hi, literal(n))
    if -root <= base.low and base.high <= root:
        return Interval(lo, hi, base.low**n, base.high**n)
    return fitted(lo, hi, INT_MIN - 1, INT_MAX, within(base, 0 if n % 2 == 0 else -root, root))


def _root(n: int) -> int:
    """The largest int whose n-th power fits int32."""
    root: int = round(INT_MAX ** (1 / n))
    return root if root**n <= INT_MAX else root - 1


def bound_lesser(x: Interval, y: Interval) -> Interval:
    """min(x, y)."""
    return Interval(lesser(x.lo, y.lo), lesser(x.hi, y.hi), min(x.low, y.low), min(x.high, y.high))


def bound_greater(x: Interval, y: Interval) -> Interval:
    """max(x, y)."""
    return Interval(greater(x.lo, y.lo), greater(x.hi, y.hi), max(x.low, y.low), max(x.high, y.high))


def bound_clamped(x: Interval, low: Interval, high: Interval) -> Interval:
    """min(max(x, low), high)."""
    return bound_lesser(bound_greater(x, low), high)


def bound_sign(x: Interval) -> Interval:
    """-1, 0 or 1, growing with x."""
    least, most = (x.low > 0) - (x.low < 0), (x.high > 0) - (x.high < 0)
    return Interval(build("sign", x.lo), build("sign", x.hi), least, most)
