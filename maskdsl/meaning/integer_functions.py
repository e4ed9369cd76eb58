"""What the prover knows of each int function: the atom it makes, its range and the inequalities that define it.

Every function takes and returns values in the integers; arguments lie within int32. A result that may leave int32 is
carried back by its user (`Terms.settle`).
"""

from __future__ import annotations

from collections.abc import Callable

from maskdsl.meaning.polynomials import (
    FALSE,
    Formula,
    Poly,
    all_of,
    at_least,
    different,
    equal,
    number,
    one_of,
)
from maskdsl.meaning.terms import Terms


def minimum(terms: Terms, x: Poly, y: Poly) -> Poly:
    """`min(x, y)`: at most both, and at least one of them."""
    low, high = terms.range(y - x)
    if low >= 0 or high <= 0:
        return x if low >= 0 else y
    first, second = sorted((x, y), key=lambda p: p.terms)
    (a, b), (c, d) = terms.range(x), terms.range(y)

    def define(it: Poly) -> tuple[Formula, ...]:
        return at_least(x - it), at_least(y - it), one_of((at_least(it - x), at_least(it - y)))

    return terms.atom(("min", first, second), min(a, c), min(b, d), define)


def maximum(terms: Terms, x: Poly, y: Poly) -> Poly:
    """`max(x, y)`, by `min` of the opposites."""
    return -minimum(terms, -x, -y)


def clamp(terms: Terms, x: Poly, low: Poly, high: Poly) -> Poly:
    """`min(max(x, low), high)`."""
    return minimum(terms, maximum(terms, x, low), high)


def absolute(terms: Terms, x: Poly) -> Poly:
    """`abs(x)`: at least x and -x, and equal to one of them."""
    low, high = terms.range(x)
    if low >= 0 or high <= 0:
        return x if low >= 0 else -x
    first, second = sorted((x, -x), key=lambda p: p.terms)

    def define(it: Poly) -> tuple[Formula, ...]:
        return at_least(it - x), at_least(it + x), one_of((at_least(x - it), at_least(-x - it)))

    return terms.atom(("abs", first, second), 0, max(-low, high), define)


def sign(terms: Terms, x: Poly) -> Poly:
    """-1, 0 or 1."""
    low, high = terms.range(x)
    cases = ((-1, at_least(-x - 1)), (0, equal(x, 0)), (1, at_least(x - 1)))

    def define(it: Poly) -> tuple[Formula, ...]:
        return (one_of(all_of((equal(it, value), case)) for value, case in cases),)

    return terms.atom(("sign", x), -1 if low < 0 else int(low > 0), 1 if high > 0 else -int(high < 0), define)


def choose(terms: Terms, key: int, when: tuple[Formula, Formula], x: Poly, y: Poly) -> Poly:
    """`x if c else y`; `when` follows from c and from its opposite, `key` tells conditions apart."""
    if x == y or when[1] == FALSE:
        return x
    if when[0] == FALSE:
        return y
    (a, b), (c, d) = terms.range(x), terms.range(y)

    def define(it: Poly) -> tuple[Formula, ...]:
        return (one_of((all_of((when[0], equal(it, x))), all_of((when[1], equal(it, y))))),)

    return terms.atom(("choose", key, x, y), min(a, c), max(b, d), define)


def indicator(terms: Terms, key: int, when: tuple[Formula, Formula]) -> Poly:
    """`int(c)` of a bool: 1 or 0."""
    return choose(terms, key, when, number(1), number(0))


def power(terms: Terms, x: Poly, exponent: Poly) -> Poly:
    """`x ** n` for a small constant n, modulo 2**32."""
    n = exponent.value
    if n is None or not 0 <= n <= 31 or (n > 4 and x.value is None):
        return terms.unknown(("power", x, exponent))
    result = number(1)
    for _ in range(n):
        result = terms.product(result, x)
    return result


def bit_and(terms: Terms, x: Poly, y: Poly) -> Poly:
    """At most each operand that is not negative; with a mask of low bits it is a remainder."""
    for value, other in ((x, y), (y, x)):
        mask = other.value
        if mask is not None and mask >= 0 and mask & (mask + 1) == 0:
            return terms.divide(value, number(mask + 1))[1]
    tops = [p for p in (x, y) if terms.range(p)[0] >= 0]
    if not tops:
        return terms.unknown(("bit_and", *_ordered(x, y)))
    high = min(terms.range(p)[1] for p in tops)
    return terms.atom(("bit_and", *_ordered(x, y)), 0, high, lambda it: tuple(at_least(p - it) for p in tops))


def bit_or(terms: Terms, x: Poly, y: Poly) -> Poly:
    """Of operands that are not negative: at least each, at most their sum."""
    return _bit_join(terms, "bit_or", x, y, lambda it: (at_least(it - x), at_least(it - y), at_least(x + y - it)))


def bit_xor(terms: Terms, x: Poly, y: Poly) -> Poly:
    """Of operands that are not negative: at most their sum."""
    return _bit_join(terms, "bit_xor", x, y, lambda it: (at_least(x + y - it),))


def _bit_join(terms: Terms, name: str, x: Poly, y: Poly, define: Callable[[Poly], tuple[Formula, ...]]) -> Poly:
    (a, b), (c, d) = terms.range(x), terms.range(y)
    key = (name, *_ordered(x, y))
    if min(a, c) < 0:
        return terms.unknown(key)
    return terms.atom(key, 0, (1 << max(b, d).bit_length()) - 1, define)


def shift_left(terms: Terms, x: Poly, n: Poly) -> Poly:
    """`x * 2**n` modulo 2**32."""
    if n.value is not None and 0 <= n.value <= 31:
        return terms.product(x, number(2**n.value))
    (low, high), (least, most) = terms.range(x), terms.range(n)
    if least < 0 or most > 31 or low < 0 or high << most >= 2**31:
        return terms.unknown(("shift_left", x, n))
    return terms.atom(("shift_left", x, n), low << least, high << most, lambda it: (at_least(it - x),))


def shift_right(terms: Terms, x: Poly, n: Poly) -> Poly:
    """`x // 2**n`."""
    if n.value is not None and 0 <= n.value <= 31:
        return terms.divide(x, number(2**n.value))[0]
    (low, high), (least, most) = terms.range(x), terms.range(n)
    if least < 0 or most > 31:
        return terms.unknown(("shift_right", x, n))
    ends = [v >> s for v in (low, high) for s in (least, most)]
    return terms.atom(("shift_right", x, n), min(ends), max(ends), lambda it: (at_least(x - it),) if low >= 0 else ())


def bit_length(terms: Terms, x: Poly) -> Poly:
    """The bits of abs(x): 0 for 0 only, and never more than abs(x)."""
    low, high = terms.range(x)
    least = 0 if low <= 0 <= high else min(abs(low), abs(high))

    def define(it: Poly) -> tuple[Formula, ...]:
        zero = all_of((equal(x, 0), equal(it, 0)))
        top = (at_least(x - it),) if low >= 0 else ()
        return (one_of((zero, all_of((different(x, 0), at_least(it - 1))))), *top)

    return terms.atom(("bit_length", x), least.bit_length(), max(-low, high).bit_length(), define)


def _ordered(x: Poly, y: Poly) -> tuple[Poly, Poly]:
    """The operands of a commutative function in one order."""
    return (x, y) if x.terms <= y.terms else (y, x)


EXACT: dict[str, Callable[[Terms, Poly, Poly], Poly]] = {
    "add": lambda terms, x, y: terms.ring(x + y),
    "sub": lambda terms, x, y: terms.ring(x - y),
    "mul": lambda terms, x, y: terms.product(x, y),
    "pow": power,
}
"""Functions that only need their arguments modulo 2**32."""

BINARY: dict[str, Callable[[Terms, Poly, Poly], Poly]] = {
    "floordiv": lambda terms, x, y: terms.divide(x, y)[0],
    "mod": lambda terms, x, y: terms.divide(x, y)[1],
    "min": minimum,
    "max": maximum,
    "bit_and": bit_and,
    "bit_or": bit_or,
    "bit_xor": bit_xor,
    "shift_left": shift_left,
    "shift_right": shift_right,
}
"""Functions of two values within int32."""

UNARY: dict[str, Callable[[Terms, Poly], Poly]] = {"abs": absolute, "sign": sign, "bit_length": bit_length}
"""Functions of one value within int32."""

COMPARISONS: dict[str, Callable[[Poly, Poly], tuple[Formula, Formula]]] = {
    "lt": lambda x, y: (at_least(y - x - 1), at_least(x - y)),
    "le": lambda x, y: (at_least(y - x), at_least(x - y - 1)),
    "gt": lambda x, y: (at_least(x - y - 1), at_least(y - x)),
    "ge": lambda x, y: (at_least(x - y), at_least(y - x - 1)),
    "eq": lambda x, y: (equal(x, y), different(x, y)),
    "ne": lambda x, y: (different(x, y), equal(x, y)),
}
"""What follows from a comparison of two values, and from its opposite."""
