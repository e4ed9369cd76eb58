"""Running emitted mods on random programs, eagerly and under `torch.vmap`; in float64 for exact comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from programs import Program

from maskdsl.backends import reference
from maskdsl.backends.mods import Emitted, emit
from maskdsl.ir.nodes import Variant
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes

COORDINATES = ("b", "h", "q", "k")


def emitted(program: Program, **options: Any) -> Emitted:
    """The mods of a program whose axes' sizes are known."""
    return emit(run_passes(program.fixed, Context(program.sizes)), **options)


def in_float64(mods: Emitted) -> Emitted:
    """The same text computing in float64, as the reference does."""
    return replace(mods, source=mods.source.replace("torch.float32", "torch.float64"))


def expected(program: Program, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reference's mask and score, [B, H, Q, K]."""
    variant: Variant = program.fixed
    position = program.sizes["position"]
    arguments = {
        "b": program.sizes["batch"], "h": program.sizes["head"], "q": position, "k": position,
        "tables": program.tables, "sizes": program.sizes, "q_len": position, "kv_len": position,
    }  # fmt: skip
    return reference.mask(variant, **arguments), reference.scores(variant, score, **arguments)


def run(mods: Emitted, program: Program, score: np.ndarray, *, vmap: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The mods' mask and score over the same grid."""
    tensors = {t: torch.from_numpy(a) for t, a in program.tables.items()}
    lengths = {name: torch.tensor([program.sizes["position"]], dtype=torch.int32) for name in ("q_len", "kv_len")}
    mask_mod, score_mod = mods.make_mask_mod(tensors, lengths), mods.make_score_mod(tensors, lengths)
    given = torch.from_numpy(score)
    grid = [torch.arange(n) for n in score.shape]
    if vmap:
        mask = _mapped(mask_mod)(*grid)
        return mask, given if score_mod is None else _mapped(score_mod, first=(0,))(given, *grid)
    place = [g.reshape([-1 if i == j else 1 for j in range(4)]) for i, g in enumerate(grid)]
    mask = mask_mod(*place).expand(given.shape)
    return mask, given if score_mod is None else score_mod(given, *place).expand(given.shape)


def _mapped(mod: Any, first: tuple[int, ...] = ()) -> Any:
    """The mod mapped over k, q, h and b, as `create_block_mask` and eager `flex_attention` do."""
    for axis in reversed(range(4)):
        mod = torch.vmap(mod, in_dims=(*first, *(0 if i == axis else None for i in range(4))))
    return mod
