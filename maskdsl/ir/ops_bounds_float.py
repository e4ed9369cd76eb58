"""The bounds of float arithmetic: results that may round are widened, so that verdicts hold in float32 and float64.

Whole numbers up to 2**24 (`Interval.exact`) do not round, so positions turned into floats stay sharp.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan

from maskdsl.ir.algebra import add, build, choose, ge, greater, gt, le, lesser, lt, neg, sub
from maskdsl.ir.interval import APPROXIMATE, EXACT_FLOAT, FLOAT_MAX, ROUNDING, TINY, Interval, unknown, widened
from maskdsl.ir.nodes import Literal, Node, literal
from maskdsl.ir.ops_reference import INT_MAX, INT_MIN
from maskdsl.ir.types import FLOAT

Rule = Callable[..., Interval]

ZERO = literal(0.0)


def bound_float_sum(x: Interval, y: Interval) -> Interval:
    """x + y; NaN only out of two infinities of unlike sign."""
    nan = x.nan or y.nan or (_reaches(x, inf) and _reaches(y, -inf)) or (_reaches(x, -inf) and _reaches(y, inf))
    return _rounded(add(x.lo, y.lo), add(x.hi, y.hi), x.smallest + y.smallest, x.largest + y.largest, nan, (x, y))


def bound_float_difference(x: Interval, y: Interval) -> Interval:
    """x - y."""
    nan = x.nan or y.nan or (_reaches(x, inf) and _reaches(y, inf)) or (_reaches(x, -inf) and _reaches(y, -inf))
    return _rounded(sub(x.lo, y.hi), sub(x.hi, y.lo), x.smallest - y.largest, x.largest - y.smallest, nan, (x, y))


def _reaches(x: Interval, infinity: float) -> bool:
    return x.largest >= FLOAT_MAX if infinity > 0 else x.smallest <= -FLOAT_MAX


def _rounded(lo: Node, hi: Node, least: float, most: float, nan: bool, of: tuple[Interval, ...]) -> Interval:
    """The result of one rounding; exact operands with a small result have none."""
    least, most = -inf if isnan(least) else least, inf if isnan(most) else most
    number = _are_numbers(*of) and not nan
    if all(x.exact for x in of) and -EXACT_FLOAT <= least and most <= EXACT_FLOAT:
        return Interval(lo, hi, least, most, nan, whole=True, number=number)
    return widened(Interval(lo, hi, least, most, nan, number=number), ROUNDING)


def _are_numbers(*intervals: Interval) -> bool:
    return all(x.number for x in intervals)


def bound_float_negative(x: Interval) -> Interval:
    """-x."""
    return Interval(neg(x.hi), neg(x.lo), -x.largest, -x.smallest, x.nan, x.whole, x.number)


def bound_float_distance(x: Interval) -> Interval:
    """abs(x)."""
    if x.smallest >= 0:
        return x
    if x.largest <= 0:
        return bound_float_negative(x)
    lo, hi = greater(greater(x.lo, neg(x.hi)), ZERO), greater(neg(x.lo), x.hi)
    return Interval(lo, hi, 0.0, max(-x.smallest, x.largest), x.nan, x.whole, x.number)


def bound_float_product(x: Interval, y: Interval) -> Interval:
    """x * y, from its corners; a corner 0 * inf is NaN, which says nothing."""
    corners = [_times(a, b) for a in (x.smallest, x.largest) for b in (y.smallest, y.largest)]
    nan = x.nan or y.nan or (not x.finite and _meets_zero(y)) or (not y.finite and _meets_zero(x))
    lo, hi = _corners("mul", x, y)
    return _rounded(lo, hi, min(corners), max(corners), nan, (x, y))


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _meets_zero(x: Interval) -> bool:
    return x.smallest <= 0 <= x.largest


def _corners(name: str, x: Interval, y: Interval) -> tuple[Node, Node]:
    """The least and the greatest of an operation over the ends of both operands."""
    if x.is_point:
        values = [build(name, x.lo, b) for b in _ends(y)]
    else:
        values = [build(name, a, b) for a in _ends(x) for b in _ends(y)]
    lo = hi = values[0]
    for value in values[1:]:
        lo, hi = lesser(lo, value), greater(hi, value)
    return lo, hi


def _ends(x: Interval) -> tuple[Node, ...]:
    return (x.lo,) if x.is_point else (x.lo, x.hi)


def bound_float_ratio(x: Interval, y: Interval) -> Interval:
    """x / y; nothing is known where the divisor may be 0."""
    if _meets_zero(y):
        return unknown(FLOAT)
    corners = [a / b if abs(b) < inf else 0.0 for a in (x.smallest, x.largest) for b in (y.smallest, y.largest)]
    nan = x.nan or y.nan or not (x.finite or y.finite)
    lo, hi = _corners("div", x, y)
    least, most = (-inf, inf) if not (x.finite or y.finite) else (min(corners), max(corners))
    return widened(Interval(lo, hi, least, most, nan, number=_are_numbers(x, y) and not nan), ROUNDING)


def bound_float_quotient(x: Interval, y: Interval) -> Interval:
    """x // y, which is floor(x / y) but for rounding."""
    if not x.finite or not y.finite:
        return unknown(FLOAT)
    return bound_rounding("floor")(bound_float_ratio(x, y))


def bound_float_remainder(x: Interval, y: Interval) -> Interval:
    """x % y: between 0 and the divisor."""
    if not x.finite or not y.finite or _meets_zero(y):
        return unknown(FLOAT)
    number = _are_numbers(x, y)
    lo, hi = lesser(y.lo, ZERO), greater(y.hi, ZERO)
    return widened(Interval(lo, hi, min(y.smallest, 0.0), max(y.largest, 0.0), not number, number=number), ROUNDING)


def bound_float_power(x: Interval, y: Interval) -> Interval:
    """x ** y for a positive base and for whole literal exponents of 1 or more; else nothing is known."""
    exponent = y.lo.value if y.is_point and isinstance(y.lo, Literal) else 0.0
    if x.smallest > 0 and x.finite and y.finite:
        corners = [_power(a, b) for a in (x.smallest, x.largest) for b in (y.smallest, y.largest)]
        lo, hi = _corners("pow", x, y)
        return _approximated(lo, hi, min(corners), max(corners), (x, y))
    if exponent < 1 or not float(exponent).is_integer():
        return unknown(FLOAT)
    base = x if exponent % 2 else bound_float_distance(x)
    least, most = _power(base.smallest, exponent), _power(base.largest, exponent)
    return _approximated(build("pow", base.lo, y.lo), build("pow", base.hi, y.lo), least, most, (x,))


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return inf if base > 0 or exponent % 2 == 0 else -inf


def _approximated(lo: Node, hi: Node, least: float, most: float, of: tuple[Interval, ...]) -> Interval:
    nan = any(x.nan for x in of)
    return widened(Interval(lo, hi, least, most, nan, number=_are_numbers(*of) and not nan), APPROXIMATE)


def bound_float_lesser(x: Interval, y: Interval) -> Interval:
    """min(x, y); NaN if one of them is."""
    least, most = min(x.smallest, y.smallest), min(x.largest, y.largest)
    return _picked(lesser(x.lo, y.lo), lesser(x.hi, y.hi), least, most, (x, y))


def bound_float_greater(x: Interval, y: Interval) -> Interval:
    """max(x, y); NaN if one of them is."""
    least, most = max(x.smallest, y.smallest), max(x.largest, y.largest)
    return _picked(greater(x.lo, y.lo), greater(x.hi, y.hi), least, most, (x, y))


def _picked(lo: Node, hi: Node, least: float, most: float, of: tuple[Interval, ...]) -> Interval:
    """The interval of a value that is one of the operands."""
    return Interval(lo, hi, least, most, any(x.nan for x in of), all(x.whole for x in of), _are_numbers(*of))


def bound_float_clamped(x: Interval, low: Interval, high: Interval) -> Interval:
    """min(max(x, low), high)."""
    return bound_float_lesser(bound_float_greater(x, low), high)


def bound_rounding(name: str) -> Rule:
    """The rule of `floor`, `ceil` or `trunc`: exact, and growing with x."""

    def rule(x: Interval) -> Interval:
        return x if x.exact else _rounded_off(name, x)

    return rule


def _rounded_off(name: str, x: Interval) -> Interval:
    least, most = _value_at(name, x.smallest), _value_at(name, x.largest)
    return Interval(build(name, x.lo), build(name, x.hi), least, most, x.nan, whole=True, number=x.number)


def bound_growing(
    name: str, start: float = -inf, least: float = -inf, most: float = inf, absolute: float = TINY
) -> Rule:
    """The rule of an approximated function that grows from `start` on (NaN below), with results in [least, most]."""

    def rule(x: Interval) -> Interval:
        nan = x.nan or x.smallest < start
        low, high = (greater(b, literal(start)) if x.smallest < start else b for b in (x.lo, x.hi))
        smallest, largest = (_value_at(name, max(limit, start)) for limit in (x.smallest, x.largest))
        near = Interval(build(name, low), build(name, high), smallest, largest, nan, number=x.number and not nan)
        wide = widened(near, APPROXIMATE, absolute)
        lo = wide.lo if least == -inf else greater(wide.lo, literal(least))
        hi = wide.hi if most == inf else lesser(wide.hi, literal(most))
        return Interval(lo, hi, max(wide.smallest, least), min(wide.largest, most), nan, number=wide.number)

    return rule


def _value_at(name: str, x: float) -> float:
    """The function's value at a number."""
    folded = build(name, literal(float(x)))
    assert isinstance(folded, Literal)
    return float(folded.value)


def bound_reciprocal_root(x: Interval) -> Interval:
    """rsqrt(x), which shrinks as x grows; nothing is known where x may be 0 or less."""
    if x.smallest <= 0:
        return unknown(FLOAT)
    least, most = _value_at("rsqrt", x.largest), _value_at("rsqrt", x.smallest)
    return _approximated(build("rsqrt", x.hi), build("rsqrt", x.lo), least, most, (x,))


def bound_wave(x: Interval) -> Interval:
    """sin(x) or cos(x): between -1 and 1, NaN of an infinity."""
    number = x.number and x.finite
    return Interval(literal(-1.0), literal(1.0), nan=not number, number=number)


def bound_float_sign(x: Interval) -> Interval:
    """-1, 0 or 1, growing with x; 0 of NaN."""
    below, above = literal(-1.0), literal(1.0)
    lo = choose(gt(x.lo, ZERO), above, choose(ge(x.lo, ZERO), ZERO, below))
    hi = choose(lt(x.hi, ZERO), below, choose(le(x.hi, ZERO), ZERO, above))
    lo, hi = (lesser(lo, ZERO), greater(hi, ZERO)) if x.nan else (lo, hi)
    return Interval(lo, hi, -1.0, 1.0, whole=True, number=True)


def bound_int_of_float(x: Interval) -> Interval:
    """int(x): cut towards zero, within int32, 0 of NaN."""
    least, most = _int_at(x.smallest), _int_at(x.largest)
    if x.exact:
        return Interval(build("to_int", x.lo), build("to_int", x.hi), least, most)
    if not x.number:
        least, most = min(least, 0), max(most, 0)
    lo = choose(le(x.lo, literal(inf)), build("to_int", x.lo), literal(least))
    hi = choose(le(x.hi, literal(inf)), build("to_int", x.hi), literal(most))
    lo, hi = (lesser(lo, literal(0)), greater(hi, literal(0))) if x.nan else (lo, hi)
    return Interval(lo, hi, least, most)


def _int_at(x: float) -> int:
    return int(min(max(x, INT_MIN), INT_MAX))


def bound_float_of_int(x: Interval) -> Interval:
    """float(x): exact up to 2**24, rounded by float32 beyond."""
    lo, hi = build("to_float", x.lo), build("to_float", x.hi)
    exact = Interval(lo, hi, float(x.low), float(x.high), whole=True, number=True)
    return exact if exact.exact else widened(exact, ROUNDING)


def bound_unchanged(x: Interval) -> Interval:
    """The same value."""
    return x
