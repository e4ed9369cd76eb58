"""The call that a contract describes as a graph, by `torch.export`: every free size is a symbol in it.

Not here: what becomes of the graph (`package` on the CPU, `launch_build` for CUDA).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends.closures import made, recipe_of
from maskdsl.backends.contract import Contract, Input, Mods
from maskdsl.backends.flex_kernels import attend

SIZES = {"batch": 3, "q_len": 300, "kv_len": 428, "q_tiles": 3, "kv_tiles": 4}
"""Sizes that free ones have while the kernel is traced; all differ from 0 and 1, which torch takes for constants."""

Options = tuple[tuple[str, int | bool | str], ...]


def exported(contract: Contract, mods: Mods, device: torch.device, options: Options = ()) -> Any:
    """torch's ExportedProgram of the call, whose one input is the list of tensors. Raises what torch raises."""
    sizes = _sizes(contract)
    tensors = [_example(i, sizes, device) for i in contract.inputs]
    dims = {name: torch.export.Dim(re.sub(r"\W", "_", name), min=1) for name in contract.open}
    dynamic = [{n: dims[s] for n, s in enumerate(i.shape) if isinstance(s, str)} for i in contract.inputs]
    with torch.no_grad(), warnings.catch_warnings(), _no_memory_of_operations():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of itself
        module = _Attention(contract, mods, options)
        return torch.export.export(module, (tensors,), dynamic_shapes=(dynamic,), strict=True)


def _no_memory_of_operations() -> Any:
    """Within the block, graphs are traced that do not remember the results of operations on shapes.

    What torch 2.13 remembers it makes a tensor of, and asks for its size in the graph that is being traced: a product
    of several free sizes is none of that graph's values (a table with two free axes, looked up in a mod).
    """
    import torch._dynamo.config as config

    known = hasattr(config, "fake_tensor_cache_enabled")
    return config.patch(fake_tensor_cache_enabled=False) if known else nullcontext()


class _Attention(torch.nn.Module):  # type: ignore[misc]  # torch's types are not read
    """The kernel as a module over its inputs."""

    def __init__(self, contract: Contract, mods: Mods, options: Options) -> None:
        super().__init__()
        self.scale, self.block = contract.scale, contract.block
        self.finish = contract.kind if contract.kind in ("sink", "sum") else ""
        self.has_sink = contract.kind == "sink"
        self.options = dict(options)
        self.recipes = [recipe_of(m) for m in mods if m is not None]  # type: ignore[arg-type]

    def forward(self, tensors: list[Tensor]) -> Any:
        q, k, v, *lists = tensors[:7]
        sink = tensors[-1] if self.has_sink else None
        waiting = (tensors[7:-1] if self.has_sink else tensors[7:])[::-1]
        mask_mod, *score_mods = [made(r, waiting) for r in self.recipes]
        score_mod = score_mods[0] if score_mods else None
        every = (*lists, None, None, None, None)
        return attend(
            q, k, v, every, mask_mod, score_mod, sink, self.scale, self.finish, self.options, self.block
        )


def _sizes(contract: Contract) -> dict[str, int]:
    """A size for every free name, all different, so that torch does not take two of them for one."""
    sizes = dict(SIZES)
    for number, name in enumerate(n for n in contract.open if n not in SIZES):
        sizes[name] = 431 + 2 * number
    return sizes


def _example(wanted: Input, sizes: Mapping[str, int], device: torch.device) -> Tensor:
    shape = [sizes[s] if isinstance(s, str) else s for s in wanted.shape]
    return torch.zeros(shape, dtype=getattr(torch, wanted.dtype), device=device)
