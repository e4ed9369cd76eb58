"""Who computes the batches of the serving benchmark: ours, torch's SDPA on contiguous keys, and a packed layout.

The packed layout is what engines do with FlexAttention: all queries in one row, one BlockMask over physical pages that
lists every page of the requests of a tile as partial, and a mask that finds logical positions in a table of requests
times pages. Not here: timing (`serving_measure`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

import maskdsl
from benchmarks.serving_cases import Batch
from maskdsl.serving import PagedAttention

Run = Callable[[], Tensor]
"""Gives (tokens, heads, D)."""


def attention_for(batch: Batch, program: str = "causal", **constants: Any) -> PagedAttention:
    """Ours, for batches of this size."""
    size, (requests, entries) = batch.size, batch.table.shape
    return PagedAttention(
        maskdsl.get(program, **constants), max_requests=requests, max_tokens=sum(batch.news),
        num_pages=batch.k_cache.shape[0], page_size=batch.page, max_pages_per_request=entries, heads=size.heads,
        kv_heads=size.kv_heads, head_dim=size.dim, dtype=batch.q.dtype, device=batch.q.device,
    )  # fmt: skip


def ours(batch: Batch) -> Run:
    """`PagedAttention`, planned."""
    attention = attention_for(batch)
    attention.plan(batch.table, batch.seq_lens, batch.query_start, **batch.told)
    return lambda: attention.run(batch.q, batch.k_cache, batch.v_cache)


def contiguous(batch: Batch) -> Run:
    """torch's SDPA on each request's keys in a row of their own, filled up to the longest."""
    return _decode_rows(batch) if max(batch.news) == 1 else _prefill_rows(batch)


def _rows(batch: Batch) -> tuple[Tensor, Tensor]:
    """Keys and values [requests, kv_heads, longest, D]."""
    size, longest = batch.size, max(batch.lengths)
    made = batch.q.new_zeros(2, len(batch.lengths), size.kv_heads, longest, size.dim)
    for r in range(len(batch.lengths)):
        for part, keys in zip(made, batch.keys_of(r), strict=True):
            part[r, :, : keys.shape[0]] = keys.transpose(0, 1)
    return made[0], made[1]


def _decode_rows(batch: Batch) -> Run:
    """The heads of a group are the queries of their key/value head; lengths are a mask where they differ."""
    size, (k, v) = batch.size, _rows(batch)
    q = batch.q.view(len(batch.lengths), size.kv_heads, -1, size.dim)
    mask = None
    if len(set(batch.lengths)) > 1:
        seen = torch.arange(k.shape[2], device=q.device) < batch.seq_lens[:, None]
        mask = seen[:, None, None].expand(*q.shape[:3], -1)
    return lambda: scaled_dot_product_attention(q, k, v, attn_mask=mask).view(batch.q.shape)


def _prefill_rows(batch: Batch) -> Run:
    from torch.nn.attention.bias import causal_lower_right

    size, new, length = batch.size, batch.news[0], batch.lengths[0]
    group = size.heads // size.kv_heads
    k, v = (x.repeat_interleave(group, 1) for x in _rows(batch))
    q = batch.q.view(-1, new, size.heads, size.dim).transpose(1, 2).contiguous()
    mask = causal_lower_right(new, length)
    try:
        scaled_dot_product_attention(q[:1, :1], k[:1, :1], v[:1, :1], attn_mask=mask)
    except (RuntimeError, TypeError, ValueError):  # then as a tensor of all pairs
        mask = torch.ones(new, length, dtype=torch.bool, device=q.device).tril(length - new)

    def run() -> Tensor:
        out: Tensor = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out.transpose(1, 2).reshape(batch.q.shape)

    return run


def packed(batch: Batch) -> Run:
    """One row of packed queries over the pool: tiles of 16 queries to decode, of 64 to prefill."""
    tile = 16 if max(batch.news) == 1 else 64
    tokens, pool = batch.q.shape[0], batch.k_cache.shape[0] * batch.page
    counts, indices = page_lists(batch, tile)
    mask = BlockMask(
        (tokens, pool), counts, indices, None, None, None, None, None, None, BLOCK_SIZE=(tile, batch.page),
        mask_mod=physical_mask(batch),
    )  # fmt: skip
    options = {"BLOCK_M": tile, "BLOCK_N": min(64, batch.page), "num_warps": 4, "FORCE_USE_FLEX_ATTENTION": True}
    q = batch.q.transpose(0, 1)[None]
    k, v = (c.view(pool, *c.shape[2:]).transpose(0, 1)[None] for c in (batch.k_cache, batch.v_cache))
    attend = _flex(batch.q.device.type)

    def run() -> Tensor:
        out = attend(q, k, v, block_mask=mask, enable_gqa=True, kernel_options=options)
        return out[0].transpose(0, 1)

    return run


@cache
def _flex(device: str) -> Any:
    """FlexAttention compiled, on the CPU as it is: there the lists do not count."""
    if device != "cuda":
        return flex_attention
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)


def page_lists(batch: Batch, tile: int) -> tuple[Tensor, Tensor]:
    """For every tile of queries the pages of all requests that have queries in it: [1, 1, tiles], [1, 1, tiles, n]."""
    owner = [r for r, new in enumerate(batch.news) for _ in range(new)]
    table, entries = batch.table.cpu(), batch.table.shape[1]
    tiles = -(-len(owner) // tile)
    reach = min(tile, len(batch.lengths)) * entries
    counts, indices = torch.zeros(1, 1, tiles, dtype=torch.int32), torch.zeros(1, 1, tiles, reach, dtype=torch.int32)
    for row in range(tiles):
        requests = dict.fromkeys(owner[row * tile : (row + 1) * tile])
        pages = torch.cat([table[r, : -(-batch.lengths[r] // batch.page)] for r in requests]).unique()
        counts[0, 0, row] = len(pages)
        indices[0, 0, row, : len(pages)] = pages
    return counts.to(batch.q.device), indices.to(batch.q.device)


def physical_mask(batch: Batch) -> Callable[..., Tensor]:
    """The causal mask over physical positions, through a table of requests times pages."""
    device, page = batch.q.device, batch.page
    logical_of = torch.full((len(batch.lengths), batch.k_cache.shape[0]), -1, dtype=torch.int64, device=device)
    for r, length in enumerate(batch.lengths):
        used = -(-length // page)
        logical_of[r, batch.table[r, :used].long()] = torch.arange(used, device=device)
    owner = torch.arange(len(batch.news)).repeat_interleave(torch.tensor(batch.news)).to(device)
    ahead = batch.seq_lens.long() - batch.query_start[1:].long()
    position = torch.arange(owner.shape[0], device=device) + ahead[owner]

    def visible(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        logical_page = logical_of[owner[q_idx], kv_idx // page]
        key = logical_page * page + kv_idx % page
        return (logical_page >= 0) & (key <= position[q_idx])

    return visible


SUBJECTS: dict[str, Callable[[Batch], Run]] = {"ours": ours, "torch SDPA": contiguous, "packed": packed}
