"""Plans a serving step on CUDA: kernels written from the verdict of a program, two for decoding and one for prefill.

The verdict's formulas become one function of a tile, `decide`; the kernels around it walk requests and their logical
pages, and write physical page ids. Nothing is read back by the host, and nothing is compiled again for other lengths,
tables or numbers of requests.

Not here: the same in torch, which says what is listed (`serving.plan_torch`); kernels that no program changes
(`paged_kernels`).
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from maskdsl.backends.block_lists import Lists
from maskdsl.backends.block_mask_triton import TRITON
from maskdsl.backends.statements import Statements
from maskdsl.ir.emission import support_for
from maskdsl.ir.ops_triton import TRITON_SUPPORT
from maskdsl.ir.types import Table
from maskdsl.tiles.verdict import Verdict

VECTOR = 128
"""Pages decided at once by a program."""


@dataclass(frozen=True, slots=True)
class PlanKernels:
    """The kernels of one verdict; `tables` and `sizes` are what `decide` reads, in order."""

    source: str
    tables: tuple[Table, ...]
    sizes: tuple[str, ...]
    functions: Mapping[str, Any]

    def extra(self, tables: Mapping[Table, Tensor], sizes: Mapping[str, int]) -> tuple[Any, ...]:
        """What `decide` takes beside the tile."""
        bound = [tables[t] for t in self.tables]
        return (*bound, *(s for t in bound for s in t.stride()), *(sizes[s] for s in self.sizes))


@dataclass(frozen=True, slots=True)
class PlanBuffers:
    """The step's tables that plans read, int32: page table [requests, entries], lengths [requests], where queries
    begin [requests + 1], the request of each packed token; `places` [requests, pages], or the page table again where
    pages have one logical place.
    """

    page_table: Tensor
    seq_lens: Tensor
    query_start: Tensor
    request: Tensor
    places: Tensor
    anywhere: bool
    pages: int
    page_size: int
    decode_tokens: int


def plan_kernels(verdict: Verdict) -> PlanKernels:
    """The kernels of a verdict whose tiles are `q_block` queries by one page; equal texts share compiled kernels."""
    written = Statements(TRITON)
    possible, certain = written.text_of(verdict.possible), written.text_of(verdict.certain)
    source = _module(possible, certain, written, verdict)
    return PlanKernels(source, tuple(written.tables), tuple(written.sizes), _load(source))


def fill_visible(
    kernels: PlanKernels, step: PlanBuffers, heads: int, extra: tuple[Any, ...], counts: Tensor, visible: Tensor
) -> None:
    """The pages that each decoded request's new queries see: `counts` [requests] of `visible` [requests, entries], each
    twice the physical page, and 1 if it is full. One launch.
    """
    requests, entries = step.page_table.shape
    kernels.functions["visible_pages"][(requests,)](
        counts, visible, step.page_table, step.seq_lens, step.query_start, step.places, entries, step.pages, heads,
        step.decode_tokens, *extra, ANYWHERE=step.anywhere, PAGE=step.page_size, VECTOR=VECTOR, num_warps=1,
    )  # fmt: skip


def fill_rows(
    kernels: PlanKernels, step: PlanBuffers, counts: Tensor, visible: Tensor, rows: tuple[Tensor, ...], lists: Lists,
    target: int,
) -> None:  # fmt: skip
    """Cuts the visible pages into rows of about equal work, about `target` in all. One launch.

    `rows` are the request, first position and length of each row, and where the rows of each request begin.
    """
    requests, entries = step.page_table.shape
    count, columns = lists.partial.shape[0], lists.partial.shape[3]
    kernels.functions["decode_rows"][(count,)](
        counts, visible, *rows, *lists, step.seq_lens, step.query_start, requests, entries, columns, target,
        REQUESTS=1 << (requests - 1).bit_length(), VECTOR=VECTOR, num_warps=1,
    )  # fmt: skip


def fill_prefill(
    kernels: PlanKernels, step: PlanBuffers, extra: tuple[Any, ...], lists: Lists, tokens: int
) -> None:
    """The pages that each tile of packed queries may see: lists [1, heads, tiles, pages]. One launch."""
    requests, entries = step.page_table.shape
    _, heads, tiles, columns = lists.partial.shape
    kernels.functions["prefill_tiles"][(tiles * heads,)](
        *lists, step.page_table, step.seq_lens, step.query_start, step.request, step.places, requests, entries,
        step.pages, tiles, columns, tokens, step.decode_tokens, *extra,
        ANYWHERE=step.anywhere, PAGE=step.page_size, VECTOR=VECTOR, num_warps=1,
    )  # fmt: skip


@cache
def _load(source: str) -> dict[str, Any]:
    """The namespace of a module text; Triton reads the text again through `linecache`."""
    name = f"<maskdsl serving plan {len(linecache.cache)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "maskdsl_serving_plan"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


def _module(possible: str, certain: str, written: Statements, verdict: Verdict) -> str:
    """The text of the module."""
    tables = [f"table_{n}" for n in range(len(written.tables))]
    strides = [f"stride_{n}_{axis}" for n, t in enumerate(written.tables) for axis in range(max(1, len(t.axes)))]
    sizes = [f"size_{n}" for n in range(len(written.sizes))]
    body = "\n".join(f"    {line}" for line in written.lines)
    extra = "".join(f", {name}" for name in (*tables, *strides, *sizes))
    numbers = [
        "entries", "pages", "heads", "decode_tokens", "requests", "columns", "tiles", "tokens", *strides, *sizes,
    ]  # fmt: skip
    return _MODULE.format(
        support=support_for(body, TRITON_SUPPORT), extra=extra, body=body, possible=possible, certain=certain,
        q_block=verdict.q_block, visible=_those(numbers, _VISIBLE), tiles=_those(numbers, _TILES),
    )  # fmt: skip


_VISIBLE = ("requests", "columns", "tiles", "tokens")
_TILES = ("heads",)


def _those(numbers: list[str], but: tuple[str, ...]) -> list[str]:
    return [n for n in numbers if n not in but]


_MODULE = '''\
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def widen(x):
    return tl.cast(x, tl.int64)


{support}


@triton.jit
def decide_aligned(b, h, q_low, q_high, q_tile, k_low, k_high, k_tile, q_len, kv_len{extra}):
{body}
    here = k_low >= 0
    return here & {possible}, here & {certain}


@triton.jit
def decide(b, h, q_low, q_high, page, length{extra}, PAGE: tl.constexpr):
    k_low = page * PAGE
    k_high = tl.minimum(k_low + PAGE, length) - 1
    near = q_low // {q_block}
    far = q_high // {q_block}
    end = tl.minimum(q_high, near * {q_block} + {q_block} - 1)
    possible, certain = decide_aligned(b, h, q_low, end, near, k_low, k_high, page, length, length{extra})
    if far != near:
        begin = far * {q_block}
        some, every = decide_aligned(b, h, begin, q_high, far, k_low, k_high, page, length, length{extra})
        possible = possible | some
        certain = certain & every
    inside = (k_low < length) & (q_low <= q_high)
    return possible & inside, possible & certain & inside & (k_low + PAGE <= length)


@triton.jit(do_not_specialize={visible})
def visible_pages(
    counts, visible, page_table, seq_lens, query_start, places, entries, pages, heads, decode_tokens{extra},
    ANYWHERE: tl.constexpr, PAGE: tl.constexpr, VECTOR: tl.constexpr,
):
    b = tl.program_id(0)
    length = tl.load(seq_lens + b)
    count = tl.load(query_start + b + 1) - tl.load(query_start + b)
    found = 0
    if (count > 0) & (count <= decode_tokens):
        line = widen(entries) * b
        used = (length + PAGE - 1) // PAGE
        for begin in range(0, used, VECTOR):
            at = begin + tl.arange(0, VECTOR)
            here = at < used
            page = tl.minimum(at, used - 1)
            physical = tl.load(page_table + line + page)
            if ANYWHERE:
                here = here & (tl.load(places + widen(pages) * b + physical) == at)
            possible = at < 0
            whole = at >= 0
            for h in range(0, heads):
                some, every = decide(b, h, length - count, length - 1, page, length{extra}, PAGE)
                possible = possible | some
                whole = whole & every
            possible = possible & here
            amount = possible.to(tl.int32)
            place = tl.cumsum(amount, 0) - amount
            tl.store(visible + line + found + place, physical * 2 + whole.to(tl.int32), mask=possible)
            found += tl.sum(amount, 0)
    tl.store(counts + b, found)


@triton.jit(do_not_specialize=["requests", "entries", "columns", "target"])
def decode_rows(
    counts, visible, row_request, row_first, row_limit, item_start, partial_counts, partial, full_counts, full,
    seq_lens, query_start, requests, entries, columns, target, REQUESTS: tl.constexpr, VECTOR: tl.constexpr,
):
    item = tl.program_id(0)
    at = tl.arange(0, REQUESTS)
    count = tl.load(counts + at, mask=at < requests, other=0)
    total = tl.sum(count, 0)
    chunk = tl.maximum((total + target - 1) // target, 1)
    items = (count + chunk - 1) // chunk
    ends = tl.cumsum(items, 0)
    if item == 0:
        tl.store(item_start, 0)
        tl.store(item_start + at + 1, ends, mask=at < requests)
    r = tl.sum((ends <= item).to(tl.int32), 0)
    some = 0
    every = 0
    line = item.to(tl.int64) * columns
    if r < requests:
        mine = at == r
        begin = (item - tl.sum(tl.where(mine, ends - items, 0), 0)) * chunk
        last = tl.minimum(begin + chunk, tl.sum(tl.where(mine, count, 0), 0))
        for step in range(begin, last, VECTOR):
            place = step + tl.arange(0, VECTOR)
            here = place < last
            entry = tl.load(visible + widen(entries) * r + place, mask=here, other=0)
            whole = here & (entry % 2 == 1)
            part = here & (entry % 2 == 0)
            packed = part.to(tl.int32) + (whole.to(tl.int32) << 16)
            before = tl.cumsum(packed, 0) - packed
            tl.store(partial + line + some + (before & 65535), entry // 2, mask=part)
            tl.store(full + line + every + (before >> 16), entry // 2, mask=whole)
            sums = tl.sum(packed, 0)
            some += sums & 65535
            every += sums >> 16
        length = tl.load(seq_lens + r)
        news = tl.load(query_start + r + 1) - tl.load(query_start + r)
        tl.store(row_request + item, r)
        tl.store(row_first + item, length - news)
        tl.store(row_limit + item, length)
    else:
        tl.store(row_request + item, 0)
        tl.store(row_first + item, 0)
        tl.store(row_limit + item, 0)
    tl.store(partial_counts + item, some)
    tl.store(full_counts + item, every)


@triton.jit(do_not_specialize={tiles})
def prefill_tiles(
    partial_counts, partial, full_counts, full, page_table, seq_lens, query_start, request, places, requests, entries,
    pages, tiles, columns, tokens, decode_tokens{extra},
    ANYWHERE: tl.constexpr, PAGE: tl.constexpr, VECTOR: tl.constexpr,
):
    tile = tl.program_id(0) % tiles
    h = tl.program_id(0) // tiles
    line = tl.program_id(0).to(tl.int64) * columns
    total = tl.minimum(tl.load(query_start + requests), tokens)
    low = tile * {q_block}
    high = tl.minimum(low + {q_block}, total)
    some = 0
    every = 0
    if low < high:
        first = tl.load(request + low)
        last = tl.load(request + high - 1)
        for b in range(first, last + 1):
            start = tl.load(query_start + b)
            end = tl.load(query_start + b + 1)
            if end - start > decode_tokens:
                length = tl.load(seq_lens + b)
                shift = length - end
                q_low = tl.maximum(start, low) + shift
                q_high = tl.minimum(end, high) - 1 + shift
                alone = (start <= low) & (end >= low + {q_block})
                used = (length + PAGE - 1) // PAGE
                for begin in range(0, used, VECTOR):
                    at = begin + tl.arange(0, VECTOR)
                    here = at < used
                    page = tl.minimum(at, used - 1)
                    physical = tl.load(page_table + widen(entries) * b + page)
                    if ANYWHERE:
                        here = here & (tl.load(places + widen(pages) * b + physical) == at)
                    possible, whole = decide(b, h, q_low, q_high, page, length{extra}, PAGE)
                    for other in range(first, last + 1):
                        news = tl.load(query_start + other + 1) - tl.load(query_start + other)
                        if (other != b) & (news > decode_tokens):
                            if ANYWHERE:
                                shared = tl.load(places + widen(pages) * other + physical) >= 0
                            else:
                                reach = (tl.load(seq_lens + other) + PAGE - 1) // PAGE
                                theirs = tl.minimum(page, tl.maximum(reach - 1, 0))
                                same = tl.load(page_table + widen(entries) * other + theirs) == physical
                                shared = same & (page < reach)
                            # A page of several requests is listed once: by the first of them, for all.
                            if other < b:
                                here = here & (shared == 0)
                            else:
                                possible = possible | shared
                    possible = here & possible
                    whole = possible & whole & alone
                    part = possible & (whole == 0)
                    packed = part.to(tl.int32) + (whole.to(tl.int32) << 16)
                    before = tl.cumsum(packed, 0) - packed
                    tl.store(partial + line + some + (before & 65535), physical, mask=part)
                    tl.store(full + line + every + (before >> 16), physical, mask=whole)
                    sums = tl.sum(packed, 0)
                    some += sums & 65535
                    every += sums >> 16
    tl.store(partial_counts + tl.program_id(0), some)
    tl.store(full_counts + tl.program_id(0), every)
'''
