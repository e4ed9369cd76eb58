"""The flex kernels of an attention object: packed queries anywhere, and on the CPU the rows of a decode step.

Not here: running one (`kernels`), decoding on CUDA (`decode_triton`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists
from maskdsl.backends.kernel_choice import PLAIN
from maskdsl.backends.mods_text import INDUCTOR, TORCH
from maskdsl.ir.nodes import Variant
from maskdsl.ir.types import Table
from maskdsl.layouts import paged
from maskdsl.serving.kernels import Phase, phase, sink_of
from maskdsl.serving.limits import Limits
from maskdsl.serving.rows import DecodeRows
from maskdsl.serving.step import Step


@dataclass(slots=True)
class Phases:
    """Makes the phases of a program at first use; pages at several places have kernels of their own.

    `tensors` are the program's tables, those derived from others too. `sink` is its sink, float32 [1, heads], or None.
    `logical_page` is the logical place of every page that is listed, int32 [pages].
    """

    variant: Variant
    tensors: Mapping[Table, Tensor]
    sizes: Mapping[str, int]
    step: Step
    logical_page: Tensor
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

    def prefill(self, lists: Lists) -> Phase:
        """The kernel over packed queries."""
        key = ("prefill", 0, self.step.places is not None)
        if key not in self.made:
            step = self.step
            tensors = {paged.REQUEST: step.request, paged.POSITION: step.position, paged.LIMIT: step.limit}
            layout = paged.packed_paged(self.limits.page_size, anywhere=key[2])
            given = {**self.tensors, **tensors, **self._inverse()}
            made = (self.variant, layout, given, self.sizes, lists, self.limits.packed_tokens, self.limits, self.sink)
            self.made[key] = phase(*made, *self._on_cuda())
        return self.made[key]

    def decode(self, rows: DecodeRows, width: int) -> Phase:
        """The kernel over rows of `width` queries, each of one request."""
        key = ("decode", width, self.step.places is not None)
        if key not in self.made:
            tensors = {paged.ROW_REQUEST: rows.request, paged.ROW_FIRST: rows.first, paged.ROW_LIMIT: rows.limit}
            layout = paged.paged_rows(self.limits.page_size, anywhere=key[2])
            given = {**self.tensors, **tensors, **self._inverse()}
            self.made[key] = phase(
                self.variant, layout, given, self.sizes, rows.lists, width, self.limits, self.sink
            )
        return self.made[key]

    def _on_cuda(self) -> tuple[Any, ...]:
        """The options of the kernel over packed queries, and how its mods are written."""
        if self.limits.device.type != "cuda":
            return PLAIN, TORCH
        from maskdsl.serving.cuda import main_plan

        fast = not self.precise and self.limits.dtype != torch.float32
        return main_plan(self.limits), INDUCTOR if fast else TORCH

    def _inverse(self) -> dict[Table, Tensor]:
        if self.step.places is not None:
            return {paged.PLACES: self.step.places}
        return {paged.LOGICAL_PAGE: self.logical_page, paged.PAGE_TABLE: self.step.page_table}


def run_rows(phase: Phase, rows: DecodeRows, step: Step, q: Tensor, caches: tuple[Tensor, Tensor], out: Tensor) -> None:
    """Writes the outputs of decoded requests into `out` (tokens, heads, D), a row for each request."""
    width = phase.mask.seq_lengths[0]
    request = rows.request.long()
    at = torch.arange(width, device=q.device)
    is_query = (at < step.counts[request][:, None]) & step.is_decoded[request][:, None]
    token = (step.query_start[request][:, None] + at).clamp(max=q.shape[0] - 1)
    found = phase.attend(q[token].transpose(1, 2), *caches)
    out[token[is_query]] = found.transpose(1, 2)[is_query]
