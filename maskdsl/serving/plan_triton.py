"""Plans a step on CUDA: two launches for the items of decoded requests, one for tiles of packed queries.

Not here: the kernels (`backends.paged_plan_triton`, `backends.paged_kernels`), what is listed (`plan_torch`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskdsl.backends import paged_kernels
from maskdsl.backends.launches import Launcher
from maskdsl.backends.paged_plan_triton import (
    PlanBuffers,
    PlanKernels,
    VisiblePages,
    plan_kernels,
    prefill_launcher,
    visible_launcher,
)
from maskdsl.serving.limits import Limits
from maskdsl.serving.rows import PrefillPages
from maskdsl.serving.step import Step
from maskdsl.serving.tiles import LogicalTiles

ITEMS_PER_DEVICE = 1056
"""How many pieces of work, over all key/value heads, a GPU is given to balance: eight for each of 132 processors."""

ITEM_KEYS = (64, 1024)
"""The fewest and the most keys of an item, as long as there is room for so many items.

A GPU holds some 400 programs at once, and what is left over after the last full round of them is read at the speed of
a few: the more rounds, the less that is. 64 requests of 8192 keys, 8 key/value heads: 2048 keys make 5.2, 1024 10.3.
"""

MOST_ITEMS = 4
"""Beside one for every request, there is room for so many times ITEMS_PER_DEVICE, over all key/value heads."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How visible pages become items: about `target`, of `least` to `most` pages, `spare` beside one a request."""

    target: int
    least: int
    most: int
    spare: int


def cut_for(limits: Limits) -> Cut:
    """The cut for an engine's limits."""
    target = -(-ITEMS_PER_DEVICE // limits.kv_heads)
    fewest, most = (max(1, n // limits.page_size) for n in ITEM_KEYS)
    longest = -(-limits.max_requests * limits.max_pages_per_request // most)
    return Cut(target, fewest, most, max(target, min(longest, MOST_ITEMS * target)))


@dataclass(frozen=True, slots=True)
class DecodeItems:
    """The work of a decode step: `count` items at most, each a piece of one request's visible pages.

    `request` is int32 [items]; those of request r are `start[r]` to `start[r + 1]`, int32 [requests + 1].
    """

    pages: VisiblePages
    request: Tensor
    start: Tensor

    @property
    def count(self) -> int:
        """How many items there is room for."""
        return int(self.request.shape[0])


def decode_items(limits: Limits, cut: Cut) -> DecodeItems:
    """Buffers, without items."""
    requests, entries = limits.max_requests, limits.max_pages_per_request

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=limits.device)

    pages = VisiblePages(zeros(requests), zeros(requests), zeros(requests, entries), zeros(requests, entries))
    return DecodeItems(pages, zeros(requests + cut.spare), zeros(requests + 1))


@dataclass(slots=True)
class Planner:
    """The launches that plan one program's steps."""

    kernels: PlanKernels
    tiles: LogicalTiles
    items: DecodeItems
    pages: PrefillPages
    cut: Cut
    launchers: dict[object, Launcher] = field(default_factory=dict)

    def decode(self, step: Step) -> None:
        """Lists the pages that decoded requests see, and cuts them into items."""
        if "visible" not in self.launchers:
            self._make_decode(step)
        requests = step.limits.max_requests
        self.launchers["visible"]((requests, 1, 1))
        self.launchers["cut"]((self.items.count, 1, 1))

    def prefill(self, step: Step) -> None:
        """Fills the lists of the packed queries' tiles."""
        tiles, heads, _, _ = self.pages.lists.partial.shape
        self.prefill_launcher(step)((tiles * heads, 1, 1))

    def prefill_launcher(self, step: Step) -> Launcher:
        """What fills the lists; pages at several places have a kernel of their own."""
        key = step.places is not None
        if key not in self.launchers:
            pages = (self.pages.lists, self.pages.logical_page, self.pages.members, self.pages.first_number)
            self.launchers[key] = prefill_launcher(
                self.kernels, plan_buffers(step), self._extra(), pages, step.limits.max_tokens
            )
        return self.launchers[key]

    def _make_decode(self, step: Step) -> None:
        buffers, pages = plan_buffers(step), self.items.pages
        self.launchers["visible"] = visible_launcher(self.kernels, buffers, self.tiles.heads, self._extra(), pages)
        requests, cut = step.limits.max_requests, self.cut
        self.launchers["cut"] = Launcher(
            paged_kernels.cut_items,
            (pages.whole_counts, pages.part_counts, self.items.request, self.items.start, requests, cut.target,
             cut.least, cut.most, cut.spare),
            {"REQUESTS": 1 << (requests - 1).bit_length()}, {"num_warps": 1 if requests <= 256 else 4},
        )  # fmt: skip

    def _extra(self) -> tuple[object, ...]:
        return self.kernels.extra({**self.tiles.bound, **self.tiles.tables}, self.tiles.call.sizes)


def planner(tiles: LogicalTiles, limits: Limits, pages: PrefillPages) -> Planner:
    """The planner of a program's tiles; kernels are compiled at their first launch."""
    cut = cut_for(limits)
    return Planner(plan_kernels(tiles.plan.verdict), tiles, decode_items(limits, cut), pages, cut)


def plan_buffers(step: Step) -> PlanBuffers:
    """The step's tables as plans read them."""
    limits = step.limits
    return PlanBuffers(
        step.page_table, step.seq_lens, step.query_start, step.request, step.next_prefilled, step.numbers, step.places,
        limits.num_pages, limits.page_size, limits.decode_tokens,
    )  # fmt: skip
