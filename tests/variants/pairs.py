"""Oracles said pair by pair or as whole matrices, without the coordinate arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
from oracle import Array, Sizes

Tables = dict[str, Array]
Draw = Callable[[np.random.Generator, Sizes], Tables]


def whole(function: Callable[..., Array]) -> Callable[..., Array]:
    """An oracle's mask from a function of sizes, constants and tables that returns a matrix for [B, H, Q, K]."""

    @wraps(function)
    def mask(b: Array, h: Array, q: Array, k: Array, **inputs: object) -> Array:
        return function(**inputs)

    return mask


def pairs(sizes: Sizes, sees: Callable[[int, int, int], bool]) -> Array:
    """Dense [B, 1, Q, K] from a rule over (row, query, key)."""
    rows, queries, keys = range(sizes.b), range(sizes.q), range(sizes.k)
    return np.array([[[[sees(b, q, k) for k in keys] for q in queries]] for b in rows], bool)


def ascending(rng: np.random.Generator, sizes: Sizes, most: int) -> Array:
    """Ascending numbers below `most`, int32 [b, position]."""
    return np.sort(rng.integers(0, most, (sizes.b, max(sizes.q, sizes.k))), axis=1).astype(np.int32)


def per_row(most: Callable[[Sizes], int]) -> Callable[[np.random.Generator, Sizes], Array]:
    """A draw of one number for each row, from 0 to `most(sizes)`, int32 [b]."""
    return lambda rng, sizes: rng.integers(0, most(sizes) + 1, sizes.b).astype(np.int32)
