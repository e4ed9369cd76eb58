"""Triton kernels of a serving step that no program changes: the step's tables, new keys, queries of rows, the merge.

Imported where Triton is there alone. Not here: the lists of a program (`paged_plan_triton`), the same in torch
(`paged_tables`, `serving`).
"""

from __future__ import annotations

import triton
import triton.language as tl

NUMBERS = ["requests", "max_requests", "max_tokens", "entries", "page_size", "decode_tokens"]


@triton.jit(do_not_specialize=[*NUMBERS, "table_stride"])
def build_step(
    page_table_in, seq_lens_in, query_start_in, page_table, seq_lens, query_start, request, position, limit,
    token_position, logical_page, requests, max_requests, max_tokens, entries, page_size, decode_tokens, table_stride,
    VECTOR: tl.constexpr,
):  # fmt: skip
    """The tables of a step: one program for every request, then one for every VECTOR tokens behind the last.

    What the engine gave (`…_in`, of any int width) is copied into the fixed buffers, requests without tokens behind it.
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
    elif r >= requests:
        tl.store(seq_lens + r, 0)
        tl.store(query_start + r + 1, total)
    else:
        start = tl.load(query_start_in + r).to(tl.int32)
        end = tl.load(query_start_in + r + 1).to(tl.int32)
        length = tl.load(seq_lens_in + r).to(tl.int32)
        tl.store(seq_lens + r, length)
        tl.store(query_start + r + 1, end)
        if r == 0:
            tl.store(query_start, start)
        pages = (length + page_size - 1) // page_size
        for begin in range(0, entries, VECTOR):
            place = begin + tl.arange(0, VECTOR)
            used = place < tl.minimum(pages, entries)
            page = tl.load(page_table_in + r.to(tl.int64) * table_stride + place, mask=used, other=0).to(tl.int32)
            tl.store(page_table + r.to(tl.int64) * entries + place, page, mask=place < entries)
            tl.store(logical_page + page, place, mask=used)
        count = end - start
        shown = tl.where(count <= decode_tokens, 0, length)
        for begin in range(0, count, VECTOR):
            at = begin + tl.arange(0, VECTOR)
            mine = (at < count) & (start + at < max_tokens)
            tl.store(request + start + at, r, mask=mine)
            tl.store(position + start + at, length - count + at, mask=mine)
            tl.store(token_position + start + at, length - count + at, mask=mine)
            tl.store(limit + start + at, shown, mask=mine)


@triton.jit(do_not_specialize=["entries", "page_size", "width", "k_stride", "v_stride"])
def append_tokens(
    k, v, k_cache, v_cache, request, token_position, page_table, entries, page_size, width, k_stride, v_stride,
    VECTOR: tl.constexpr,
):  # fmt: skip
    """Copies the keys and values of one new token, `width` numbers each, to their place in the pages."""
    token = tl.program_id(0)
    position = tl.load(token_position + token)
    if position >= 0:
        r = tl.load(request + token).to(tl.int64)
        page = tl.load(page_table + r * entries + position // page_size).to(tl.int64)
        place = (page * page_size + position % page_size) * width
        for begin in range(0, width, VECTOR):
            at = begin + tl.arange(0, VECTOR)
            here = at < width
            tl.store(k_cache + place + at, tl.load(k + token.to(tl.int64) * k_stride + at, mask=here), mask=here)
            tl.store(v_cache + place + at, tl.load(v + token.to(tl.int64) * v_stride + at, mask=here), mask=here)


@triton.jit(do_not_specialize=["q_stride", "tokens"])
def gather_queries(
    q, rows, row_request, row_limit, query_start, q_stride, tokens,
    WIDTH: tl.constexpr, KV_HEADS: tl.constexpr, GROUP: tl.constexpr, PADDED: tl.constexpr, DIM: tl.constexpr,
    VECTOR: tl.constexpr,
):  # fmt: skip
    """The queries of one place of a row: from packed (tokens, heads, D) to [rows, padded heads, width, D].

    Groups of query heads are filled up from GROUP to PADDED with zeros.
    """
    row = tl.program_id(0) // WIDTH
    place = tl.program_id(0) % WIDTH
    r = tl.load(row_request + row)
    start = tl.load(query_start + r)
    count = tl.load(query_start + r + 1) - start
    here = (place < count) & (tl.load(row_limit + row) > 0)
    token = tl.minimum(start + place, tokens - 1).to(tl.int64)
    heads: tl.constexpr = KV_HEADS * PADDED
    for begin in range(0, heads * DIM, VECTOR):
        at = begin + tl.arange(0, VECTOR)
        head = at // DIM
        inside = head % PADDED
        source = (head // PADDED * GROUP + inside) * DIM + at % DIM
        taken = here & (at < heads * DIM) & (inside < GROUP)
        values = tl.load(q + token * q_stride + source, mask=taken, other=0.0)
        target = ((row.to(tl.int64) * heads + head) * WIDTH + place) * DIM + at % DIM
        tl.store(rows + target, values, mask=at < heads * DIM)


@triton.jit(do_not_specialize=["out_stride", "decode_tokens"])
def merge_rows(
    values, lse, out, sink, item_start, query_start, out_stride, decode_tokens,
    WIDTH: tl.constexpr, KV_HEADS: tl.constexpr, GROUP: tl.constexpr, PADDED: tl.constexpr, DIM: tl.constexpr,
    COLUMNS: tl.constexpr, HAS_SINK: tl.constexpr, NORMALIZE: tl.constexpr,
):  # fmt: skip
    """One query of one head of a decoded request out of the rows that hold its pieces: [rows, heads, width, D].

    The pieces are weighed by their log-sum-exps [rows, heads, width]; a sink joins the denominator; without
    normalisation the sums are added.
    """
    r = tl.program_id(0) // WIDTH
    place = tl.program_id(0) % WIDTH
    h = tl.program_id(1)
    start = tl.load(query_start + r)
    count = tl.load(query_start + r + 1) - start
    if (place < count) & (count <= decode_tokens):
        heads: tl.constexpr = KV_HEADS * PADDED
        head = h // GROUP * PADDED + h % GROUP
        first = tl.load(item_start + r)
        last = tl.load(item_start + r + 1)
        wide = first.to(tl.int64) * 0
        at = tl.arange(0, COLUMNS)
        top = float("-inf")
        if HAS_SINK:
            top = tl.load(sink + h)
        for row in range(first, last):
            top = tl.maximum(top, tl.load(lse + ((wide + row) * heads + head) * WIDTH + place))
        base = tl.where(top == float("-inf"), 0.0, top)
        total = 0.0
        if HAS_SINK:
            total = tl.exp(tl.load(sink + h) - base)
        sums = tl.zeros([COLUMNS], dtype=tl.float32)
        for row in range(first, last):
            line = ((wide + row) * heads + head) * WIDTH + place
            weight = tl.exp(tl.load(lse + line) - base)
            piece = tl.load(values + line * DIM + at, mask=at < DIM, other=0.0).to(tl.float32)
            sums += tl.where(weight > 0.0, weight * piece, 0.0)
            total += weight
        if NORMALIZE:
            sums = sums / tl.where(total > 0.0, total, 1.0)
        else:
            sums = sums * tl.exp(base)
        token = (start + place).to(tl.int64)
        tl.store(out + token * out_stride + h * DIM + at, sums.to(out.dtype.element_ty), mask=at < DIM)
