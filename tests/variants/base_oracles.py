"""Oracles of the base family: alignments, padding, masks given as tables, and masks put together from others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oracle import Array, Oracle, Sizes

Inputs = Callable[[np.random.Generator, Sizes], dict[str, Array]]
Constants = tuple[dict[str, Any], ...]


def _ones(sizes: Sizes) -> Array:
    return np.ones((sizes.q, sizes.k), bool)


def _all_pairs(sizes: Sizes, value: bool) -> Array:
    return np.full((sizes.b, sizes.h, sizes.q, sizes.k), value)


def _row_lengths(name: str, *more: str) -> Inputs:
    """Random lengths from 0 to one more than the longest, one for each row of the batch."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        top = max(sizes.q, sizes.k) + 2
        return {n: rng.integers(0, top, sizes.b).astype(np.int32) for n in (name, *more)}

    return draw


def inverse_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.triu(_ones(sizes))[q, k]


def bi_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    """MagiAttention's picture: the triangle from the top left and the one from the bottom right."""
    return (np.triu(_ones(sizes)) & np.tril(_ones(sizes), sizes.k - sizes.q))[q, k]


def strict_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return np.tril(_ones(sizes), -1)[q, k]


def offset_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, q_offset: int = 0, k_offset: int = 0) -> Array:
    return np.tril(_ones(sizes), q_offset - k_offset)[q, k]


def offset_causal_per_row(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, q_offset: Array, k_offset: Array
) -> Array:
    """The window of queries and keys cut from one long causal triangle."""
    rows = []
    for first_q, first_k in zip(q_offset, k_offset, strict=True):
        whole = np.tril(np.ones((first_q + sizes.q, first_k + sizes.k), bool))
        rows.append(whole[first_q:, first_k:])
    return np.array(rows)[b, q, k]


def right_padding(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, kv_length: Array) -> Array:
    seen = _all_pairs(sizes, True)
    for row, length in enumerate(kv_length):
        seen[row, :, :, length:] = False
    return seen


def padding(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, q_length: Array, kv_length: Array) -> Array:
    seen = right_padding(b, h, q, k, sizes, kv_length)
    for row, length in enumerate(q_length):
        seen[row, :, length:] = False
    return seen


def left_padding(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, pad: Array) -> Array:
    seen = _all_pairs(sizes, True)
    for row, length in enumerate(pad):
        seen[row, :, :, :length] = False
    return seen


def left_padded(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, pad: Array) -> Array:
    """With chunks of 3 inside: the sequence without its padding, put back behind it."""
    seen = _all_pairs(sizes, False)
    for row, first in enumerate(pad):
        for i in range(first, sizes.q):
            start = first + (i - first) // 3 * 3
            seen[row, :, i, start : i + 1] = True
    return seen


def key_padding(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, keep: Array) -> Array:
    seen = _all_pairs(sizes, True)
    for row, column in np.argwhere(~keep[:, : sizes.k]):
        seen[row, :, :, column] = False
    return seen


def _keep(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"keep": rng.random((sizes.b, max(sizes.q, sizes.k))) < 0.6}


def _visible(rng: np.random.Generator, sizes: Sizes, *outer: int) -> dict[str, Array]:
    """A table that may be longer or shorter than the sequences."""
    shape = (*outer, max(1, sizes.q + rng.integers(-2, 3)), max(1, sizes.k + rng.integers(-2, 3)))
    return {"visible": rng.random(shape) < 0.5}


def _reached(visible: Array, sizes: Sizes) -> Array:
    """[..., q, k]: the table cut, or continued with false."""
    found = np.zeros((*visible.shape[:-2], sizes.q, sizes.k), bool)
    part = visible[..., : sizes.q, : sizes.k]
    found[..., : part.shape[-2], : part.shape[-1]] = part
    return found


def dense_mask(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, visible: Array) -> Array:
    return _reached(visible, sizes)[q, k]


def dense_mask_per_head(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, visible: Array) -> Array:
    return _reached(visible, sizes)


def _packed_bits(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """Each request's bits as `np.packbits` packs them, one request after the other."""
    packed = [np.packbits(rng.random(sizes.q * sizes.k) < 0.5, bitorder="little") for _ in range(sizes.b)]
    ends = np.cumsum([len(p) for p in packed])
    return {"bits": np.concatenate(packed), "start": np.array([0, *ends[:-1]], np.int32)}


def bit_packed_mask(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bits: Array, start: Array) -> Array:
    count = sizes.q * sizes.k
    rows = [np.unpackbits(bits[s:], bitorder="little")[:count].reshape(sizes.q, sizes.k) for s in start]
    return np.array(rows, bool)[b, q, k]


def _bitmap(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"visible": rng.random((sizes.b, sizes.h, *rng.integers(1, 50, 2))) < 0.5}


def block_sparse(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, visible: Array, q_block: int = 128, k_block: int = 128
) -> Array:
    return _reached(np.kron(visible, np.ones((q_block, k_block), bool)), sizes)


def _variable_blocks(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = max(sizes.q, sizes.k)
    numbers = [np.sort(rng.integers(0, n, (sizes.h, length)), axis=1).astype(np.int32) for n in (3, 5)]
    return {"visible": rng.random((sizes.h, 3, 5)) < 0.5, "row": numbers[0], "column": numbers[1]}


def variable_block_sparse(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, visible: Array, row: Array, column: Array
) -> Array:
    """As FlashInfer's reference: a bitmap repeated by the lengths of its blocks."""
    seen = _all_pairs(sizes, False)
    for head in range(sizes.h):
        heights = np.bincount(row[head, : sizes.q], minlength=3)
        widths = np.bincount(column[head, : sizes.k], minlength=5)
        seen[:, head] = np.repeat(np.repeat(visible[head], heights, axis=0), widths, axis=1)
    return seen


def _rows(bounds: int) -> Inputs:
    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        shape = (sizes.b, sizes.h, max(sizes.q, sizes.k), bounds)
        return {"rows": rng.integers(0, sizes.q + 1, shape).astype(np.int32)}

    return draw


def _hide(seen: Array, rows: Array, first: int | None, last: int | None) -> Array:
    """Hide, in every column, the rows from bound `first` (or the top) up to bound `last` (or the bottom)."""
    for at in np.ndindex(seen.shape[0], seen.shape[1], seen.shape[3]):
        start = 0 if first is None else rows[at][first]
        end = seen.shape[2] if last is None else rows[at][last]
        seen[at[0], at[1], start:end, at[2]] = False
    return seen


def _bottom_right(sizes: Sizes) -> Array:
    return _all_pairs(sizes, True) & np.tril(_ones(sizes), sizes.k - sizes.q)


def flashmask_causal_1(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, rows: Array) -> Array:
    return _hide(_bottom_right(sizes), rows, 0, None)


def flashmask_causal_2(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, rows: Array) -> Array:
    return _hide(_bottom_right(sizes), rows, 0, 1)


def flashmask_full_2(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, rows: Array) -> Array:
    return _hide(_hide(_all_pairs(sizes, True), rows, 0, None), rows, None, 1)


def flashmask_full_4(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, rows: Array) -> Array:
    return _hide(_hide(_all_pairs(sizes, True), rows, 0, 1), rows, 2, 3)


def _intervals(*names: str) -> Inputs:
    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        shape = (sizes.b, max(sizes.q, sizes.k))
        return {n: rng.integers(0, sizes.k + 2, shape).astype(np.int32) for n in names}

    return draw


def row_interval(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, low: Array, high: Array) -> Array:
    seen = _all_pairs(sizes, False)
    for row, i in np.ndindex(sizes.b, sizes.q):
        seen[row, :, i, low[row, i] : high[row, i]] = True
    return seen


def row_interval_pair(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, low: Array, high: Array, second_low: Array, second_high: Array
) -> Array:
    first = row_interval(b, h, q, k, sizes, low, high)
    return first | row_interval(b, h, q, k, sizes, second_low, second_high)


def _slices(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    def ranges(length: int) -> Array:
        return np.sort(rng.integers(0, length + 1, (5, 2)), axis=1).astype(np.int32)

    return {
        "q_range": ranges(sizes.q),
        "k_range": ranges(sizes.k),
        "kind": rng.permutation([0, 1, 2, 3, 3]).astype(np.int32),
    }


def attn_slices(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, q_range: Array, k_range: Array, kind: Array
) -> Array:
    """As MagiAttention draws them: each slice's own rectangle, cut to a triangle or a band."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for (q_start, q_end), (k_start, k_end), shape in zip(q_range, k_range, kind, strict=True):
        part = np.ones((q_end - q_start, k_end - k_start), bool)
        if shape in (1, 3):
            part = np.tril(part, part.shape[1] - part.shape[0])
        if shape in (2, 3):
            part = np.triu(part)
        seen[q_start:q_end, k_start:k_end] |= part
    return seen[q, k]


def _band(sizes: Sizes) -> Array:
    return np.tril(_ones(sizes)) & np.triu(_ones(sizes), -2)


def and_masks(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    seen = _band(sizes)
    seen[:, 1::2] = False
    return seen[q, k]


def or_masks(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    seen = _band(sizes)
    seen[:, ::2] = True
    return seen[q, k]


def _heads(name: str) -> Inputs:
    return lambda rng, sizes: {name: rng.random(sizes.h) < 0.5}


def multi_head_mask(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, chosen: Array) -> Array:
    """JAX's MultiHeadMask: one mask for each head, stacked."""
    return np.stack([_band(sizes) if c else np.triu(_ones(sizes)) for c in chosen])[h, q, k]


def duo_attention(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, retrieval: Array, window: int = 256, sinks: int = 64
) -> Array:
    seen = _all_pairs(sizes, True) & np.tril(_ones(sizes))
    for head in np.flatnonzero(~retrieval):
        for i in range(sizes.q):
            seen[:, head, i, sinks : max(sinks, i - window + 1)] = False
    return seen


def _thresholds(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = max(sizes.q, sizes.k)
    return {"threshold": (np.arange(length) + rng.integers(-3, 4, length)).astype(np.int32)}


def key_threshold(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, threshold: Array) -> Array:
    seen = _all_pairs(sizes, True)
    for column in range(sizes.k):
        seen[..., column] = column >= threshold[column]
    return seen


def _windows(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"window": rng.integers(0, 12, max(sizes.q, sizes.k)).astype(np.int32)}


def query_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: Array) -> Array:
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        seen[i, max(0, i - window[i]) : i + 1] = True
    return seen[q, k]


def _per_head(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return _visible(rng, sizes, sizes.b, sizes.h)


offsets: Constants = ({}, {"q_offset": 3}, {"k_offset": 2}, {"q_offset": 9, "k_offset": 4})
blocks: Constants = ({}, {"q_block": 3, "k_block": 5}, {"q_block": 1, "k_block": 16})
streams: Constants = ({}, {"window": 3, "sinks": 2}, {"window": 8, "sinks": 0})

ORACLES: dict[str, Oracle] = {
    "inverse_causal": Oracle(mask=inverse_causal),
    "bi_causal": Oracle(mask=bi_causal),
    "strict_causal": Oracle(mask=strict_causal),
    "offset_causal": Oracle(mask=offset_causal, constants=offsets),
    "offset_causal_per_row": Oracle(mask=offset_causal_per_row, inputs=_row_lengths("q_offset", "k_offset")),
    "right_padding": Oracle(mask=right_padding, inputs=_row_lengths("kv_length")),
    "padding": Oracle(mask=padding, inputs=_row_lengths("q_length", "kv_length")),
    "left_padding": Oracle(mask=left_padding, inputs=_row_lengths("pad")),
    "left_padded": Oracle(mask=left_padded, inputs=_row_lengths("pad"), masks={"inner": "k <= q and q // 3 == k // 3"}),
    "key_padding": Oracle(mask=key_padding, inputs=_keep),
    "dense_mask": Oracle(mask=dense_mask, inputs=_visible),
    "dense_mask_per_head": Oracle(mask=dense_mask_per_head, inputs=_per_head),
    "bit_packed_mask": Oracle(mask=bit_packed_mask, inputs=_packed_bits),
    "block_sparse": Oracle(mask=block_sparse, inputs=_bitmap, constants=blocks),
    "variable_block_sparse": Oracle(mask=variable_block_sparse, inputs=_variable_blocks),
    "flashmask_causal_1": Oracle(mask=flashmask_causal_1, inputs=_rows(1)),
    "flashmask_causal_2": Oracle(mask=flashmask_causal_2, inputs=_rows(2)),
    "flashmask_full_2": Oracle(mask=flashmask_full_2, inputs=_rows(2)),
    "flashmask_full_4": Oracle(mask=flashmask_full_4, inputs=_rows(4)),
    "row_interval": Oracle(mask=row_interval, inputs=_intervals("low", "high")),
    "row_interval_pair": Oracle(mask=row_interval_pair, inputs=_intervals("low", "high", "second_low", "second_high")),
    "attn_slices": Oracle(mask=attn_slices, inputs=_slices),
    "and_masks": Oracle(mask=and_masks, masks={"first": "0 <= q - k < 3", "second": "k % 2 == 0"}),
    "or_masks": Oracle(mask=or_masks, masks={"first": "0 <= q - k < 3", "second": "k % 2 == 0"}),
    "multi_head_mask": Oracle(
        mask=multi_head_mask, inputs=_heads("chosen"), masks={"first": "0 <= q - k < 3", "second": "k >= q"}
    ),
    "key_threshold": Oracle(mask=key_threshold, inputs=_thresholds),
    "query_window": Oracle(mask=query_window, inputs=_windows),
    "duo_attention": Oracle(mask=duo_attention, inputs=_heads("retrieval"), constants=streams),
}
