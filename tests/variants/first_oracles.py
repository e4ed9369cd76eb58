"""Oracles of the first shipped variants: base, local, packed, prefix, bias, cap and models."""

from __future__ import annotations

import math

import numpy as np
from oracle import Array, Oracle, Sizes, documents, starts


def full(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.ones(np.broadcast_shapes(q.shape, k.shape), bool)


def causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.tril(np.ones((sizes.q, sizes.k), bool))[q, k]


def causal_bottom_right(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.tril(np.ones((sizes.q, sizes.k), bool), sizes.k - sizes.q)[q, k]


def sliding_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: int = 4096) -> Array:
    ones = np.ones((sizes.q, sizes.k), bool)
    return (np.tril(ones) & ~np.tril(ones, -window))[q, k]


def symmetric_local(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, radius: int = 64) -> Array:
    ones = np.ones((sizes.q, sizes.k), bool)
    return (np.tril(ones, radius) & np.triu(ones, -radius))[q, k]


def chunked(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, chunk: int = 8192) -> Array:
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        seen[i, i - i % chunk : i + 1] = True
    return seen[q, k]


def dilated(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: int = 512, dilation: int = 2) -> Array:
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        for back in range(0, min(window, i + 1), dilation):
            if i - back < sizes.k:
                seen[i, i - back] = True
    return seen[q, k]


def sink_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: int = 512, sinks: int = 4) -> Array:
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        seen[i, max(0, i - window + 1) : i + 1] = True
        seen[i, : min(sinks, i + 1)] = True
    return seen[q, k]


def prefix_lm(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, prefix: Array) -> Array:
    """The triangle with the columns of each row's prefix filled."""
    seen = np.array([np.tril(np.ones((sizes.q, sizes.k), bool)) for _ in prefix])
    for row, length in enumerate(prefix):
        seen[row, :, :length] = True
    return seen[b, q, k]


def document(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, document: Array) -> Array:
    """A square of ones for each document, from its length, along the diagonal (as xformers' BlockDiagonalMask)."""
    length = document.shape[1]
    seen = np.zeros((sizes.b, length, length), bool)
    for row, numbers in enumerate(document):
        end = 0
        for count in np.unique(numbers, return_counts=True)[1]:
            seen[row, end : end + count, end : end + count] = True
            end += count
    return seen[b, q, k]


def packed_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, document: Array) -> Array:
    """A triangle of ones for each document."""
    seen = np.zeros((sizes.b, sizes.q, sizes.k), bool)
    for row, first in enumerate(starts(document)):
        begins = np.unique(first)
        for i in range(sizes.q):
            seen[row, i, begins[begins <= i].max() : i + 1] = True
    return seen[b, q, k]


def packed_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, document: Array, start: Array) -> Array:
    """packed(inner = sliding_window(3) or first key): token by token, document by document."""
    seen = np.zeros((sizes.b, sizes.q, sizes.k), bool)
    for row in range(sizes.b):
        for number in np.unique(document[row]):
            members = np.flatnonzero(document[row] == number)
            for i, place in enumerate(members):
                for j, key in enumerate(members):
                    if place < sizes.q and key < sizes.k:
                        seen[row, place, key] = 0 <= i - j < 3 or j == 0
    return seen[b, q, k]


def softcap(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, cap: float = 50.0) -> Array:
    ratio = np.exp(2 * score / cap)
    return cap * (ratio - 1) / (ratio + 1)


def alibi(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, slope: Array) -> Array:
    """Falling along every diagonal, built row by row."""
    bias = np.array([[np.arange(sizes.k, dtype=float) - i for i in range(sizes.q)]] * sizes.h)
    return score + (np.asarray(slope, float)[:, None, None] * bias)[h, q, k]


def alibi_slopes(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias_max: float = 8.0) -> Array:
    """The slopes as Hugging Face's BLOOM and MPT build them."""
    nearest = 2 ** math.floor(math.log2(sizes.h))
    slopes = [2.0 ** (-bias_max * (i + 1) / nearest) for i in range(nearest)]
    extra = [2.0 ** (-bias_max * (i + 1) / (2 * nearest)) for i in range(2 * nearest)]
    slopes += extra[0::2][: sizes.h - nearest]
    return score + np.array(slopes)[h] * (k - q)


def relative_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, radius: int
) -> Array:
    distance = np.clip(k - q, -radius, radius)
    return score + bias.astype(np.float64)[h, distance + radius]


def _t5_bucket(relative: Array, bidirectional: bool, buckets: int, max_distance: int) -> Array:
    """Hugging Face's `T5Attention._relative_position_bucket` in NumPy; `relative` is key minus query."""
    found = np.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        found = found + (relative > 0) * buckets
        relative = np.abs(relative)
    else:
        relative = -np.minimum(relative, 0)
    exact = buckets // 2
    with np.errstate(divide="ignore"):
        grown = np.log(relative / exact) / math.log(max_distance / exact) * (buckets - exact)
    large = np.minimum(exact + np.where(relative > 0, grown, 0).astype(np.int64), buckets - 1)
    return found + np.where(relative < exact, relative, large)


def t5_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, max_distance: int
) -> Array:
    return score + bias.astype(np.float64)[_t5_bucket(k - q, True, bias.shape[0], max_distance), h]


def t5_bias_causal(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, max_distance: int
) -> Array:
    return score + bias.astype(np.float64)[_t5_bucket(k - q, False, bias.shape[0], max_distance), h]


def _float_table(*shape: int | str) -> object:
    def draw(rng: np.random.Generator, sizes: Sizes) -> Array:
        lengths = [sizes.h if s == "head" else s for s in shape]
        return rng.standard_normal(lengths).astype(np.float32)

    return draw


def _document_only(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"document": documents(rng, sizes)}


def _packed(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    found = documents(rng, sizes)
    return {"document": found, "start": starts(found)}


def _prefix(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"prefix": rng.integers(0, sizes.k + 1, sizes.b).astype(np.int32)}


def _table(name: str, *shape: int | str) -> object:
    draw = _float_table(*shape)
    return lambda rng, sizes: {name: draw(rng, sizes)}  # type: ignore[operator]


windows = ({"window": 1}, {"window": 3}, {"window": 40})

ORACLES: dict[str, Oracle] = {
    "full": Oracle(mask=full),
    "causal": Oracle(mask=causal),
    "causal_bottom_right": Oracle(mask=causal_bottom_right),
    "sliding_window": Oracle(mask=sliding_window, constants=({}, *windows)),
    "symmetric_local": Oracle(mask=symmetric_local, constants=({}, {"radius": 0}, {"radius": 5})),
    "chunked": Oracle(mask=chunked, constants=({}, {"chunk": 1}, {"chunk": 7})),
    "dilated": Oracle(mask=dilated, constants=({}, {"window": 9, "dilation": 3}, {"window": 8, "dilation": 4})),
    "sink_window": Oracle(mask=sink_window, constants=({}, {"window": 3, "sinks": 2}, {"window": 5, "sinks": 0})),
    "prefix_lm": Oracle(mask=prefix_lm, inputs=_prefix),
    "document": Oracle(mask=document, inputs=_document_only),
    "packed": Oracle(mask=packed_window, inputs=_packed, masks={"inner": "0 <= q - k < 3 or k == 0"}),
    "packed_causal": Oracle(mask=packed_causal, inputs=_document_only),
    "softcap": Oracle(score=softcap, constants=({}, {"cap": 1.5})),
    "alibi": Oracle(score=alibi, inputs=_table("slope", "head")),  # type: ignore[arg-type]
    "alibi_slopes": Oracle(score=alibi_slopes, constants=({}, {"bias_max": 16.0})),
    "relative_bias": Oracle(
        score=relative_bias,
        inputs=_table("bias", "head", 9),
        constants=({"radius": 4},),  # type: ignore[arg-type]
    ),
    "t5_bias": Oracle(
        score=t5_bias,
        inputs=_table("bias", 32, "head"),  # type: ignore[arg-type]
        constants=({"max_distance": 128}, {"max_distance": 20}),
    ),
    "t5_bias_causal": Oracle(
        score=t5_bias_causal,
        inputs=_table("bias", 32, "head"),  # type: ignore[arg-type]
        constants=({"max_distance": 128}, {"max_distance": 20}),
    ),
    "mistral": Oracle(mask=sliding_window, constants=({}, *windows)),
    "gemma2_local": Oracle(mask=sliding_window, score=softcap, constants=({}, {"window": 5, "cap": 3.0}), scale=1 / 16),
    "gemma2_global": Oracle(mask=causal, score=softcap, scale=1 / 16),
    "gpt_oss_local": Oracle(
        mask=sliding_window,
        inputs=_table("sink_logit", "head"),  # type: ignore[arg-type]
        constants=({"window": 128}, {"window": 4}),
        sink="sink_logit",
    ),
    "gpt_oss_global": Oracle(mask=causal, inputs=_table("sink_logit", "head"), sink="sink_logit"),  # type: ignore[arg-type]
    "llama4_local": Oracle(mask=chunked, constants=({}, {"chunk": 6})),
}
