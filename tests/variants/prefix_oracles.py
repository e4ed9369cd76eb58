"""Oracles of the prefix family: prefixes, blocks of images in text, cross attention to images, permuted orders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle import Array, Oracle, Sizes
from pairs import Draw, Tables, ascending, pairs, per_row, whole


def _causal(sizes: Sizes) -> Array:
    return np.tril(np.ones((sizes.b, 1, sizes.q, sizes.k), bool))


def prefix_lm_inclusive(sizes: Sizes, last: Array) -> Array:
    seen = _causal(sizes)
    for b in range(sizes.b):
        seen[b, :, :, : last[b] + 1] = True
    return seen


def block_overlay(sizes: Sizes, block: Array) -> Array:
    seen = _causal(sizes)
    for b, numbers in enumerate(block):
        for image in set(numbers[numbers >= 0]):
            members = np.flatnonzero(numbers == image)
            seen[b, 0][np.ix_(members[members < sizes.q], members[members < sizes.k])] = True
    return seen


def block_overlay_window(sizes: Sizes, block: Array, window: int = 4096) -> Array:
    return np.triu(block_overlay(sizes, block), 1 - window)


def transfusion(sizes: Sizes, span: Array) -> Array:
    """Tokens of a span see all of it; what is not causal in the upstream form is just that."""
    seen = _causal(sizes)
    for b in range(sizes.b):
        for offset, length in span[b]:
            seen[b, 0, offset : offset + length, offset : offset + length] = True
    return seen


def mm_prefix(sizes: Sizes, span: Array) -> Array:
    """With a window of three as the mask inside."""
    seen = np.triu(_causal(sizes), -2)
    for b in range(sizes.b):
        for first, last in span[b]:
            seen[b, 0, first : last + 1, first : last + 1] = True
    return seen


def bagel(sizes: Sizes, document: Array, split: Array, whole: Array, noise: Array) -> Array:
    """Upstream's three steps: add whole splits, take noise from the others, cut at documents."""

    def sees(b: int, q: int, k: int) -> bool:
        mine = split[b, q] == split[b, k]
        added = k <= q or (mine and whole[b, q])
        return added and not (noise[b, k] and not mine) and document[b, q] == document[b, k]

    return pairs(sizes, sees)


def vision_cross_attention(sizes: Sizes, image: Array, interval: Array) -> Array:
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    for b, k in np.ndindex(sizes.b, sizes.k):
        first, end = interval[b, image[b, k]]
        seen[b, 0, first:end, k] = True
    return seen


def mllama_cross_attention(sizes: Sizes, visible: Array, tile_tokens: int = 1601) -> Array:
    """As Hugging Face builds it: every tile's column is repeated; then cut or filled to the keys."""
    repeated = np.repeat(visible[:, : sizes.q], tile_tokens, axis=2)[:, :, : sizes.k]
    return np.pad(repeated, ((0, 0), (0, 0), (0, sizes.k - repeated.shape[2])))[:, None]


def _permuted(itself: bool) -> Callable[..., Array]:
    def oracle(sizes: Sizes, order: Array, memory: int = 0) -> Array:
        """Reveals tokens one after the other in their order."""
        seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
        seen[..., :memory] = True
        for b in range(sizes.b):
            for token in np.argsort(order[b]):
                if token + memory < sizes.k:
                    rank = order[b, token]
                    later = order[b, : sizes.q] >= rank if itself else order[b, : sizes.q] > rank
                    seen[b, 0, later, token + memory] = True
        return seen

    return oracle


def prophetnet_ngram(sizes: Sizes, length: Array, stream: int = 0) -> Array:
    """Hugging Face's `ngram_attention_bias`: a triangle cut away at the left, a diagonal at the right."""
    n, size = int(length[0]), max(sizes.q, sizes.k)
    left = ~np.triu(np.ones((size, n), bool), 1 - stream)
    left[:, 0] = True
    return np.concatenate([left, np.eye(size, dtype=bool)], 1)[None, None, : sizes.q, : sizes.k]


def transformer_xl(sizes: Sizes, memory: int, same_length: bool = False) -> Array:
    ones = np.ones((1, 1, sizes.q, sizes.k), bool)
    hidden = np.triu(ones, memory + 1)
    if same_length:
        hidden |= np.tril(ones, -1)
    return ~hidden


def _spans(rng: np.random.Generator, sizes: Sizes, inclusive: bool = False) -> Tables:
    """Up to three spans that do not touch, in a random order; unused ones are empty."""
    length = min(sizes.q, sizes.k)
    found = np.zeros((sizes.b, 3, 2), np.int32)
    for row in found:
        cuts = np.sort(rng.integers(0, length + 1, 6)).reshape(3, 2)
        row[:, 0], row[:, 1] = cuts[:, 0], cuts[:, 1] - cuts[:, 0]
        rng.shuffle(row)
    if inclusive:
        found[..., 1] += found[..., 0] - 1
    return {"span": found}


def _inclusive_spans(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return _spans(rng, sizes, inclusive=True)


def _blocks(rng: np.random.Generator, sizes: Sizes) -> Tables:
    """Runs of images in text, by coins."""
    numbers = ascending(rng, sizes, 4)
    return {"block": np.where(rng.random(numbers.shape) < 0.3, -1, numbers).astype(np.int32)}


def _splits(rng: np.random.Generator, sizes: Sizes) -> Tables:
    split = ascending(rng, sizes, 8)
    of_split = rng.integers(0, 3, (sizes.b, 8))
    kind = np.take_along_axis(of_split, split, 1)
    return {"document": split // 3, "split": split, "whole": kind > 0, "noise": kind == 2}


def _intervals(rng: np.random.Generator, sizes: Sizes) -> Tables:
    interval = np.sort(rng.integers(0, sizes.q + 1, (sizes.b, 4, 2)), axis=2).astype(np.int32)
    return {"image": ascending(rng, sizes, 4), "interval": interval}


def _tiles(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"visible": rng.random((sizes.b, max(sizes.q, sizes.k), 5)) < 0.5}


def _order(rng: np.random.Generator, sizes: Sizes) -> Tables:
    numbers = np.arange(max(sizes.q, sizes.k), dtype=np.int32)
    return {"order": np.stack([rng.permutation(numbers) for _ in range(sizes.b)])}


def _length(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"length": np.array([max(1, sizes.k // 2)], np.int32)}


def _numbers(name: str, draw: Callable[[np.random.Generator, Sizes], Array]) -> Draw:
    return lambda rng, sizes: {name: draw(rng, sizes)}


memories: tuple[dict[str, int], ...] = ({}, {"memory": 1}, {"memory": 5})

ORACLES: dict[str, Oracle] = {
    "prefix_lm_inclusive": Oracle(
        mask=whole(prefix_lm_inclusive), inputs=_numbers("last", per_row(lambda sizes: sizes.k))
    ),
    "block_overlay": Oracle(mask=whole(block_overlay), inputs=_blocks),
    "block_overlay_window": Oracle(
        mask=whole(block_overlay_window), inputs=_blocks, constants=({}, {"window": 1}, {"window": 6})
    ),
    "transfusion": Oracle(mask=whole(transfusion), inputs=_spans),
    "mm_prefix": Oracle(mask=whole(mm_prefix), inputs=_inclusive_spans, masks={"inner": "0 <= q - k < 3"}),
    "bagel": Oracle(mask=whole(bagel), inputs=_splits),
    "vision_cross_attention": Oracle(mask=whole(vision_cross_attention), inputs=_intervals),
    "mllama_cross_attention": Oracle(
        mask=whole(mllama_cross_attention),
        inputs=_tiles,
        constants=({}, {"tile_tokens": 1}, {"tile_tokens": 3}, {"tile_tokens": 9}),
    ),
    "permutation_lm": Oracle(mask=whole(_permuted(itself=True)), inputs=_order, constants=memories),
    "permutation_lm_query": Oracle(mask=whole(_permuted(itself=False)), inputs=_order, constants=memories),
    "prophetnet_ngram": Oracle(
        mask=whole(prophetnet_ngram), inputs=_length, constants=({}, {"stream": 1}, {"stream": 3})
    ),
    "transformer_xl": Oracle(
        mask=whole(transformer_xl),
        constants=({"memory": 0}, {"memory": 4}, {"memory": 4, "same_length": True}),
    ),
}
