"""The flex kernels of an attention object: packed queries anywhere, and on the CPU the rows of a decode step.

Not here: running one (`kernels`), decoding on CUDA (`decode_triton`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists
from maskdsl.backends.kernel_choice import PLAIN, Plan
from maskdsl.backends.mods_text import INDUCTOR, TORCH, Dialect
from maskdsl.ir.nodes import LENGTHS, Lookup, Variant
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.types import Table
from maskdsl.ir.walk import topological
from maskdsl.layouts import paged
from maskdsl.layouts.layout import Layout
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.serving.kernels import Phase, phase, sink_of
from maskdsl.serving.limits import Q_BLOCK, Limits
from maskdsl.serving.rows import DecodeRows, PrefillPages
from maskdsl.serving.step import Step


@dataclass(slots=True)
class Phases:
    """Makes the phases of a program at first use; pages at several places have kernels of their own.

    `tensors` are the program's tables, those derived from others too. `sink` is its sink, float32 [1, heads], or None.
    """

    variant: Variant
    tensors: Mapping[Table, Tensor]
    sizes: Mapping[str, int]
    step: Step
    precise: bool
    sink: Tensor | None
    made: dict[tuple[str, int, bool], Phase] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """The engine's limits."""
        return self.step.limits

    def refresh(self) -> None:
        """Takes the sink from its table again, in place."""
        if self.sink is not None:
            fresh = sink_of(self.variant, self.tensors, self.sizes, self.limits)
            assert fresh is not None
            self.sink.copy_(fresh)

    def prefill(self, pages: PrefillPages) -> Phase:
        """The kernel over packed queries."""
        key = ("prefill", 0, self.step.places is not None)
        if key not in self.made:
            made = self._packed_on_cuda if self.limits.on_gpu else self._packed
            self.made[key] = made(pages)
        return self.made[key]

    def decode(self, rows: DecodeRows, width: int) -> Phase:
        """The kernel over rows of `width` queries, each of one request."""
        key = ("decode", width, self.step.places is not None)
        if key not in self.made:
            tensors = {paged.ROW_REQUEST: rows.request, paged.ROW_FIRST: rows.first, paged.ROW_LIMIT: rows.limit}
            tensors |= self._inverse(rows.logical_page)
            layout = paged.paged_rows(self.limits.page_size, anywhere=key[2])
            self.made[key] = self._phase(layout, tensors, rows.lists, width)
        return self.made[key]

    def _packed(self, pages: PrefillPages) -> Phase:
        step, limits = self.step, self.limits
        tensors = {paged.REQUEST: step.request, paged.POSITION: step.position, paged.LIMIT: step.limit}
        tensors |= {paged.PAGE_TABLE: step.page_table, **self._inverse(pages.logical_page)}
        layout = paged.packed_paged(limits.page_size, anywhere=step.places is not None)
        return self._phase(layout, tensors, pages.lists, limits.packed_tokens)

    def _packed_on_cuda(self, pages: PrefillPages) -> Phase:
        """Tiles of queries as batch rows."""
        from maskdsl.serving.cuda import main_plan

        step, limits = self.step, self.limits
        layout = paged.tiles_paged(limits.page_size, limits.member_words, anywhere=step.places is not None)
        tensors = {paged.TILE_REQUEST: step.request, paged.TILE_POSITION: step.position, paged.TILE_LIMIT: step.limit}
        tensors = {t: x.view(limits.tiles, Q_BLOCK) for t, x in {**tensors, paged.NUMBER: step.number}.items()}
        tensors |= {paged.FIRST_NUMBER: pages.first_number, **self._inverse(pages.logical_page)}
        tensors |= zip(paged.MEMBERS, pages.members, strict=False)
        fast = not self.precise and limits.dtype != torch.float32
        plan = main_plan(limits, light=step.places is None and not reads_pairs(self.variant, self.sizes))
        return self._phase(layout, tensors, pages.lists, Q_BLOCK, plan, INDUCTOR if fast else TORCH)

    def _phase(
        self, layout: Layout, tensors: Mapping[Table, Tensor], lists: Lists, q_len: int, plan: Plan = PLAIN,
        dialect: Dialect = TORCH,
    ) -> Phase:  # fmt: skip
        given = {t: x for t, x in {**self.tensors, **tensors}.items() if t in layout.tables or t in self.tensors}
        return phase(self.variant, layout, given, self.sizes, lists, q_len, self.limits, self.sink, plan, dialect)

    def _inverse(self, logical_page: Tensor) -> dict[Table, Tensor]:
        return {paged.LOGICAL_PAGE: logical_page} if self.step.places is None else {paged.PLACES: self.step.places}


def reads_pairs(variant: Variant, sizes: Mapping[str, int]) -> bool:
    """Whether a table of a program is read by key and by something that differs from query to query, where these belong
    to many requests.
    """
    flat = run_passes(variant, Context(sizes), after="ascending_intervals")
    roots = [root for root in (flat.mask, flat.score) if root is not None]
    reads = {key: names for root in roots for key, names in symbols_read(root).items()}
    lookups = [n for n in topological(roots) if isinstance(n, Lookup)]
    return any("k" in reads[id(n)] and reads[id(n)] & {"q", "b", *LENGTHS} for n in lookups)


def run_rows(phase: Phase, rows: DecodeRows, step: Step, q: Tensor, caches: tuple[Tensor, Tensor], out: Tensor) -> None:
    """Writes the outputs of decoded requests into `out` (tokens, heads, D), a row for each request."""
    width = phase.mask.seq_lengths[0]
    request = rows.request.long()
    at = torch.arange(width, device=q.device)
    is_query = (at < step.counts[request][:, None]) & step.is_decoded[request][:, None]
    token = (step.query_start[request][:, None] + at).clamp(max=q.shape[0] - 1)
    found = phase.attend(q[token].transpose(1, 2), *caches)
    out[token[is_query]] = found.transpose(1, 2)[is_query]
