"""Oracles of the local family: windows, chunks, block bands, dilated windows, sinks beside a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oracle import Array, Oracle, Sizes

Inputs = Callable[[np.random.Generator, Sizes], dict[str, Array]]
Constants = tuple[dict[str, Any], ...]


def _each_row(sizes: Sizes, see: Callable[[int], Any], q: Array, k: Array) -> Array:
    """A mask made row by row: `see(i)` gives the keys that query i sees, those past the end among them."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        for j in see(i):
            if 0 <= j < sizes.k:
                seen[i, j] = True
    return seen[q, k]


def lookback_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, lookback: int = 4096) -> Array:
    """attention-gym: `q_idx - kv_idx <= window_size`, and causal."""
    ones = np.ones((sizes.q, sizes.k), bool)
    return (np.tril(ones) & np.triu(ones, -lookback))[q, k]


def local_window(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, left: int = -1, right: int = -1, offset: int = 0
) -> Array:
    """As JAX's `make_local_attention_mask`, which takes None where there is no limit."""
    seen = np.ones((sizes.q, sizes.k), bool)
    if left >= 0:
        seen = np.triu(seen, offset - left)
    if right >= 0:
        seen = np.tril(seen, offset + right)
    return seen[q, k]


def local_window_bottom_right(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, left: int = -1, right: int = -1
) -> Array:
    return local_window(b, h, q, k, sizes, left, right, sizes.k - sizes.q)


def exclusive_local(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, left: int, right: int) -> Array:
    """Itself, left - 1 keys before it and right - 1 after it, written out."""
    return _each_row(sizes, lambda i: range(i - left + 1, i + right), q, k)


def chunked_after_padding(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, pad: Array, chunk: int = 8192) -> Array:
    """Borders of chunks counted up and down from the first token."""
    rows = []
    for first in pad:
        borders = np.zeros(max(sizes.q, sizes.k), int)
        borders[first % chunk :: chunk] = 1
        number = np.cumsum(borders)
        rows.append(np.tril(number[: sizes.q, None] == number[None, : sizes.k]))
    return np.array(rows)[b, q, k]


def attention_chunk(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, chunk: int, left: int = -1, right: int = -1
) -> Array:
    """As FlashAttention 3: both limits of a row, cut to its chunk."""

    def see(i: int) -> range:
        centre = i + sizes.k - sizes.q
        start = int(np.floor(centre / chunk)) * chunk
        first = start if left < 0 else max(start, centre - left)
        last = start + chunk if right < 0 else min(start + chunk, centre + right + 1)
        return range(max(first, 0), min(last, sizes.k))

    return _each_row(sizes, see, q, k)


def chunked_left_context(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, chunk: int, left_chunks: int) -> Array:
    """As Hugging Face's `_apply_chunk_attention` of SeamlessM4T v2: a start and an end for every query."""
    number = np.arange(sizes.q) // chunk
    start = np.maximum(number - left_chunks, 0) * chunk
    end = (number + 1) * chunk
    places = np.arange(sizes.k)
    return ((places >= start[:, None]) & (places < end[:, None]))[q, k]


def _blocks(sizes: Sizes, block: int, layout: Callable[[int], Array]) -> Array:
    """A layout of blocks, repeated for the tokens: bool [q, k]."""
    count = -(-max(sizes.q, sizes.k) // block)
    return np.kron(layout(count), np.ones((block, block), bool))[: sizes.q, : sizes.k]


def block_diagonal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 128) -> Array:
    return _blocks(sizes, block, lambda n: np.eye(n, dtype=bool))[q, k]


def batchify(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int) -> Array:
    """With a window of 2 inside."""
    count = -(-max(sizes.q, sizes.k) // block)
    inner = np.tril(np.ones((block, block), bool)) & np.triu(np.ones((block, block), bool), -1)
    return np.kron(np.eye(count, dtype=bool), inner)[q, k]


def _deepspeed_window(count: int, back: int, ahead: int) -> Array:
    """DeepSpeed's `set_sliding_window_layout`."""
    layout = np.zeros((count, count), bool)
    for row in range(count):
        layout[row, max(0, row - back) : min(row + ahead + 1, count)] = True
    return layout


def block_band_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 16, back: int = 1) -> Array:
    return _blocks(sizes, block, lambda n: _deepspeed_window(n, back, 0))[q, k]


def block_band(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 16, reach: int = 1) -> Array:
    return _blocks(sizes, block, lambda n: _deepspeed_window(n, reach, reach))[q, k]


def mini_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, period: int = 128) -> Array:
    count = -(-max(sizes.q, sizes.k) // period)
    return np.tile(np.tril(np.ones((period, period), bool)), (count, count))[q, k]


def dilated_symmetric(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, radius: int = 256, dilation: int = 2
) -> Array:
    """Steps of the dilation to either side, as long as they stay in the window."""
    steps = range(radius // dilation + 1)
    return _each_row(sizes, lambda i: (i + sign * n * dilation for n in steps for sign in (-1, 1)), q, k)


def dilated_per_head(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, dilation: Array, keys: int = 256) -> Array:
    """Longformer: steps of one head's dilation to either side."""
    steps = range(-keys, keys + 1)
    heads = [_each_row(sizes, lambda i, d=d: (i + n * d for n in steps), q, k)[0, 0] for d in dilation]  # type: ignore[misc]
    return np.array(heads)[h, q, k]


def sink_window_two_sided(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, left: int, right: int, sinks: int
) -> Array:
    """MagiAttention: the window, and the global keys up to where the window ends."""

    def see(i: int) -> list[int]:
        return [*range(i - left, i + right + 1), *range(min(sinks, i + right + 1))]

    return _each_row(sizes, see, q, k)


def lm_infinite(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: int = 4096, starting: int = 100) -> Array:
    """The two branches of the lambda."""
    return _each_row(sizes, lambda i: [*range(i - window + 1, i + 1), *range(min(starting, i + 1))], q, k)


def _pads(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"pad": rng.integers(0, max(sizes.q, sizes.k) + 1, sizes.b).astype(np.int32)}


def _dilations(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"dilation": rng.integers(1, 6, sizes.h).astype(np.int32)}


sides: Constants = ({}, {"left": 2}, {"right": 3}, {"left": 4, "right": 0}, {"left": 0, "right": 40})

ORACLES: dict[str, Oracle] = {
    "lookback_window": Oracle(mask=lookback_window, constants=({}, {"lookback": 0}, {"lookback": 6})),
    "local_window": Oracle(
        mask=local_window, constants=(*sides, {"left": 3, "right": 1, "offset": 5}, {"left": 2, "offset": -4})
    ),
    "local_window_bottom_right": Oracle(mask=local_window_bottom_right, constants=sides),
    "exclusive_local": Oracle(
        mask=exclusive_local, constants=({"left": 1, "right": 1}, {"left": 6, "right": 2}, {"left": 3, "right": 50})
    ),
    "chunked_after_padding": Oracle(
        mask=chunked_after_padding, inputs=_pads, constants=({}, {"chunk": 1}, {"chunk": 6})
    ),
    "attention_chunk": Oracle(
        mask=attention_chunk,
        constants=({"chunk": 4}, {"chunk": 7, "right": 0}, {"chunk": 16, "left": 3, "right": 2}, {"chunk": 512}),
    ),
    "chunked_left_context": Oracle(
        mask=chunked_left_context,
        constants=({"chunk": 4, "left_chunks": 2}, {"chunk": 1, "left_chunks": 0}, {"chunk": 14, "left_chunks": 99}),
    ),
    "block_diagonal": Oracle(mask=block_diagonal, constants=({}, {"block": 1}, {"block": 5})),
    "batchify": Oracle(mask=batchify, constants=({"block": 4}, {"block": 9}), masks={"inner": "0 <= q - k < 2"}),
    "block_band_causal": Oracle(
        mask=block_band_causal, constants=({}, {"block": 3, "back": 2}, {"block": 8, "back": 0})
    ),
    "block_band": Oracle(mask=block_band, constants=({}, {"block": 3, "reach": 2}, {"block": 8, "reach": 0})),
    "mini_causal": Oracle(mask=mini_causal, constants=({}, {"period": 1}, {"period": 6})),
    "dilated_symmetric": Oracle(
        mask=dilated_symmetric, constants=({}, {"radius": 9, "dilation": 3}, {"radius": 8, "dilation": 5})
    ),
    "dilated_per_head": Oracle(mask=dilated_per_head, inputs=_dilations, constants=({}, {"keys": 0}, {"keys": 3})),
    "sink_window_two_sided": Oracle(
        mask=sink_window_two_sided,
        constants=(
            {"left": 3, "right": 2, "sinks": 5},
            {"left": 0, "right": 0, "sinks": 2},
            {"left": 9, "right": 20, "sinks": 0},
        ),
    ),
    "lm_infinite": Oracle(mask=lm_infinite, constants=({}, {"window": 4, "starting": 3}, {"window": 1, "starting": 0})),
}
