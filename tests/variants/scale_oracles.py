"""Oracles of scores that scale, cap, replace or reweigh: temperatures, activations, penalties and sinks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from oracle import Array, Oracle, Sizes, documents, starts


def _by_query(score: Array, factor: list[float]) -> Array:
    """Each row of queries times its own factor."""
    return score * np.array(factor)[:, None]


def clamp_score(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, limit: float) -> Array:
    return np.clip(score, -limit, limit)


def causal_score(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    upper = np.triu(np.full((sizes.q, sizes.k), -np.inf), 1)
    return score + upper


def masked_score(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    """With `k % 2 == 0 or k == q` inside."""
    found = np.full_like(score, -np.inf)
    found[..., ::2] = score[..., ::2]
    for i in range(min(sizes.q, sizes.k)):
        found[:, :, i, i] = score[:, :, i, i]
    return found


def self_penalty(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, penalty: float = -1e5) -> Array:
    found = score.copy()
    for i in range(min(sizes.q, sizes.k)):
        found[:, :, i, i] = penalty
    return found


def squared_score(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.square(score)


def weighted_square(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, weight: Array) -> Array:
    return np.einsum("bhqk,bhqk,k->bhqk", score, score, weight[: sizes.k].astype(np.float64))


def trigonometric_score(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.sin(np.cos(score)) + np.tan(np.arange(sizes.b, dtype=np.float64))[:, None, None, None]


def sigmoid_weight(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: float = 0.0) -> Array:
    return np.log(1 / (1 + np.exp(-(score + bias))))


def relu_weight(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(np.where(score > 0, score, 0.0))


def shifted_silu(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, shift: float = 1.0) -> Array:
    return np.log(score / (1 + np.exp(-score)) + shift)


def shifted_gelu(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, shift: float = 1.0) -> Array:
    cubic = score + 0.044715 * score**3
    return np.log(score / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * cubic)) + shift)


def causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.tril(np.ones((sizes.q, sizes.k), bool))[q, k]


def llama4_temperature(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    attn_scale: float = 0.1, floor_scale: int = 8192,
) -> Array:  # fmt: skip
    """As Hugging Face's Llama4TextAttention scales its queries."""
    steps = [math.floor((i + 1.0) / floor_scale) for i in range(sizes.q)]
    return _by_query(score, [math.log(step + 1) * attn_scale + 1.0 for step in steps])


def ministral3_temperature(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, beta: float = 0.1, original: int = 16384
) -> Array:
    """As Hugging Face's `get_llama_4_attn_scale`."""
    return _by_query(score, [1 + beta * math.log(1 + math.floor(i / original)) for i in range(sizes.q)])


def inkling_temperature(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, alpha: float, start: int
) -> Array:
    seen = range(1, sizes.q + 1)
    return _by_query(score, [1 + alpha * (math.log(n) - math.log(start)) if n > start else 1.0 for n in seen])


def scalable_softmax(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, gain: Array, offset: Array
) -> Array:
    found = np.empty_like(score)
    for head in range(sizes.h):
        for i in range(sizes.q):
            found[:, head, i] = score[:, head, i] * (float(gain[head]) * math.log(i + 1) + float(offset[head]))
    return found


def logn_scale(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, trained: int = 2048) -> Array:
    """As Qwen 1's `logn_tensor`: a list of `log(i, seq_length)` beyond the trained length, 1 before."""
    return _by_query(score, [math.log(i, trained) if i > trained else 1 for i in range(1, sizes.q + 1)])


def attention_multiplier(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, multiplier: float
) -> Array:
    return score / (1 / multiplier)


def head_scale(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, factor: Array) -> Array:
    return np.einsum("bhqk,h->bhqk", score, factor.astype(np.float64))


def first_key_sink(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    sink_logit: Array, document: Array, first: Array,
) -> Array:  # fmt: skip
    found = score.copy()
    for row in range(sizes.b):
        for i in range(sizes.q):
            place = int(first[row, document[row, i]])
            if place < sizes.k:
                found[row, :, i, place] += sink_logit
    return found


def _heads(*names: str) -> Callable[[np.random.Generator, Sizes], dict[str, Array]]:
    return lambda rng, sizes: {name: rng.standard_normal(sizes.h).astype(np.float32) for name in names}


def _weights(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"weight": rng.standard_normal(max(sizes.q, sizes.k)).astype(np.float32)}


def _first_keys(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    found = documents(rng, sizes)
    logit = rng.standard_normal(sizes.h).astype(np.float32)
    return {"sink_logit": logit, "document": found, "first": starts(found)}


ORACLES: dict[str, Oracle] = {
    "clamp_score": Oracle(score=clamp_score, constants=({"limit": 0.5}, {"limit": 9.0})),
    "causal_score": Oracle(score=causal_score),
    "masked_score": Oracle(score=masked_score, masks={"inner": "k % 2 == 0 or k == q"}),
    "self_penalty": Oracle(score=self_penalty, constants=({}, {"penalty": -1e3})),
    "squared_score": Oracle(score=squared_score),
    "weighted_square": Oracle(score=weighted_square, inputs=_weights),
    "trigonometric_score": Oracle(score=trigonometric_score),
    "sigmoid_weight": Oracle(score=sigmoid_weight, constants=({}, {"bias": -3.0})),
    "sigmoid_attention": Oracle(mask=causal, score=sigmoid_weight, constants=({}, {"bias": 1.0})),
    "relu_weight": Oracle(score=relu_weight),
    "relu_attention": Oracle(mask=causal, score=relu_weight),
    "shifted_silu": Oracle(score=shifted_silu, constants=({}, {"shift": 0.4})),
    "shifted_gelu": Oracle(score=shifted_gelu, constants=({}, {"shift": 0.4})),
    "llama4_temperature": Oracle(
        score=llama4_temperature, constants=({}, {"attn_scale": 0.5, "floor_scale": 8}, {"floor_scale": 1})
    ),
    "ministral3_temperature": Oracle(
        score=ministral3_temperature, constants=({}, {"beta": 0.5, "original": 8}, {"original": 1})
    ),
    "inkling_temperature": Oracle(
        score=inkling_temperature, constants=({"alpha": 0.1, "start": 16}, {"alpha": 1.0, "start": 1})
    ),
    "scalable_softmax": Oracle(score=scalable_softmax, inputs=_heads("gain", "offset")),
    "logn_scale": Oracle(score=logn_scale, constants=({}, {"trained": 2}, {"trained": 16})),
    "attention_multiplier": Oracle(score=attention_multiplier, constants=({"multiplier": 0.015625},)),
    "head_scale": Oracle(score=head_scale, inputs=_heads("factor")),
    "learnable_sink": Oracle(mask=causal, inputs=_heads("sink_logit"), sink="sink_logit"),
    "off_by_one_softmax": Oracle(mask=causal),
    "first_key_sink": Oracle(score=first_key_sink, inputs=_first_keys),
}
