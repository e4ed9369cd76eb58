"""The tables of packed and paged layouts out of what engines hold, in torch on any device; nothing is read back.

Not here: what they mean (`layouts`), the same on CUDA in few launches (`paged_plan_triton`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """For every packed query its request, its logical position and its request's length, int32 [tokens].

    The length is 0 where a token belongs to no request.
    """

    request: Tensor
    position: Tensor
    limit: Tensor


def token_tables(seq_lens: Tensor, query_start: Tensor, tokens: int) -> Tokens:
    """The tables of `tokens` packed queries: those of request r begin at `query_start[r]` and are the last of its
    `seq_lens[r]` tokens. `seq_lens` is int32 [requests], `query_start` int32 [requests + 1].
    """
    at = torch.arange(tokens, dtype=torch.int32, device=seq_lens.device)
    request = torch.searchsorted(query_start[1:].contiguous(), at, right=True).clamp(max=seq_lens.shape[0] - 1)
    inside = at < query_start[-1]
    position = seq_lens[request] - query_start[1:][request] + at
    zero = torch.zeros_like(at)
    return Tokens(
        torch.where(inside, request.to(torch.int32), zero),
        torch.where(inside, position.to(torch.int32), zero),
        torch.where(inside, seq_lens[request].to(torch.int32), zero),
    )


def used_entries(page_table: Tensor, seq_lens: Tensor, page_size: int) -> Tensor:
    """Which entries of a page table [requests, entries] stand for tokens: bool, the same shape."""
    places = torch.arange(page_table.shape[1], device=page_table.device)
    return places * page_size < seq_lens[:, None]


def logical_pages(page_table: Tensor, used: Tensor, num_pages: int, out: Tensor | None = None) -> Tensor:
    """The logical place of every physical page, int32 [pages]; that of a page in no request is 0, or stays in `out`.

    Of a page at several places one stands here: `conflicts` counts them.
    """
    made = torch.zeros(num_pages + 1, dtype=torch.int32, device=page_table.device)
    if out is not None:
        made[:num_pages] = out
    places = torch.arange(page_table.shape[1], dtype=torch.int32, device=page_table.device).expand(page_table.shape)
    made.scatter_(0, _within(page_table, used, num_pages).flatten(), places.flatten())
    return made[:num_pages] if out is None else out.copy_(made[:num_pages])


def conflicts(page_table: Tensor, used: Tensor, logical: Tensor) -> Tensor:
    """How many entries of a page table say another place than `logical` does: an int of no axes, on the device."""
    places = torch.arange(page_table.shape[1], dtype=torch.int32, device=page_table.device)
    within = _within(page_table, used, logical.shape[0])
    found = logical[within.clamp(max=logical.shape[0] - 1)]
    return ((found != places) & (within < logical.shape[0])).sum()


def places_of_pages(page_table: Tensor, used: Tensor, num_pages: int, out: Tensor | None = None) -> Tensor:
    """The logical place of every physical page in every request, int32 [requests, pages]; -1 where it has none.

    Of a page at several places in one request the last counts: the others were written over.
    """
    shape = (page_table.shape[0], num_pages + 1)
    made = torch.full(shape, -1, dtype=torch.int32, device=page_table.device)
    places = torch.arange(page_table.shape[1], dtype=torch.int32, device=page_table.device).expand(page_table.shape)
    made.scatter_reduce_(1, _within(page_table, used, num_pages), places, "amax")
    return made[:, :num_pages].contiguous() if out is None else out.copy_(made[:, :num_pages])


def _within(page_table: Tensor, used: Tensor, num_pages: int) -> Tensor:
    """The entries as int64; those that are not used may hold anything, those below 0 are no page: all of them go to one
    page beyond the pool.
    """
    inside = used & (page_table >= 0) & (page_table < num_pages)
    return torch.where(inside, page_table, num_pages).long()
