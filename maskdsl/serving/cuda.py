"""What a step does on CUDA in kernels of its own: tables, new keys, rows of queries, and the merge of their pieces.

Not here: the kernels (`backends.paged_kernels`), the lists (`plan_triton`), the same in torch (`step`, `append`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskdsl.backends import paged_kernels
from maskdsl.backends.kernel_choice import Plan, Request
from maskdsl.backends.kernel_options import options_of
from maskdsl.binding.choice import machine_of
from maskdsl.serving.kernels import Phase
from maskdsl.serving.limits import Q_BLOCK, Limits
from maskdsl.serving.rows import DecodeRows
from maskdsl.serving.step import Step

VECTOR = 1024
"""Numbers that a program copies at once."""


def build_step(step: Step, page_table: Tensor, seq_lens: Tensor, query_start: Tensor) -> None:
    """Fills the step's tables from an engine's, int32 or int64, in one launch."""
    limits = step.limits
    grid = (limits.max_requests + -(-limits.max_tokens // VECTOR),)
    table = page_table if page_table.stride(1) == 1 else page_table.contiguous()
    paged_kernels.build_step[grid](
        table, seq_lens.contiguous(), query_start.contiguous(), step.page_table, step.seq_lens, step.query_start,
        step.request, step.position, step.limit, step.token_position, step.logical_page, seq_lens.shape[0],
        limits.max_requests, limits.max_tokens, limits.max_pages_per_request, limits.page_size, limits.decode_tokens,
        table.stride(0), VECTOR=VECTOR,
    )  # fmt: skip


def append_tokens(step: Step, new: tuple[Tensor, Tensor], caches: tuple[Tensor, Tensor]) -> None:
    """Copies (tokens, kv_heads, D) into caches (pages, page_size, kv_heads, D) at the step's places, in one launch."""
    limits = step.limits
    k, v = (x if x[0].is_contiguous() else x.contiguous() for x in new)
    width = limits.kv_heads * limits.head_dim
    paged_kernels.append_tokens[(k.shape[0],)](
        k, v, *caches, step.request, step.token_position, step.page_table, limits.max_pages_per_request,
        limits.page_size, width, k.stride(0), v.stride(0), VECTOR=min(VECTOR, 1 << (width - 1).bit_length()),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Query heads of a key/value head: `size` of them, filled up to `padded`, a power of two, in rows of queries."""

    size: int
    padded: int


def group_of(limits: Limits) -> Group:
    """The groups of a decode step, whose kernel takes powers of two alone."""
    size = limits.heads // limits.kv_heads
    return Group(size, 1 << (size - 1).bit_length())


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Runs the rows of a decode step of one width: queries gathered, attention, pieces merged."""

    phase: Phase
    rows: DecodeRows
    queries: Tensor
    limits: Limits

    def __call__(self, step: Step, q: Tensor, k_cache: Tensor, v_cache: Tensor, out: Tensor) -> None:
        """Writes the outputs of decoded requests into `out` (tokens, heads, D)."""
        sizes = self._sizes()
        gather_queries(q, self.queries, self.rows, step, sizes)
        values, lse = self.phase.attend_with_lse(self.queries, k_cache, v_cache)
        merge_rows(values.contiguous(), lse.contiguous(), out, self.phase, self.rows, step, sizes)

    def _sizes(self) -> dict[str, int]:
        group = group_of(self.limits)
        return {
            "WIDTH": self.queries.shape[2], "KV_HEADS": self.limits.kv_heads, "GROUP": group.size,
            "PADDED": group.padded, "DIM": self.limits.head_dim,
        }  # fmt: skip


def gather_queries(q: Tensor, queries: Tensor, rows: DecodeRows, step: Step, sizes: dict[str, int]) -> None:
    """The queries of every row, [rows, padded heads, width, D], out of the packed ones; zeros where there is none."""
    q = q if q[0].is_contiguous() else q.contiguous()
    numbers = queries.shape[1] * queries.shape[3]
    paged_kernels.gather_queries[(rows.count * sizes["WIDTH"],)](
        q, queries, rows.request, rows.limit, step.query_start, q.stride(0), q.shape[0], **sizes,
        VECTOR=min(VECTOR, 1 << (numbers - 1).bit_length()),
    )  # fmt: skip


def merge_rows(
    values: Tensor, lse: Tensor, out: Tensor, phase: Phase, rows: DecodeRows, step: Step, sizes: dict[str, int]
) -> None:
    """Weighs the pieces [rows, padded heads, width, D] of each decoded request by their log-sum-exps into `out`."""
    limits, sink = step.limits, phase.mods.sink
    paged_kernels.merge_rows[(limits.max_requests * sizes["WIDTH"], limits.heads)](
        values, lse, out, lse if sink is None else sink, rows.start, step.query_start, out.stride(0),
        limits.decode_tokens, **sizes, COLUMNS=1 << (limits.head_dim - 1).bit_length(),
        HAS_SINK=sink is not None, NORMALIZE=phase.mods.normalize, num_warps=1,
    )  # fmt: skip


def row_queries(rows: DecodeRows, width: int, limits: Limits) -> Tensor:
    """The buffer for the queries of every row: [rows, padded heads, width, D]."""
    heads = limits.kv_heads * group_of(limits).padded
    return torch.zeros((rows.count, heads, width, limits.head_dim), dtype=limits.dtype, device=limits.device)


def kernel_plan(limits: Limits, kernel: str, rows: int, q_len: int) -> Plan:
    """The options of a phase's kernel, "decode" or "main". A row of a decode step is not split again."""
    dtype = str(limits.dtype).removeprefix("torch.")
    request = Request(
        dtype, limits.head_dim, limits.head_dim, q_len, limits.num_pages * limits.page_size,
        (Q_BLOCK, limits.page_size), rows=rows * limits.kv_heads, layout="paged",
    )  # fmt: skip
    options = options_of(kernel, machine_of(limits.device), request)
    return Plan(options=(*options, ("SPLIT_KV", 1)) if kernel == "decode" else options)
