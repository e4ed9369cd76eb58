"""Runs decoding on CUDA in Triton's interpreter, on the CPU: its plan, its attention, its merge, against the reference.

A program of its own (TRITON_INTERPRET must be set before Triton is imported): `test_serving_kernels` runs it. With names of
shipped definitions as arguments it takes those, with `cases` the ones below.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton.language.extra

VARIANTS = Path(__file__).parents[1] / "variants"
sys.path[:0] = [str(Path(__file__).parent), str(VARIANTS), str(Path(__file__).parents[1] / "ir")]

from oracle import Sizes as Lengths  # noqa: E402
from steps import Sizes, Step, random_step  # noqa: E402
from test_ops_triton import stand_in  # noqa: E402

import maskdsl  # noqa: E402

triton.language.extra.libdevice = stand_in()

from maskdsl.backends.paged_decode_triton import Shape, shape_for  # noqa: E402
from maskdsl.binding.lowered import Lowering  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402
from maskdsl.serving.decode_triton import decode_program, decoder  # noqa: E402
from maskdsl.serving.plan_triton import Cut, planner  # noqa: E402

SMALL = Sizes(max_requests=5, max_tokens=60, num_pages=40, page_size=16, max_pages_per_request=5, decode_tokens=3)


def decoded(attention: PagedAttention, step: Step, width: int, cut: Cut | None, shape: Shape | None) -> torch.Tensor:
    """What CUDA decodes of a planned step, (tokens, heads, D); what it leaves alone is 77."""
    limits = attention.limits
    made = planner(attention._tiles, limits, attention._pages)
    if cut is not None:
        made.cut = cut
        made.items = replace(made.items, request=torch.full((limits.max_requests + cut.spare,), 77, dtype=torch.int32))
    made.decode(attention.step)
    program = decode_program(Lowering(attention._bound.variant), attention._tiles.bound, attention._sizes, limits.head_dim)
    tokens = sum(step.news) + 2
    q = torch.cat((step.q, torch.full((2, *step.q.shape[1:]), torch.nan)))
    out = torch.full((tokens, limits.heads, limits.head_dim), 77.0)
    run = decoder(program, attention.step, made.items, width, shape)
    run.pieces.fill_(torch.nan)
    run.piece_lse.fill_(torch.nan)
    run(q, *poisoned(step), out)
    assert not out[sum(step.news) :].any(), "behind the last request is 0"
    return out[: sum(step.news)]


def poisoned(step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    """The caches, with NaN wherever no token is: in pages of no request, and behind a request's last token."""
    caches = step.caches()
    for cache in caches:
        cache[cache == 9.0] = torch.nan
    return caches


def check(
    program: Any, tables: dict[str, torch.Tensor], step: Step, cut: Cut | None = None, shape: Shape | None = None
) -> None:
    """A step's decoded requests against the reference; all other queries are left alone."""
    sizes = step.sizes
    attention = PagedAttention(program, **sizes.limits(), tables=tables)
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    news = [n for n in step.news if n <= sizes.decode_tokens]
    width = 1 if max(news, default=1) <= 1 else sizes.decode_tokens
    found = decoded(attention, step, width, cut, shape).numpy()
    wanted = step.reference(program, tables)
    start = step.query_start.tolist()
    for r, count in enumerate(step.news):
        mine = slice(start[r], start[r + 1])
        if 0 < count <= sizes.decode_tokens:
            np.testing.assert_allclose(found[mine], wanted[mine], rtol=2e-4, atol=2e-5, err_msg=f"request {r}")
        else:
            assert (found[mine] == 77).all()


@dataclass(frozen=True)
class Case:
    """A program and the limits and cuts that it is tried with."""

    text: str
    sizes: Sizes = SMALL
    cut: Cut | None = None
    shape: Shape | None = None


ALIBI = "score s(slope: float[head]) = score - slope[h] * (q - k) variant v(slope: float[head]) { mask = k <= q score = s(slope) }"
FINE = Cut(target=99, least=1, most=1, spare=99)
CASES = {
    "one item a request": Case("mask m = k <= q", cut=Cut(1, 99, 99, 99)),
    "a page an item": Case("mask m = k <= q", cut=FINE),
    "more pages than there is room for": Case("mask m = k <= q", cut=Cut(99, 1, 1, 2)),
    "pages of 8 in tiles of 64": Case(ALIBI, replace(SMALL, page_size=8, max_pages_per_request=10)),
    "pages of 1": Case(ALIBI, replace(SMALL, page_size=1, max_pages_per_request=40, num_pages=200), FINE),
    "pages of 24": Case(ALIBI, replace(SMALL, page_size=24, max_pages_per_request=3)),
    "pages of 128": Case(ALIBI, replace(SMALL, page_size=128, max_pages_per_request=2, num_pages=12)),
    "groups of three": Case(ALIBI, replace(SMALL, heads=6, kv_heads=2), FINE),
    "no groups": Case(ALIBI, replace(SMALL, heads=3, kv_heads=3)),
    "heads of 80": Case(ALIBI, replace(SMALL, head_dim=80), FINE),
    "heads of 12": Case(ALIBI, replace(SMALL, head_dim=12)),
    "more queries than a tile": Case(ALIBI, replace(SMALL, decode_tokens=20, heads=8, max_tokens=90), FINE, Shape(16, 16, 2, 2)),
    "a sink": Case("variant v(s: float[head]) { mask = k <= q sink = s[h] }", cut=FINE),
    "a sink of each request": Case("variant v(s: float[batch]) { mask = q - k < 9 sink = 2.0 }"),
    "no division": Case("score s = logsigmoid(score) variant v { mask = k <= q score = s normalize = false }", cut=FINE),
    "no division, one item": Case("score s = logsigmoid(score) variant v { mask = k <= q score = s normalize = false }"),
    "a scale and a cap": Case("score s = 5.0 * tanh(score / 5.0) variant v { mask = q - k < 20 score = s scale = 0.3 }"),
    "nothing is seen": Case("mask m = k > q + 5", cut=FINE),
    "rows that see nothing": Case("mask m = k % 3 == 1 and k < 20 and q % 2 == 0", cut=FINE),
    "scores of minus infinity": Case("score s = score if (q - k) % 2 == 0 else -inf", cut=FINE),
    "every other key, one item": Case("mask m = (q - k) % 2 == 0", cut=Cut(1, 99, 99, 99)),
    "every other key in tiles of 64": Case("mask m = (q - k) % 2 == 0", replace(SMALL, page_size=8), Cut(1, 99, 99, 99)),
    "the whole request": Case("mask m = true", cut=FINE),
    "a tree": Case("mask m(parent: int[batch, position]) = k == q or k < 20 or parent[b, q] == k", cut=FINE),
    "heads that differ": Case("mask m(window: int[head]) = 0 <= q - k < window[h]", cut=FINE),
    "lengths": Case("mask m = k + 20 >= kv_len or k * 2 < q_len", cut=FINE),
}


def tables_of(program: Any, rng: np.random.Generator, sizes: Sizes) -> dict[str, torch.Tensor]:
    """Random tables."""
    capacity = sizes.page_size * sizes.max_pages_per_request
    axes = {"batch": sizes.max_requests, "head": sizes.heads, "position": capacity}
    made = {}
    for table in program.variant.tables:
        shape = [axes[a] for a in table.axes]
        drawn = rng.standard_normal(shape) if str(table.type) == "float" else rng.integers(0, 40, shape)
        made[table.name] = torch.from_numpy(drawn.astype(np.float32 if str(table.type) == "float" else np.int32))
    return made


def busy_step(rng: np.random.Generator, sizes: Sizes) -> Step:
    """A random step with decoded requests, one of more than a page."""
    while True:
        step = random_step(rng, sizes)
        of_decoded = [n for n, new in zip(step.lengths, step.news, strict=True) if 0 < new <= sizes.decode_tokens]
        if max(of_decoded, default=0) > sizes.page_size:
            return step


def shipped(name: str) -> Iterator[tuple[Any, dict[str, torch.Tensor], Step]]:
    """A shipped definition with tables, and a step."""
    families = sorted(path.stem for path in VARIANTS.glob("*_oracles.py"))
    oracles = {n: o for f in families for n, o in importlib.import_module(f).ORACLES.items()}
    sizes = replace(SMALL, max_requests=3, max_tokens=20, num_pages=20, heads=2, kv_heads=2)
    for wanted in oracles if name == "all" else [name]:
        oracle, rng = oracles[wanted], np.random.default_rng(len(wanted))
        program = maskdsl.get(wanted, **oracle.constants[0], **oracle.masks)
        capacity = sizes.page_size * sizes.max_pages_per_request
        drawn = oracle.inputs(rng, Lengths(sizes.max_requests, sizes.heads, capacity, capacity))
        yield program, {n: torch.as_tensor(np.asarray(x)) for n, x in drawn.items()}, busy_step(rng, sizes)


def main() -> None:
    """The cases, or shipped definitions."""
    chosen = sys.argv[1:] or ["cases"]
    for name in chosen:
        if name == "cases":
            for told, case in CASES.items():
                program = maskdsl.compile(case.text, *(["v"] if "variant v" in case.text else []))
                rng = np.random.default_rng(len(told))
                step = busy_step(rng, case.sizes)
                check(program, tables_of(program, rng, case.sizes), step, case.cut, case.shape)
                print(told, "agrees", flush=True)
        else:
            for program, tables, step in shipped(name):
                check(program, tables, step, FINE)
                print(program, "agrees", flush=True)


if __name__ == "__main__":
    assert shape_for(4, 128, 2) == Shape(16, 64, 2, 3)
    main()
