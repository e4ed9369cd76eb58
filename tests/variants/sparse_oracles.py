"""Oracles of the sparse family: block layouts as their libraries make them, strides, logarithms, branches, hashes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from oracle import Array, Oracle, Sizes

Constants = tuple[dict[str, Any], ...]


def _count(sizes: Sizes, block: int) -> int:
    """How many blocks the longer sequence has."""
    return -(-max(sizes.q, sizes.k) // block)


def _tokens(layout: Array, block: int) -> Array:
    """A layout of blocks [..., row, column], repeated for their tokens."""
    return np.kron(layout, np.ones((block, block), bool))


def _per_head(sizes: Sizes, block: int, layout: Callable[[int, int], Array]) -> Array:
    """bool [h, q, k] of layouts that `layout(head, number of blocks)` makes."""
    return np.stack([_tokens(layout(head, _count(sizes, block)), block) for head in range(sizes.h)])


def deepspeed_bigbird(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, pick: Array,
    block: int = 16, window_blocks: int = 3, globals: int = 1, unidirectional: bool = False,
) -> Array:  # fmt: skip
    """DeepSpeed's `BigBirdSparsityConfig.make_layout`, with the random columns given."""

    def layout(head: int, count: int) -> Array:
        found = np.zeros((count, count), bool)
        for row in range(count):
            found[row, [c for c in pick[head, row] if 0 <= c < count]] = True
            w = window_blocks // 2
            found[row, max(0, row - w) : min(row + w + 1, count)] = True
        found[:globals] = True
        found[:, :globals] = True
        return np.tril(found) if unidirectional else found

    return _per_head(sizes, block, layout)[h, q, k]


def bigbird(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, pick: Array, block: int = 64) -> Array:
    """Hugging Face's five parts: first, second, middle, second last and last rows of blocks."""
    count = -(-sizes.k // block)

    def layout(head: int, total: int) -> Array:
        found = np.zeros((max(total, count), count), bool)
        found[[0, *range(count - 1, len(found))]] = True
        for row in range(1, count - 1):
            found[row, [0, row - 1, row, row + 1, count - 1]] = True
            found[row, [c for c in pick[head, row - 1] if 0 <= c < count]] = True
        return found

    return _per_head(sizes, block, layout)[h, q, k]


def _hash(head: int, row: int, column: int, seed: int) -> int:
    """In Python's ints, cut to the low ten bits at the end: what wraps away is above them."""
    return ((row * 73856093) ^ (column * 19349663) ^ (head * 83492791) ^ seed) & 1023


def hashed_blocks(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 64, kept: int = 64, seed: int = 0
) -> Array:
    def layout(head: int, count: int) -> Array:
        return np.array([[_hash(head, r, c, seed) < kept for c in range(count)] for r in range(count)])

    return _per_head(sizes, block, layout)[h, q, k]


def bigbird_hashed(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 64, kept: int = 64, seed: int = 0
) -> Array:
    last = -(-sizes.k // block) - 1

    def layout(head: int, count: int) -> Array:
        found = np.zeros((count, count), bool)
        for row in range(count):
            found[row, max(0, row - 1) : row + 2] = True
            found[row, [c for c in range(count) if _hash(head, row, c, seed) < kept]] = True
        found[[0, last]] = True
        found[:, [0, last]] = True
        return found

    return _per_head(sizes, block, layout)[h, q, k]


def logsparse(b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    """Steps back that double, from each query."""
    seen = np.eye(sizes.q, sizes.k, dtype=bool)
    for i in range(sizes.q):
        step = 1
        while i - step >= 0:
            if i - step < sizes.k:
                seen[i, i - step] = True
            step *= 2
    return seen[q, k]


def logsparse_local(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, lookback: int = 16) -> Array:
    ones = np.ones((sizes.q, sizes.k), bool)
    return logsparse(b, h, q, k, sizes) | (np.tril(ones) & np.triu(ones, -lookback))[q, k]


def strided_head(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, stride: int) -> Array:
    """The transposed grid of openai/sparse_attention: tokens in one column of rows of `stride`."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        seen[i, i % stride : i + 1 : stride] = True
    return seen[q, k]


def strided(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, stride: int) -> Array:
    """The paper's two sets of indices, together: the previous `stride` positions, and the stride's multiples."""
    seen = strided_head(b, h, q, k, sizes, stride).copy()
    for i in range(sizes.q):
        seen[..., i, max(0, i - stride) : i + 1] = True
    return seen


def fixed_blocks(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    block: int = 32, local: int = 4, verticals: int = 4, width: int = 1,
) -> Array:  # fmt: skip
    """openai/sparse_attention's `get_blocksparse_obj`, and its causal mask on the diagonal."""
    indices = np.arange(local - 1, -1, -1).reshape(-1, width)[:verticals]

    def layout(head: int, count: int) -> Array:
        found = np.zeros((count, count), bool)
        for index in indices[head % verticals]:
            found[:, index::local] = True
        for row in range(count):
            run = row // local
            found[row, run * local : (run + 1) * local] = True
            found[row, row + 1 :] = False
        return found

    return _per_head(sizes, block, layout)[h, q, k] & (k <= q)


def deepspeed_fixed(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 16, local: int = 4,
    globals: int = 1, patterns: int = 1, unidirectional: bool = False, horizontal: bool = False,
) -> Array:  # fmt: skip
    """DeepSpeed's `FixedSparsityConfig.make_layout`; a layout of the keys' length, with rows for the queries."""

    count = -(-sizes.k // block)

    def layout(head: int, rows: int) -> Array:
        found = np.zeros((rows, count), bool)
        for i in range(0, rows, local):
            for row in range(i, min(i + local, rows)):
                found[row, i : row + 1 if unidirectional else i + local] = True
        first = local - (1 + head % patterns) * globals
        end = count - count % local
        starts = list(range(first, end, local))
        if end < count:
            starts.append(min(end + first, count - globals))
        for start in starts:
            at = slice(max(start, 0), start + globals)
            found[max(start, 0) if unidirectional else 0 :, at] = True
            if horizontal:
                found[at] = True
        return found

    return _per_head(sizes, block, layout)[h, q, k]


def deepspeed_variable(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    run: Array, seen: Array, sees: Array, pick: Array, block: int = 16,
) -> Array:  # fmt: skip
    """DeepSpeed's `VariableSparsityConfig.make_layout`: random, then local, then global blocks."""
    count = _count(sizes, block)
    layout = np.zeros((count, count), bool)
    for row in range(count):
        layout[row, [c for c in pick[row] if 0 <= c < count]] = True
    ends = np.cumsum(np.bincount(run))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        layout[start:end, start:end] = True
    layout[np.flatnonzero(sees[:count])] = True
    layout[:, np.flatnonzero(seen[:count])] = True
    return _tokens(layout, block)[q, k]


def local_stride(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    block: int = 64, local: int = 16, stride: int = 8, same_for_heads: bool = False,
) -> Array:  # fmt: skip
    """vLLM's `get_sparse_attn_mask`, dense."""
    step = 0 if same_for_heads else max(1, int(stride / sizes.h))

    def layout(head: int, count: int) -> Array:
        q_pos, k_pos = np.arange(count)[:, None], np.arange(count)[None]
        vertical = (np.arange(count) + head * step + 1) % stride == 0
        found: Array = (q_pos >= k_pos) & ((q_pos - k_pos < local) | vertical)
        return found

    causal = np.tril(np.ones((sizes.q, sizes.k), bool))
    return (_per_head(sizes, block, layout)[:, : sizes.q, : sizes.k] * causal)[h, q, k]


def _branch(sizes: Sizes, segment: int, dilation: int, offset: int) -> Array:
    """LongNet's gathering: segments cut out, every `dilation`-th row kept, and all pairs of what is kept."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for start in range(0, max(sizes.q, sizes.k), segment):
        kept = np.arange(start, start + segment)[offset::dilation]
        seen[np.ix_(kept[kept < sizes.q], kept[kept < sizes.k])] = True
    return seen


def longnet_branch(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, segment: int, dilation: int) -> Array:
    return np.stack([_branch(sizes, segment, dilation, n % dilation) for n in range(sizes.h)])[h, q, k]


def longnet_branch_grouped(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, segment: int, dilation: int) -> Array:
    """torchscale's `dense_to_sparse`: heads padded to a multiple of the dilation, and as many groups of them."""
    padded = math.ceil(sizes.h / dilation) * dilation
    group = np.arange(padded).reshape(dilation, -1)
    offsets = [int(np.argwhere(group == n)[0, 0]) for n in range(sizes.h)]
    return np.stack([_branch(sizes, segment, dilation, offset) for offset in offsets])[h, q, k]


def _held(sizes: Sizes, segment: Array, dilation: Array) -> Array:
    """How many branches hold each pair: int [h, q, k]."""
    both = list(zip(segment, dilation, strict=True))
    heads = [sum(_branch(sizes, w, r, n % r).astype(int) for w, r in both) for n in range(sizes.h)]
    return np.stack(heads)  # type: ignore[arg-type]


def longnet_branches(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, segment: Array, dilation: Array) -> Array:
    return _held(sizes, segment, dilation)[h, q, k] > 0


def branch_count(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, segment: Array, dilation: Array
) -> Array:
    with np.errstate(divide="ignore"):
        return score + np.log(_held(sizes, segment, dilation).astype(float))[h, q, k]


def longnet(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, segment: Array, dilation: Array, causal: bool = False
) -> Array:
    return longnet_branches(b, h, q, k, sizes, segment, dilation) & ((k <= q) | (not causal))


def lsh_buckets(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bucket: Array) -> Array:
    """Bucket by bucket: its members see each other."""
    seen = np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)
    for row, head, turn in np.ndindex(bucket.shape[:3]):
        for number in np.unique(bucket[row, head, turn]):
            members = np.flatnonzero(bucket[row, head, turn] == number)
            at = np.ix_(members[members < sizes.q], members[members < sizes.k])
            seen[row, head][at] = True
    return seen[b, h, q, k]


def lsh_chunks(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, rank: Array, chunk: int = 64, before: int = 1, after: int = 0
) -> Array:
    """Hugging Face's `_look_adjacent`, without the wrap: chunks of the sorted order, and their neighbours."""
    seen = np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)
    for row, head, turn in np.ndindex(rank.shape[:3]):
        order = np.argsort(rank[row, head, turn])
        for start in range(0, len(order), chunk):
            asks = order[start : start + chunk]
            answers = order[max(0, start - before * chunk) : start + (1 + after) * chunk]
            seen[row, head][np.ix_(asks[asks < sizes.q], answers[answers < sizes.k])] = True
    return seen[b, h, q, k]


def shared_query_key(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, own: float = -1e5) -> Array:
    found = score.copy()
    for i in range(min(sizes.q, sizes.k)):
        found[:, :, i, i] = own
    return found


def reformer(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bucket: Array) -> Array:
    return np.tril(lsh_buckets(b, h, q, k, sizes, bucket))


def blockbert(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, order: Array, block: int) -> Array:
    """The paper's masking matrix: a permutation's matrix of blocks."""

    def layout(head: int, count: int) -> Array:
        return np.eye(order.shape[1], dtype=bool)[order[head]]

    return _per_head(sizes, block, layout)[h, q, k]


def _picks(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """Columns, some of them past the end or -1; rows enough for blocks of one token."""
    return {"pick": rng.integers(-1, 12, (sizes.h, 129, 3)).astype(np.int32)}


def _variable(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {
        "run": np.cumsum(rng.random(129) < 0.3).astype(np.int32),
        "seen": rng.random(129) < 0.1,
        "sees": rng.random(129) < 0.1,
        "pick": rng.integers(-1, 20, (129, 2)).astype(np.int32),
    }


def _branches(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    dilation = np.array([1, 2, 3], np.int32)
    return {"segment": dilation * rng.integers(1, 9, 3).astype(np.int32), "dilation": dilation}


def _buckets(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    shape = (sizes.b, sizes.h, 2, max(sizes.q, sizes.k))
    return {"bucket": rng.integers(0, 6, shape).astype(np.int32)}


def _ranks(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    shape = (sizes.b, sizes.h, 2, max(sizes.q, sizes.k))
    return {"rank": np.argsort(rng.random(shape), axis=-1).astype(np.int32)}


def _orders(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"order": np.argsort(rng.random((sizes.h, 65)), axis=-1).astype(np.int32)}


bigbirds: Constants = (
    {},
    {"block": 1, "window_blocks": 5, "globals": 2},
    {"block": 4, "window_blocks": 1, "globals": 0, "unidirectional": True},
)
fixed: Constants = (
    {},
    {"block": 1, "local": 6, "verticals": 3, "width": 2},
    {"block": 3, "local": 4, "verticals": 1, "width": 2},
)
deepspeed: Constants = (
    {},
    {"block": 1, "local": 4, "globals": 2, "patterns": 2},
    {"block": 2, "local": 6, "patterns": 4, "unidirectional": True},
    {"block": 3, "local": 4, "globals": 2, "unidirectional": True},
    {"block": 1, "local": 5, "patterns": 3, "horizontal": True},
)
strides: Constants = (
    {},
    {"block": 2, "local": 2, "stride": 3},
    {"block": 1, "local": 1, "stride": 7},
    {"block": 4, "local": 1, "stride": 2, "same_for_heads": True},
)
chunks: Constants = ({}, {"chunk": 4}, {"chunk": 3, "before": 2, "after": 1}, {"chunk": 5, "before": 0})
branches: Constants = (
    {"segment": 4, "dilation": 1},
    {"segment": 6, "dilation": 3},
    {"segment": 16, "dilation": 4},
)
hashes: Constants = ({}, {"block": 1, "kept": 300, "seed": 7}, {"block": 5, "kept": 512, "seed": 12345})

ORACLES: dict[str, Oracle] = {
    "deepspeed_bigbird": Oracle(mask=deepspeed_bigbird, inputs=_picks, constants=bigbirds),
    "bigbird": Oracle(mask=bigbird, inputs=_picks, constants=({}, {"block": 1}, {"block": 5})),
    "hashed_blocks": Oracle(mask=hashed_blocks, constants=hashes),
    "bigbird_hashed": Oracle(mask=bigbird_hashed, constants=hashes),
    "logsparse": Oracle(mask=logsparse),
    "logsparse_local": Oracle(mask=logsparse_local, constants=({}, {"lookback": 0}, {"lookback": 5})),
    "sparse_transformer_strided_head": Oracle(mask=strided_head, constants=({"stride": 1}, {"stride": 6})),
    "sparse_transformer_strided": Oracle(mask=strided, constants=({"stride": 1}, {"stride": 6})),
    "sparse_transformer_fixed": Oracle(mask=fixed_blocks, constants=fixed),
    "deepspeed_fixed": Oracle(mask=deepspeed_fixed, constants=deepspeed),
    "deepspeed_variable": Oracle(mask=deepspeed_variable, inputs=_variable, constants=({}, {"block": 1}, {"block": 4})),
    "local_stride": Oracle(mask=local_stride, constants=strides),
    "longnet_branch": Oracle(mask=longnet_branch, constants=branches),
    "longnet_branch_grouped": Oracle(mask=longnet_branch_grouped, constants=branches),
    "longnet_branches": Oracle(mask=longnet_branches, inputs=_branches),
    "branch_count": Oracle(score=branch_count, inputs=_branches),
    "longnet": Oracle(mask=longnet, score=branch_count, inputs=_branches, constants=({}, {"causal": True})),
    "lsh_buckets": Oracle(mask=lsh_buckets, inputs=_buckets),
    "lsh_chunks": Oracle(mask=lsh_chunks, inputs=_ranks, constants=chunks),
    "shared_query_key": Oracle(score=shared_query_key, constants=({}, {"own": -1000.0})),
    "reformer": Oracle(mask=reformer, score=shared_query_key, inputs=_buckets),
    "blockbert": Oracle(mask=blockbert, inputs=_orders, constants=({"block": 2}, {"block": 7})),
}
