"""The tables that verdicts read: torch makes the same as NumPy; and both make what their descriptions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import prepare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_structured import FACTS, HEADER, conditions, draw_tables

import maskdsl
from maskdsl.backends.tile_tables import Call, make_tile_tables
from maskdsl.binding.derived import derived_tables
from maskdsl.ir.nodes import Derived
from maskdsl.ir.types import INT, Table
from maskdsl.tiles.arrays import derived_arrays, with_tile_tables
from maskdsl.tiles.tile_table import Pool, Profile


def both(text: str, lengths: tuple[int, int], blocks: tuple[int, int], seed: int) -> Any:
    """A case, and the verdict's tables by NumPy and by torch."""
    tables = draw_tables(np.random.default_rng(seed), max(lengths))
    case = prepare(maskdsl.compile(HEADER + text + FACTS), tables, (2, 2, *lengths), blocks)
    call = Call(2, 2, *lengths, torch.device("cpu"), case.sizes)
    mine = with_tile_tables(case.verdict, case.shape, case.arrays, case.sizes)
    theirs = make_tile_tables(case.verdict, call, {t: torch.from_numpy(a) for t, a in case.arrays.items()})
    return case, mine, theirs


@given(
    text=conditions(2),
    lengths=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    blocks=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 9999),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_torch_makes_what_numpy_makes(text: str, lengths: tuple[int, int], blocks: tuple[int, int], seed: int) -> None:
    case, mine, theirs = both(text, lengths, blocks, seed)
    assert {s.table for s in case.verdict.tables} == theirs.keys()
    for table, tensor in theirs.items():
        assert tensor.shape == mine[table].shape, table.name
        np.testing.assert_array_equal(tensor.numpy(), mine[table])


def test_a_profile_is_the_extreme_of_each_tile() -> None:
    case, mine, _ = both("q - num[q] <= k", (10, 7), (4, 4), 1)
    num = next(a for t, a in case.arrays.items() if t.name == "num")
    spec = next(s for s in case.verdict.tables if isinstance(s, Profile) and s.greatest and s.node.type is INT)
    values = np.arange(10) - num[:10]
    assert mine[spec.table].tolist() == [values[:4].max(), values[4:8].max(), values[8:10].max()]


def test_a_ladder_answers_ranges() -> None:
    case, mine, _ = both("flag[clamp(num[q] + num[k], 0, size(position) - 1)]", (9, 9), (2, 2), 3)
    flag = next(a for t, a in case.arrays.items() if t.name == "flag")
    low, high = (s for s in case.verdict.tables if isinstance(s, Pool))
    assert low.ladders and mine[low.table].shape == (4, 9)
    for level, start in np.ndindex(*mine[low.table].shape):
        span = flag[start : start + 2**level]
        assert (mine[low.table][level, start], mine[high.table][level, start]) == (span.all(), span.any())


def test_numbers_that_are_none_count_as_anything() -> None:
    program = maskdsl.compile("mask m(f: float[position]) = f[q] < 1.0")
    values = np.array([0.5, np.nan, 0.25, 0.5], np.float32)
    case = prepare(program, {"f": values}, (1, 1, 4, 2), (2, 2))
    mine = with_tile_tables(case.verdict, case.shape, case.arrays, case.sizes)
    for spec in case.verdict.tables:  # of the condition itself: NaN is less than nothing
        assert mine[spec.table].tolist() == ([True, True] if spec.greatest else [False, True])


@pytest.mark.parametrize("kind", ["first", "end"])
@pytest.mark.parametrize("axis", [0, 1])
def test_runs_of_equal_values_are_those_of_torch(kind: str, axis: int) -> None:
    source = Table("m", "t", INT, ("batch", "position"))
    wanted = Derived(Table("m", "d", INT, ("batch", "position")), source, axis, kind)
    for seed in range(5):
        values = np.sort(np.random.default_rng(seed).integers(0, 4, (5, 9)), axis).astype(np.int32)
        mine = derived_arrays([wanted], {source: values})[wanted.table]
        theirs = derived_tables([wanted], {source: torch.from_numpy(values)})[wanted.table]
        assert mine.dtype == np.int32
        np.testing.assert_array_equal(mine, theirs.numpy())
