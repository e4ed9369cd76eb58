"""Launches of Triton kernels whose arguments are mostly the same every time, at little cost to the host.

Triton finds out at every launch which compiled kernel fits the arguments. What was found is kept here for arguments
that are alike in all that Triton looks at. Not here: block lists, whose launches have a form of their own
(`block_mask_triton.Launch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends.block_mask_triton import _takes_constants

Grid = tuple[int, int, int]


@dataclass(slots=True)
class Launcher:
    """A kernel with all of its arguments but the first ones, which every launch brings: tensors and ints.

    `fixed` follow them, then the `constants` by name in the order of the kernel's parameters. `options` are Triton's
    own, such as `num_warps`.
    """

    function: Any
    fixed: tuple[Any, ...]
    constants: Mapping[str, Any]
    options: Mapping[str, int] = field(default_factory=dict)
    known: dict[Any, Any] = field(default_factory=dict)

    def __call__(self, grid: Grid, *given: Tensor | int) -> None:
        """Launches on the device of the first argument."""
        device = next(x.device for x in (*given, *self.fixed) if isinstance(x, Tensor))
        if device.type == "cuda" and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):  # Triton launches on the current one
                self._launch(grid, given)
        else:
            self._launch(grid, given)

    def _launch(self, grid: Grid, given: tuple[Tensor | int, ...]) -> None:
        key = tuple([_looked_at(x) for x in given])
        compiled = self.known.get(key)
        if compiled is not None:
            compiled[grid](*given, *self.fixed, *self.constants.values())
            return
        compiled = self.function[grid](*given, *self.fixed, **self.constants, **self.options)
        if compiled is not None and _takes_constants():
            self.known[key] = compiled


def _looked_at(x: Tensor | int) -> Any:
    """What of an argument decides which compiled kernel fits."""
    if isinstance(x, Tensor):
        return x.dtype, x.data_ptr() % 16 == 0
    return x == 1, x % 16 == 0, x < 2**31
