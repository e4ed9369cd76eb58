"""Verdicts as formulas: how each kind of lookup is bounded, which tables that takes, and where tiles are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case, prepare

import maskdsl
from maskdsl.ir.print import text
from maskdsl.tiles.classify import ALL, NONE, classify
from maskdsl.tiles.tile_table import Over, Pool, Profile

PARAMETERS = "t: int[position], f: bool[n], g: bool[n, m], d: bool[position, n], w: int[head], p: int[batch]"
RNG = np.random.default_rng(3)
POSITION, N, M = 48, 30, 40
TABLES: dict[str, Any] = {
    "t": np.repeat(RNG.integers(0, 12, 12), 4).astype(np.int32),
    "f": np.repeat(RNG.random(6) < 0.4, 5),
    "g": np.repeat(np.repeat(RNG.random((5, 5)) < 0.4, 6, 0), 8, 1),
    "d": np.repeat(np.repeat(RNG.random((6, 6)) < 0.5, 8, 0), 5, 1),
    "w": np.array([3, 17], np.int32),
    "p": np.array([5, 20], np.int32),
}


def case(formula: str, blocks: tuple[int, int] = (8, 8)) -> Case:
    """A formula over the tables above, at 44 queries and 48 keys."""
    program = maskdsl.compile(f"mask m({PARAMETERS}) = {formula}")
    return prepare(program, {t.name: TABLES[t.name] for t in program.variant.tables}, (2, 2, 44, POSITION), blocks)


def kinds(found: Case) -> list[str]:
    """What kinds of tables the verdict makes."""
    words = []
    for spec in found.verdict.tables:
        if isinstance(spec, Profile):
            words.append(f"profile {spec.side}")
        else:
            reduced = {o.value for o in spec.over} - {"kept"}
            words.append(" ".join(["pool", *sorted(reduced), *("ladder" for _ in spec.ladders)]))
    return sorted({*words})


LOOKUPS: list[tuple[str, int, list[str]]] = [
    ("t[q] < 4", 8, ["profile q"]),
    ("t[k] < 4 and t[q] > 2", 8, ["profile k", "profile q"]),
    ("k < p[b]", 8, []),  # the bounds of k tell it all
    ("q - k < w[h]", 8, []),
    ("(q + p[b]) % 25 < 12", 8, ["profile q"]),  # a remainder is sharper in a table
    ("d[q, min(k // 5, size(n) - 1)]", 8, ["pool q_tiles"]),  # the points of k // 5
    ("g[min(q // 8, size(n) - 1), min(k // 8, size(m) - 1)]", 8, []),  # one point a tile: the table itself
    ("g[min(q // 6, size(n) - 1), min(k // 6, size(m) - 1)]", 8, []),  # a few points a tile
    ("f[clamp(q - k, 0, size(n) - 1)]", 4, []),
    ("f[clamp(q - k, 0, size(n) - 1)]", 16, ["pool ladder"]),  # a range of one axis
    ("f[clamp(t[q] + t[k], 0, size(n) - 1)]", 4, ["pool ladder", "profile k", "profile q"]),
    ("d[k, clamp(q - k, 0, size(n) - 1)]", 16, ["pool k_tiles ladder"]),
    ("g[clamp(t[q], 0, size(n) - 1), min(k, size(m) - 1)]", 4, ["pool ladder ladder", "pool whole", "profile q"]),
]


@pytest.mark.parametrize(("formula", "block", "tables"), LOOKUPS)
def test_each_kind_of_lookup(formula: str, block: int, tables: list[str]) -> None:
    found = case(formula, (block, block))
    assert kinds(found) == tables
    assert_sound_and_useful(found)


def assert_sound_and_useful(found: Case, least: float = 0.1) -> None:
    """Nothing is decided wrongly, and some tiles are decided."""
    told = np.broadcast_to(classify(found.verdict, found.shape, found.arrays, found.sizes), found.truth.shape)
    assert not ((told == ALL) & (found.truth != ALL)).any() and not ((told == NONE) & (found.truth != NONE)).any()
    decided = (found.truth == ALL) | (found.truth == NONE)
    right = (told == ALL) | (told == NONE)
    assert right.sum() >= least * decided.sum() > 0


def test_points_follow_the_bounds_not_the_value() -> None:
    """An index may be constant and its bounds wide: every entry within the bounds counts, not the first alone."""
    for index in ("-bit_or(k, -1)", "bit_or(q, -1) + 3", "q * 2147483647 * 2147483647 - q + 1"):
        assert_sound(case(f"f[clamp({index}, 0, size(n) - 1)]", (1, 1)))
        assert_sound(case(f"f[clamp({index} + t[q] + t[k], 0, size(n) - 1)]", (2, 2)))


def assert_sound(found: Case) -> None:
    """Nothing is decided wrongly."""
    told = np.broadcast_to(classify(found.verdict, found.shape, found.arrays, found.sizes), found.truth.shape)
    assert not ((told == ALL) & (found.truth != ALL)).any() and not ((told == NONE) & (found.truth != NONE)).any()


FORMULAS = """
k <= q                                | k_high <= q_low                         | k_low <= q_high
0 <= q - k < 9                        | 0 <= q_low - k_high and q_high - k_low < 9 | 0 <= q_high - k_low and q_low - k_high < 9
q // 16 == k // 16                    | q_low // 16 == k_low // 16              | q_low // 16 == k_low // 16
q // 16 == (k - 8) // 16              | q_low // 16 == (k_low - 8) // 16        | q_low // 16 == (k_low - 8) // 16
k < p[b] or true                      | true                                    | true
k < p[b]                              | k_high < p[b]                           | k_low < p[b]
"""


@pytest.mark.parametrize("line", FORMULAS.strip().splitlines(), ids=lambda line: line.split("|")[0].strip())
def test_verdicts_are_as_short_as_by_hand(line: str) -> None:
    formula, certain, possible = (part.strip() for part in line.split("|"))
    verdict = case(formula).verdict
    assert (text(verdict.certain), text(verdict.possible)) == (certain, possible)


@pytest.mark.parametrize("divisor", ["inf", "-inf", "0.0", "0.5", "16.0"])
@pytest.mark.parametrize("operator", ["//", "%"])
def test_floats_have_no_periods(operator: str, divisor: str) -> None:
    assert_sound(case(f"float(q) {operator} {divisor} <= float(k) {operator} ({divisor})"))


def test_rows_and_heads_are_told_apart_only_if_the_mask_does() -> None:
    assert not case("k <= q").verdict.reads_b and not case("k < p[b]").verdict.reads_h
    assert case("q - k < w[h]").verdict.reads_h and case("k < p[b]").verdict.reads_b


CUTS = [
    ("t[clamp(q // 4, 0, 9)] == k // 4", (8, 8)),
    ("bit_and(bit_xor(q // 4 * 73, k // 4 * 19), 7) < 3", (8, 8)),
    ("q // 12 == k // 12 and abs(q // 3 % 4 - k // 3 % 4) <= 1", (8, 8)),
    ("abs(q % 12 - k % 12) < 3", (8, 8)),
    ("abs((q - 5) % 12 - k % 12) < 3", (8, 4)),
    ("abs((q // 3 + 1000000000) % 4 - (k // 3 + 1000000000) % 4) < 2", (8, 8)),  # three thousand million, of q
]


@pytest.mark.parametrize(("formula", "blocks"), CUTS)
def test_cut_tiles_are_decided_exactly(formula: str, blocks: tuple[int, int]) -> None:
    found = case(formula, blocks)
    told = np.broadcast_to(classify(found.verdict, found.shape, found.arrays, found.sizes), found.truth.shape)
    np.testing.assert_array_equal(told[:, :, :-1] == NONE, found.truth[:, :, :-1] == NONE)


def test_what_needs_no_cut_has_none() -> None:
    for formula in ("k <= q and q // 12 == k // 12", "(q - k) % 12 == 0", "q // 16 == k // 16 and q % 16 >= k % 16"):
        assert len(text(case(formula).verdict.possible)) < 200


def test_pools_name_their_axes() -> None:
    spec = case("d[q, min(k // 2, size(n) - 1)]").verdict.tables[0]
    assert isinstance(spec, Pool) and spec.over == (Over.Q_TILES, Over.KEPT) and spec.table.axes == ("q_tiles", "n")
