"""What is known before any tile is looked at: ranges of values, widths of bounds, and values near the ends of int32."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from cases import Case, prepare

import maskdsl
from maskdsl.backends.tile_plan import limits_of
from maskdsl.ir.nodes import Node, Op
from maskdsl.ir.types import INT, Table
from maskdsl.meaning.facts import all_facts
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.tiles.arrays import limits_of_arrays
from maskdsl.tiles.classify import ALL, NONE, SOME, classify
from maskdsl.tiles.limits import INT32, SMALL, Limits, known_limits, ranges_of_facts, static_limits
from maskdsl.tiles.width import never_wraps

T = Table("m", "t", INT, ("position",))
TOP = 2**31 - 1


def left_side(condition: str) -> Node:
    """The left side of a comparison after the passes."""
    program = maskdsl.compile(f"mask m(t: int[position], p: int[], f: float[position]) = {condition}")
    mask = run_passes(program.variant, Context({"position": 64}, padded=False)).mask
    assert isinstance(mask, Op)
    return mask.args[0]


STATIC = [
    ("q < p", (0, 2**30 - 1)),
    ("q - k < p", (1 - 2**30, 2**30 - 1)),
    ("q % 7 < p", (0, 6)),
    ("clamp(q, 3, 9) < p", (3, 9)),
    ("t[q] < p", SMALL),
    ("t[q] + t[k] < p", (-(2**27), 2**27 - 2)),
    ("t[q] * 40 < p", INT32),  # may wrap around: nothing is known
    ("bit_length(t[q]) < p", (0, 27)),
    ("int(q < k) < p", (0, 1)),
    ("int(f[q]) < p", INT32),
]


@pytest.mark.parametrize(("condition", "limits"), STATIC, ids=[c for c, _ in STATIC])
def test_static_limits(condition: str, limits: tuple[int, int]) -> None:
    assert static_limits(left_side(condition), Limits()) == limits


@pytest.mark.parametrize(
    ("condition", "stays"),
    [("q + k < p", True), ("q * 3 < p", False), ("t[q] - t[k] < p", True), ("t[q] * 7 + q * 2 < p", False)],
)
def test_what_may_wrap(condition: str, stays: bool) -> None:
    node = left_side(condition)
    assert isinstance(node, Op)
    assert never_wraps(node, Limits()) is stays


def test_facts_give_ranges_to_tables() -> None:
    program = maskdsl.compile(
        "mask m(t: int[position], u: int[n]) = t[q] < t[k] and u[0] < k requires 2 <= t[q] < 9, u[i] >= 0".replace(
            "u[i] >= 0", "all(u[i] >= 0 for i in range(size(n)))"
        )
    )
    ranges = {t.name: r for t, r in ranges_of_facts(all_facts(program.variant)).items()}
    assert ranges == {"t": (2, 8), "u": (0, TOP)}


def test_limits_of_tables() -> None:
    assert known_limits({}, ()).of_table(T) == SMALL
    assert known_limits({T: (1, 5)}, ()).of_table(T) == (1, 5)
    assert known_limits({T: (1, TOP)}, ()).of_table(T) == (1, SMALL[1])
    assert known_limits({T: (1, TOP)}, [T]).of_table(T) == (1, TOP)
    assert known_limits({}, [T]).of_table(T) == INT32


@pytest.mark.parametrize("value", [SMALL[0], SMALL[1], SMALL[0] - 1, SMALL[1] + 1, -(2**31), TOP])
def test_values_beyond_the_usual_widen_the_limits(value: int) -> None:
    wide = not SMALL[0] <= value <= SMALL[1]
    values = np.array([0, value], np.int32)
    assert limits_of_arrays({T: values}).of_table(T) == (INT32 if wide else SMALL)
    for dtype in (torch.int32, torch.int64):
        assert limits_of({T: torch.from_numpy(values).to(dtype)}).of_table(T) == (INT32 if wide else SMALL)
    assert limits_of({T: torch.empty(0, dtype=torch.int32)}).of_table(T) == SMALL


# ---------------------------------------------------------------- near the ends of int32

NEAR = [-(2**31), -(2**31) + 1, -(2**30) - 1, -(2**26), -3, 0, 5, 2**26, 2**30 - 1, 2**30, TOP - 1, TOP]
WRAPPING = [
    "t[q] - t[k] < 10",
    "t[q] + t[k] > 0",
    "q - t[q] <= k - t[k]",
    "t[q] == t[k]",
    "t[q] >= 0 and t[q] == t[k]",
    "t[q] >= 2147483647 or t[k] <= t[q]",
    "abs(t[q]) <= abs(t[k])",
    "-t[q] < t[k]",
    "t[q] * 3 < t[k] * 3",
    "t[q] % 64 == t[k] % 64",
    "(t[q] - t[k]) % 3 == 1",
    "t[q] // 3 == t[k] // 3",
    "bit_xor(t[q], t[k]) < 100",
    "shift_left(t[q], 1) <= k",
    "q + t[q] < k + t[q]",
    "bit_and(bit_xor(q * 73856093, k * 19349663), 7) < 3",
    "q * 2147483647 + k * 715827883 > 0",
]


@pytest.mark.parametrize("formula", WRAPPING)
def test_sound_where_ints_wrap(formula: str) -> None:
    for seed, block in itertools.product(range(6), (1, 2, 3)):
        values = np.random.default_rng(seed).choice(NEAR, 12).astype(np.int32)
        assert_sound(prepared(formula, np.sort(values) if seed % 2 else values, block))


def prepared(formula: str, values: Any, block: int) -> Case:
    """A formula over a table `t`."""
    program = maskdsl.compile(f"mask m(t: int[position]) = {formula}")
    tables = {"t": values} if program.variant.tables else {}
    return prepare(program, tables, (1, 1, 12, 12), (block, block))


def assert_sound(case: Case) -> None:
    """Nothing is decided wrongly."""
    with np.errstate(all="ignore"):
        told = np.broadcast_to(classify(case.verdict, case.shape, case.arrays, case.sizes), case.truth.shape)
    assert not ((told == ALL) & (case.truth != ALL)).any() and not ((told == NONE) & (case.truth != NONE)).any()


@pytest.mark.parametrize("facts", ["", " requires ascending(t, position)"])
def test_wide_ints_are_cut_to_int32(facts: str) -> None:
    program = maskdsl.compile("mask m(t: int[position]) = t[q] == t[k]" + facts)
    values = np.array([-(2**33) - 1, -1, 2**32 - 1, 0, 2**32, 2**40 + 7, 7], np.int64)  # -1 -1 -1 0 0 7 7
    for block in (1, 2, 3):
        case = prepare(program, {"t": values}, (1, 1, 7, 7), (block, block))
        assert case.pairs.sum() == 9 + 4 + 4
        assert_sound(case)
        bound = program.bind(t=torch.from_numpy(values))
        exact = bound.block_mask(1, 1, 7, 7, device="cpu", block_size=block, exact=True)
        assert (exact.to_dense().numpy() == (case.truth != NONE)).all()


@pytest.mark.parametrize("values", [[np.nan], [-np.inf, -1.0, 2.0, 2.0, np.inf, np.inf]])
def test_floats_in_order_are_equal_as_floats_are(values: list[float]) -> None:
    """NaN is not equal to itself: no table of runs may say so."""
    program = maskdsl.compile("mask m(f: float[position]) = f[q] == f[k] requires ascending(f, position)")
    table = np.array(values, np.float32)
    call = (1, 1, len(table), len(table))
    case = prepare(program, {"f": table}, call, (1, 1))
    assert_sound(case)
    exact = program.bind(f=torch.from_numpy(table)).block_mask(*call, device="cpu", block_size=1, exact=True)
    assert (exact.to_dense().numpy() == case.pairs).all()


def test_ordinary_values_keep_their_precision() -> None:
    case = prepared("t[q] - t[k] < 4", np.arange(12, dtype=np.int32), 2)
    told = classify(case.verdict, case.shape, case.arrays, case.sizes)
    assert (told == case.truth).all() and (told == SOME).any() and (told == ALL).any()
