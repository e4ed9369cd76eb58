"""`PagedAttention`: attention of a serving engine's steps over a paged cache, for any program of the language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from maskdsl.backends.kernel_choice import PLAIN, Plan
from maskdsl.binding.bound import Bound, outside_graphs
from maskdsl.binding.program import Program
from maskdsl.binding.tables import axis_sizes
from maskdsl.ir.types import Table
from maskdsl.layouts import paged
from maskdsl.layouts.layout import Layout
from maskdsl.layouts.sharded import grouped
from maskdsl.serving.append import append_tokens
from maskdsl.serving.kernels import Phase, phase
from maskdsl.serving.limits import Limits, check_limits, with_index
from maskdsl.serving.plan_torch import plan_decode, plan_prefill
from maskdsl.serving.plan_triton import planner
from maskdsl.serving.rows import decode_rows, prefill_lists
from maskdsl.serving.step import Step, empty_step
from maskdsl.serving.tiles import SEQ_LENS, logical_tiles
from maskdsl.source.diagnostic import Diagnostic, MaskError

if TYPE_CHECKING:
    from maskdsl.serving.cuda import DecodeRun


class PagedAttention:
    """A program over paged keys: planned once a step, run once a layer.

    Requests with few new tokens are decoded: each is a row of its own, with a list of its pages. The others are
    prefilled: their packed queries are cut into tiles of 128, with the pages that each tile may see. All buffers are
    made here, so that plan and run can be captured in a CUDA graph, and nothing is compiled again whatever the lengths,
    requests and tables.
    """

    def __init__(
        self, variant: Program | Bound, *, max_requests: int, max_tokens: int, num_pages: int, page_size: int,
        max_pages_per_request: int, heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu", tables: Mapping[str, Any] | None = None, decode_tokens: int = 16,
        places: str = "auto", step: Step | None = None,
    ) -> None:  # fmt: skip
        """`variant` is a program, or one bound to its tables; `tables` gives them otherwise.

        In tables, `batch` is a request's row in `page_table` (length `max_requests`) and `position` the logical place
        (at least `max_pages_per_request * page_size`). What is written into them counts from the next plan on.
        `decode_tokens`, `places`: see `Limits`. `step` is that of another attention object of the same limits, so that
        both share what does not depend on the program: one plan serves both.
        Raises MaskError: E0902 for limits that no kernel can keep, E0607 for tables that disagree with them, and what
        `bind` raises.
        """
        bound = variant if isinstance(variant, Bound) else variant.bind(**dict(tables or {}))
        where = with_index(torch.device(device))
        self.limits = Limits(
            max_requests, max_tokens, num_pages, page_size, max_pages_per_request, heads, kv_heads, head_dim, dtype,
            where, decode_tokens, places,
        )  # fmt: skip
        self._span = bound.variant.span
        check_limits(self.limits, self._span)
        if step is not None and step.limits != self.limits:
            raise MaskError(Diagnostic("E0902", "the shared step was made for other limits", self._span))
        self._bound = bound
        self._sizes = _logical_sizes(bound, self.limits)
        self.step = empty_step(self.limits) if step is None else step
        self._owns_step = step is None
        self._tiles = logical_tiles(bound, self._sizes, self.limits, self.step.seq_lens)
        self._rows = decode_rows(self.limits)
        self._lists = prefill_lists(self.limits, self._tiles.heads)
        self._phases: dict[Any, Phase] = {}
        self._decoders: dict[Any, DecodeRun] = {}
        self._planner = planner(self._tiles, self.limits) if self._is_cuda else None
        self._q = torch.zeros((max_tokens, heads, head_dim), dtype=dtype, device=where)

    @property
    def _is_cuda(self) -> bool:
        return bool(self.limits.device.type == "cuda")

    @property
    def decodes(self) -> bool:
        """Whether the planned step decodes."""
        return self.step.host.decode_requests > 0

    @property
    def prefills(self) -> bool:
        """Whether the planned step prefills."""
        return self.step.host.longest_query > self.limits.decode_tokens

    @outside_graphs
    def plan(
        self, page_table: Tensor, seq_lens: Tensor, query_start: Tensor, *,
        longest_query: int | None = None, decode_requests: int | None = None,
    ) -> None:  # fmt: skip
        """Prepares a step. All int tensors on the cache's device:

        `page_table` [requests, max_pages_per_request], the physical page at every logical place (entries behind a
        request's tokens may hold anything); `seq_lens` [requests], each request's tokens, new ones included;
        `query_start` [requests + 1], where each request's new tokens begin in the packed queries.
        `longest_query` is the most new tokens of a request, `decode_requests` how many have 1 to `decode_tokens`; where
        one is left out, both are read from the device and the step is checked on the way.
        Raises MaskError E0903 for a step that does not fit the limits.
        """
        with torch.no_grad():
            self.step.update(
                page_table, seq_lens, query_start,
                longest_query=longest_query, decode_requests=decode_requests, span=self._span,
            )  # fmt: skip
            self.plan_lists()

    @outside_graphs
    def plan_lists(self) -> None:
        """Lists the pages of this program for a step that another attention object has planned (`step=`)."""
        with torch.no_grad():
            self._tiles.refresh()
            if self.decodes:
                decode = plan_decode if self._planner is None else self._planner.decode
                decode(self._tiles, self.step, self._rows)
            if self.prefills:
                prefill = plan_prefill if self._planner is None else self._planner.prefill
                prefill(self._tiles, self.step, self._lists)

    @outside_graphs
    def append(self, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor) -> None:
        """Writes the keys and values of the step's new tokens, (tokens, kv_heads, D), into their pages.

        Raises MaskError E0904 for shapes that do not fit.
        """
        self._check_cache(k_cache, v_cache)
        for name, new in (("k", k), ("v", v)):
            self._check(name, new, (new.shape[0], self.limits.kv_heads, self.limits.head_dim))
        append = _append_on_cuda if self._is_cuda else append_tokens
        append(self.step, (k, v), (k_cache, v_cache))

    @outside_graphs
    def run(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        """Attention of the step's packed queries (tokens, heads, D) over the caches (pages, page_size, kv_heads, D),
        which are used in place: (tokens, heads, D), 0 where a query sees nothing and behind the last request.

        Raises MaskError E0904 for shapes that do not fit or a step that was not planned, E0705 where torch cannot
        compile the kernel.
        """
        self._check_cache(k_cache, v_cache)
        self._check("q", q, (q.shape[0], self.limits.heads, self.limits.head_dim))
        if not self.step.planned:
            raise MaskError(Diagnostic("E0904", "no step was planned", self._span, help=("call `plan` first",)))
        with torch.no_grad():
            out = torch.zeros_like(q)
            if self.prefills:
                self._run_prefill(q, k_cache, v_cache, out)
            if self.decodes:
                self._run_decode(q, k_cache, v_cache, out)
        return out

    # ---------------------------------------------------------------- phases

    def _run_prefill(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, out: Tensor) -> None:
        tokens = q.shape[0]
        whole = q
        if tokens < self.limits.max_tokens:
            self._q[:tokens].copy_(q)
            whole = self._q
        found = self._phase("prefill").attend(whole.transpose(0, 1)[None], k_cache, v_cache)
        out.copy_(found[0].transpose(0, 1)[:tokens])

    def _run_decode(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, out: Tensor) -> None:
        width = 1 if self.step.host.longest_query == 1 else self.limits.decode_tokens
        if self._is_cuda:
            return self._decoder(width)(self.step, q, k_cache, v_cache, out)
        token, is_query = self._decode_tokens(width, q.shape[0])
        found = self._phase("decode", width).attend(q[token].transpose(1, 2), k_cache, v_cache)
        out[token[is_query]] = found.transpose(1, 2)[is_query]

    def _decoder(self, width: int) -> DecodeRun:
        """What decodes rows of `width` queries on CUDA, made at first use."""
        from maskdsl.serving.cuda import DecodeRun, row_queries

        key = (width, self.step.places is not None)
        if key not in self._decoders:
            queries = row_queries(self._rows, width, self.limits)
            self._decoders[key] = DecodeRun(self._phase("decode", width), self._rows, queries, self.limits)
        return self._decoders[key]

    def _decode_tokens(self, width: int, tokens: int) -> tuple[Tensor, Tensor]:
        """The packed query at every place of the rows, and whether there is one: [requests, width]."""
        request = self._rows.request.long()
        at = torch.arange(width, device=self.limits.device)
        is_query = (at < self.step.counts[request][:, None]) & self.step.is_decoded[request][:, None]
        token = (self.step.query_start[request][:, None] + at).clamp(max=tokens - 1)
        return token, is_query

    def _phase(self, name: str, width: int = 0) -> Phase:
        """The kernel of a phase, made at first use; pages at several places have kernels of their own."""
        anywhere = self.step.places is not None
        key = (name, width, anywhere)
        if key not in self._phases:
            decode = name == "decode"
            layout, tensors = self._decode_layout(anywhere) if decode else self._prefill_layout(anywhere)
            lists, q_len = (self._rows.lists, width) if decode else (self._lists, self.limits.max_tokens)
            tensors = {**self._tiles.bound, **tensors}
            made = (self._bound.variant, layout, tensors, self._sizes, lists, q_len, self.limits)
            self._phases[key] = phase(*made, self._kernel_plan(decode, q_len))
        return self._phases[key]

    def _decode_layout(self, anywhere: bool) -> tuple[Layout, dict[Table, Tensor]]:
        rows = self._rows
        tensors = {paged.ROW_REQUEST: rows.request, paged.ROW_FIRST: rows.first, paged.ROW_LIMIT: rows.limit}
        layout = paged.paged_rows(self.limits.page_size, anywhere=anywhere)
        if self._is_cuda:
            from maskdsl.serving.cuda import group_of

            group = group_of(self.limits)
            layout = grouped(group.size, group.padded).then(layout) if group.size < group.padded else layout
        return layout, {**tensors, **self._inverse()}

    def _kernel_plan(self, decode: bool, q_len: int) -> Plan:
        if not self._is_cuda:
            return PLAIN
        from maskdsl.serving.cuda import kernel_plan

        return kernel_plan(self.limits, "decode" if decode else "main", self._rows.count if decode else 1, q_len)

    def _prefill_layout(self, anywhere: bool) -> tuple[Layout, dict[Table, Tensor]]:
        step = self.step
        tensors = {paged.REQUEST: step.request, paged.POSITION: step.position, paged.LIMIT: step.limit}
        return paged.packed_paged(self.limits.page_size, anywhere=anywhere), {**tensors, **self._inverse()}

    def _inverse(self) -> dict[Table, Tensor]:
        step = self.step
        if step.places is not None:
            return {paged.PLACES: step.places}
        return {paged.LOGICAL_PAGE: step.logical_page, paged.PAGE_TABLE: step.page_table}

    # ---------------------------------------------------------------- checks

    def _check_cache(self, k_cache: Tensor, v_cache: Tensor) -> None:
        limits = self.limits
        shape = (limits.num_pages, limits.page_size, limits.kv_heads, limits.head_dim)
        for name, cache in (("k_cache", k_cache), ("v_cache", v_cache)):
            self._check(name, cache, shape)
            if not cache.is_contiguous():
                raise MaskError(Diagnostic("E0904", f"`{name}` is not contiguous", self._span))

    def _check(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        limits, wrong = self.limits, ""
        if tuple(tensor.shape) != shape:
            wrong = f"`{name}` is {tuple(tensor.shape)}, and must be {shape}"
        elif len(shape) == 3 and shape[0] > limits.max_tokens:
            wrong = f"`{name}` has {shape[0]} tokens, and `max_tokens` is {limits.max_tokens}"
        elif tensor.dtype != limits.dtype or tensor.device != limits.device:
            wrong = f"`{name}` is {tensor.dtype} on {tensor.device}, and must be {limits.dtype} on {limits.device}"
        if wrong:
            raise MaskError(Diagnostic("E0904", wrong, self._span))


def _append_on_cuda(step: Step, new: tuple[Tensor, Tensor], caches: tuple[Tensor, Tensor]) -> None:
    from maskdsl.serving import cuda

    cuda.append_tokens(step, new, caches)


def _logical_sizes(bound: Bound, limits: Limits) -> dict[str, int]:
    """The lengths of the logical axes. Raises MaskError E0607 where tables disagree with the limits."""
    own = {
        "batch": limits.max_requests, "head": limits.heads, "kv_head": limits.kv_heads, "position": limits.capacity,
    }  # fmt: skip
    tables = bound.bound_tables.tensors
    wrong = []
    for axis, size in axis_sizes(tables).items():
        needed = own.get(axis, size)
        if size < needed or (size > needed and axis != "position"):
            table = next(t for t in tables if axis in t.axes)
            message = f"`{axis}` is {size} in `{table.name}`, and the limits make it {needed}"
            wrong.append(Diagnostic("E0607", message, table.span))
    if wrong:
        raise MaskError(wrong)
    return {**own, **bound.sizes}


__all__ = ["SEQ_LENS", "PagedAttention"]
