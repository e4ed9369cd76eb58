"""Plans a step in torch on any device: the pages that rows and tiles visit, from the verdicts of logical tiles.

Every physical page is listed once in a row, as full where all its pairs are visible. A tile that reaches over several
requests lists what any of them may see, as partial.

Not here: the same in few launches on CUDA (`backends.paged_plan_triton`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists
from maskdsl.backends.paged_tables import logical_pages, used_entries
from maskdsl.serving.limits import Q_BLOCK
from maskdsl.serving.rows import DecodeRows, PrefillPages
from maskdsl.serving.step import Step
from maskdsl.serving.tiles import LogicalTiles

NOT_LISTED = 2**62
"""Comes after every page of a tile."""


def plan_decode(tiles: LogicalTiles, step: Step, rows: DecodeRows) -> None:
    """Fills the rows of a decode step, one for every request; those of requests that are not decoded stay empty."""
    requests = step.limits.max_requests
    request = torch.arange(rows.count, dtype=torch.int32, device=step.limits.device)
    rows.request.copy_(request.clamp(max=requests - 1))
    rows.limit.zero_()[:requests].copy_(step.seq_lens)
    rows.first.zero_()[:requests].copy_(step.seq_lens - step.counts)
    partial, full = request_pages(tiles, step)
    logical_pages(step.page_table, partial | full, step.limits.num_pages, out=rows.logical_page)
    _write(partial, full, step, rows.lists, requests)


def request_pages(tiles: LogicalTiles, step: Step) -> tuple[Tensor, Tensor]:
    """Which logical pages the new queries of decoded requests see in part, and which in full: bool [requests, entries].

    For all heads at once: what some head sees is listed.
    """
    request = torch.arange(step.limits.max_requests, dtype=torch.int32, device=step.limits.device)[:, None]
    low = torch.where(step.is_decoded, step.seq_lens - step.counts, 0)[:, None]
    high = torch.where(step.is_decoded, step.seq_lens - 1, -1)[:, None]
    possible, whole = _decided(tiles, step, request, low, high)
    some, every = possible.any(0), whole.all(0)
    return some & ~every, every


def _decided(tiles: LogicalTiles, step: Step, request: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The verdicts of queries `low` to `high` of requests [n, 1] over all their pages: bool [heads, n, entries].

    Of a page that stands at several places of a request only the last counts.
    """
    page = torch.arange(step.limits.max_pages_per_request, dtype=torch.int32, device=step.limits.device)
    length = step.seq_lens[request.long()]
    possible, whole = tiles.decide(request, low, high, page, length)
    physical = _physical(step)[request[:, 0].long()]
    there = physical < step.limits.num_pages
    if step.places is not None:
        there &= step.places[request.long(), physical.clamp(max=step.limits.num_pages - 1).long()] == page
    possible, whole = possible & there, whole & there
    shape = (tiles.heads, request.shape[0], page.shape[0])
    return possible.expand(shape), whole.expand(shape)


def _physical(step: Step) -> Tensor:
    """The page table with `num_pages` for every entry that stands for no page: int32 [requests, entries]."""
    used = used_entries(step.page_table, step.seq_lens, step.limits.page_size)
    there = used & (step.page_table >= 0) & (step.page_table < step.limits.num_pages)
    return torch.where(there, step.page_table, step.limits.num_pages)


def _write(partial: Tensor, full: Tensor, step: Step, lists: Lists, rows: int) -> None:
    """Lists the physical pages of bool [rows, entries] in the first rows of lists [rows, 1, 1, columns]."""
    physical = _physical(step).clamp(max=step.limits.num_pages - 1)
    for counts, indices, found in ((lists[0], lists[1], partial), (lists[2], lists[3], full)):
        order = torch.argsort(found.to(torch.int8), dim=-1, descending=True, stable=True)
        counts.zero_()[:rows, 0, 0].copy_(found.sum(-1))
        indices[:rows, 0, 0, : order.shape[1]].copy_(physical.gather(1, order))


def plan_prefill(tiles: LogicalTiles, step: Step, pages: PrefillPages) -> None:
    """Fills the lists of the packed queries' tiles [1, heads, tiles, pages], of those queries that are prefilled."""
    begin, end = _segments(step)
    request = step.request[begin.long().clamp(max=step.limits.max_tokens - 1)]
    start = step.query_start[request.long()]
    cached = step.seq_lens[request.long()] - step.counts[request.long()]
    used = (begin < end) & (begin < step.query_start[-1]) & ~step.is_decoded[request.long()]
    low, high = cached + begin - start, cached + torch.minimum(end, step.query_start[-1]) - 1 - start
    low, high = torch.where(used, low, 0), torch.where(used, high, -1)
    possible, whole = _decided(tiles, step, request[:, None], low[:, None], high[:, None])
    logical_pages(step.page_table[request.long()], possible.any(0), step.limits.num_pages, out=pages.logical_page)
    whole = whole & (end - begin == Q_BLOCK)[:, None]
    tile = (begin // Q_BLOCK).clamp(max=step.limits.tiles - 1)
    some, every = (_by_page(found, tile, request, step) for found in (possible, whole))
    some = torch.where(every == NOT_LISTED, some, NOT_LISTED)
    lists = pages.lists
    for counts, indices, ranks in ((lists[0], lists[1], some), (lists[2], lists[3], every)):
        counts[0].copy_((ranks < NOT_LISTED).sum(-1))
        indices[0].copy_(ranks.argsort(-1))


def _segments(step: Step) -> tuple[Tensor, Tensor]:
    """Where runs of packed tokens begin and end that lie in one tile and in one request: int32 [tiles + requests]."""
    edges = torch.arange(step.limits.tiles, dtype=torch.int32, device=step.limits.device) * Q_BLOCK
    begin = torch.cat((edges, step.query_start[:-1])).sort().values
    last = torch.full_like(begin[:1], step.limits.tiles * Q_BLOCK)
    return begin, torch.cat((begin[1:], last))


def _by_page(found: Tensor, tile: Tensor, request: Tensor, step: Step) -> Tensor:
    """Where verdicts [heads, segments, entries] put each page in the order of its tile: int64 [heads, tiles, pages].

    First request first, then by logical place, so that the order does not depend on where pages lie; NOT_LISTED for
    pages that no segment of the tile found.
    """
    heads, pages, entries = found.shape[0], step.limits.num_pages, found.shape[2]
    made = torch.full((heads, step.limits.tiles * (pages + 1)), NOT_LISTED, device=found.device)
    physical = _physical(step)[request.long()].long()
    # Pages that were not found go to a column beyond the pool.
    place = tile.long()[:, None] * (pages + 1) + torch.where(found, physical, pages)
    rank = request.long()[:, None] * entries + torch.arange(entries, device=found.device)
    made.scatter_reduce_(1, place.flatten(1), rank.flatten().expand(heads, -1), "amin")
    return made.view(heads, step.limits.tiles, pages + 1)[..., :pages]
