"""Verdicts of a program over tiles of its logical positions, whatever memory they stand in: queries by pages.

Not here: which tiles a step has and where their pages are (`plan_torch`, `backends.paged_plan_triton`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from maskdsl.backends.tile_plan import TilePlan, limits_of, tile_plan
from maskdsl.backends.tile_tables import Call, make_tile_tables
from maskdsl.binding.bound import Bound
from maskdsl.binding.derived import derived_tables
from maskdsl.binding.lowered import Lowering
from maskdsl.ir.nodes import Derived, Lookup, Node, Symbol
from maskdsl.ir.substitute import substitute
from maskdsl.ir.types import INT, Table
from maskdsl.serving.limits import Q_BLOCK, Limits
from maskdsl.tiles import limits as static

SEQ_LENS = Table("serving", "seq_lens", INT, ("batch",))
"""The length of every request: what `q_len` and `kv_len` are to a program that is served."""


@dataclass(slots=True)
class LogicalTiles:
    """The verdict of one program for tiles of 128 queries by one page, and the tables that it reads.

    `heads` are those that tiles are decided for: 1 where the mask is the same for all. Queries of a tile may be any of
    the aligned 128 positions that hold them.
    """

    plan: TilePlan
    call: Call
    bound: dict[Table, Tensor]
    derived: tuple[Derived, ...]
    tables: dict[Table, Tensor]

    @property
    def heads(self) -> int:
        """For how many heads tiles are decided."""
        return self.call.heads

    def refresh(self) -> None:
        """Makes what depends on tables anew, in place where kernels captured it: after somebody wrote into tables."""
        for table, fresh in derived_tables(self.derived, self.bound).items():
            self.bound[table].copy_(fresh)
        for table, fresh in make_tile_tables(self.plan.verdict, self.call, self.bound).items():
            if table in self.tables:
                self.tables[table].copy_(fresh)
            else:
                self.tables[table] = fresh

    def decide(self, b: Tensor, q_low: Tensor, q_high: Tensor, page: Tensor, seq_len: Tensor) -> tuple[Tensor, Tensor]:
        """Whether a tile may hold a visible pair, and whether all its pairs are visible: bool, broadcast, with an axis
        of heads in front.

        Queries `q_low` to `q_high` of request `b`, at most 128 and perhaps none, over its logical page `page`; all
        int32 of one shape or broadcast to it.
        """
        possible = torch.zeros((), dtype=torch.bool, device=self.call.device)
        certain = ~possible
        for part in (0, 1):
            tile = torch.minimum(q_low // Q_BLOCK + part, q_high // Q_BLOCK).clamp(min=0)
            low, high = torch.maximum(q_low, tile * Q_BLOCK), torch.minimum(q_high, tile * Q_BLOCK + Q_BLOCK - 1)
            some, every = self._of_aligned(b, low, high, tile, page, seq_len)
            possible, certain = possible | some, certain & every
        inside = (q_low <= q_high) & (page * self.plan.verdict.k_block < seq_len)
        whole = (page + 1) * self.plan.verdict.k_block <= seq_len
        return possible & inside, possible & certain & inside & whole

    def _of_aligned(
        self, b: Tensor, low: Tensor, high: Tensor, tile: Tensor, page: Tensor, seq_len: Tensor
    ) -> tuple[Tensor, Tensor]:
        k_low = page * self.plan.verdict.k_block
        size = self.plan.verdict.k_block
        head = self.call.count(self.heads, -1, *(1 for _ in torch.broadcast_shapes(low.shape, page.shape)))
        symbols = {
            "b": b, "h": head, "q_len": seq_len, "kv_len": seq_len, "q_tile": tile, "k_tile": page,
            "q_low": low, "q_high": high, "k_low": k_low, "k_high": torch.minimum(k_low + size, seq_len) - 1,
        }  # fmt: skip
        possible, certain = self.plan.function(symbols, self.tables | self.bound, self.call.sizes)
        return possible, certain


def logical_tiles(bound: Bound, sizes: Mapping[str, int], limits: Limits, seq_lens: Tensor) -> LogicalTiles:
    """The tiles of a bound program; `sizes` are those of its logical axes, `seq_lens` the buffer of lengths, int32
    [max_requests]. Raises MaskError E0403, E0406 for programs that grow too large.
    """
    lowering = Lowering(bound.variant)
    after = lowering.at(sizes).variant
    tensors = {t: x.to(limits.device) for t, x in bound.bound_tables.tensors.items()}
    tensors |= derived_tables(after.derived, tensors)
    tensors[SEQ_LENS] = seq_lens
    mask = _over_lengths(lowering.tile_mask_at(sizes))
    known = limits_of({t: x for t, x in tensors.items() if t is not SEQ_LENS}, lowering.ranges)
    known = static.Limits({**known.tables, SEQ_LENS: (0, limits.capacity)})
    plan = tile_plan(mask, Q_BLOCK, limits.page_size, known)
    heads = limits.heads if plan.verdict.reads_h else 1
    call = Call(limits.max_requests, heads, limits.capacity, limits.capacity, limits.device, dict(sizes))
    made = LogicalTiles(plan, call, tensors, after.derived, {})
    made.refresh()
    return made


def _over_lengths(mask: Node) -> Node:
    """The mask with the request's own length for both lengths."""
    length = Lookup(SEQ_LENS, (Symbol("b"),), INT)
    return substitute(mask, coordinates={"q_len": length, "kv_len": length})
