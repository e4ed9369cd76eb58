"""The bounds of truth values: comparisons, logic, choices. `lo` is "certainly true", `hi` is "possibly true".

A float comparison is certain only of operands that are no NaN, and possible unless the bounds rule it out as numbers:
a bound that is NaN makes the first false and the second true.
"""

from __future__ import annotations

from maskdsl.ir.algebra import FALSE, TRUE, both, build, choose, either, ge, greater, gt, le, lesser, lt, negate
from maskdsl.ir.interval import Interval
from maskdsl.ir.nodes import Node
from maskdsl.ir.types import BOOL, FLOAT


def bound_less(x: Interval, y: Interval) -> Interval:
    """x < y."""
    if x.smallest >= y.largest:
        return Interval(FALSE, FALSE)
    if x.largest < y.smallest and _are_numbers(x, y):
        return Interval(TRUE, TRUE)
    return Interval(_certain(lt(x.hi, y.lo), x, y), negate(ge(x.lo, y.hi)))


def bound_at_most(x: Interval, y: Interval) -> Interval:
    """x <= y."""
    if x.smallest > y.largest:
        return Interval(FALSE, FALSE)
    if x.largest <= y.smallest and _are_numbers(x, y):
        return Interval(TRUE, TRUE)
    return Interval(_certain(le(x.hi, y.lo), x, y), negate(gt(x.lo, y.hi)))


def bound_more(x: Interval, y: Interval) -> Interval:
    """x > y."""
    return bound_less(y, x)


def bound_at_least(x: Interval, y: Interval) -> Interval:
    """x >= y."""
    return bound_at_most(y, x)


def bound_equal(x: Interval, y: Interval) -> Interval:
    """x == y."""
    if x.type is BOOL:
        differ = either(both(x.lo, negate(y.hi)), both(y.lo, negate(x.hi)))
        return Interval(either(both(x.lo, y.lo), negate(either(x.hi, y.hi))), negate(differ))
    return bound_and(bound_at_most(x, y), bound_at_most(y, x))  # x == y is x <= y and y <= x, for NaN too


def bound_different(x: Interval, y: Interval) -> Interval:
    """x != y; NaN differs from everything."""
    return bound_not(bound_equal(x, y))


def _certain(verdict: Node, x: Interval, y: Interval) -> Node:
    return FALSE if x.nan or y.nan else verdict


def _are_numbers(x: Interval, y: Interval) -> bool:
    """Whether neither is NaN, whatever the bounds turn out to be."""
    return x.type is not FLOAT or x.number and y.number


def bound_and(x: Interval, y: Interval) -> Interval:
    """x and y."""
    return Interval(both(x.lo, y.lo), both(x.hi, y.hi))


def bound_or(x: Interval, y: Interval) -> Interval:
    """x or y."""
    return Interval(either(x.lo, y.lo), either(x.hi, y.hi))


def bound_not(x: Interval) -> Interval:
    """not x."""
    return Interval(negate(x.hi), negate(x.lo))


def bound_choice(condition: Interval, x: Interval, y: Interval) -> Interval:
    """x if condition else y: the one branch where the condition is known, else what encloses both."""
    if x.type is BOOL:
        return _bound_bool_choice(condition, x, y)
    if condition.is_point:
        lo, hi = choose(condition.lo, x.lo, y.lo), choose(condition.lo, x.hi, y.hi)
    else:
        lo = choose(condition.lo, x.lo, choose(condition.hi, lesser(x.lo, y.lo), y.lo))
        hi = choose(condition.lo, x.hi, choose(condition.hi, greater(x.hi, y.hi), y.hi))
    least, most = min(x.smallest, y.smallest), max(x.largest, y.largest)
    return Interval(lo, hi, least, most, x.nan or y.nan, x.whole and y.whole, x.number and y.number)


def _bound_bool_choice(condition: Interval, x: Interval, y: Interval) -> Interval:
    if condition.is_point:
        return Interval(choose(condition.lo, x.lo, y.lo), choose(condition.lo, x.hi, y.hi))
    certain = either(either(both(condition.lo, x.lo), both(negate(condition.hi), y.lo)), both(x.lo, y.lo))
    return Interval(certain, either(both(condition.hi, x.hi), both(negate(condition.lo), y.hi)))


def bound_int_of_bool(x: Interval) -> Interval:
    """0 or 1."""
    return Interval(build("to_int", x.lo), build("to_int", x.hi), 0, 1)


def bound_float_of_bool(x: Interval) -> Interval:
    """0.0 or 1.0."""
    return Interval(build("to_float", x.lo), build("to_float", x.hi), 0.0, 1.0, whole=True, number=True)

