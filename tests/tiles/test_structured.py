"""Soundness over masks as people write them: periods, blocks, tables on either side, conditions that bound one another.

Random programs seldom meet the rules that work on such patterns; these are made of little else.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from cases import Case, prepare
from conditions import joined
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import maskdsl
from maskdsl.tiles.classify import ALL, NONE, classify, refine

PROGRAMS = int(os.environ.get("MASKDSL_SOUNDNESS_PROGRAMS", "1500")) // 4

HEADER = """mask m(doc: int[batch, position], num: int[position], flag: bool[position], block: int[blocks, n],
    grid: bool[blocks, blocks], reach: int[head], span: int[]) = """
FACTS = "\n    requires reach[h] >= 1, ascending(doc, position)"

small = st.integers(1, 12)
sides = st.sampled_from(("q", "k"))
orders = st.sampled_from(("<", "<=", ">", ">=", "=="))


@st.composite
def atoms(draw: Any) -> str:
    """A condition on q and k."""
    a, b, c, side, op = draw(small), draw(small), draw(st.integers(-3, 12)), draw(sides), draw(orders)
    return draw(st.sampled_from((
        f"{side} {op} {c}",
        f"q - k {op} {c}",
        f"k <= q + {c}",
        f"0 <= q - k < {a + b}",
        f"q // {a} {op} k // {b}",
        f"(q - k) % {a} == {c}",
        f"q % {a} {op} k % {a}",
        f"abs(q % {a} - k % {a}) < {b}",
        f"abs(q // {a} - k // {a}) <= 1",
        f"q // {a} % {b} == k // {a} % {b}",
        f"(q % {a} - {b}) % {a} < 2",
        f"({side} - {b}) // {a} == {c}",
        "bit_and(q - k, q - k - 1) == 0",
        f"bit_and(bit_xor(q // {a} * 7, k // {a} * 5), 7) < 3",
        f"(q - k) % reach[h] == {c}",
        f"q - k {op} reach[h]",
        f"{side} {op} span",
        "doc[b, q] == doc[b, k]",
        f"num[q] {op} num[k]",
        f"num[{side}] {op} {c}",
        f"q - num[q] {op} k",
        f"k + num[k] {op} q - num[q]",
        f"num[q] * {a} <= k < num[q] * {b}",
        f"num[k] + {c} <= q <= num[k] * num[k]",
        f"flag[{side}]",
        "flag[min(q + k, size(position) - 1)]",
        "flag[clamp(q - k, 0, size(position) - 1)]",
        f"block[min(q // {a}, size(blocks) - 1), 0] == k // {a}",
        f"grid[min(q // {a}, size(blocks) - 1), min(k // {b}, size(blocks) - 1)]",
        "grid[clamp(num[q], 0, size(blocks) - 1), clamp(num[k], 0, size(blocks) - 1)]",
        f"any(block[min(q // {a}, size(blocks) - 1), i] == k // {a} for i in range(size(n)))",
    )))  # fmt: skip


def conditions(depth: int) -> Any:
    """Conditions joined by and, or, not and choices."""
    return joined(atoms, depth, 4)


@given(
    text=conditions(3),
    lengths=st.tuples(st.integers(1, 26), st.integers(1, 26)),
    blocks=st.tuples(st.sampled_from((1, 2, 3, 4, 6, 8)), st.sampled_from((1, 2, 3, 4, 6, 8))),
    seed=st.integers(0, 9999),
)
@settings(max_examples=PROGRAMS, deadline=None, suppress_health_check=list(HealthCheck))
def test_structured_masks(text: str, lengths: tuple[int, int], blocks: tuple[int, int], seed: int) -> None:
    tables = draw_tables(np.random.default_rng(seed), max(lengths))
    case = prepare(maskdsl.compile(HEADER + text + FACTS), tables, (2, 2, *lengths), blocks)
    assert_sound(case)


def draw_tables(rng: np.random.Generator, position: int) -> dict[str, Any]:
    """Tables for the parameters of `HEADER`."""
    return {
        "doc": np.sort(rng.integers(0, 4, (2, position))).astype(np.int32),
        "num": rng.integers(-2, 6, position).astype(np.int32),
        "flag": rng.random(position) < rng.choice([0.1, 0.5, 0.9]),
        "block": rng.integers(0, 5, (5, 2)).astype(np.int32),
        "grid": rng.random((5, 5)) < 0.5,
        "reach": rng.integers(1, 9, 2).astype(np.int32),
        "span": rng.integers(-2, 20, 1).astype(np.int32),
    }


def assert_sound(case: Case) -> None:
    """No tile is called ALL or NONE that is not, and `refine` finds the truth."""
    found = classify(case.verdict, case.shape, case.arrays, case.sizes)
    whole = np.broadcast_to(found, case.truth.shape)
    assert not ((whole == ALL) & (case.truth != ALL)).any()
    assert not ((whole == NONE) & (case.truth != NONE)).any()
    exact = refine(case.verdict, found, case.shape, case.arrays, case.sizes)
    np.testing.assert_array_equal(np.broadcast_to(exact, case.truth.shape), case.truth)
