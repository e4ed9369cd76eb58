"""The one that may never fail: ALL means that every pair of the tile is visible, NONE that no pair is.

Random programs, tables, lengths and block sizes, every tile of each, against the NumPy reference pair by pair; the
NumPy classification and the torch builder agree. The GPU's kernels: `test_triton`.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
from cases import by_torch, truth_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Program, programs

from maskdsl.backends import reference
from maskdsl.ir.nodes import Variant
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.tiles.arrays import Shape, derived_arrays, limits_of_arrays
from maskdsl.tiles.classify import ALL, NONE, SOME, classify
from maskdsl.tiles.limits import ranges_of_facts
from maskdsl.tiles.verdict import verdict_of

PROGRAMS = int(os.environ.get("MASKDSL_SOUNDNESS_PROGRAMS", "1500"))
COUNTED: Counter[str] = Counter()


def pairs_of(program: Program, variant: Variant, q_len: int, kv_len: int) -> np.ndarray[Any, Any]:
    """Which pairs are visible, by the reference: bool [B, H, q_len, kv_len]."""
    sizes = program.sizes
    return reference.mask(
        variant, b=sizes["batch"], h=sizes["head"], q=q_len, k=kv_len,
        tables=program.tables, sizes=sizes, q_len=q_len, kv_len=kv_len,
    )  # fmt: skip


def assert_sound(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> None:
    """No tile is called ALL or NONE that is not."""
    found = np.broadcast_to(found, exact.shape)
    assert not ((found == ALL) & (exact != ALL)).any()
    assert not ((found == NONE) & (exact != NONE)).any()
    COUNTED["tiles"] += exact.size
    COUNTED["decided"] += int((found != SOME).sum())


@given(
    program=programs(kinds=("mask",), depth=4),
    blocks=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    cut=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    padded=st.booleans(),
)
@settings(max_examples=PROGRAMS, deadline=None, suppress_health_check=list(HealthCheck))
def assert_program_sound(program: Program, blocks: tuple[int, int], cut: tuple[int, int], padded: bool) -> None:
    position = program.sizes["position"]
    q_len, kv_len = max(1, position - cut[0]), max(1, position - cut[1])
    variant = program.fixed
    ready = run_passes(variant, Context(program.sizes, padded=padded))
    assert ready.mask is not None
    tables = {**program.tables, **derived_arrays(ready.derived, program.tables)}
    verdict = verdict_of(ready.mask, *blocks, limits_of_arrays(tables, ranges_of_facts(variant.facts)))
    shape = Shape(program.sizes["batch"], program.sizes["head"], q_len, kv_len)
    found = classify(verdict, shape, tables, program.sizes)
    assert_sound(found, truth_of(pairs_of(program, variant, q_len, kv_len), *blocks))
    built = by_torch(verdict, shape, tables, program.sizes)
    np.testing.assert_array_equal(built, np.broadcast_to(found, built.shape))


def test_random_programs() -> None:
    assert_program_sound()
    assert COUNTED["tiles"] >= 10 * PROGRAMS
    assert COUNTED["decided"] >= COUNTED["tiles"] // 3
