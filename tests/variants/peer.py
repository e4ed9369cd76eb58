"""What a comparison with another package is: its function, our definition, and one input for both.

A peer's function is called as it is published; the tests that need a package which is not installed are skipped.
Install them with the extra `peers`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from oracle import Array, Sizes
from torch import Tensor

Mod = Callable[..., Tensor]
"""`mask_mod(b, h, q, k)` or `score_mod(score, b, h, q, k)` over scalars, as FlexAttention takes them."""

SIZES = (Sizes(1, 1, 1, 1), Sizes(2, 3, 7, 7), Sizes(1, 4, 37, 37), Sizes(2, 2, 64, 64))


@dataclass(frozen=True)
class Posed:
    """One question to both: the peer's mod, and what our definition is given for the same."""

    mod: Mod
    constants: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """A definition and the function it is compared with, `module:name`; `pose` is given that function."""

    definition: str
    function: str
    pose: Callable[[Any, np.random.Generator, Sizes], Posed]
    sizes: tuple[Sizes, ...] = SIZES

    @property
    def package(self) -> str:
        """The name to import."""
        return self.function.partition(".")[0]

    def load(self) -> Any:
        """The peer's function. Raises ImportError where the package is missing."""
        module, _, path = self.function.partition(":")
        return functools.reduce(getattr, path.split("."), importlib.import_module(module))


def mapped(mod: Mod, sizes: Sizes, score: Tensor | None = None) -> Array:
    """The mod over all [B, H, Q, K], mapped over scalars as torch's `create_mask` does."""
    first = () if score is None else (0,)
    for axis in reversed(range(4)):
        mod = torch.vmap(mod, in_dims=(*first, *(0 if i == axis else None for i in range(4))))
    counts = (sizes.b, sizes.h, sizes.q, sizes.k)
    found = mod(*(() if score is None else (score,)), *map(torch.arange, counts))
    return found.expand(counts).numpy()


def tensor(array: Array) -> Tensor:
    """The array as a tensor; ints as int64, which every peer can index with."""
    return torch.from_numpy(array.astype(np.int64) if array.dtype == np.int32 else array)


def looked_up(table: Tensor) -> Mod:
    """A mask_mod that reads a dense [B or 1, H or 1, Q, K]."""
    return lambda b, h, q, k: table[b % table.shape[0], h % table.shape[1], q, k]


def added(table: Tensor) -> Mod:
    """A score_mod that adds a dense [B or 1, H or 1, Q, K]."""
    return lambda score, b, h, q, k: score + looked_up(table)(b, h, q, k)
