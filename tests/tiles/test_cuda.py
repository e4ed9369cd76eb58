"""The kernels of block lists on a GPU, where there is one: they list the tiles that NumPy finds, fresh and in place."""

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
from maskdsl.tiles.classify import ALL, NONE, SOME, classify

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device"),
]

WITH_FLOATS = (
    "sin(0.1 * q) < cos(0.1 * k)",
    "exp(-0.01 * (q - k)) > 0.5 and log(1.0 + q) < sqrt(k + 1.0)",
    "tanh(0.5 * (q - k)) < 0.9 or floor(0.3 * q) == ceil(0.3 * k)",
)


def kinds_of(mask: Any, transposed: bool) -> np.ndarray[Any, Any]:
    """NONE, SOME or ALL of every tile of a BlockMask, by its lists of one direction: [B, H, q tiles, k tiles]."""
    found = []
    for name in ("q", "full_q") if transposed else ("kv", "full_kv"):
        counts, indices = (getattr(mask, f"{name}_{what}").cpu() for what in ("num_blocks", "indices"))
        columns = indices.shape[-1]
        target = torch.where(torch.arange(columns) < counts[..., None], indices, columns).long()
        tiles = torch.zeros((*indices.shape[:-1], columns + 1), dtype=torch.bool).scatter_(-1, target, True)[..., :-1]
        found.append(tiles.numpy().swapaxes(2, 3) if transposed else tiles.numpy())
    return np.where(found[1], ALL, np.where(found[0], SOME, NONE))


@given(
    text=conditions(2),
    lengths=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    blocks=st.tuples(st.sampled_from((1, 3, 8, 16, 128)), st.sampled_from((1, 3, 8, 16, 128))),
    seeds=st.tuples(st.integers(0, 9999), st.integers(0, 9999)),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_kernels_list_what_numpy_finds(
    text: str, lengths: tuple[int, int], blocks: tuple[int, int], seeds: tuple[int, int]
) -> None:
    program, call = maskdsl.compile(HEADER + text + FACTS), (2, 2, *lengths)
    wanted, tables = [], []
    for seed in seeds:
        arrays = draw_tables(np.random.default_rng(seed), max(lengths))
        case = prepare(program, arrays, call, blocks)
        wanted.append(np.broadcast_to(classify(case.verdict, case.shape, case.arrays, case.sizes), case.truth.shape))
        tables.append({t.name: torch.from_numpy(arrays[t.name]).to(DEVICE) for t in program.variant.tables})
    bound = program.bind(**tables[0])
    mask = bound.block_mask(*call, device=DEVICE, block_size=blocks)
    agree(mask, wanted[0])
    for name, table in bound.tables.items():
        table.copy_(tables[1][name])
    bound.block_mask(*call, device=DEVICE, block_size=blocks, out=mask)
    agree(mask, wanted[1])


def agree(mask: Any, wanted: np.ndarray[Any, Any]) -> None:
    """Both directions of a mask's lists against the NumPy classification."""
    for transposed in (False, True):
        np.testing.assert_array_equal(np.broadcast_to(kinds_of(mask, transposed), wanted.shape), wanted)


@pytest.mark.parametrize("formula", WITH_FLOATS)
def test_floats_are_bounded_on_a_gpu_as_well(formula: str) -> None:
    program = maskdsl.compile(f"mask m = {formula}")
    case = prepare(program, {}, (1, 1, 700, 700), (16, 32))
    told = kinds_of(program.block_mask(1, 1, 700, 700, device=DEVICE, block_size=(16, 32)), False)
    assert not ((told == ALL) & (case.truth != ALL)).any() and not ((told == NONE) & (case.truth != NONE)).any()


def test_rows_longer_than_a_program_decides_at_once() -> None:
    program = maskdsl.compile("mask m = k <= q + 40000 and k % 5 < 3 or q == k")
    for length in (300 * 8, 1100 * 8, 9000 * 8):
        case = prepare(program, {}, (1, 1, 20, length), (8, 8))
        agree(program.block_mask(1, 1, 20, length, device=DEVICE, block_size=8), case.truth)
