"""Plans a serving step on CUDA: kernels written from the verdict of a program, one for decoding and one for prefill.

The verdict's formulas become one function of a tile, `decide`; the kernels around it walk requests and their logical
pages, and write which of them are visible. Nothing is read back by the host, and nothing is compiled again for other
lengths, tables or numbers of requests.

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
from maskdsl.backends.launches import Launcher
from maskdsl.backends.statements import Statements
from maskdsl.ir.emission import support_for
from maskdsl.ir.ops_triton import TRITON_SUPPORT
from maskdsl.ir.types import Table
from maskdsl.layouts.paged import MEMBER_BITS
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
    begin [requests + 1], the request of each packed token, the next request that is prefilled [requests + 1], and the
    `numbers` [requests] of those that are.

    `places` is [requests, pages], or None where pages have one logical place.
    """

    page_table: Tensor
    seq_lens: Tensor
    query_start: Tensor
    request: Tensor
    next_prefilled: Tensor
    numbers: Tensor
    places: Tensor | None
    pages: int
    page_size: int
    decode_tokens: int


@dataclass(frozen=True, slots=True)
class VisiblePages:
    """The pages that the new queries of decoded requests see, int32: how many are full, and how many others.

    `physical` and `logical` [requests, entries] hold the full ones from the front of a request's row on, in logical
    order, and the others from its end backwards.
    """

    whole_counts: Tensor
    part_counts: Tensor
    physical: Tensor
    logical: Tensor


def plan_kernels(verdict: Verdict) -> PlanKernels:
    """The kernels of a verdict whose tiles are `q_block` queries by one page; equal texts share compiled kernels."""
    written = Statements(TRITON)
    possible, certain = written.text_of(verdict.possible), written.text_of(verdict.certain)
    source = _module(possible, certain, written, verdict)
    return PlanKernels(source, tuple(written.tables), tuple(written.sizes), _load(source))


def visible_launcher(
    kernels: PlanKernels, step: PlanBuffers, heads: int, extra: tuple[Any, ...], found: VisiblePages
) -> Launcher:
    """The launch that lists the pages of decoded requests: a program for each."""
    return Launcher(
        kernels.functions["visible_pages"],
        (found.whole_counts, found.part_counts, found.physical, found.logical, step.page_table, step.seq_lens,
         step.query_start, step.page_table.shape[1], step.pages, heads, step.decode_tokens, *extra),
        {"PAGE": step.page_size, "VECTOR": VECTOR}, {"num_warps": 1},
    )  # fmt: skip


def prefill_launcher(
    kernels: PlanKernels, step: PlanBuffers, extra: tuple[Any, ...], pages: tuple[Lists, Tensor, Tensor, Tensor],
    tokens: int,
) -> Launcher:  # fmt: skip
    """The launch that lists the pages of each tile of packed queries: a program for each tile of each head.

    `pages` are the lists [tiles, heads, 1, columns] and, where pages have one logical place, what else is noted of each
    that is listed: its place [pages], in [words, tiles, pages] a bit for each of the tile's requests that holds it, and
    the number of the first of these [tiles].
    """
    requests, entries = step.page_table.shape
    lists, logical_page, members, first_number = pages
    tiles, heads, _, columns = lists.partial.shape
    anywhere = step.places is not None
    return Launcher(
        kernels.functions["prefill_tiles"],
        (*lists, step.page_table, step.seq_lens, step.query_start, step.request, step.next_prefilled,
         logical_page if step.places is None else step.places, members, first_number, step.numbers, requests, entries,
         step.pages, tiles, heads, columns, tokens, step.decode_tokens, *extra),
        {"ANYWHERE": anywhere, "WORDS": members.shape[0], "BITS": MEMBER_BITS, "PAGE": step.page_size,
         "VECTOR": VECTOR},
        {"num_warps": 1},
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
        q_block=verdict.q_block, numbers=numbers,
    )  # fmt: skip


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


@triton.jit
def holds(row, seq_len, page, physical, PAGE: tl.constexpr):
    # Whether another request has the same physical pages at these logical places.
    reach = (tl.load(seq_len) + PAGE - 1) // PAGE
    theirs = tl.load(row + tl.minimum(page, tl.maximum(reach - 1, 0)))
    return (theirs == physical) & (page < reach)


@triton.jit(do_not_specialize={numbers})
def visible_pages(
    whole_counts, part_counts, physical, logical, page_table, seq_lens, query_start, entries, pages, heads,
    decode_tokens{extra}, PAGE: tl.constexpr, VECTOR: tl.constexpr,
):
    b = tl.program_id(0)
    length = tl.load(seq_lens + b)
    count = tl.load(query_start + b + 1) - tl.load(query_start + b)
    some = 0
    every = 0
    if (count > 0) & (count <= decode_tokens):
        line = widen(entries) * b
        used = (length + PAGE - 1) // PAGE
        for begin in range(0, used, VECTOR):
            at = begin + tl.arange(0, VECTOR)
            page = tl.minimum(at, used - 1)
            place = tl.load(page_table + line + page)
            here = (at < used) & (place >= 0) & (place < pages)
            possible = at < 0
            whole = at >= 0
            for h in range(0, heads):
                one, all_of_it = decide(b, h, length - count, length - 1, page, length{extra}, PAGE)
                possible = possible | one
                whole = whole & all_of_it
            whole = whole & possible & here
            part = possible & here & (whole == 0)
            packed = part.to(tl.int32) + (whole.to(tl.int32) << 16)
            before = tl.cumsum(packed, 0) - packed
            front = line + every + (before >> 16)
            back = line + entries - 1 - some - (before & 65535)
            tl.store(physical + front, place, mask=whole)
            tl.store(logical + front, page, mask=whole)
            tl.store(physical + back, place, mask=part)
            tl.store(logical + back, page, mask=part)
            sums = tl.sum(packed, 0)
            some += sums & 65535
            every += sums >> 16
    tl.store(whole_counts + b, every)
    tl.store(part_counts + b, some)


@triton.jit(do_not_specialize={numbers})
def prefill_tiles(
    partial_counts, partial, full_counts, full, page_table, seq_lens, query_start, request, next_prefilled, inverse,
    members, first_number, numbers, requests, entries, pages, tiles, heads, columns, tokens, decode_tokens{extra},
    ANYWHERE: tl.constexpr, WORDS: tl.constexpr, BITS: tl.constexpr, PAGE: tl.constexpr, VECTOR: tl.constexpr,
):
    tile = tl.program_id(0) // heads
    h = tl.program_id(0) % heads
    line = widen(tl.program_id(0)) * columns
    total = tl.minimum(tl.load(query_start + requests), tokens)
    low = tile * {q_block}
    high = tl.minimum(low + {q_block}, total)
    some = 0
    every = 0
    if low < high:
        first = tl.load(next_prefilled + tl.load(request + low))
        last = tl.load(request + high - 1)
        b = first
        base = 0
        if first <= last:
            base = tl.load(numbers + first)
        while b <= last:
            start = tl.load(query_start + b)
            end = tl.load(query_start + b + 1)
            length = tl.load(seq_lens + b)
            shift = length - end
            q_low = tl.maximum(start, low) + shift
            q_high = tl.minimum(end, high) - 1 + shift
            alone = (start <= low) & (end >= low + {q_block})
            used = (length + PAGE - 1) // PAGE
            slot_here = tl.load(numbers + b) - base
            after = tl.load(next_prefilled + b + 1)
            for begin in range(0, used, VECTOR):
                at = begin + tl.arange(0, VECTOR)
                page = tl.minimum(at, used - 1)
                physical = tl.load(page_table + widen(entries) * b + page)
                here = (at < used) & (physical >= 0) & (physical < pages)
                physical = tl.where(here, physical, 0)
                if ANYWHERE:
                    here = here & (tl.load(inverse + widen(pages) * b + physical) == at)
                possible, whole = decide(b, h, q_low, q_high, page, length{extra}, PAGE)
                other = first
                if (first == b) & (after > last):
                    other = last + 1
                while other <= last:
                    if other != b:
                        if ANYWHERE:
                            shared = tl.load(inverse + widen(pages) * other + physical) >= 0
                        else:
                            shared = holds(page_table + widen(entries) * other, seq_lens + other, page, physical, PAGE)
                        # A page of several requests is listed once: by the first of them, for all.
                        if other < b:
                            here = here & (shared == 0)
                        else:
                            possible = possible | shared
                    other = tl.load(next_prefilled + other + 1)
                possible = here & possible
                whole = possible & whole & alone
                part = possible & (whole == 0)
                packed = part.to(tl.int32) + (whole.to(tl.int32) << 16)
                before = tl.cumsum(packed, 0) - packed
                tl.store(partial + line + some + (before & 65535), physical, mask=part)
                tl.store(full + line + every + (before >> 16), physical, mask=whole)
                if ANYWHERE == 0:
                    tl.store(inverse + physical, page, mask=possible)
                    for word in tl.static_range(WORDS):
                        mine = slot_here - word * BITS
                        kept = tl.minimum(tl.maximum(mine, 0), BITS - 1)
                        bits = tl.zeros([VECTOR], tl.int32) + tl.where(mine == kept, 1 << kept, 0)
                        other = after
                        while other <= last:
                            slot = tl.load(numbers + other) - base - word * BITS
                            if (slot >= 0) & (slot < BITS):
                                row = page_table + widen(entries) * other
                                held = holds(row, seq_lens + other, page, physical, PAGE)
                                bits = bits | (held.to(tl.int32) << slot)
                            other = tl.load(next_prefilled + other + 1)
                        tl.store(members + (widen(word) * tiles + tile) * pages + physical, bits, mask=part)
                sums = tl.sum(packed, 0)
                some += sums & 65535
                every += sums >> 16
            b = after
        tl.store(first_number + tile, base)
    tl.store(partial_counts + tl.program_id(0), some)
    tl.store(full_counts + tl.program_id(0), every)
'''
