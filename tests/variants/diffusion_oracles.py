"""Oracles of the diffusion family: block diffusion, block-causal decoding, training on noisy and clean tokens."""

from __future__ import annotations

import numpy as np
from oracle import Array, Oracle, Sizes, documents, starts
from pairs import Tables, ascending, pairs, per_row, whole


def _denoises(n: int, block: int, i: int, j: int) -> bool:
    """BD3-LM's three masks, joined: block diagonal, offset block causal, block causal."""
    clean_q, clean_k = i >= n, j >= n
    block_q, block_k = (i - n * clean_q) // block, (j - n * clean_k) // block
    diagonal = block_q == block_k and clean_q == clean_k
    offset = block_q > block_k and clean_k and not clean_q
    causal = block_q >= block_k and clean_k and clean_q
    return diagonal or offset or causal


def block_diffusion(sizes: Sizes, length: Array, block: int = 4) -> Array:
    return pairs(sizes, lambda b, q, k: _denoises(length[b], block, q, k))


def block_diffusion_packed(sizes: Sizes, document: Array, start: Array, length: Array, block: int = 4) -> Array:
    """A dense mask for every document, put on the diagonal."""
    side = document.shape[1]
    seen = np.zeros((sizes.b, 1, side, side), bool)
    for b, numbers in enumerate(document):
        for d in np.unique(numbers):
            members, n = np.flatnonzero(numbers == d), length[b, d]
            own = [[_denoises(n, block, i, j) for j in range(len(members))] for i in range(len(members))]
            seen[b, 0][np.ix_(members, members)] = own
    return seen[:, :, : sizes.q, : sizes.k]


def block_causal(sizes: Sizes, block: int = 32) -> Array:
    n = -(-max(sizes.q, sizes.k) // block)
    return np.kron(np.tril(np.ones((n, n), bool)), np.ones((block, block), bool))[None, None, : sizes.q, : sizes.k]


def canvas_decode(sizes: Sizes, canvas_end: Array) -> Array:
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    for b, end in enumerate(canvas_end):
        seen[b, ..., :end] = True
    return seen


def jetspec_training(sizes: Sizes, prefix: Array, block: int) -> Array:
    """A prefix of ones beside triangles on the diagonal."""
    n = -(-max(sizes.q, sizes.k) // block)
    triangles = np.kron(np.eye(n, dtype=bool), np.tril(np.ones((block, block), bool)))
    seen = [np.concatenate([np.ones((n * block, p), bool), triangles], 1)[: sizes.q, : sizes.k] for p in prefix]
    return np.stack(seen)[:, None]


def next_scale(sizes: Sizes, level: Array) -> Array:
    """VAR's: levels as a column against levels as a row."""
    return ~(level[: sizes.q, None] < level[None, : sizes.k])[None, None]


def teacher_forcing(sizes: Sizes, length: Array, chunk: int = 1560) -> Array:
    """Upstream's table of row intervals: where the clean keys of a row end, and the noisy ones of its chunk."""
    side = max(sizes.q, sizes.k)
    seen = np.tile(np.eye(side, dtype=bool), (sizes.b, 1, 1, 1))
    for b, n in enumerate(length):
        for first in range(0, n, chunk):
            end = min(first + chunk, n)
            seen[b, 0, first:end, :end] = True
            seen[b, 0, n + first : n + end, :first] = True
            seen[b, 0, n + first : n + end, n + first : n + end] = True
    return seen[:, :, : sizes.q, : sizes.k]


def _halves(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"length": np.full(sizes.b, -(-max(sizes.q, sizes.k) // 2), np.int32)}


def _lengths(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"length": per_row(lambda s: max(s.q, s.k) // 2)(rng, sizes)}


def _packed(rng: np.random.Generator, sizes: Sizes) -> Tables:
    """Documents of any length, an odd one with one more noisy token."""
    document = documents(rng, sizes)
    start = starts(document)
    tokens = np.stack([np.bincount(row, minlength=start.shape[1]) for row in document])
    return {"document": document, "start": start, "length": (tokens - tokens // 2).astype(np.int32)}


def _canvas(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"canvas_end": per_row(lambda s: s.k)(rng, sizes)}


def _prefix(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"prefix": per_row(lambda s: s.k)(rng, sizes)}


def _levels(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"level": ascending(rng, Sizes(1, 1, sizes.q, sizes.k), 5)[0]}


blocks: tuple[dict[str, int], ...] = ({}, {"block": 1}, {"block": 3}, {"block": 16})

ORACLES: dict[str, Oracle] = {
    "block_diffusion": Oracle(mask=whole(block_diffusion), inputs=_halves, constants=blocks),
    "block_diffusion_packed": Oracle(mask=whole(block_diffusion_packed), inputs=_packed, constants=blocks[:3]),
    "block_causal": Oracle(mask=whole(block_causal), constants=blocks),
    "canvas_decode": Oracle(mask=whole(canvas_decode), inputs=_canvas),
    "jetspec_training": Oracle(mask=whole(jetspec_training), inputs=_prefix, constants=blocks[1:]),
    "next_scale": Oracle(mask=whole(next_scale), inputs=_levels),
    "teacher_forcing": Oracle(
        mask=whole(teacher_forcing), inputs=_lengths, constants=({}, {"chunk": 1}, {"chunk": 4}, {"chunk": 9})
    ),
}
