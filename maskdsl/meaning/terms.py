"""The unknowns of a proof: atoms with a range and what defines them, and exact integer arithmetic over them.

Polynomials are meant in the integers, not in int32. `settle` carries a value that may leave int32 back into it by a
multiple of 2**32 that is an unknown of its own, so wrap-around is never assumed away.

Not here: how IR nodes become polynomials (`reading`), functions beyond sums and quotients (`integer_functions`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from math import prod

from maskdsl.ir.types import Table
from maskdsl.meaning.linear import Range, Row, row
from maskdsl.meaning.polynomials import (
    Formula,
    Monomial,
    Poly,
    all_of,
    at_least,
    equal,
    from_terms,
    number,
    one_of,
    variable,
)

INT32: Range = (-(2**31), 2**31 - 1)
COORDINATE: Range = (0, 2**30 - 1)
SIZE: Range = (1, 2**31 - 1)
WORD = 2**32

TERM_LIMIT, DEGREE_LIMIT = 40, 4
"""A sum of more terms, or a product of more factors, becomes an unknown of which only the range is known."""

AXES = {"b": "batch", "h": "head", "q": "position", "k": "position"}
"""The axis that each coordinate counts along."""

Define = Callable[[Poly], tuple[Formula, ...]]


@dataclass(frozen=True, slots=True)
class Atom:
    """An unknown int: the range it surely has, the formulas that define it, and what it is where that matters.

    `table` and `indices` are those of a lookup; `divisor` is that of a quotient by something that is no number.
    """

    low: int
    high: int
    formulas: tuple[Formula, ...] = ()
    table: Table | None = None
    indices: tuple[Poly, ...] = ()
    divisor: Poly | None = None


class Terms:
    """All the atoms of one definition's proofs.

    `limits` narrows the range of sizes (by `("size", axis)`), constants (`("use", constant)`) and all the entries of a
    table (`("lookup", table)`). With `padded`, nothing bounds q and k from above. Without `wraps`, ints are unbounded.
    """

    def __init__(
        self, limits: Mapping[Hashable, Range] | None = None, *, padded: bool = False, wraps: bool = True
    ) -> None:
        self.limits = {} if limits is None else limits
        self.padded = padded
        self.wraps = wraps
        self.atoms: list[Atom] = []
        self.numbers: dict[Hashable, int] = {}
        self.keys: dict[Hashable, int] = {}
        self.rows: dict[Poly, Row] = {}

    def atom(
        self, key: Hashable, low: int, high: int, define: Define | None = None, *,
        table: Table | None = None, indices: tuple[Poly, ...] = (), divisor: Poly | None = None,
    ) -> Poly:
        """The atom of this key; the same key is the same atom. `define` gets the atom and says what holds of it."""
        known = self.numbers.get(key)
        if known is not None:
            return variable(known)
        if low == high:
            return number(low)
        new = variable(len(self.atoms))
        self.numbers[key] = len(self.atoms)
        self.atoms.append(Atom(low, high, (), table, indices, divisor))
        if define:
            self._define(key, define(new))
        return new

    def limited(self, key: Hashable, low: int, high: int, define: Define | None = None) -> Poly:
        """The atom of this key, its range narrowed by `limits`."""
        least, most = self.limits.get(key, (low, high))
        low, high = max(low, least), min(high, most)
        return self.atom(key, low, max(low, high), define)

    def unknown(self, key: Hashable) -> Poly:
        """An int of which nothing is known but that it is int32."""
        return self.atom(("unknown", key), *INT32)

    # ------------------------------------------------------------ leaves

    def size(self, axis: str) -> Poly:
        """The length of an axis; the number of key/value heads is at most that of heads."""
        if axis != "kv_head":
            return self.limited(("size", axis), *SIZE)
        return self.limited(("size", axis), *SIZE, lambda it: (at_least(self.size("head") - it),))

    def extent(self, axis: str | int) -> Poly:
        """The length of an axis of a table, which may be a number."""
        return number(axis) if isinstance(axis, int) else self.size(axis)

    def symbol(self, name: str) -> Poly:
        """A coordinate, a length, or a name of which nothing is known."""
        match name:
            case "q_len" | "kv_len":
                high = self.range(self.size("position"))[1]
                return self.atom(("symbol", name), 0, high, lambda it: (at_least(self.size("position") - it),))
            case "q" | "k" if self.padded:
                return self.atom(("symbol", name), *COORDINATE)
            case "q":  # no bound by q_len: after cached keys, q counts from the sequence's start
                return self._below(name, self.size("position"))
            case "k":
                return self._below(name, self.symbol("kv_len"))
            case "b" | "h":
                return self._below(name, self.size(AXES[name]))
        return self.unknown(("symbol", name))

    def _below(self, name: str, stop: Poly) -> Poly:
        high = min(COORDINATE[1], max(self.range(stop)[1] - 1, 0))
        return self.atom(("symbol", name), 0, high, lambda it: (at_least(stop - it - 1),))

    def lookup(self, table: Table, indices: tuple[Poly, ...]) -> Poly:
        """An entry of an int table."""
        low, high = self.limits.get(("lookup", table), INT32)
        key = ("lookup", table, indices)
        return self.atom(key, max(low, INT32[0]), min(high, INT32[1]), table=table, indices=indices)

    # ------------------------------------------------------------ ranges

    def monomial_range(self, monomial: Monomial) -> Range:
        """The range of a product, from the ranges of its atoms."""
        return product_range([(self.atoms[a].low, self.atoms[a].high) for a in monomial])

    def range(self, poly: Poly) -> Range:
        """The range of a polynomial, each monomial taken by itself."""
        low = high = 0
        for monomial, c in poly.terms:
            least, most = self.monomial_range(monomial)
            low, high = low + c * (least if c > 0 else most), high + c * (most if c > 0 else least)
        return low, high

    def row(self, poly: Poly) -> Row:
        """`poly >= 0` as a row, made once."""
        known = self.rows.get(poly)
        if known is None:
            known = self.rows[poly] = row(poly)
        return known

    # ------------------------------------------------------------ int32

    def ring(self, poly: Poly) -> Poly:
        """A polynomial equal to this one modulo 2**32, with small coefficients and few terms."""
        if any(abs(c) > WORD // 2 for _, c in poly.terms):
            poly = from_terms({m: (c + WORD // 2) % WORD - WORD // 2 for m, c in poly.terms})
        small = len(poly.terms) <= TERM_LIMIT and all(len(m) <= DEGREE_LIMIT for m, _ in poly.terms)
        return poly if small else self.unknown(poly)

    def product(self, left: Poly, right: Poly) -> Poly:
        """The product modulo 2**32."""
        if len(left.terms) * len(right.terms) > 4 * TERM_LIMIT:
            return self.unknown(("product", left, right))
        return self.ring(left * right)

    def settle(self, poly: Poly) -> Poly:
        """The int32 value that is equal to the polynomial modulo 2**32."""
        low, high = self.range(poly)
        if (INT32[0] <= low and high <= INT32[1]) or not self.wraps:
            return poly
        least, most = -((INT32[1] - low) // WORD), (high - INT32[0]) // WORD
        turns = self.atom(("turns", poly), least, most)
        return self.atom(("int32", poly), *INT32, lambda it: (equal(it, poly - turns * WORD),))

    # ------------------------------------------------------------ quotients

    def divide(self, x: Poly, y: Poly) -> tuple[Poly, Poly]:
        """The quotient rounded down, and the remainder with the sign of the divisor; y is never 0 where it matters."""
        low, high = self.range(y)
        if y.value == 0:
            return self.unknown(("quotient", x, y)), self.unknown(("remainder", x, y))
        if high < 0:
            quotient, remainder = self.divide(-x, -y)
            return quotient, -remainder
        if self._are_heads(x, y):
            return self._group(x, y), number(0)
        whole, rest = _split(x, y)
        least, most = self.range(rest)
        if y.value is not None and least // y.value == most // y.value:
            return whole + least // y.value, rest - y * (least // y.value)
        if 0 <= least and most < low:
            return whole, rest
        quotient, remainder = self._division(rest, y)
        return whole + quotient, remainder

    def _division(self, x: Poly, y: Poly) -> tuple[Poly, Poly]:
        """The atoms of `x // y` and `x % y`; they define each other by x == y * quotient + remainder."""
        ranges = _division_ranges(self.range(x), self.range(y))
        keys = (("quotient", x, y), ("remainder", x, y))
        known = keys[0] in self.numbers
        quotient = self.atom(keys[0], *ranges[0], divisor=y if y.value is None else None)
        remainder = self.atom(keys[1], *ranges[1])
        if not known:
            parts = [equal(x, y * quotient + remainder), at_least(remainder), at_least(y - remainder - 1)]
            parts += [at_least(x - remainder)] if self.range(x)[0] >= 0 else []
            positive = self.range(y)[0] >= 1
            formulas = tuple(parts) if positive else (one_of((at_least(-y), all_of(parts))),)
            for key in keys:
                self._define(key, formulas)
        return quotient, remainder

    def _define(self, key: Hashable, formulas: tuple[Formula, ...]) -> None:
        if key in self.numbers:
            index = self.numbers[key]
            self.atoms[index] = replace(self.atoms[index], formulas=formulas)

    def _are_heads(self, x: Poly, y: Poly) -> bool:
        return (x.terms, y.terms) == (self.size("head").terms, self.size("kv_head").terms) and x.value is None

    def _group(self, heads: Poly, kv_heads: Poly) -> Poly:
        """Heads per key/value head: it divides exactly."""
        return self.atom(("group",), 1, self.range(heads)[1], lambda it: (equal(heads, kv_heads * it),))


def _split(x: Poly, y: Poly) -> tuple[Poly, Poly]:
    """The multiples of y that can be taken out of x at sight, divided by y, and the rest."""
    if len(y.terms) != 1:
        return number(0), x
    factor, scale = y.terms[0]
    whole: dict[Monomial, int] = {}
    for monomial, c in x.terms:
        left = _without(monomial, factor)
        if left is not None and c // scale:
            if c % scale == 0 or not monomial:
                whole[left] = c // scale
    quotient = from_terms(whole)
    return quotient, x - quotient * y


def _without(monomial: Monomial, factor: Monomial) -> Monomial | None:
    """The monomial divided by another one, None when that does not divide it."""
    left = list(monomial)
    for atom in factor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def product_range(ranges: list[Range]) -> Range:
    """The range of a product of independent factors."""
    if all(low >= 0 for low, _ in ranges):
        return prod(low for low, _ in ranges), prod(high for _, high in ranges)
    low = high = 1
    for least, most in ranges:
        corners = (low * least, low * most, high * least, high * most)
        low, high = min(corners), max(corners)
    return low, high


def _division_ranges(x: Range, y: Range) -> tuple[Range, Range]:
    """The ranges of x // y and x % y for y != 0."""
    if y[0] < 1:
        most = max(abs(x[0]), abs(x[1]))
        return (-most, most), (min(y[0] + 1, 0), max(y[1] - 1, 0))
    corners = [a // b for a in x for b in y]
    remainder = min(y[1] - 1, x[1]) if x[0] >= 0 else y[1] - 1
    return (min(corners), max(corners)), (0, remainder)

