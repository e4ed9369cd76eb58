"""Runs one phase of a step on FlexAttention: the program's mods in the layout of the phase, over the planned lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends import flex
from maskdsl.backends.block_lists import Lists
from maskdsl.backends.kernel_choice import PLAIN, Plan
from maskdsl.backends.mods_text import TORCH, Dialect
from maskdsl.backends.torch_statements import torch_function
from maskdsl.binding.lowered import Lowering
from maskdsl.ir.nodes import Variant
from maskdsl.ir.types import Table
from maskdsl.layouts.arrange import arrange
from maskdsl.layouts.layout import Layout
from maskdsl.serving.limits import Limits


@dataclass(frozen=True, slots=True)
class Phase:
    """A program in the layout of one phase: mods over fixed buffers, and the mask that they and the lists make.

    The mask has `q_len` queries in each of its rows, over all keys of the pool.
    """

    mods: flex.Mods
    mask: BlockMask
    block: tuple[int, int]
    plan: Plan

    def attend(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        """[rows, heads, queries, D] for q of that shape and caches (pages, page_size, kv_heads, D), read in place."""
        return flex.attention(
            self.mods, (q, pool(k_cache), pool(v_cache)), lambda *_: self.mask, block=self.block, plan=self.plan
        )


def pool(cache: Tensor) -> Tensor:
    """A cache (pages, page_size, kv_heads, D) as the keys of one batch row, [1, kv_heads, tokens, D]: a view."""
    return cache.view(-1, *cache.shape[2:]).transpose(0, 1)[None]


def phase(
    variant: Variant, layout: Layout, tensors: Mapping[Table, Tensor], sizes: Mapping[str, int], lists: Lists,
    q_len: int, limits: Limits, sink: Tensor | None, plan: Plan = PLAIN, dialect: Dialect = TORCH,
) -> Phase:  # fmt: skip
    """A program in a layout. `tensors` holds its tables (those derived from others too) and the layout's.

    `q_len` are the queries of each row, `sink` is what `sink_of` gave, `plan` has the kernel's options, `dialect` says
    how mods are written.
    """
    made = arrange(variant, layout, sizes)
    given = {made.tables.get(t, t): x for t, x in tensors.items()}
    plain = replace(
        made.variant, derived=(), parameters=(*made.variant.parameters, *(d.table for d in made.variant.derived))
    )
    lowered = Lowering(plain).at({**sizes, **_lengths(given)})
    emitted = lowered.form(dialect)
    mods = flex.Mods(
        variant.name, emitted.source, variant.span,
        partial(emitted.make_mask_mod, given, {}), cast("Any", partial(emitted.make_score_mod, given, {}))
        if emitted.has_score else None,
        tuple(given[t] for t in emitted.tables), frozenset({"b"}), lowered.scale,
        sink, lowered.normalize,
    )  # fmt: skip
    mask_mod = mods.make_mask_mod() if mods.make_mask_mod is not None else None
    block = (128, limits.page_size)
    lengths = (q_len, limits.num_pages * limits.page_size)
    mask = BlockMask(lengths, *lists, None, None, None, None, BLOCK_SIZE=block, mask_mod=mask_mod)
    return Phase(mods, mask, block, plan)


def sink_of(
    variant: Variant, tensors: Mapping[Table, Tensor], sizes: Mapping[str, int], limits: Limits
) -> Tensor | None:
    """The sink of every query head, float32 [1, heads], as its table holds it now; None without one."""
    lowered = Lowering(variant).at(sizes)
    node = lowered.variant.sink
    if node is None or not lowered.normalize:
        return None
    heads = torch.arange(limits.heads, dtype=torch.int32, device=limits.device)
    (values,) = torch_function([node], ("h",))({"h": heads}, tensors, sizes)
    return values.float().expand(limits.heads)[None].contiguous()


def _lengths(tensors: Mapping[Table, Tensor]) -> dict[str, int]:
    pairs = (pair for t, x in tensors.items() for pair in zip(t.axes, x.shape, strict=False))
    return {axis: int(n) for axis, n in pairs if isinstance(axis, str)}
