"""Gradients of learned tables: what flex's own joint graph makes of the emitted mods, against finite differences.

On the CPU flex runs eagerly, densely and in float64; its backward pass differentiates the mods as that of a kernel does.
The differences are those of the reference, which knows no gradients.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from emitted import in_float64
from torch.nn.attention.flex_attention import flex_attention

import maskdsl
from maskdsl.backends.flex_blocks import Shape, block_mask
from maskdsl.backends.mods_text import INDUCTOR, TORCH, Dialect

B, H, KV, Q, K, D = 2, 4, 2, 6, 7, 4
STEP = 1e-5

PROGRAMS = {
    "slopes": "score s(slope: float[head]) = score - slope[h] * abs(q - k)",
    "bias by distance": "score s(bias: float[head, 5]) = score + bias[h, clamp(q - k, 0, 4)]",
    "by kv head": "score s(slope: float[kv_head]) = score + slope[kv_h] * k",
    "read at two places": "score s(t: float[position]) = score * t[q] + t[k] * t[q]",
    "under a cap": """
        score capped(cap: float = 3.0) = cap * tanh(score / cap)
        score biased(bias: float[head, 5]) = score + bias[h, clamp(q - k, 0, 4)]
        variant v(bias: float[head, 5]) { mask = k <= q + 1 score = biased(bias) then capped(2.0) }""",
    "in a function": "score s(w: float[head]) = score + logsigmoid(w[h] * score) + exp(-w[h] * abs(q - k))",
    "rows by number": "score s(w: float[3, head]) = score + w[1, h] * abs(q - k) - w[0, h] * k + w[2, h]",
    "one value": "score s(w: float[]) = score + w * sigmoid(score) + log(1.0 + w * w)",
}


def inputs() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [random.standard_normal(s) for s in ((B, H, Q, D), (B, KV, K, D), (B, KV, K, D))]


def shape_of(program: maskdsl.Program) -> tuple[int, ...]:
    (table,) = program.variant.tables
    lengths = {"head": H, "kv_head": KV, "position": K}
    return tuple(lengths.get(str(a), a) for a in table.axes) or (1,)


def differences(program: maskdsl.Program, table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """d(sum of weights * out) / d(table), by the reference at two points for every entry."""
    (name,) = program.tables
    found = np.zeros_like(table)
    for place in np.ndindex(table.shape):
        values = []
        for step in (STEP, -STEP):
            moved = table.copy()
            moved[place] += step
            values.append(float((program.reference(*inputs(), **{name: moved}) * weights).sum()))
        found[place] = (values[0] - values[1]) / (2 * STEP)
    return found


def by_flex(program: maskdsl.Program, table: np.ndarray, weights: np.ndarray, dialect: Dialect) -> torch.Tensor:
    """The same by the backward pass of eager flex_attention over the emitted mods."""
    (name,) = program.tables
    bound = program.bind(**{name: table}, sizes={"head": H, "kv_head": KV, "batch": B, "q_len": Q, "kv_len": K})
    formula = bound._made(bound.sizes, torch.device("cpu"))[1]
    emitted = in_float64(bound._lowering.at(bound.sizes).form(dialect))
    learned = torch.from_numpy(table).clone().requires_grad_()
    tensors: Any = {t: learned if t.name == name else x for t, x in formula.tables.items()}
    lengths = {n: torch.tensor([size], dtype=torch.int32) for n, size in (("q_len", Q), ("kv_len", K))}
    mask_mod, score_mod = emitted.make_mask_mod(tensors, lengths), emitted.make_score_mod(tensors, lengths)
    mask = block_mask(mask_mod, Shape(B, H, Q, K), torch.device("cpu"))
    q, k, v = map(torch.from_numpy, inputs())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = flex_attention(q, k, v, score_mod=score_mod, block_mask=mask, enable_gqa=True)
        (out * torch.from_numpy(weights)).sum().backward()
    assert learned.grad is not None
    return learned.grad


@pytest.mark.parametrize("dialect", [TORCH, INDUCTOR], ids=lambda d: d.name)
@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_gradients_are_the_differences(text: str, dialect: Dialect) -> None:
    program = maskdsl.compile(text, *(["v"] if "variant v" in text else []))
    random = np.random.default_rng(5)
    table, weights = 0.5 + random.random(shape_of(program)), random.standard_normal((B, H, Q, D))
    expected = differences(program, table, weights)
    assert np.abs(expected).max() > 1e-2, "a gradient of zeros shows nothing"
    found = by_flex(program, table, weights, dialect).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_every_place_has_a_tensor_of_its_own() -> None:
    """flex's backward allows one index a captured tensor."""
    source = maskdsl.compile(PROGRAMS["read at two places"]).source
    assert source.count(".clone() if t.requires_grad else t") == 1 and "t_2[" in source


@pytest.mark.cuda
@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_compiled_gradients(text: str, precise: bool) -> None:
    """The kernel's, in bf16, beside the dense gradient of the same mods in float64."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    program = maskdsl.compile(text, *(["v"] if "variant v" in text else []))
    (name,) = program.tables
    random = np.random.default_rng(5)
    table, weights = 0.5 + random.random(shape_of(program)), random.standard_normal((B, H, Q, D))
    learned = torch.tensor(table, dtype=torch.float32, device="cuda", requires_grad=True)
    q, k, v = (torch.from_numpy(x).to("cuda", torch.bfloat16).requires_grad_() for x in inputs())
    out = program.bind(**{name: learned}).attention(q, k, v, precise=precise)
    (out.float() * torch.from_numpy(weights).to("cuda", torch.float32)).sum().backward()
    expected = by_flex(program, table, weights, TORCH).numpy()
    assert learned.grad is not None
    worst = np.abs(learned.grad.cpu().numpy() - expected).max() / np.abs(expected).max()
    assert worst < 2e-2
