"""Triton kernels of a serving step that no program changes: the step's tables, new keys, items of work, the merge.

Imported where Triton is there alone. Not here: the lists of a program (`paged_plan_triton`), the same in torch
(`paged_tables`, `serving`).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def widen(x):
    """An int as int64."""
    return tl.cast(x, tl.int64)


NUMBERS = ["requests", "max_requests", "max_tokens", "entries", "page_size", "decode_tokens"]


@triton.jit(do_not_specialize=[*NUMBERS, "table_stride"])
def build_step(
    page_table_in, seq_lens_in, query_start_in, requests, table_stride, page_table, seq_lens, query_start, request,
    position, limit, token_position, number, numbers, next_prefilled, max_requests, max_tokens, entries, page_size,
    decode_tokens, REQUESTS: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    """The tables of a step: one program for every request, then one for every VECTOR tokens behind the last.

    What the engine gave (`…_in`, of any int width) is copied into the fixed buffers, requests without tokens behind it.
    Nothing is written outside of them, whatever the lengths are.
    """
    r = tl.program_id(0)
    total = tl.load(query_start_in + requests).to(tl.int32)
    if r >= max_requests:
        at = (r - max_requests) * VECTOR + tl.arange(0, VECTOR)
        behind = (at >= total) & (at < max_tokens)
        tl.store(request + at, 0, mask=behind)
        tl.store(position + at, 0, mask=behind)
        tl.store(limit + at, 0, mask=behind)
        tl.store(token_position + at, -1, mask=behind)
        tl.store(number + at, 0, mask=behind)
    elif r >= requests:
        tl.store(seq_lens + r, 0)
        tl.store(query_start + r + 1, total)
        tl.store(next_prefilled + r, max_requests)
    else:
        start = tl.load(query_start_in + r).to(tl.int32)
        end = tl.load(query_start_in + r + 1).to(tl.int32)
        length = tl.minimum(tl.load(seq_lens_in + r).to(tl.int32), entries * page_size)
        tl.store(seq_lens + r, length)
        tl.store(query_start + r + 1, end)
        if r == 0:
            tl.store(query_start, start)
            tl.store(next_prefilled + max_requests, max_requests)
        other = tl.arange(0, REQUESTS)
        news = tl.load(query_start_in + other + 1, mask=other < requests, other=0)
        news -= tl.load(query_start_in + other, mask=other < requests, other=0)
        prefilled = news > decode_tokens
        tl.store(next_prefilled + r, tl.min(tl.where(prefilled & (other >= r), other, max_requests), 0))
        order = tl.sum((prefilled & (other < r)).to(tl.int32), 0)
        tl.store(numbers + r, order)
        used = (length + page_size - 1) // page_size
        for begin in range(0, entries, VECTOR):
            place = begin + tl.arange(0, VECTOR)
            page = tl.load(page_table_in + widen(r) * table_stride + place, mask=place < used, other=0).to(tl.int32)
            tl.store(page_table + widen(r) * entries + place, page, mask=place < entries)
        count = end - start
        shown = tl.where(count <= decode_tokens, 0, length)
        for begin in range(0, count, VECTOR):
            at = begin + tl.arange(0, VECTOR)
            mine = (at < count) & (start + at < max_tokens)
            place = tl.maximum(length - count + at, 0)
            tl.store(request + start + at, r, mask=mine)
            tl.store(position + start + at, place, mask=mine)
            tl.store(token_position + start + at, place, mask=mine)
            tl.store(limit + start + at, shown, mask=mine)
            tl.store(number + start + at, order, mask=mine)


@triton.jit(do_not_specialize=["entries", "pages", "page_size", "k_heads", "v_heads"])
def append_tokens(
    k, v, k_cache, v_cache, k_heads, v_heads, request, token_position, page_table, entries, pages, page_size, width,
    dim, VECTOR: tl.constexpr,
):  # fmt: skip
    """Copies the keys and values of one new token, `width` numbers each, to their place in the pages, if it has one.

    Tokens are `k_heads` and `v_heads` times `dim` apart, which is known to be even where `dim` is.
    """
    token = tl.program_id(0)
    position = tl.load(token_position + token)
    page = -1
    if position >= 0:
        page = tl.load(page_table + widen(tl.load(request + token)) * entries + position // page_size)
    if (page >= 0) & (page < pages):
        place = (widen(page) * page_size + position % page_size) * width
        for begin in range(0, width, VECTOR):
            at = begin + tl.arange(0, VECTOR)
            here = at < width
            tl.store(k_cache + place + at, tl.load(k + widen(token) * k_heads * dim + at, mask=here), mask=here)
            tl.store(v_cache + place + at, tl.load(v + widen(token) * v_heads * dim + at, mask=here), mask=here)


@triton.jit(do_not_specialize=["requests", "target", "least", "most", "spare"])
def cut_items(
    whole_counts, part_counts, item_request, item_start, requests, target, least, most, spare, REQUESTS: tl.constexpr,
):  # fmt: skip
    """Cuts each request's visible pages into items of about equal work: the request of each item, and the first item of
    each request.

    About `target` items in all, of no fewer than `least` and no more than `most` pages, and never more than `spare`
    beside one for every request.
    """
    item = tl.program_id(0)
    at = tl.arange(0, REQUESTS)
    count = tl.load(whole_counts + at, mask=at < requests, other=0)
    count += tl.load(part_counts + at, mask=at < requests, other=0)
    total = tl.sum(count, 0)
    pages = tl.minimum(tl.maximum((total + target - 1) // target, least), most)
    pages = tl.maximum(pages, (total + spare - 1) // spare)
    ends = tl.cumsum((count + pages - 1) // pages, 0)
    if item == 0:
        tl.store(item_start, 0)
        tl.store(item_start + at + 1, ends, mask=at < requests)
    r = tl.sum((ends <= item).to(tl.int32), 0)
    if r < requests:
        tl.store(item_request + item, r)


@triton.jit(do_not_specialize=["out_stride", "requests", "decode_tokens"])
def merge_pieces(
    out, out_stride, pieces, piece_lse, item_start, request, query_start, requests, decode_tokens,
    NORMALIZE: tl.constexpr, WIDTH: tl.constexpr, KV_HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr,
    COLUMNS: tl.constexpr, PIECES: tl.constexpr,
):  # fmt: skip
    """One head of one token of a decoded request out of the pieces [items, kv_heads, width * group, D] of its keys,
    weighed by their log-sum-exps in base 2, float32. A request of one item is left as it is.

    Writes 0 where a decoded request sees nothing, and behind the last request's tokens.
    """
    token = tl.program_id(0)
    h = tl.program_id(1)
    column = tl.arange(0, COLUMNS)
    here = out + widen(token) * out_stride + h * DIM + column
    if token >= tl.load(query_start + requests):
        tl.store(here, tl.zeros([COLUMNS], out.dtype.element_ty), mask=column < DIM)
    else:
        r = tl.load(request + token)
        start = tl.load(query_start + r)
        first = tl.load(item_start + r)
        number = tl.load(item_start + r + 1) - first
        decoded = tl.load(query_start + r + 1) - start <= decode_tokens
        if decoded & (number != 1) & (token - start < WIDTH):
            row = h // GROUP * (WIDTH * GROUP) + (token - start) * GROUP + h % GROUP
            line = widen(first) * (KV_HEADS * WIDTH * GROUP) + row
            step = KV_HEADS * WIDTH * GROUP
            piece = tl.arange(0, PIECES)
            top = float("-inf")
            for begin in range(0, number, PIECES):
                at = line + widen(begin + piece) * step
                lse = tl.load(piece_lse + at, mask=begin + piece < number, other=float("-inf"))
                top = tl.maximum(top, tl.max(lse, 0))
            base = tl.where(top == float("-inf"), 0.0, top)
            total = 0.0
            sums = tl.zeros([COLUMNS], tl.float32)
            for begin in range(0, number, PIECES):
                at = line + widen(begin + piece) * step
                lse = tl.load(piece_lse + at, mask=begin + piece < number, other=float("-inf"))
                weight = tl.exp2(lse - base)
                shown = (weight > 0.0)[:, None] & (column < DIM)[None, :]
                values = tl.load(pieces + at[:, None] * DIM + column[None, :], mask=shown, other=0.0)
                sums += tl.sum(weight[:, None] * values, 0)
                total += tl.sum(weight, 0)
            if NORMALIZE:
                sums = sums / tl.where(total > 0.0, total, 1.0)
            else:
                sums = sums * tl.exp2(base)
            tl.store(here, sums.to(out.dtype.element_ty), mask=column < DIM)
