"""Layouts over actual tensors: `Dense`, `Packed`, `Paged`, `PackedPaged` and `Sharded`.

Each holds the tables that its layout reads. `bound.arranged(layout)` says a definition's meaning in its physical
coordinates; `layout.rewrite(mask_mod, score_mod)` does the same for hand-written closures.

Not here: what the coordinates are (`layouts`), a serving engine's steps over fixed buffers (`serving`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskdsl.backends.paged_tables import (
    conflicts,
    logical_pages,
    places_of_pages,
    token_tables,
    used_entries,
)
from maskdsl.backends.rewritten import rewritten
from maskdsl.ir.types import Table
from maskdsl.layouts import dense, packed, paged, sharded
from maskdsl.layouts.layout import Layout
from maskdsl.source.diagnostic import Diagnostic, MaskError

Mod = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """A layout and the tensors of its tables. `sizes` are lengths of logical axes that the layout knows."""

    layout: Layout
    tensors: Mapping[Table, Tensor] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    def rewrite(self, mask_mod: Mod | None, score_mod: Mod | None = None) -> tuple[Mod, Mod | None]:
        """`mask_mod(b, h, q_idx, kv_idx)` and `score_mod(score, b, h, q_idx, kv_idx)` in physical coordinates.

        The closures go on speaking of logical ones; pairs that belong to no request are not visible.
        """
        return rewritten(self.layout, self.tensors, mask_mod, score_mod)

    def then(self, inner: Arrangement) -> Arrangement:
        """Both, one behind the other: what is logical in this one is physical in `inner`."""
        tensors = {**self.tensors, **inner.tensors}
        return Arrangement(self.layout.then(inner.layout), tensors, {**self.sizes, **inner.sizes})


def Dense(query_offset: int | Tensor, batch: int | None = None) -> Arrangement:
    """Batch rows whose queries begin `query_offset` tokens behind the beginning of their keys.

    An int32 tensor [batch], or one int for the `batch` rows (1 if left out). Bottom-right alignment is an offset of
    `kv_len - q_len`.
    """
    offset = query_offset if isinstance(query_offset, Tensor) else torch.full((batch or 1,), query_offset)
    return Arrangement(dense.dense(), {dense.OFFSET: _ints(offset)})


def Packed(
    cu_seqlens: Tensor, k_cu_seqlens: Tensor | None = None, *,
    tokens: int | None = None, align: str = "end",
) -> Arrangement:  # fmt: skip
    """Requests one after another in one batch row: request r's queries are `cu_seqlens[r]` to `cu_seqlens[r + 1]`.

    `cu_seqlens` is int [requests + 1], and so is `k_cu_seqlens` where keys are packed by lengths of their own: queries
    are then the last of their request's positions, or with `align="start"` the first. `tokens` is how many queries
    there are in all, those behind the last request included; it is read from the tensor if left out.
    Raises MaskError E0901 for another `align`.
    """
    if align not in ("start", "end"):
        raise MaskError(Diagnostic("E0901", f"`align` is {align!r}", help=('it is "end" or "start"',)))
    starts = _ints(cu_seqlens)
    count = int(starts[-1]) if tokens is None else tokens
    lengths = starts.diff()
    alike = token_tables(lengths, starts, count)
    row, inside = alike.request.long(), alike.limit > 0
    apart = k_cu_seqlens is not None
    keys = starts if k_cu_seqlens is None else _ints(k_cu_seqlens)
    first = torch.where(inside, keys[:-1][row], 0)
    tensors = {packed.REQUEST: alike.request, packed.FIRST: first, packed.END: torch.where(inside, keys[1:][row], 0)}
    if apart:
        behind = keys.diff() - lengths if align == "end" else torch.zeros_like(lengths)
        tensors[packed.SHIFT] = torch.where(inside, (behind - starts[:-1])[row], 0)
        tensors[packed.COUNT] = torch.where(inside, (keys.diff() if align == "end" else lengths)[row], 0)
    made = {t: x.to(torch.int32).contiguous() for t, x in tensors.items()}
    return Arrangement(packed.packed(apart=apart), made, {"batch": starts.shape[0] - 1})


def Paged(page_table: Tensor, seq_lens: Tensor, page_size: int, num_pages: int) -> Arrangement:
    """Requests as batch rows, keys in a pool of `num_pages` pages of `page_size` tokens: kv_len is their product.

    `page_table` is int [requests, entries], `seq_lens` int [requests]; entries beyond a length may hold anything.
    Reads from the device whether a page stands at two logical places.
    """
    table, lengths = _ints(page_table), _ints(seq_lens)
    anywhere, inverse = _inverse(table, lengths, page_size, num_pages)
    tensors = {paged.SEQ_LENS: lengths, **inverse}
    return Arrangement(paged.paged(page_size, anywhere=anywhere), tensors, {"batch": table.shape[0]})


def PackedPaged(
    query_start: Tensor, page_table: Tensor, seq_lens: Tensor, page_size: int, num_pages: int, *,
    tokens: int | None = None,
) -> Arrangement:  # fmt: skip
    """The serving layout: packed queries, the last tokens of their requests, over keys in pages.

    `query_start` is int [requests + 1]; the rest as in `Paged` and `Packed`.
    """
    starts, table, lengths = _ints(query_start), _ints(page_table), _ints(seq_lens)
    count = int(starts[-1]) if tokens is None else tokens
    anywhere, inverse = _inverse(table, lengths, page_size, num_pages)
    made = token_tables(lengths, starts, count)
    tensors = {paged.REQUEST: made.request, paged.POSITION: made.position, paged.LIMIT: made.limit, **inverse}
    return Arrangement(paged.packed_paged(page_size, anywhere=anywhere), tensors, {"batch": table.shape[0]})


def Sharded(
    *, heads: int, kv_heads: int, head_offset: int = 0, rank: int = 0, ranks: int = 1,
    order: sharded.Order = "contiguous", length: int = 0,
) -> Arrangement:  # fmt: skip
    """A rank's share: query heads from `head_offset` on of `heads` over `kv_heads` in all, and of a sequence dealt out
    to `ranks` ranks the `length` queries of this `rank`: "contiguous", "zigzag" or "striped".

    Raises MaskError E0901 for a rank that is not one of the ranks, or chunks that do not come out even.
    """
    if order not in ("contiguous", "zigzag", "striped"):
        raise MaskError(Diagnostic("E0901", f"`order` is {order!r}", help=("contiguous, zigzag or striped",)))
    if not 0 <= rank < ranks or (ranks > 1 and length < 1) or (order == "zigzag" and ranks > 1 and length % 2):
        told = f"rank {rank} of {ranks} with {length} queries"
        raise MaskError(Diagnostic("E0901", f"no {order} share is {told}", help=("zigzag needs an even `length`",)))
    layout = sharded.sharded(head_offset, rank, ranks, order, length)
    return Arrangement(layout, {}, {"head": heads, "kv_head": kv_heads})


def _inverse(table: Tensor, lengths: Tensor, page_size: int, num_pages: int) -> tuple[bool, dict[Table, Tensor]]:
    """Whether a page stands at two logical places, and the tables that lead from pages to logical places."""
    used = used_entries(table, lengths, page_size)
    logical = logical_pages(table, used, num_pages)
    if int(conflicts(table, used, logical)):
        return True, {paged.PLACES: places_of_pages(table, used, num_pages)}
    return False, {paged.LOGICAL_PAGE: logical, paged.PAGE_TABLE: table}


def _ints(values: Tensor) -> Tensor:
    return values.to(torch.int32).contiguous()
