"""Tries shapes of the decode kernel and ways to cut requests into items, and says which are the fastest.

Not here: what is used (`maskdsl.backends.paged_decode_triton.shape_for`, `maskdsl.serving.plan_triton`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from benchmarks.correctness_record import Done
from benchmarks.serving_cases import Batch, relative_error
from benchmarks.serving_measure import ERROR, Bench, attempt, gpu_ms
from benchmarks.serving_subjects import Run, attention_for
from maskdsl.backends.paged_decode_triton import Shape
from maskdsl.binding.lowered import Lowering
from maskdsl.serving import PagedAttention
from maskdsl.serving.decode_triton import decode_program, decoder
from maskdsl.serving.plan_triton import Cut, cut_for, decode_items

SHAPES = (
    Shape(16, 64, 2, 3), Shape(16, 64, 4, 3), Shape(16, 64, 2, 2), Shape(16, 128, 4, 3), Shape(16, 128, 4, 2),
    Shape(16, 32, 2, 4),
)  # fmt: skip
KEYS_AT_MOST = (512, 1024, 2048)
ITEMS_A_PROCESSOR = (4, 8, 16)


def search(bench: Bench, done: Done, kind: str, page: int) -> None:
    """Every shape with the cut that is used, then every cut with the shape that was the fastest."""
    batch = bench.decode_batch(kind, page)
    used = cut_for(attention_for(batch).limits)
    for shape in SHAPES:
        _try(batch, done, shape, used)
    times = {r["who"]: r["ms"] for r in done.rows if r["fine"] and "ms" in r}
    best = min(SHAPES, key=lambda s: times.get(_name(s, used), 1e9))
    for cut in _cuts(used, batch):
        _try(batch, done, best, cut)


def _cuts(used: Cut, batch: Batch) -> Iterator[Cut]:
    for most, items in product(KEYS_AT_MOST, ITEMS_A_PROCESSOR):
        target = -(-132 * items // batch.size.kv_heads)
        pages = max(1, most // batch.page)
        room = -(-sum(-(-n // batch.page) for n in batch.lengths) // pages)
        cut = replace(used, target=target, most=pages, spare=max(target, room))
        if cut != used:
            yield cut


def _name(shape: Shape, cut: Cut) -> str:
    return (
        f"{shape.keys} keys, {shape.warps} warps, {shape.stages} stages; about {cut.target} items of {cut.least} to "
        f"{cut.most} pages, room for {cut.spare}"
    )


def _try(batch: Batch, done: Done, shape: Shape, cut: Cut) -> None:
    name = _name(shape, cut)
    with attempt(done, name):
        attention = attention_for(batch)
        run = with_shape(attention, batch, shape, cut)
        error = relative_error(batch, run())
        row = {"who": name, "error": error, "fine": error <= ERROR[batch.size.dtype], "ms": gpu_ms(run)}
        done.rows.append({**row, "tb_s": batch.bytes / 1e9 / row["ms"]})


def with_shape(attention: PagedAttention, batch: Batch, shape: Shape, cut: Cut) -> Run:
    """A planned decode step by another kernel shape and cut."""
    planner = attention._planner
    assert planner is not None
    planner.cut, planner.items = cut, decode_items(attention.limits, cut)
    attention.plan(batch.table, batch.seq_lens, batch.query_start, **batch.told)
    program = decode_program(
        Lowering(attention._bound.variant), attention._tiles.bound, attention._sizes, attention.limits.head_dim
    )
    attention._decoders[1] = decoder(program, attention.step, planner.items, 1, shape)
    return lambda: attention.run(batch.q, batch.k_cache, batch.v_cache)
