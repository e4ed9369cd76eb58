"""Systems of linear inequalities over integers: tighter bounds by propagation, refutation by Fourier–Motzkin.

A column is a monomial taken for one unknown. Both procedures are sound and bounded, none is complete: what they do not
refute may still have no solution.

Not here: where the inequalities come from (`refute`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd

from maskdsl.meaning.polynomials import Monomial, Poly

Coefficients = tuple[tuple[Monomial, int], ...]
"""Sorted, without zeros, with greatest common divisor 1."""

Range = tuple[int, int]
Bounds = dict[Monomial, Range]
"""The least and the greatest value of every column, both included."""

ROW_LIMIT = 160
"""Elimination gives up when a system grows beyond this many rows."""


@dataclass(slots=True)
class Budget:
    """How many elementary steps are left; shared by all the proofs of one definition."""

    left: int

    def spend(self, steps: int) -> bool:
        """Whether there was enough left for these steps."""
        self.left -= steps
        return self.left >= 0


@dataclass(frozen=True, slots=True)
class Row:
    """`sum(coefficient * column) + constant >= 0`."""

    coefficients: Coefficients
    constant: int


def row(poly: Poly) -> Row:
    """`poly >= 0`, divided by the coefficients' greatest common divisor and rounded to the integers that remain."""
    terms = poly.terms[1:] if poly.terms and not poly.terms[0][0] else poly.terms
    return _reduced(terms, poly.constant)


def _reduced(terms: Coefficients, constant: int) -> Row:
    divisor = gcd(*(c for _, c in terms)) if terms else 1
    if divisor > 1:
        return Row(tuple((m, c // divisor) for m, c in terms), constant // divisor)
    return Row(terms, constant)


# ---------------------------------------------------------------- bounds


def greatest(row: Row, bounds: Bounds) -> int:
    """The greatest value of the row's sum when every column takes its best bound."""
    return row.constant + sum(c * bounds[m][1 if c > 0 else 0] for m, c in row.coefficients)


def least(row: Row, bounds: Bounds) -> int:
    """The least value of the row's sum."""
    return row.constant + sum(c * bounds[m][0 if c > 0 else 1] for m, c in row.coefficients)


def tighten(rows: Iterable[Row], bounds: Bounds) -> bool | None:
    """One round of propagation into `bounds`: whether anything changed, or None when no solution is left."""
    changed = False
    for current in rows:
        top = greatest(current, bounds)
        if top < 0:
            return None
        for column, coefficient in current.coefficients:
            low, high = bounds[column]
            if coefficient > 0:
                new = (max(low, high - top // coefficient), high)
            else:
                new = (low, min(high, low + top // -coefficient))
            if new != (low, high):
                if new[0] > new[1]:
                    return None
                bounds[column], changed = new, True
                top = greatest(current, bounds)
    return changed


# ---------------------------------------------------------------- elimination

_System = dict[Coefficients, int]

_GREAT = 2**20
"""Coefficients of this size belong to what wrap-around counts."""


def infeasible(rows: Iterable[Row], budget: Budget) -> bool:
    """Whether elimination shows that no integers satisfy all the rows; False also when it gives up."""
    system: _System = {}
    if not all(_insert(system, r) for r in rows):
        return True
    while (solved := _solvable(system)) is not None:
        if not budget.spend(2 * len(system)):
            return False
        if not _substitute(system, *solved):
            return True
    while system and len(system) <= ROW_LIMIT and budget.spend(3 * len(system)):
        columns = _counts(system)
        if not _drop_one_sided(system, columns) and not _eliminate(system, _cheapest(system, columns), budget):
            return True
    return False


def _insert(system: _System, new: Row) -> bool:
    """Add a row, keeping the tighter of two parallel ones; False when it contradicts the system at sight."""
    if not new.coefficients:
        return new.constant >= 0
    known = system.get(new.coefficients)
    if known is None or new.constant < known:
        system[new.coefficients] = new.constant
        opposite = system.get(_opposite(new.coefficients))
        return opposite is None or opposite + new.constant >= 0
    return True


def _opposite(coefficients: Coefficients) -> Coefficients:
    return tuple([(m, -c) for m, c in coefficients])


def _counts(system: _System) -> tuple[dict[Monomial, int], dict[Monomial, int]]:
    """How many rows bound each column from below, and how many from above; a column in no such row is missing."""
    below: dict[Monomial, int] = {}
    above: dict[Monomial, int] = {}
    for coefficients in system:
        for column, coefficient in coefficients:
            side = below if coefficient > 0 else above
            side[column] = side.get(column, 0) + 1
    return below, above


def _drop_one_sided(system: _System, columns: tuple[dict[Monomial, int], dict[Monomial, int]]) -> bool:
    """Drop the rows with a column that only pulls one way: they can always be satisfied. Whether there were any."""
    below, above = columns
    free = below.keys() ^ above.keys()
    dropped = [c for c in system if any(m in free for m, _ in c)] if free else []
    for coefficients in dropped:
        del system[coefficients]
    return bool(dropped)


def _cheapest(system: _System, columns: tuple[dict[Monomial, int], dict[Monomial, int]]) -> Monomial:
    """The column to eliminate next: great coefficients are left to the end, where rounding gains most."""
    below, above = columns
    great = {m for coefficients in system for m, c in coefficients if abs(c) >= _GREAT}
    return min(below, key=lambda m: (m in great, below[m] * above[m] - below[m] - above[m], m))


def _solvable(system: _System) -> tuple[Monomial, Row] | None:
    """A column with coefficient 1 or -1 in an equation (two opposite rows that touch), and a row of it."""
    for coefficients, constant in system.items():
        if coefficients[0][1] > 0 and system.get(_opposite(coefficients)) == -constant:
            for column, coefficient in coefficients:
                if abs(coefficient) == 1:
                    return column, Row(coefficients, constant)
    return None


def _taken_out(system: _System, column: Monomial) -> list[tuple[int, Row]]:
    """The rows with a column, each with its coefficient, removed from the system."""
    found = []
    for coefficients, constant in system.items():
        for name, coefficient in coefficients:
            if name == column:
                found.append((coefficient, Row(coefficients, constant)))
    for _, taken in found:
        del system[taken.coefficients]
    return found


def _substitute(system: _System, column: Monomial, equation: Row) -> bool:
    """Solve `equation == 0` for the column and put that into the other rows; False on a contradiction."""
    sign = dict(equation.coefficients)[column]
    affected = _taken_out(system, column)
    return all(_insert(system, _combined(r, 1, equation, -factor * sign)) for factor, r in affected)


def _eliminate(system: _System, column: Monomial, budget: Budget) -> bool:
    """Put every lower bound of a column against every upper one, in place of both; False on a contradiction."""
    affected = _taken_out(system, column)
    below, above = [(c, r) for c, r in affected if c > 0], [(-c, r) for c, r in affected if c < 0]
    for a, lower in below:
        for b, upper in above:
            if not budget.spend(6):
                return True
            if not _insert(system, _combined(lower, b, upper, a)):
                return False
    return True


def _combined(left: Row, a: int, right: Row, b: int) -> Row:
    """`a * left + b * right`."""
    if not b:
        return left
    terms = {m: a * c for m, c in left.coefficients}
    for column, coefficient in right.coefficients:
        terms[column] = terms.get(column, 0) + b * coefficient
    return _reduced(tuple(sorted((m, c) for m, c in terms.items() if c)), a * left.constant + b * right.constant)
