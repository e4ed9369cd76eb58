"""What torch writes in CuteDSL of the mods for FlashAttention-4: executed on NumPy, equal to the reference.

Mods that mean the right thing as torch code may still be no CuteDSL, or mean another thing there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends import reference
from maskdsl.backends.flex_blocks import Shape, block_mask
from maskdsl.backends.mods_text import FLASH, FLASH_PRECISE, Dialect

pytest.importorskip("triton")

from cutedsl import STEP, flash_source, run_mod

SIZES = {"batch": 1, "head": 4, "kv_head": 2, "q_len": 128, "kv_len": 128}
RANDOM = np.random.default_rng(0)
TABLES: dict[str, Any] = {
    "document": np.sort(RANDOM.integers(0, 5, (1, 128))).astype(np.int32), "prefix": np.array([17], np.int32),
    "slope": np.array([0.5, 0.25, 0.125, 0.0625], np.float32), "wide": RANDOM.integers(1, 9, (4,)).astype(np.int32),
    "bias": RANDOM.standard_normal((4, 5)).astype(np.float32), "one": np.array([3], np.int32),
    "kept": RANDOM.random(128) < 0.5, "fixed": np.array([4, 90, 7], np.int32),
}  # fmt: skip

PROGRAMS = {
    "documents, alibi, softcap": """
        score alibi(slope: float[head]) = score - slope[h] * (q - k)
        score cap = 20.0 * tanh(score / 20.0)
        variant v(document: int[batch, position], slope: float[head]) {
            mask = document[b, q] == document[b, k] and k <= q and q - k < 60 score = alibi(slope) then cap }""",
    "numbers": """
        mask chunks(prefix: int[batch]) = q // 16 == k // 16 or k < prefix[b]
        mask divisions(wide: int[head]) =
            (q - k) // 3 % 2 == 0 or (q - 40) // 8 != (k - 40) // 8 and q % wide[h] == k // wide[h]
            or (q - k) % -5 == -1 or 200 // (q + 1) > 3 or (k - q) // wide[h] == -2
            requires wide[h] >= 1
        mask bits(wide: int[head]) =
            bit_and(q, 5) == bit_and(k, 5) or bit_xor(q, k) > 100 or shift_right(q - k, 2) == -3
            or shift_left(q, 3) == shift_left(k, wide[h]) or bit_length(q - k) == 4 or shift_right(q - k, wide[h]) == 1
            or shift_left(1, wide[h]) == k or shift_right(q - k, 31) == 0 and bit_or(q, k) == 77
            requires 0 <= wide[h] <= 31
        score functions(slope: float[head]) =
            floor(score) + 2.0 * ceil(score) + 4.0 * trunc(score) + sign(score) + exp(-abs(score))
            + exp2(score) + log(1.0 + score * score) + log1p(abs(score)) + log2(2.0 + score * score) + sqrt(abs(score))
            + rsqrt(1.0 + abs(score)) + sigmoid(score) + logsigmoid(score) + sin(score) + cos(score) + int(8.0 * score)
            + abs(score) ** 1.5 + (q - k) ** 3 * 0.0001 + sign(q - k) + abs(q - k) + float(q) / 8.0 + tanh(score) ** 2
            + slope[h] * (bit_length(q) - b)
        variant v(wide: int[head], prefix: int[batch], slope: float[head]) {
            mask = chunks(prefix) and not divisions(wide) or bits(wide) and k > 3 score = functions(slope) }""",
    "choices": """
        mask near(fixed: int[3], one: int[], kept: bool[position]) =
            k < (fixed[1] if q > fixed[0] else fixed[2]) and k > one and kept[k] and not kept[q]
            or k <= q + kv_len - q_len and q == 3
        score s(bias: float[head, 5]) = (score if k <= q else -inf) * (2.0 if q > 64 else 0.5)
            + bias[h, clamp(q - k, 0, 4)] + (3 if k > 9 else -2) + min(score, 1.0) + max(score, q - k) + int(k == q)
        variant v(fixed: int[3], one: int[], bias: float[head, 5], kept: bool[position]) {
            mask = near(fixed, one, kept) score = s(bias) }""",
    "textbook": "score s = tanh(score) + log(1.0 + score * score) + log2(2.0 + score * score) + logsigmoid(score)",
    "nothing": "mask m = q < 0",
}


def emitted(text: str, dialect: Dialect) -> tuple[maskdsl.Program, Any, Any, dict[str, Any]]:
    program = maskdsl.compile(text, *(["v"] if "variant v" in text else []))
    tables = {name: TABLES[name] for name in program.tables}
    bound = program.bind(**tables, sizes=SIZES)
    formula = bound._made(bound.sizes, torch.device("cpu"))[1]
    code = bound._lowering.at(bound.sizes).form(dialect)
    lengths = {name: torch.tensor([128], dtype=torch.int32) for name in ("q_len", "kv_len")}
    mask_mod = code.make_mask_mod(formula.tables, lengths)
    return program, mask_mod, code.make_score_mod(formula.tables, lengths), tables


@pytest.mark.parametrize(("name", "dialect"), [
    *((name, FLASH) for name in PROGRAMS), ("textbook", FLASH_PRECISE),
], ids=lambda x: x if isinstance(x, str) else x.name)  # fmt: skip
def test_generated_code(name: str, dialect: Dialect) -> None:
    program, mask_mod, score_mod, tables = emitted(PROGRAMS[name], dialect)
    mask = block_mask(mask_mod, Shape(1, 4, 128, 128), torch.device("cpu"))
    source, inputs = flash_source(mask_mod, score_mod, mask)
    place = {"b": 1, "h": 4, "q": 128, "k": 128, "tables": tables, "sizes": SIZES}
    if program.variant.mask is not None:
        found = run_mod(source, "mask_mod", inputs, (1, 4, 128, 128))
        right = np.broadcast_to(reference.mask(program.variant, **place), (1, 4, 128, 128))[:, :, ::STEP]
        np.testing.assert_array_equal(found, right)
        assert name == "nothing" or 0 < right.mean() < 1
    if score_mod is not None:
        scores = 3 * np.random.default_rng(1).standard_normal((1, 4, 128, 128)).astype(np.float32)
        found = run_mod(source, "score_mod", inputs, scores.shape, scores)
        right = reference.scores(program.variant, scores.astype(np.float64), **place)[:, :, ::STEP]
        np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-4)
    if "tanh" in PROGRAMS[name]:
        assert ("tanh.approx.f32" in source, "cute.math.tanh" in source) == (dialect is FLASH, dialect is not FLASH)
