"""`PagedAttention`: attention of a serving engine's steps over a paged cache, for any program of the language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from maskdsl.binding.bound import Bound, outside_graphs
from maskdsl.binding.lowered import Lowering
from maskdsl.binding.program import Program
from maskdsl.binding.tables import axis_sizes
from maskdsl.serving.append import append_tokens
from maskdsl.serving.kernels import sink_of
from maskdsl.serving.limits import Limits, check_limits, device_of
from maskdsl.serving.phases import Phases, run_rows
from maskdsl.serving.plan_torch import plan_decode, plan_prefill
from maskdsl.serving.rows import decode_rows, prefill_pages
from maskdsl.serving.step import Step, empty_step, lasting
from maskdsl.serving.tiles import SEQ_LENS, logical_tiles
from maskdsl.source.diagnostic import Diagnostic, MaskError

if TYPE_CHECKING:
    from maskdsl.serving.decode_triton import Decoder
    from maskdsl.serving.plan_triton import Planner


class PagedAttention:
    """A program over paged keys: planned once a step, run once a layer.

    Requests with few new tokens are decoded: the pages that they see are cut into items of about equal work. The others
    are prefilled: their packed queries are cut into tiles of 128, with the pages that each tile may see. All buffers
    are made here, and nothing is compiled again whatever the lengths, requests and tables.

    In a CUDA graph `plan`, `append` and `run` can be captured, once a step of the kind has run outside. The graph keeps
    the numbers that `plan` was told: what is replayed may have other tables and lengths, but no longer queries, and no
    requests to decode or to prefill where there were none.
    """

    def __init__(
        self, variant: Program | Bound, *, max_requests: int, max_tokens: int, num_pages: int, page_size: int,
        max_pages_per_request: int, heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu", tables: Mapping[str, Any] | None = None, decode_tokens: int = 16,
        places: str = "auto", precise: bool = False, step: Step | None = None,
    ) -> None:  # fmt: skip
        """`variant` is a program, or one bound to its tables; `tables` gives them otherwise.

        In tables, `batch` is a request's row in `page_table` (length `max_requests`) and `position` the logical place
        (at least `max_pages_per_request * page_size`). What is written into them counts from the next plan on.
        `decode_tokens`, `places`: see `Limits`. `step` is that of another attention object of the same limits, so that
        both share what does not depend on the program: one plan serves both.
        Raises MaskError: E0902 for limits that no kernel can keep, E0607 for tables that disagree with them, E0606 for
        tables beside those that are bound, and what `bind` raises.
        """
        if isinstance(variant, Bound) and tables:
            raise MaskError(_bound_already(next(iter(tables)), variant))
        with lasting(), torch.no_grad():
            bound = variant if isinstance(variant, Bound) else variant.bind(**dict(tables or {}))
        where = device_of(device, bound.variant.span)
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
        self._decoders: dict[int, Decoder] = {}
        with lasting(), torch.no_grad():
            self.step = empty_step(self.limits) if step is None else step
            self._tiles = logical_tiles(bound, self._sizes, self.limits, self.step.seq_lens)
            self._rows = None if self.limits.on_gpu else decode_rows(self.limits)
            self._pages = prefill_pages(self.limits, self._tiles.heads)
            self._phases = self._make_phases(precise)
            self._planner = self._make_planner() if self.limits.on_gpu else None

    def _make_phases(self, precise: bool) -> Phases:
        variant, tensors = self._bound.variant, self._tiles.bound
        sink = sink_of(variant, tensors, self._sizes, self.limits)
        return Phases(variant, tensors, self._sizes, self.step, precise, sink)

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
        longest_query: int | None = None, decode_requests: int | None = None, longest_decode: int | None = None,
    ) -> None:  # fmt: skip
        """Prepares a step. All int tensors on the cache's device:

        `page_table` [requests, max_pages_per_request], the physical page at every logical place (entries behind a
        request's tokens may hold anything); `seq_lens` [requests], each request's tokens, new ones included;
        `query_start` [requests + 1], where each request's new tokens begin in the packed queries.
        An entry below 0 is no page: its keys are never visible, as where a sliding window has passed them.
        `longest_query` is the most new tokens of a request, `decode_requests` how many have 1 to `decode_tokens`; where
        one is left out, all is read from the device and the step is checked on the way. `longest_decode` is the most
        new tokens of a request that is decoded: told to be 1, a mixed step decodes as fast as one without prefill.
        Raises MaskError E0903 for a step that does not fit the limits.
        """
        with torch.no_grad():
            self.step.update(
                page_table, seq_lens, query_start,
                told=(longest_query, decode_requests, longest_decode), span=self._span,
            )  # fmt: skip
            self.plan_lists()

    @outside_graphs
    def plan_lists(self) -> None:
        """Lists the pages of this program for a step that another attention object has planned (`step=`).

        Raises MaskError E0904 if none was planned.
        """
        self._check_planned()
        with torch.no_grad():
            self._tiles.refresh()
            if self.prefills or self._planner is None:
                self._phases.refresh()
            if self._planner is not None:
                self._plan_on_cuda(self._planner)
                return
            if self._rows is not None and self.decodes:
                plan_decode(self._tiles, self.step, self._rows)
            if self.prefills:
                plan_prefill(self._tiles, self.step, self._pages)

    def _plan_on_cuda(self, planner: Planner) -> None:
        if self.decodes:
            planner.decode(self.step)
        if self.prefills:
            planner.prefill(self.step)

    @outside_graphs
    def append(self, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor) -> None:
        """Writes the keys and values of the step's new tokens, (tokens, kv_heads, D), into their pages.

        Raises MaskError E0904 for shapes that do not fit or a step that was not planned.
        """
        self._check_planned()
        self._check_cache(k_cache, v_cache)
        self._check_tokens("k", k, self.limits.kv_heads)
        self._check("v", v, tuple(k.shape))
        if not k.shape[0]:
            return
        if self.limits.on_gpu:
            self.step.on_cuda().append((k, v), (k_cache, v_cache))
        else:
            append_tokens(self.step, (k, v), (k_cache, v_cache))

    @outside_graphs
    def run(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        """Attention of the step's packed queries (tokens, heads, D) over the caches (pages, page_size, kv_heads, D),
        which are used in place: (tokens, heads, D), 0 where a query sees nothing and behind the last request.

        Every number in a page that a request holds must be finite, those behind its last token too: begin with zeros.
        Raises MaskError E0904 for shapes that do not fit or a step that was not planned, E0705 where torch cannot
        compile the kernel.
        """
        self._check_cache(k_cache, v_cache)
        self._check_tokens("q", q, self.limits.heads)
        self._check_planned()
        planned = self.step.host.tokens
        if planned is not None and q.shape[0] < planned:
            message = f"`q` has {q.shape[0]} tokens, and {planned} are planned"
            raise MaskError(Diagnostic("E0904", message, self._span))
        with torch.no_grad():
            if not q.shape[0]:
                return torch.zeros_like(q)
            if self.prefills:
                out = self._prefilled(q, k_cache, v_cache)
            elif self.decodes and self.limits.on_gpu:
                out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
            else:
                out = torch.zeros(q.shape, dtype=q.dtype, device=q.device)
            if self.decodes:
                self._decode(q, k_cache, v_cache, out)
        return out

    # ---------------------------------------------------------------- phases

    def _prefilled(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        """Attention of all queries but those of decoded requests, which are 0."""
        whole, phase = self.step.filled_up(q), self._phases.prefill(self._pages)
        rows = whole.unflatten(0, (-1, phase.mask.seq_lengths[0])).transpose(1, 2)
        found = phase.attend(rows, k_cache, v_cache).transpose(1, 2)
        return found.flatten(0, 1)[: q.shape[0]].contiguous()

    def _decode(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, out: Tensor) -> None:
        """Writes the attention of decoded requests into `out`, and on CUDA 0 behind the last request."""
        width = 1 if self.step.host.longest_decode == 1 else self.limits.decode_tokens
        if self._rows is None:
            self._decoder(width)(q, k_cache, v_cache, out)
            return
        run_rows(self._phases.decode(self._rows, width), self._rows, self.step, q, (k_cache, v_cache), out)

    # ---------------------------------------------------------------- CUDA

    def _make_planner(self) -> Planner:
        from maskdsl.serving.plan_triton import planner

        return planner(self._tiles, self.limits, self._pages)

    def _decoder(self, width: int) -> Decoder:
        """What decodes requests of at most `width` new tokens, made at first use."""
        from maskdsl.serving.decode_triton import decode_program, decoder

        assert self._planner is not None
        if width not in self._decoders:
            lowering = Lowering(self._bound.variant)
            program = decode_program(lowering, self._tiles.bound, self._sizes, self.limits.head_dim)
            self._decoders[width] = decoder(program, self.step, self._planner.items, width)
        return self._decoders[width]

    # ---------------------------------------------------------------- checks

    def _check_planned(self) -> None:
        if not self.step.planned:
            raise MaskError(Diagnostic("E0904", "no step was planned", self._span, help=("call `plan` first",)))

    def _check_cache(self, k_cache: Tensor, v_cache: Tensor) -> None:
        limits = self.limits
        shape = (limits.num_pages, limits.page_size, limits.kv_heads, limits.head_dim)
        for name, cache in (("k_cache", k_cache), ("v_cache", v_cache)):
            self._check(name, cache, shape)
            if not cache.is_contiguous():
                raise MaskError(Diagnostic("E0904", f"`{name}` is not contiguous", self._span))

    def _check_tokens(self, name: str, tensor: Tensor, heads: int) -> None:
        tokens = tensor.shape[0] if isinstance(tensor, Tensor) and tensor.dim() else 0
        self._check(name, tensor, (tokens, heads, self.limits.head_dim))
        if tokens > self.limits.max_tokens:
            wrong = f"`{name}` has {tokens} tokens, and `max_tokens` is {self.limits.max_tokens}"
            raise MaskError(Diagnostic("E0904", wrong, self._span))

    def _check(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        limits, wrong = self.limits, ""
        if not isinstance(tensor, Tensor):
            wrong = f"`{name}` is a {type(tensor).__name__}, and must be a tensor"
        elif tuple(tensor.shape) != shape:
            wrong = f"`{name}` is {tuple(tensor.shape)}, and must be {shape}"
        elif tensor.dtype != limits.dtype or tensor.device != limits.device:
            wrong = f"`{name}` is {tensor.dtype} on {tensor.device}, and must be {limits.dtype} on {limits.device}"
        if wrong:
            raise MaskError(Diagnostic("E0904", wrong, self._span))


def _bound_already(name: str, bound: Bound) -> Diagnostic:
    return Diagnostic(
        "E0606", f"`{name}` is given, and `{bound.variant.name}` is bound to its tables already", bound.variant.span,
        help=("give the program itself, or bind all of its tables",),
    )  # fmt: skip


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
