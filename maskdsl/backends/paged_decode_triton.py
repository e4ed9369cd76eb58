"""Attention of decoded requests on CUDA: a Triton kernel written from a program's mask, score and sink.

A program of the kernel takes one piece of one request's visible pages and the queries of one key/value head, which it
reads where they lie packed. It walks the pages in logical order, so the program is asked of logical positions as it is
written: full pages first, then those whose pairs must be masked. Where the piece is all of a request it writes the
output, else the piece's output and log-sum-exp, which `paged_kernels.merge_pieces` joins.

Not here: which pages are visible and how they are cut (`paged_plan_triton`, `paged_kernels`).
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from maskdsl.backends.block_mask_triton import TRITON
from maskdsl.backends.statements import Statements
from maskdsl.ir.emission import support_for
from maskdsl.ir.nodes import Node, Variant
from maskdsl.ir.ops_triton import TRITON_SUPPORT
from maskdsl.ir.types import Table


@dataclass(frozen=True, slots=True)
class DecodeKernel:
    """The kernel of one program; `tables` and `sizes` are what its functions read, in order."""

    source: str
    tables: tuple[Table, ...]
    sizes: tuple[str, ...]
    function: Any

    def extra(self, tables: Mapping[Table, Tensor], sizes: Mapping[str, int]) -> tuple[Any, ...]:
        """The arguments that the functions read."""
        bound = [tables[t] for t in self.tables]
        return (*bound, *(s for t in bound for s in t.stride()), *(sizes[s] for s in self.sizes))


@dataclass(frozen=True, slots=True)
class Shape:
    """How the kernel is cut: queries times heads of a group (`rows`) by `keys` at once, a power of two of at least 16
    each, by so many warps, loading so many stages ahead.
    """

    rows: int
    keys: int
    warps: int
    stages: int


def shape_for(rows: int, head_dim: int, item_size: int) -> Shape:
    """The shape for `rows` queries times heads of a group: keys and values of all stages leave room for two programs
    on a multiprocessor of Hopper.
    """
    tile = min(64, max(16, 1 << (rows - 1).bit_length()))
    width = max(16, 1 << (head_dim - 1).bit_length()) * item_size
    keys = min(64, max(16, (16384 if item_size < 4 else 8192) // width))
    return Shape(tile, keys, 2 if tile == 16 and item_size < 4 else 4, 3)


def decode_kernel(variant: Variant) -> DecodeKernel:
    """The kernel of a program that went through all passes; equal texts share compiled kernels."""
    tables: list[Table] = []
    sizes: list[str] = []
    parts = {
        "seen": _written(variant.mask, "k >= 0", tables, sizes),
        "score": _written(variant.score, "score", tables, sizes),
        "sink": _written(variant.sink, "0.0", tables, sizes),
    }  # fmt: skip
    names = [f"table_{n}" for n in range(len(tables))]
    strides = [f"stride_{n}_{axis}" for n, t in enumerate(tables) for axis in range(max(1, len(t.axes)))]
    numbers = [*strides, *(f"size_{n}" for n in range(len(sizes)))]
    body = "\n".join(parts.values())
    source = _MODULE.format(
        support=support_for(body, TRITON_SUPPORT), extra="".join(f", {n}" for n in (*names, *numbers)),
        numbers=["q_heads", "out_heads", "tokens", "entries", "requests", *numbers],
        has_score=variant.score is not None, has_sink=variant.sink is not None, **parts,
    )  # fmt: skip
    return DecodeKernel(source, tuple(tables), tuple(sizes), _load(source))


def _written(node: Node | None, missing: str, tables: list[Table], sizes: list[str]) -> str:
    """The body of a function that returns the value of a node."""
    written = Statements(TRITON, tables=tables, sizes=sizes)
    result = missing if node is None else written.text_of(node)
    return "\n".join(f"    {line}" for line in (*written.lines, f"return {result}"))


@cache
def _load(source: str) -> Any:
    """The kernel of a module text; Triton reads the text again through `linecache`."""
    name = f"<maskdsl paged decode {len(linecache.cache)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "maskdsl_paged_decode"}
    exec(compile(source, name, "exec"), namespace)
    return namespace["attend_items"]


_MODULE = '''\
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def widen(x):
    return tl.cast(x, tl.int64)


{support}


@triton.jit
def seen_pairs(b, h, q, k, q_len, kv_len{extra}):
{seen}


@triton.jit
def score_pairs(score, b, h, q, k, q_len, kv_len{extra}):
{score}


@triton.jit
def sink_logits(b, h, q_len, kv_len{extra}):
{sink}


@triton.jit
def visit_pages(
    sums, total, top, queries, k_cache, v_cache, physical, logical, pages, b, h, q, length{extra},
    SIGN: tl.constexpr, WHOLE: tl.constexpr, SCALE: tl.constexpr, STRIDE: tl.constexpr, DIM: tl.constexpr,
    COLUMNS: tl.constexpr, PAGE: tl.constexpr, KEYS: tl.constexpr,
):
    # Tiles of KEYS keys lie in one page each where that comes out even, else every key finds its own page.
    lane = tl.arange(0, KEYS)
    inside = lane if PAGE % KEYS != 0 else 0
    column = tl.arange(0, COLUMNS)
    place = SIGN * tl.minimum(inside // PAGE, pages - 1)
    page = tl.load(physical + place)
    number = tl.load(logical + place)
    for begin in range(0, pages * PAGE, KEYS):
        slot = (begin + inside) % PAGE + (lane - inside)
        at = ((widen(page) * PAGE + slot) * STRIDE)[:, None] + column[None, :]
        position = number * PAGE + slot
        shown = begin + lane < pages * PAGE
        if not WHOLE:
            shown = shown & (position < length)
        inner = shown[:, None] & (column < DIM)[None, :]
        # Of the last page only what is written is read: of short requests that is most of what there is to save.
        if WHOLE and COLUMNS == DIM:
            keys = tl.load(k_cache + at)
        else:
            keys = tl.load(k_cache + at, mask=inner, other=0.0)
        scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * SCALE
        k = tl.minimum(position, length - 1)[None, :]
        if {has_score}:
            scores = tl.zeros_like(scores) + score_pairs(scores, b, h, q, k, length, length{extra})
        if not WHOLE:
            seen = seen_pairs(b, h, q, k, length, length{extra})
            scores = tl.where(shown[None, :] & seen, scores, float("-inf"))
        elif PAGE % KEYS != 0:
            scores = tl.where(shown[None, :], scores, float("-inf"))
        scores = scores * 1.4426950408889634
        high = tl.maximum(top, tl.max(scores, 1))
        base = tl.where(high == float("-inf"), 0.0, high)
        weights = tl.exp2(scores - base[:, None])
        fade = tl.exp2(top - base)
        total = total * fade + tl.sum(weights, 1)
        if WHOLE and COLUMNS == DIM:
            values = tl.load(v_cache + at)
        else:
            values = tl.load(v_cache + at, mask=inner, other=0.0)
        sums = tl.dot(weights.to(values.dtype), values, sums * fade[:, None], input_precision="ieee")
        top = high
        place = SIGN * tl.minimum((begin + KEYS + inside) // PAGE, pages - 1)
        page = tl.load(physical + place)
        number = tl.load(logical + place)
    return sums, total, top


@triton.jit(do_not_specialize={numbers})
def attend_items(
    q, k_cache, v_cache, out, q_heads, out_heads, tokens, pieces, piece_lse, item_request, item_start, whole_counts,
    part_counts, physical, logical, seq_lens, query_start, entries, requests{extra},
    SCALE: tl.constexpr, NORMALIZE: tl.constexpr, WIDTH: tl.constexpr, KV_HEADS: tl.constexpr, GROUP: tl.constexpr,
    DIM: tl.constexpr, COLUMNS: tl.constexpr, PAGE: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):
    BLOCKS: tl.constexpr = (WIDTH * GROUP + ROWS - 1) // ROWS
    STRIDE: tl.constexpr = KV_HEADS * DIM
    item = tl.program_id(0) // (KV_HEADS * BLOCKS)
    group = tl.program_id(0) // BLOCKS % KV_HEADS
    if item < tl.load(item_start + requests):
        b = tl.load(item_request + item)
        first = tl.load(item_start + b)
        number = tl.load(item_start + b + 1) - first
        whole = tl.load(whole_counts + b)
        found = whole + tl.load(part_counts + b)
        length = tl.load(seq_lens + b)
        start = tl.load(query_start + b)
        count = tl.load(query_start + b + 1) - start
        begin = (item - first) * found // number
        end = (item - first + 1) * found // number

        row = tl.program_id(0) % BLOCKS * ROWS + tl.arange(0, ROWS)
        head = group * GROUP + row % GROUP
        here = (row < count * GROUP) & (start + row // GROUP < tokens)
        column = tl.arange(0, COLUMNS)
        inside = here[:, None] & (column < DIM)[None, :]
        token = widen(start + row // GROUP)
        # Tokens are so many heads apart, a number that is known to be a multiple of DIM.
        place = ((token * q_heads + head) * DIM)[:, None] + column[None, :]
        queries = tl.load(q + place, mask=inside, other=0.0)
        at = (length - count + tl.minimum(row // GROUP, count - 1))[:, None]

        top = tl.full([ROWS], float("-inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        sums = tl.zeros([ROWS, COLUMNS], tl.float32)
        line = widen(entries) * b
        k_head = k_cache + group * DIM
        v_head = v_cache + group * DIM
        some = tl.minimum(end, whole) - begin
        if some > 0:
            sums, total, top = visit_pages(
                sums, total, top, queries, k_head, v_head, physical + line + begin, logical + line + begin, some,
                b, head[:, None], at, length{extra}, 1, True, SCALE, STRIDE, DIM, COLUMNS, PAGE, KEYS,
            )
        least = tl.maximum(begin, whole)
        if end > least:
            last = line + entries - 1 - (least - whole)
            sums, total, top = visit_pages(
                sums, total, top, queries, k_head, v_head, physical + last, logical + last, end - least,
                b, head[:, None], at, length{extra}, -1, False, SCALE, STRIDE, DIM, COLUMNS, PAGE, KEYS,
            )

        if {has_sink} and NORMALIZE:
            # The sink is a logit of the request's first piece.
            logit = (tl.zeros_like(top) + sink_logits(b, head, length, length{extra})) * 1.4426950408889634
            logit = tl.where(item == first, logit, float("-inf"))
            high = tl.maximum(top, logit)
            base = tl.where(high == float("-inf"), 0.0, high)
            fade = tl.exp2(top - base)
            sums = sums * fade[:, None]
            total = total * fade + tl.exp2(logit - base)
            top = high
        if number == 1:
            if NORMALIZE:
                sums = sums / tl.where(total > 0.0, total, 1.0)[:, None]
            else:
                sums = sums * tl.exp2(top)[:, None]
            place = ((token * out_heads + head) * DIM)[:, None] + column[None, :]
            tl.store(out + place, sums.to(out.dtype.element_ty), mask=inside)
        else:
            piece = (widen(item) * KV_HEADS + group) * (WIDTH * GROUP) + row
            sums = sums / tl.where(total > 0.0, total, 1.0)[:, None]
            tl.store(pieces + piece[:, None] * DIM + column[None, :], sums, mask=inside)
            tl.store(piece_lse + piece, top + tl.log2(total), mask=here)
'''
