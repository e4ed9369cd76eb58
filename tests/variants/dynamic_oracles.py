"""Oracles of the dynamic family: keys that were chosen outside, as tables of blocks, pages, tokens and words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle import Array, Oracle, Sizes

Inputs = Callable[[np.random.Generator, Sizes], dict[str, Array]]


def _longest(sizes: Sizes) -> int:
    return max(sizes.q, sizes.k)


def _none(sizes: Sizes) -> Array:
    return np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)


def _triangle(sizes: Sizes) -> Array:
    return np.tril(np.ones((sizes.q, sizes.k), bool))


def _bools(*names: str, last: bool = False) -> Inputs:
    """bool [batch, head, position], with `last` one more axis that reaches as many blocks as there are tokens."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        length = _longest(sizes)
        shape = (sizes.b, sizes.h, length, length) if last else (sizes.b, sizes.h, length)
        return {n: rng.random(shape) < 0.4 for n in names}

    return draw


def nsa_compressed(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 32, stride: int = 16) -> Array:
    """A block is seen by every query from which on all its tokens are in the past."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for j in range(sizes.k):
        last = max(range(j * stride, j * stride + block))
        seen[last:, j] = True
    return seen[q, k]


def _listed(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = _longest(sizes)
    shape = (sizes.b, sizes.h, length)
    return {
        "selected": rng.integers(-1, length // 4 + 2, (*shape, 5)).astype(np.int32),
        "count": rng.integers(0, 7, shape).astype(np.int32),
    }


def nsa_selected(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array, count: Array, block: int = 64
) -> Array:
    seen = _none(sizes)
    for row, head, i in np.ndindex(seen.shape[:3]):
        for number in selected[row, head, i][: count[row, head, i]]:
            if number >= 0:
                seen[row, head, i, number * block : min((number + 1) * block, i + 1)] = True
    return seen


def nsa_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: int = 512) -> Array:
    return (_triangle(sizes) & ~np.tril(np.ones((sizes.q, sizes.k), bool), -window))[q, k]


def _tokens(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = _longest(sizes)
    entries = max(1, length // 5)
    return {
        "tokens": rng.integers(0, sizes.k + 1, sizes.b).astype(np.int32),
        "selected": rng.random((sizes.b, length, entries)) < 0.6,
    }


def _only(draw: Inputs, *names: str) -> Inputs:
    return lambda rng, sizes: {n: t for n, t in draw(rng, sizes).items() if n in names}


def deepseek_v4_hca(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, tokens: Array, window: int = 128, ratio: int = 128
) -> Array:
    """Two masks side by side: the window over tokens, and entries that are complete."""
    seen = _none(sizes)
    for row, first in enumerate(tokens):
        for i in range(sizes.q):
            seen[row, :, i, max(0, i - window + 1) : min(i + 1, first)] = True
            complete = len(range(ratio - 1, i + 1, ratio))
            seen[row, :, i, first : first + complete] = True
    return seen


def deepseek_v4_csa(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, tokens: Array, selected: Array,
    window: int = 128, ratio: int = 4,
) -> Array:  # fmt: skip
    seen = deepseek_v4_hca(b, h, q, k, sizes, tokens, window, ratio)
    for row, first in enumerate(tokens):
        for j in range(first, sizes.k):
            chosen = selected[row, : sizes.q, j - first] if j - first < selected.shape[2] else False
            seen[row, :, :, j] &= chosen
    return seen


def _targets(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """Lengths with padding behind them, and candidates that are at most half of a row."""
    length = rng.integers((sizes.k + 1) // 2, sizes.k + 1, sizes.b).astype(np.int32)
    return {"length": length, "targets": rng.integers(0, length // 2 + 1).astype(np.int32)}


def hstu(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, length: Array, targets: Array,
    contextual: int = 0, window: int = 0, full: int = 0,
) -> Array:  # fmt: skip
    """generative-recommenders' `_get_valid_attn_mask`: places first, then rule after rule."""
    seen = _none(sizes)
    for row, (count, candidates) in enumerate(zip(length, targets, strict=True)):
        places = np.concatenate([np.zeros(max(contextual - 1, 0), int), np.arange(_longest(sizes))])
        end = count - max(contextual - 1, 0) - candidates
        places = np.minimum(places, end)
        for i, j in np.ndindex(sizes.q, sizes.k):
            distance = places[i] - places[j]
            found = i == j or distance > 0
            if window and distance > window and not (full and places[i] >= end - full):
                found = False
            if contextual and places[i] == 0 and places[j] < end:
                found = True
            seen[row, :, i, j] = found
    return seen


def _spread(chosen: Array, block: int, sizes: Sizes) -> Array:
    """[b, h, q, k] of what was chosen for each query and block, [b, h, position, blocks]."""
    return np.repeat(chosen, block, axis=3)[:, :, : sizes.q, : sizes.k]


def moba(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array, chunk: int = 512) -> Array:
    """moba_naive: the gate of each query, its own chunk set to infinity, spread over tokens and cut by the triangle."""
    gate = np.array(np.broadcast_to(selected, (sizes.b, sizes.h, *selected.shape[2:])))
    for i in range(sizes.q):
        gate[:, :, i, i // chunk] = True
    return _spread(gate, chunk, sizes) & _triangle(sizes)


def _chunk_lists(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = _longest(sizes)
    return {"selected": rng.integers(-1, length, (sizes.b, sizes.h, length, 6)).astype(np.int32)}


def moba_top_k(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array, chunk: int = 512) -> Array:
    length = _longest(sizes)
    gate = np.zeros((sizes.b, sizes.h, length, length), bool)
    for at in np.ndindex(selected.shape):
        if selected[at] >= 0:
            gate[(*at[:3], selected[at])] = True
    return moba(b, h, q, k, sizes, gate, chunk)


def minimax_m3(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array, block: int = 128, local: int = 1
) -> Array:
    gate = selected.copy()
    for i in range(sizes.q):
        gate[:, :, i, max(0, i // block - local + 1) : i // block + 1] = True
    return _spread(gate, block, sizes) & _triangle(sizes)


def quest(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array, page: int = 16) -> Array:
    return _spread(selected, page, sizes)


def _words(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = _longest(sizes)
    return {"selected": rng.integers(-(2**31), 2**31, (sizes.b, length, -(-length // 32))).astype(np.int32)}


def dsa(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array) -> Array:
    bits = np.unpackbits(selected.astype("<i4").view(np.uint8), axis=2, bitorder="little").astype(bool)
    return (bits[:, : sizes.q, : sizes.k] & _triangle(sizes))[:, None]


def vertical_slash(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, vertical: Array, slash: Array) -> Array:
    seen = _none(sizes)
    for row, head in np.ndindex(seen.shape[:2]):
        seen[row, head][:, vertical[row, head, : sizes.k]] = True
        for offset in np.flatnonzero(slash[row, head]):
            seen[row, head] |= np.eye(sizes.q, sizes.k, -offset, dtype=bool)
    return seen & _triangle(sizes)


def doge_keep(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, dropped_at: Array) -> Array:
    """Column by column, from a key's own query to the one that drops it."""
    seen = _none(sizes)
    for row, head, column in np.ndindex(sizes.b, sizes.h, sizes.k):
        seen[row, head, column : max(column, dropped_at[row, head, column]), column] = True
    return seen


def kept_keys(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, keep: Array, window: int = 32) -> Array:
    seen = np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)
    for row, head, column in np.argwhere(keep[..., : sizes.k]):
        seen[row, head, column:, column] = True
    return seen | nsa_window(b, h, q, k, sizes, window)


def doge_weight(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, weight: Array) -> Array:
    return score + weight.astype(float)[:, :, None, : sizes.k]


def _weights(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"weight": rng.standard_normal((sizes.b, sizes.h, _longest(sizes))).astype(np.float32)}


def _dropped(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """As weights drop keys that are not among the best three up to some query, which is found query by query;
    0 for a key that is never among them."""
    length = _longest(sizes)
    weight = rng.standard_normal((sizes.b, sizes.h, length))
    dropped = np.full(weight.shape, length, np.int32)
    for i in range(length):
        best = np.argsort(-weight[..., : i + 1], axis=-1)[..., :3]
        out = np.ones((sizes.b, sizes.h, length), bool)
        np.put_along_axis(out, best, False, axis=-1)
        out[..., i + 1 :] = False
        dropped[out] = np.minimum(dropped, i)[out]
    return {"dropped_at": np.where(dropped > np.arange(length), dropped, 0).astype(np.int32)}


def _doge(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {**_dropped(rng, sizes), **_weights(rng, sizes)}


def _bitmap(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"visible": rng.random((sizes.b, sizes.h, *rng.integers(1, 20, 2))) < 0.3}


def nabla(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, visible: Array, height: int, width: int,
    window_frames: int = 3, window_height: int = 3, window_width: int = 3, block: int = 64,
) -> Array:  # fmt: skip
    """Kandinsky's `fast_sta_nabla`: bands along each axis, multiplied out, then the selected blocks."""

    def band(count: int, window: int) -> Array:
        return np.tri(count, k=window // 2) * np.tri(count, k=window // 2).T

    frames = -(-_longest(sizes) // (block * height * width))
    near = np.kron(band(height, window_height), band(width, window_width))
    near = np.kron(np.kron(band(frames, window_frames), near), np.ones((block, block)))
    seen = np.array(np.broadcast_to(near[: sizes.q, : sizes.k] > 0, (sizes.b, sizes.h, sizes.q, sizes.k)))
    for row, head, i, j in np.argwhere(visible):
        seen[row, head, i * block : (i + 1) * block, j * block : (j + 1) * block] = True
    return seen


def _times(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = _longest(sizes)
    return {
        "place": rng.standard_normal(2 * length - 1).astype(np.float32),
        "bucket": rng.standard_normal(20).astype(np.float32),
        "time": np.cumsum(rng.integers(0, 100, (sizes.b, length)), axis=1).astype(np.int32),
    }


def hstu_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, place: Array, bucket: Array, time: Array
) -> Array:
    """generative-recommenders: a Toeplitz matrix of places, and times against the next token's, looked up by log."""
    length = time.shape[1]
    toeplitz = np.array([place[length - 1 - i : 2 * length - 1 - i] for i in range(length)], float)
    later = np.concatenate([time[:, 1:], time[:, -1:]], axis=1)
    passed = np.abs(later[:, :, None] - time[:, None, :].astype(np.int64))
    number = (np.log(np.maximum(passed, 1)) / 0.301).astype(int)
    bias = toeplitz + bucket.astype(float)[np.minimum(number, len(bucket) - 1)]
    return score + bias[:, None, : sizes.q, : sizes.k]


chunks = ({}, {"chunk": 3}, {"chunk": 8})
blocks = ({}, {"block": 4}, {"block": 7})

ORACLES: dict[str, Oracle] = {
    "moba": Oracle(mask=moba, inputs=_bools("selected", last=True), constants=chunks),
    "moba_top_k": Oracle(mask=moba_top_k, inputs=_chunk_lists, constants=chunks),
    "minimax_m3": Oracle(
        mask=minimax_m3,
        inputs=_bools("selected", last=True),
        constants=(*blocks, {"block": 3, "local": 3}, {"block": 2, "local": 0}),
    ),
    "quest": Oracle(mask=quest, inputs=_bools("selected", last=True), constants=({}, {"page": 3})),
    "dsa": Oracle(mask=dsa, inputs=_words),
    "vertical_slash": Oracle(mask=vertical_slash, inputs=_bools("vertical", "slash")),
    "kept_keys": Oracle(mask=kept_keys, inputs=_bools("keep"), constants=({}, {"window": 5})),
    "doge_keep": Oracle(mask=doge_keep, inputs=_dropped),
    "doge_weight": Oracle(score=doge_weight, inputs=_weights),
    "doge": Oracle(mask=doge_keep, score=doge_weight, inputs=_doge),
    "nabla": Oracle(
        mask=nabla,
        inputs=_bitmap,
        constants=(
            {"height": 1, "width": 2},
            {"height": 3, "width": 4, "block": 2},
            {"height": 2, "width": 5, "block": 3, "window_frames": 1, "window_width": 4},
        ),
    ),
    "nsa_compressed": Oracle(mask=nsa_compressed, constants=({}, {"block": 4, "stride": 4}, {"block": 5, "stride": 3})),
    "nsa_selected": Oracle(mask=nsa_selected, inputs=_listed, constants=blocks),
    "nsa_window": Oracle(mask=nsa_window, constants=({}, {"window": 6})),
    "deepseek_v4_hca": Oracle(
        mask=deepseek_v4_hca, inputs=_only(_tokens, "tokens"), constants=({}, {"window": 4, "ratio": 3})
    ),
    "deepseek_v4_csa": Oracle(mask=deepseek_v4_csa, inputs=_tokens, constants=({}, {"window": 3, "ratio": 2})),
    "hstu_bias": Oracle(score=hstu_bias, inputs=_times),
    "hstu": Oracle(
        mask=hstu,
        inputs=_targets,
        constants=(
            {},
            {"contextual": 3},
            {"window": 4, "full": 2},
            {"contextual": 2, "window": 3, "full": 5},
            {"contextual": 1, "window": 2},
        ),
    ),
}
