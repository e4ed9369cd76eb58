"""Oracles of the global family: windows beside keys or tokens that everything sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oracle import Array, Oracle, Sizes

Constants = tuple[dict[str, Any], ...]


def _causal(sizes: Sizes) -> Array:
    """bool [b, q, k]."""
    return np.broadcast_to(np.tril(np.ones((sizes.q, sizes.k), bool)), (sizes.b, sizes.q, sizes.k)).copy()


def _streaming(sizes: Sizes, window: int, kept: Callable[[int], Any]) -> Array:
    """Causal, with the keys that have left the window evicted unless `kept(row)` lists them: bool [b, q, k].

    As a cache does it: after each token, the key that is `window` old goes.
    """
    seen = np.zeros((sizes.b, sizes.q, sizes.k), bool)
    for row in range(sizes.b):
        always, cache = set(kept(row)), set()
        for i in range(sizes.q):
            cache.add(i)
            if i >= window and i - window not in always:
                cache.discard(i - window)
            seen[row, i, [j for j in cache if j < sizes.k]] = True
    return seen


def reference_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, prefill: Array, window: int = 128) -> Array:
    """Hugging Face's cache: the prefill's states and a sliding layer."""
    return _streaming(sizes, window, lambda row: range(prefill[row]))[b, q, k]


def hymba_local(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, lookback: int = 1024, meta: int = 128) -> Array:
    """Hymba's `q_idx - kv_idx <= sliding_window`: a key goes when it is lookback + 1 old."""
    return _streaming(sizes, lookback + 1, lambda row: range(meta))[b, q, k]


def tri_shape(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: int = 512, sinks: int = 8, last: int = 128
) -> Array:
    """MInference's `tri_shape_kernel`: a streaming part, and the last queries in full."""
    seen = _streaming(sizes, window, lambda row: range(sinks))
    first = max(0, sizes.k - last)
    seen[:, first:] = _causal(sizes)[:, first:]
    return seen[b, q, k]


def sep_llm(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, separator: Array, window: int, sinks: int) -> Array:
    return _streaming(sizes, window, lambda row: {*range(sinks), *np.flatnonzero(separator[row])})[b, q, k]


def longformer(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, is_global: Array, radius: int = 256) -> Array:
    """A band, with the rows and columns of global tokens painted over."""
    seen = np.zeros((sizes.b, sizes.q, sizes.k), bool)
    for row in range(sizes.b):
        for i in range(sizes.q):
            seen[row, i, max(0, i - radius) : i + radius + 1] = True
        chosen = np.flatnonzero(is_global[row])
        seen[row, chosen[chosen < sizes.q]] = True
        seen[row][:, chosen[chosen < sizes.k]] = True
    return seen[b, q, k]


def longformer_blocks(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    is_global: Array, block: int = 16, reach: int = 1, unidirectional: bool = False,
) -> Array:  # fmt: skip
    """DeepSpeed's `BSLongformerSparsityConfig.make_layout`."""
    count = -(-max(sizes.q, sizes.k) // block)
    layout = np.zeros((count, count), bool)
    for row in range(count):
        layout[row, max(0, row - reach) : min(row + reach + 1, count)] = True
    for at in np.flatnonzero(is_global):
        if at < count:
            layout[at, :] = True
            layout[:, at] = True
    if unidirectional:
        layout = np.tril(layout)
    return np.kron(layout, np.ones((block, block), bool))[q, k]


def global_sliding_window(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, left: int, right: int, count: int
) -> Array:
    """FlashMask's columns: where each key's visible rows begin and end."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for column in range(sizes.k):
        seen[max(0, column - right) : column + left + 1, column] = True
    seen[:, :count] = True
    seen[:count] = True
    return seen[q, k]


def global_blocks(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 16, count: int = 1) -> Array:
    """DeepSpeed's `set_global_layout_itc`."""
    layout = np.zeros((-(-max(sizes.q, sizes.k) // block),) * 2, bool)
    layout[:count, :] = True
    layout[:, :count] = True
    return np.kron(layout, np.ones((block, block), bool))[q, k]


def longt5_local(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, radius: int = 127) -> Array:
    """Hugging Face's way: each block of radius + 1 tokens sees three blocks, of which those nearer than that stay."""
    length = radius + 1
    return (np.abs(q // length - k // length) <= 1) & (np.abs(k - q) < length)


def longt5_transient_global(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, valid: Array, radius: int = 127
) -> Array:
    """Local keys and the side keys, put side by side."""
    tokens = min(sizes.q, sizes.k)
    local = longt5_local(b, h, np.arange(sizes.q)[:, None], np.arange(tokens), sizes, radius)
    side = np.zeros((sizes.b, sizes.q, sizes.k - tokens), bool)
    shown = valid[:, None, : side.shape[2]]
    side[:, :, : shown.shape[2]] = shown
    return np.concatenate([np.broadcast_to(local, (sizes.b, *local.shape)), side], axis=2)[b, q, k]


def staggered_blocks(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 512, shift: int = 256) -> Array:
    """Hugging Face's `pad_local_tokens`: padding in front, blocks, and the padding cut off again."""
    length = max(sizes.q, sizes.k)
    blocks = np.kron(np.eye(-(-(shift + length) // block), dtype=bool), np.ones((block, block), bool))
    return blocks[shift:, shift:][q, k]


def pegasus_x(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 512, shift: int = 0, globals: int = 128
) -> Array:
    seen = np.ones((sizes.q, sizes.k), bool)
    text = Sizes(1, 1, max(0, sizes.q - globals), max(0, sizes.k - globals))
    at = np.ix_(range(text.q), range(text.k))
    seen[globals:, globals:] = staggered_blocks(b, h, *at, text, block, shift)
    return seen[q, k]


def _prefill(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"prefill": rng.integers(0, sizes.k + 1, sizes.b).astype(np.int32)}


def _flags(name: str) -> Callable[[np.random.Generator, Sizes], dict[str, Array]]:
    return lambda rng, sizes: {name: rng.random((sizes.b, max(sizes.q, sizes.k))) < 0.15}


def _global_blocks(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"is_global": rng.random(129) < 0.1}


def _summaries(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """Fewer, as many, or more summaries than keys after the tokens."""
    return {"valid": rng.random((sizes.b, max(1, sizes.k - sizes.q + int(rng.integers(-3, 4))))) < 0.6}


block_layouts: Constants = (
    {},
    {"block": 3, "reach": 2},
    {"block": 1, "reach": 0},
    {"block": 4, "reach": 1, "unidirectional": True},
)

ORACLES: dict[str, Oracle] = {
    "reference_window": Oracle(mask=reference_window, inputs=_prefill, constants=({}, {"window": 1}, {"window": 5})),
    "hymba_local": Oracle(mask=hymba_local, constants=({}, {"lookback": 3, "meta": 3}, {"lookback": 1, "meta": 0})),
    "tri_shape": Oracle(
        mask=tri_shape, constants=({}, {"window": 3, "sinks": 2, "last": 4}, {"window": 6, "sinks": 0, "last": 0})
    ),
    "sep_llm": Oracle(
        mask=sep_llm, inputs=_flags("separator"), constants=({"window": 4, "sinks": 3}, {"window": 1, "sinks": 0})
    ),
    "longformer": Oracle(mask=longformer, inputs=_flags("is_global"), constants=({}, {"radius": 0}, {"radius": 4})),
    "longformer_blocks": Oracle(mask=longformer_blocks, inputs=_global_blocks, constants=block_layouts),
    "global_sliding_window": Oracle(
        mask=global_sliding_window,
        constants=(
            {"left": 3, "right": 2, "count": 2},
            {"left": 0, "right": 0, "count": 1},
            {"left": 5, "right": 40, "count": 0},
        ),
    ),
    "global_blocks": Oracle(mask=global_blocks, constants=({}, {"block": 3, "count": 2}, {"block": 5, "count": 0})),
    "longt5_local": Oracle(mask=longt5_local, constants=({}, {"radius": 0}, {"radius": 5})),
    "longt5_transient_global": Oracle(
        mask=longt5_transient_global, inputs=_summaries, constants=({}, {"radius": 0}, {"radius": 3})
    ),
    "staggered_blocks": Oracle(
        mask=staggered_blocks, constants=({}, {"block": 6, "shift": 3}, {"block": 5, "shift": 0})
    ),
    "pegasus_x": Oracle(
        mask=pegasus_x, constants=({}, {"block": 6, "shift": 3, "globals": 4}, {"block": 4, "shift": 0, "globals": 0})
    ),
}
