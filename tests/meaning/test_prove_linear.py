"""Bounds and elimination, held against all the integers of a small box."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from maskdsl.meaning.linear import Bounds, Budget, Row, infeasible, row, tighten
from maskdsl.meaning.polynomials import Poly, from_terms, number, variable

BOX = range(-3, 4)
COLUMNS = 3


def poly(coefficients: list[int], constant: int) -> Poly:
    return from_terms({(): constant, **{(i,): c for i, c in enumerate(coefficients)}})


def value(inequality: Poly, point: tuple[int, ...]) -> int:
    return sum(c * (point[m[0]] if m else 1) for m, c in inequality.terms)


def box() -> list[Poly]:
    """The sides of the box as inequalities."""
    low = [variable(i) - BOX[0] for i in range(COLUMNS)]
    return [*low, *(number(BOX[-1]) - variable(i) for i in range(COLUMNS))]


def solutions(system: list[Poly]) -> list[tuple[int, ...]]:
    return [p for p in product(BOX, repeat=COLUMNS) if all(value(i, p) >= 0 for i in system)]


def draw(random: Random) -> list[Poly]:
    size = random.randint(2, 6)
    return [
        poly([random.choice([0, 0, 1, -1, 2, -2, 3, -5]) for _ in range(COLUMNS)], random.randint(-6, 6))
        for _ in range(size)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_has_a_solution_is_refuted(seed: int) -> None:
    random, refuted, empty = Random(seed), 0, 0
    for _ in range(60):
        system = draw(random)
        found = infeasible([row(p) for p in system + box()], Budget(10**6))
        has_solution = bool(solutions(system))
        assert not (found and has_solution)
        refuted, empty = refuted + found, empty + (not has_solution)
    assert refuted >= 0.8 * empty > 5


@pytest.mark.parametrize("seed", range(5))
def test_tighter_bounds_lose_no_solution(seed: int) -> None:
    random = Random(seed)
    for _ in range(60):
        system = draw(random)
        bounds: Bounds = {(i,): (BOX[0], BOX[-1]) for i in range(COLUMNS)}
        left = all(tighten([row(p) for p in system], bounds) is not None for _ in range(3))
        points = solutions(system)
        assert left or not points
        assert all(bounds[i,][0] <= p[i] <= bounds[i,][1] for p in points for i in range(COLUMNS))


def test_a_row_is_rounded_to_integers() -> None:
    assert row(poly([2, -4, 0], -3)) == Row((((0,), 1), ((1,), -2)), -2)


def test_parity_is_seen() -> None:
    """2x == 2y + 1 has rational solutions, and no others."""
    difference = poly([2, -2, 0], -1)
    assert infeasible([row(difference), row(-difference)], Budget(1000))


def test_an_empty_budget_refutes_nothing() -> None:
    contradiction = [row(poly([1, 1, 0], -9)), row(poly([-1, 0, 0], 3)), row(poly([0, -1, 0], 3))]
    assert infeasible(contradiction, Budget(1000))
    assert not infeasible(contradiction, Budget(0))
