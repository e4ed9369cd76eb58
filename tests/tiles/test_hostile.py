"""Soundness over what tables should not hold but may: both ends of int32 and values beyond, NaN, infinities, denormals;
and over what wraps, is looked up twice, moved, shifted, or unrolled.

The verdicts of NumPy and torch against the reference in float64 and against the mask mod in float32.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from cases import by_torch, prepare, truth_of
from conditions import joined
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import maskdsl
from maskdsl.tiles.classify import ALL, NONE, classify

PROGRAMS = int(os.environ.get("MASKDSL_SOUNDNESS_PROGRAMS", "1500")) // 6

HEADER = """mask coarse(inner: mask, s: int) = inner at (q = q // s, k = k // s) requires s >= 1
mask m(t: int[position], u: int[n], v: int[batch, n], w: int[kv_head], up: int[position], f: float[position],
    g: float[n], e: bool[position, n], p: int[]) = """
FACTS = "\n    requires ascending(up, position)"
LAST = "size(n) - 1"

EDGES = [-(2**31), -(2**31) + 1, -(2**30) - 1, -(2**26) - 1, -(2**26), -1, 0, 1, 7, 2**26, 2**30, 2**31 - 2, 2**31 - 1]
NUMBERS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5, 3.4e38, -3.4e38, 1e-40, -1e-40, 16777217.0, 0.1]

WRAPS = "int(min(f[k], 2147483000.0)) + 647 > int(min(f[k], 2147483000.0))"

small = st.integers(1, 12)
ints = st.one_of(st.integers(-3, 12), st.sampled_from(EDGES[1:]))
floats = st.sampled_from(("0.0", "1.0", "-2.5", "0.1", "1e30", "1e-40", "16777216.0", "1e39", "inf", "-inf"))
orders = st.sampled_from(("<", "<=", ">", ">=", "==", "!="))


@st.composite
def atoms(draw: Any) -> str:
    """A condition."""
    a, b, c, x, op, far = draw(small), draw(small), draw(ints), draw(floats), draw(orders), draw(st.sampled_from(EDGES[1:]))
    one, two = draw(st.permutations(("q", "k")))
    bits, count = draw(st.sampled_from(("bit_and", "bit_or", "bit_xor"))), draw(st.integers(0, 31))
    function = draw(st.sampled_from(("exp", "sqrt", "log1p", "tanh", "sigmoid", "sin", "floor", "trunc", "sign", "rsqrt")))
    return draw(st.sampled_from((
        f"{one} - {two} {op} {c}",
        f"t[{one}] {op} t[{two}]",
        f"t[{one}] - t[{two}] {op} {c}",
        f"abs(t[{one}] - t[{two}]) {op} {a}",
        f"t[{one}] * {a} - {two} {op} {c}",
        f"{one} * 46341 * {two} {op} p",
        f"{one} ** 3 - {two} ** 5 {op} {c}",
        f"({one} // {a} + {far}) % {b} {op} {two} % {b}",
        f"t[{one}] % {a} {op} ({two} - {far}) // {b}",
        f"u[clamp(t[{one}], 0, {LAST})] {op} t[{two}]",
        f"u[clamp(u[clamp({one} - {two}, 0, {LAST})], 0, {LAST})] {op} {c}",
        f"v[b, t[{one}] % size(n)] {op} u[{two} % size(n)]",
        f"e[{one}, clamp(t[{two}] + {one}, 0, {LAST})]",
        f"shift_left(t[{one}], {count}) {op} {two}",
        f"shift_right(t[{one}] - {two}, bit_and(t[{two}], 31)) {op} {c}",
        f"{bits}(t[{one}], t[{two}] - {a}) {op} {c}",
        f"bit_length(t[{one}] * {two}) {op} {a}",
        f"{one} - {two} < w[kv_h] and {two} * {a} >= {one}",
        f"up[{one}] == up[{two}]",
        f"up[{one}] // {a} == up[{two}] // {a} and p {op} {c}",
        f"f[{one}] {op} f[{two}]",
        f"f[{one}] - f[{two}] {op} {x}",
        f"f[{one}] * g[min({two} // {a}, {LAST})] {op} {x}",
        f"f[{one}] / (float({two}) + 0.5) {op} {x}",
        f"min(f[{one}], g[{two} % size(n)]) {op} {x}",
        f"{function}(f[{one}]) {op} {x}",
        f"int(f[{one}] * {x}) {op} t[{two}]",
        f"sum(u[i] * {two} for i in range(size(n))) {op} t[{one}]",
        f"any(v[b, i] {op} t[{one}] - {two} for i in range(size(n)))",
        f"all(u[i % size(n)] - {one} {op} {far} for i in range({b % 4}))",
        f"coarse(t[{one}] {op} {two} + {c}, {a})",
        f"(t[{one}] {op} {two}) at (q = k // {a}, k = min(q, {b}))",
        f"(t[{one}] if f[{two}] {op} {x} else {far}) {op} {two}",
    )))  # fmt: skip


def draw_ints(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Ints that are small, near the ends of int32, or beyond; of any dtype that a table may have."""
    values = rng.integers(-4, 14, shape) if rng.random() < 0.5 else rng.choice(EDGES, shape)
    if rng.random() < 0.2:
        return values + 2**32 * rng.integers(-2, 3, shape)
    fitting = [d for d in ("int8", "uint8", "int16", "int32", "int64") if (values == values.astype(d)).all()]
    return values.astype(rng.choice(fitting))


def draw_tables(rng: np.random.Generator, position: int, kv_heads: int, n: int) -> dict[str, Any]:
    """Tables for the parameters of `HEADER`."""
    return {
        "t": draw_ints(rng, (position,)),
        "u": draw_ints(rng, (n,)),
        "v": draw_ints(rng, (2, n)),
        "w": draw_ints(rng, (kv_heads,)),
        "up": np.sort(rng.choice(EDGES, position)) if rng.random() < 0.3 else np.sort(rng.integers(0, 4, position)),
        "f": rng.choice(NUMBERS, position).astype(np.float32),
        "g": torch.tensor(rng.choice(NUMBERS, n)).to(rng.choice([torch.float32, torch.float16])).numpy(),
        "e": rng.random((position, n)) < rng.choice([0.05, 0.5, 0.95]),
        "p": draw_ints(rng, (1,)),
    }


@given(
    text=joined(atoms, 2, 3),
    lengths=st.tuples(st.integers(1, 26), st.integers(1, 26)),
    blocks=st.tuples(st.sampled_from((1, 2, 3, 4, 8, 128)), st.sampled_from((1, 2, 3, 4, 8, 128))),
    seed=st.integers(0, 99_999),
)
@example(text="f[k] == 0.1", lengths=(1, 1), blocks=(1, 1), seed=310)  # float32 rounds the literal, and the table holds it
@example(text="f[k] <= sum(0.1 for i in range(10))", lengths=(1, 1), blocks=(1, 1), seed=15)  # more than the sum, just
@example(text="min(f[k], 1e39) < 2.0", lengths=(4, 4), blocks=(2, 2), seed=1)  # beyond float32, where torch refuses it
@example(text=WRAPS, lengths=(1, 1), blocks=(1, 1), seed=6)  # float32 rounds 2147483000.0 up, and the sum wraps
@settings(max_examples=PROGRAMS, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_tables(text: str, lengths: tuple[int, int], blocks: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    program, call = maskdsl.compile(HEADER + text + FACTS, "m"), (2, 2, *lengths)
    tables = draw_tables(rng, max(lengths) + 1, 2, int(rng.integers(1, 7)))
    with np.errstate(all="ignore"):
        case = prepare(program, tables, call, blocks)
        by_numpy = classify(case.verdict, case.shape, case.arrays, case.sizes)
        verdicts = [np.broadcast_to(by_numpy, case.truth.shape), by_torch(case.verdict, case.shape, case.arrays, case.sizes)]
    pairs = shown_pairs(program, tables, call)
    if not any(name in text for name in ("f[", "g[")):
        np.testing.assert_array_equal(pairs, case.pairs)
    for truth in (case.truth, truth_of(pairs, *blocks)):
        for told in verdicts:
            assert not ((told == ALL) & (truth != ALL)).any() and not ((told == NONE) & (truth != NONE)).any()


def shown_pairs(program: Any, tables: dict[str, Any], call: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
    """The pairs that the mask mod shows, in float32: bool [B, H, Q, K]."""
    given = {t.name: torch.from_numpy(np.array(tables[t.name])) for t in program.variant.tables}
    batch, heads, q_len, kv_len = call
    sizes = {"batch": batch, "head": heads, "kv_head": heads, "q_len": q_len, "kv_len": kv_len}
    places = torch.meshgrid(*(torch.arange(n, dtype=torch.int32) for n in call), indexing="ij")
    return program.bind(**given, sizes=sizes).mask_mod(*places).expand(call).numpy()
