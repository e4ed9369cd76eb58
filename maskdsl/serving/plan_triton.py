"""Plans a step on CUDA: two launches for rows of a decode step, one for tiles of packed queries.

Not here: the kernels (`backends.paged_plan_triton`), what is listed (`plan_torch`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists
from maskdsl.backends.paged_plan_triton import (
    PlanBuffers,
    PlanKernels,
    fill_prefill,
    fill_rows,
    fill_visible,
    plan_kernels,
)
from maskdsl.serving.limits import Limits
from maskdsl.serving.rows import ITEMS_PER_DEVICE, DecodeRows
from maskdsl.serving.step import Step
from maskdsl.serving.tiles import LogicalTiles


@dataclass(frozen=True, slots=True)
class Planner:
    """The kernels of one program, and room for the pages that each decoded request sees."""

    kernels: PlanKernels
    counts: Tensor
    visible: Tensor

    def decode(self, tiles: LogicalTiles, step: Step, rows: DecodeRows) -> None:
        """Fills the rows of a decode step: requests cut into pieces of about equal numbers of pages."""
        buffers, extra = plan_buffers(step), self._extra(tiles)
        fill_visible(self.kernels, buffers, tiles.heads, extra, self.counts, self.visible)
        parts = (rows.request, rows.first, rows.limit, rows.start)
        target = -(-ITEMS_PER_DEVICE // step.limits.kv_heads)
        fill_rows(self.kernels, buffers, self.counts, self.visible, parts, rows.lists, target)

    def prefill(self, tiles: LogicalTiles, step: Step, lists: Lists) -> None:
        """Fills the lists of the packed queries' tiles."""
        fill_prefill(self.kernels, plan_buffers(step), self._extra(tiles), lists, step.limits.max_tokens)

    def _extra(self, tiles: LogicalTiles) -> tuple[object, ...]:
        return self.kernels.extra({**tiles.bound, **tiles.tables}, tiles.call.sizes)


def planner(tiles: LogicalTiles, limits: Limits) -> Planner:
    """The planner of a program's tiles; kernels are compiled at their first launch."""
    requests, entries = limits.max_requests, limits.max_pages_per_request
    counts = torch.zeros(requests, dtype=torch.int32, device=limits.device)
    visible = torch.zeros((requests, entries), dtype=torch.int32, device=limits.device)
    return Planner(plan_kernels(tiles.plan.verdict), counts, visible)


def plan_buffers(step: Step) -> PlanBuffers:
    """The step's tables as plans read them."""
    limits = step.limits
    places = step.page_table if step.places is None else step.places
    return PlanBuffers(
        step.page_table, step.seq_lens, step.query_start, step.request, places, step.places is not None,
        limits.num_pages, limits.page_size, limits.decode_tokens,
    )  # fmt: skip
