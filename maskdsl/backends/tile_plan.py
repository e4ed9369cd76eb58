"""The BlockMask of a program from its formula: the verdict, its builders, and torch's object around their lists.

Not here: torch's own way, which evaluates every pair (`flex_blocks`, for masks that are opaque Python functions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends.block_lists import Lists, empty_lists, write_lists
from maskdsl.backends.block_mask_torch import tile_verdicts, verdict_function
from maskdsl.backends.tile_tables import Call
from maskdsl.backends.torch_statements import TorchFunction
from maskdsl.ir.nodes import Node
from maskdsl.ir.types import Scalar, Table
from maskdsl.tiles.limits import SMALL, Limits, Ranges, known_limits
from maskdsl.tiles.verdict import Verdict, verdict_of

if TYPE_CHECKING:
    from maskdsl.backends.block_mask_triton import Launch

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

PAIRS_AT_ONCE = 1 << 24
"""Pairs of undecided tiles that `exact` evaluates in one go."""

WIDE = (torch.int32, torch.int64)
"""The dtypes that hold values beyond the usual."""


@dataclass(slots=True)
class TilePlan:
    """How to classify the tiles of one mask for one pair of block sizes; kernels are made at first use."""

    verdict: Verdict
    function: TorchFunction
    kernels: dict[bool, Any] = field(default_factory=dict)


def tile_plan(mask: Node, q_block: int, k_block: int, limits: Limits | None = None) -> TilePlan:
    """The plan of a mask that went through all passes."""
    verdict = verdict_of(mask, q_block, k_block, limits or Limits())
    return TilePlan(verdict, verdict_function(verdict))


def limits_of(tables: Mapping[Table, Tensor], ranges: Ranges | None = None) -> Limits:
    """The static limits of bound int tables: those that facts give, and the usual ones unless a value lies beyond.

    Waits for the tables' device, once.
    """
    wide = [t for t, x in tables.items() if t.type is Scalar.INT and x.dtype in WIDE and x.numel()]
    if not wide:
        return known_limits(ranges or {}, ())
    ends = torch.stack([end.to(torch.int64) for t in wide for end in torch.aminmax(tables[t])]).tolist()
    beyond = (t for t, low, high in zip(wide, ends[::2], ends[1::2], strict=True) if low < SMALL[0] or high > SMALL[1])
    return known_limits(ranges or {}, beyond)


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes and fills the BlockMasks of one call out of a plan and tables: the bound ones and the verdict's own.

    The lists have `call.batch` rows and `call.heads` heads: 1 where the mask is the same for all. `exact` evaluates the
    pairs of the undecided tiles and drops or promotes those that are in truth empty or full.
    On CUDA all lists are one launch and nothing is read back, unless `exact`.
    """

    plan: TilePlan
    call: Call
    tables: Mapping[Table, Tensor]
    launches: dict[bool, Launch] = field(default_factory=dict)

    def make(self, mask_mod: MaskMod, *, exact: bool = False, transposed: bool = True) -> BlockMask:
        """torch's BlockMask: partial and full lists, and with `transposed` those that the backward pass reads."""
        verdict, call = self.plan.verdict, self.call
        rows, columns = -(-call.q_len // verdict.q_block), -(-call.kv_len // verdict.k_block)
        forward = empty_lists(call.batch, call.heads, rows, columns, call.device)
        backward = empty_lists(call.batch, call.heads, columns, rows, call.device) if transposed else None
        self._fill(mask_mod, exact, forward, backward)
        lengths, block = (call.q_len, call.kv_len), (verdict.q_block, verdict.k_block)
        return BlockMask(lengths, *forward, *(backward or (None,) * 4), BLOCK_SIZE=block, mask_mod=mask_mod)

    def refill(self, mask: BlockMask, *, exact: bool = False) -> None:
        """Fills the lists of a mask of this plan and call anew, in place."""
        forward = Lists(mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices)
        backward = None
        if mask.q_indices is not None:
            backward = Lists(mask.q_num_blocks, mask.q_indices, mask.full_q_num_blocks, mask.full_q_indices)
        self._fill(mask.mask_mod, exact, forward, backward)

    def _fill(self, mask_mod: MaskMod, exact: bool, forward: Lists, backward: Lists | None) -> None:
        if not (self.call.q_len and self.call.kv_len):  # no tile at all
            for counts in (*forward[::2], *(backward or ())[::2]):
                counts.zero_()
            return
        if _has_kernels(self.call) and not exact:
            lists = (forward,) if backward is None else (forward, backward)
            self._launch(len(lists) == 2)(*lists)
            return
        partial, full = tile_verdicts(self.plan.function, self.plan.verdict, self.call, self.tables)
        if exact:
            partial, full = refined(partial, full, self.plan.verdict, self.call, mask_mod)
        write_lists(partial, full, forward)
        if backward is not None:
            write_lists(partial.mT, full.mT, backward)

    def over(self, tables: Mapping[Table, Tensor]) -> Builder:
        """The same over other tables, of the same shapes and dtypes: kernels that were found serve on."""
        made = Builder(self.plan, self.call, tables)
        for both, launch in self.launches.items():
            made._launch(both).again = launch.again
        return made

    def _launch(self, both: bool) -> Launch:
        if both not in self.launches:
            kernel = _kernel(self.plan, both)
            self.launches[both] = kernel.launch(self.plan.verdict, self.call, self.tables)
        return self.launches[both]


def is_read_at_once(device: torch.device) -> bool:
    """Whether a value can be read from a device without waiting for what it has still to do."""
    return bool(device.type == "cpu")


def _has_kernels(call: Call) -> bool:
    """Whether lists are built by kernels of our own."""
    return bool(call.device.type == "cuda")


def _kernel(plan: TilePlan, both: bool) -> Any:
    """The plan's kernel for the lists of the forward pass alone, or of both passes, compiled at first use."""
    if both not in plan.kernels:
        from maskdsl.backends.block_mask_triton import kernel_for

        plan.kernels[both] = kernel_for(plan.verdict, both)
    return plan.kernels[both]


def refined(partial: Tensor, full: Tensor, verdict: Verdict, call: Call, mask_mod: MaskMod) -> tuple[Tensor, Tensor]:
    """The partial and full tiles after the pairs of every partial tile were evaluated."""
    some, every = partial.clone(), full.clone()
    undecided = partial.nonzero()
    at_once = max(1, PAIRS_AT_ONCE // (verdict.q_block * verdict.k_block))
    for part in undecided.split(at_once):
        b, h, row, column = (part[:, i, None, None].to(torch.int32) for i in range(4))
        q = row * verdict.q_block + call.count(verdict.q_block, 1, -1, 1)
        k = column * verdict.k_block + call.count(verdict.k_block, 1, 1, -1)
        inside = (q < call.q_len) & (k < call.kv_len)
        seen = mask_mod(b, h, q.clamp(max=call.q_len - 1), k.clamp(max=call.kv_len - 1)) & inside
        place = tuple(part.unbind(1))
        some[place], every[place] = seen.flatten(1).any(1), seen.flatten(1).all(1)
    return some & ~every, every
