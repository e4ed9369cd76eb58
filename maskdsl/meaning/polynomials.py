"""Integer polynomials over numbered atoms, and the formulas (`poly >= 0`, and, or) that the prover works on.

Not here: which atom stands for what (`terms`), what follows from a formula (`refute`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Monomial = tuple[int, ...]
"""The sorted numbers of the atoms that are multiplied; () is the constant 1."""


@dataclass(frozen=True, slots=True)
class Poly:
    """A sum of integer multiples of monomials, sorted, without zeros."""

    terms: tuple[tuple[Monomial, int], ...]

    @property
    def value(self) -> int | None:
        """The number that this is, or None when atoms occur."""
        if not self.terms:
            return 0
        return self.terms[0][1] if len(self.terms) == 1 and not self.terms[0][0] else None

    @property
    def constant(self) -> int:
        """The constant term."""
        return self.terms[0][1] if self.terms and not self.terms[0][0] else 0

    @property
    def atom(self) -> int | None:
        """The number of the atom that this is, or None when it is more or less than one atom."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return self.terms[0][0][0]
        return None

    def atoms(self) -> Iterator[int]:
        """The numbers of the atoms, repeated as they occur."""
        return (a for monomial, _ in self.terms for a in monomial)

    def __add__(self, other: Poly | int) -> Poly:
        return plus(self, other if isinstance(other, Poly) else number(other), 1)

    def __sub__(self, other: Poly | int) -> Poly:
        return plus(self, other if isinstance(other, Poly) else number(other), -1)

    def __neg__(self) -> Poly:
        return Poly(tuple((m, -c) for m, c in self.terms))

    def __mul__(self, other: Poly | int) -> Poly:
        return times(self, other if isinstance(other, Poly) else number(other))


def number(value: int) -> Poly:
    """The constant polynomial."""
    return Poly((((), value),)) if value else _ZERO


def variable(atom: int) -> Poly:
    """The polynomial that is one atom."""
    return Poly((((atom,), 1),))


def from_terms(terms: dict[Monomial, int]) -> Poly:
    """The polynomial of these coefficients; zeros are dropped."""
    return Poly(tuple(sorted((m, c) for m, c in terms.items() if c)))


def plus(left: Poly, right: Poly, factor: int) -> Poly:
    """`left + factor * right`."""
    terms = dict(left.terms)
    for monomial, coefficient in right.terms:
        terms[monomial] = terms.get(monomial, 0) + factor * coefficient
    return from_terms(terms)


def times(left: Poly, right: Poly) -> Poly:
    """The product."""
    terms: dict[Monomial, int] = {}
    for m, c in left.terms:
        for n, d in right.terms:
            product = tuple(sorted(m + n))
            terms[product] = terms.get(product, 0) + c * d
    return from_terms(terms)


_ZERO = Poly(())


@dataclass(frozen=True, slots=True)
class AtLeast:
    """`poly >= 0`."""

    poly: Poly


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; no parts: true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """At least one part holds; no parts: false."""

    parts: tuple[Formula, ...]


Formula = AtLeast | All | OneOf

TRUE, FALSE = All(()), OneOf(())

PART_LIMIT = 48
"""How many parts a formula keeps: more conjuncts are forgotten, more alternatives say nothing."""


def all_of(parts: Iterable[Formula]) -> Formula:
    """A formula that follows from all the parts: their conjunction, flattened, while it is small."""
    kept: list[Formula] = []
    for part in parts:
        if part == FALSE:
            return FALSE
        kept.extend(part.parts if isinstance(part, All) else (part,))
    return kept[0] if len(kept) == 1 else All(tuple(kept[:PART_LIMIT]))


def one_of(parts: Iterable[Formula]) -> Formula:
    """A formula that follows from any of the parts: their disjunction, flattened, while it is small."""
    kept: list[Formula] = []
    for part in parts:
        if part == TRUE:
            return TRUE
        kept.extend(part.parts if isinstance(part, OneOf) else (part,))
    if len(kept) > PART_LIMIT or sum(map(_weight, kept)) > PART_LIMIT:
        return TRUE
    return kept[0] if len(kept) == 1 else OneOf(tuple(kept))


def equal(left: Poly, right: Poly | int) -> Formula:
    """`left == right`."""
    difference = left - right
    return all_of((at_least(difference), at_least(-difference)))


def different(left: Poly, right: Poly | int) -> Formula:
    """`left != right`."""
    difference = left - right
    return one_of((at_least(difference - 1), at_least(-difference - 1)))


def at_least(poly: Poly) -> Formula:
    """`poly >= 0`, decided at once when it is a number."""
    value = poly.value
    if value is None:
        return AtLeast(poly)
    return TRUE if value >= 0 else FALSE


def atoms_of(formula: Formula) -> set[int]:
    """The numbers of all the atoms in a formula."""
    if isinstance(formula, AtLeast):
        return set(formula.poly.atoms())
    return set().union(*map(atoms_of, formula.parts))


def _weight(formula: Formula) -> int:
    """The number of comparisons; bounded depth, because heavier formulas are not built."""
    return 1 if isinstance(formula, AtLeast) else sum(map(_weight, formula.parts))
