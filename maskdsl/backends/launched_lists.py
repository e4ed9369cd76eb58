"""The kernels that list the tiles of a mask, compiled before: they take the place of those that Triton would compile.

Not here: the kernels themselves (`block_mask_triton`), how one is launched (`launch_plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from maskdsl.backends.block_mask_triton import bring, compiled_by_triton
from maskdsl.backends.launch_plan import Driver, KernelPlan, Launcher, launcher_of

REACH = 1 << 31
"""Numbers are handed over in 32 bits."""


@dataclass(frozen=True, slots=True)
class ListsPlan:
    """The kernels for one mask, by 2 warps and by 1: their module's text, and the dtypes of the tables they read."""

    source: str
    tables: tuple[str, ...]
    kernels: tuple[KernelPlan, ...]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> ListsPlan:
        """The plan that `asdict` gave."""
        return cls(plain["source"], tuple(plain["tables"]), tuple(map(KernelPlan.of, plain["kernels"])))


@dataclass(slots=True)
class LaunchedLists:
    """The kernels of a plan, called as a `triton.jit` function is: `kernels[grid](…, VECTOR=…, num_warps=…)`.

    Calls that they are not for, by the dtype of a table, a large number or another device, are compiled by Triton.
    """

    plan: ListsPlan
    folder: Path
    driver: Driver
    placed: dict[tuple[torch.device, int], Launcher] = field(default_factory=dict)

    def offer(self, device: torch.device) -> None:
        """Load the kernels onto a device, and let every mask of this text use them there."""
        for kernel in self.plan.kernels:
            image = (self.folder / kernel.cubin).read_bytes()
            self.placed[device, kernel.warps] = launcher_of(kernel, image, self.driver, device)
        bring(self.plan.source, self)

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., Any]:
        return partial(self._launch, grid)

    def _launch(self, grid: tuple[int, int, int], *arguments: Any, VECTOR: int, num_warps: int) -> Any:
        launcher = self.placed.get((arguments[0].device, num_warps))
        if launcher is None or not self._fits(arguments):
            return compiled_by_triton(self.plan.source)[grid](*arguments, VECTOR=VECTOR, num_warps=num_warps)
        device = launcher.device
        stream = int(torch.cuda.current_stream(device).cuda_stream) if device.type == "cuda" else 0
        launcher.start(arguments, grid, stream)
        return None

    def _fits(self, arguments: tuple[Any, ...]) -> bool:
        end = 4 + len(self.plan.tables)
        tables, numbers = arguments[4:end], arguments[end:]
        typed = all(str(t.dtype)[6:] == name for t, name in zip(tables, self.plan.tables, strict=True))
        return typed and all(-REACH <= n < REACH for n in numbers)
