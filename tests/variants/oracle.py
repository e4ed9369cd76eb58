"""What an oracle of a shipped definition is: inputs and the formula again, in NumPy, from the source that the definition names.

An oracle never uses maskdsl. `mask(b, h, q, k, sizes, **inputs)` and `score(score, b, h, q, k, sizes, **inputs)` take
broadcastable int arrays and return bool and float64 arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Sizes:
    """Batch rows, query heads, query and key lengths of one comparison."""

    b: int
    h: int
    q: int
    k: int


def no_inputs(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """For definitions without tables."""
    return {}


@dataclass(frozen=True)
class Oracle:
    """The formula of one definition, apart from its `.mask` file; `None` stands for a part that it does not have."""

    mask: Callable[..., Array] | None = None
    score: Callable[..., Array] | None = None
    inputs: Callable[[np.random.Generator, Sizes], dict[str, Array]] = no_inputs
    constants: tuple[dict[str, Any], ...] = ({},)
    scale: float | None = None
    sink: str | None = None
    masks: dict[str, str] = field(default_factory=dict)


def documents(rng: np.random.Generator, sizes: Sizes) -> Array:
    """Ascending document numbers of random lengths, int32 [b, position]; some documents are one token long."""
    length = max(sizes.q, sizes.k)
    steps = rng.random((sizes.b, length)) < rng.choice([0.05, 0.3])
    steps[:, 0] = False
    return np.cumsum(steps, axis=1).astype(np.int32)


def starts(document: Array) -> Array:
    """Where each document begins, int32 [b, n] with n the largest number of documents; unused entries are 0."""
    n = int(document.max()) + 1
    found = np.zeros((document.shape[0], n), np.int32)
    for b, row in enumerate(document):
        for d in np.unique(row):
            found[b, d] = int(np.argmax(row == d))
    return found
