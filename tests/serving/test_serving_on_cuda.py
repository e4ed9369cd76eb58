"""What only a GPU shows: serving kernels against the reference, CUDA graphs, compilations, and that nothing is waited for.

`MASKDSL_SERVING_DEVICE=cpu` lets those that need no graphs run elsewhere, to see that the tests themselves are right.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent)]

from steps import POISON, Sizes, Step, at_other_places, moved, random_step  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402

DEVICE = os.environ.get("MASKDSL_SERVING_DEVICE", "cuda")
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a GPU"),
]
graphs = pytest.mark.skipif(DEVICE != "cuda", reason="needs CUDA graphs")

SIZES = Sizes(
    max_requests=4, max_tokens=300, num_pages=40, page_size=64, max_pages_per_request=5, heads=8, kv_heads=2,
    head_dim=64,
)  # fmt: skip
SMALL = replace(SIZES, page_size=16, max_pages_per_request=20, num_pages=140)
LARGE = replace(SIZES, page_size=128, max_pages_per_request=3, num_pages=20, head_dim=128)
THREES = replace(SMALL, heads=6, kv_heads=2)
ERROR = {torch.bfloat16: 2.0**-6, torch.float16: 2.0**-8, torch.float32: 2e-4}
"""Of the largest output."""

CAUSAL = "mask m = k <= q"
LOCAL = """score cap = 20.0 * tanh(score / 20.0)
    score fall(slope: float[head]) = score - slope[h] * (q - k)
    variant v(slope: float[head]) { mask = 0 <= q - k < 100 score = fall(slope) then cap }"""
SINK = "variant v(logit: float[head]) { mask = k <= q sink = logit[h] scale = 0.2 }"
IMAGES = "mask m(image: int[batch, position]) = k <= q or image[b, q] == image[b, k]"
PREFIX = "mask m(first: int[batch]) = k <= q or k < first[b]"
WINDOWS = "mask m(window: int[head]) = 0 <= q - k < window[h]"
SIGMOID = "score s = logsigmoid(score) variant v { mask = k <= q score = s normalize = false }"

CASES = {
    "causal, pages of 16": (CAUSAL, SMALL, torch.bfloat16), "causal, pages of 64": (CAUSAL, SIZES, torch.float16),
    "causal, pages of 128": (CAUSAL, LARGE, torch.bfloat16), "groups of three": (LOCAL, THREES, torch.bfloat16),
    "a score, pages of 128": (LOCAL, LARGE, torch.bfloat16), "a sink": (SINK, SIZES, torch.bfloat16),
    "blocks of images": (IMAGES, LARGE, torch.bfloat16), "a prefix": (PREFIX, replace(SMALL, heads=2), torch.float32),
    "a window of each head": (WINDOWS, SIZES, torch.bfloat16), "no division": (SIGMOID, SMALL, torch.bfloat16),
    "heads of 80": (CAUSAL, replace(SIZES, head_dim=80), torch.bfloat16),
}  # fmt: skip


def program_of(text: str) -> Any:
    return maskdsl.compile(text, *(["v"] if "variant v" in text else []))


def tables_of(program: Any, rng: np.random.Generator, sizes: Sizes) -> dict[str, torch.Tensor]:
    """Random tables, on the CPU."""
    capacity = sizes.page_size * sizes.max_pages_per_request
    axes = {"batch": sizes.max_requests, "position": capacity, "head": sizes.heads}
    made = {}
    for table in program.variant.tables:
        shape = [axes[a] for a in table.axes]
        drawn = rng.random(shape) * 0.1 if str(table.type) == "float" else rng.integers(0, 60, shape)
        made[table.name] = torch.from_numpy(drawn.astype(np.float32 if str(table.type) == "float" else np.int32))
    return made


def attention_of(text: str, sizes: Sizes, dtype: torch.dtype, tables: dict[str, torch.Tensor], **more: Any) -> PagedAttention:
    there = {n: x.to(DEVICE) for n, x in tables.items()}
    return PagedAttention(program_of(text), **sizes.limits(), dtype=dtype, device=DEVICE, tables=there, **more)


def rounded(step: Step, dtype: torch.dtype) -> Step:
    """The step with the numbers that the dtype holds."""
    parts = {n: tuple(x.to(dtype).float() for x in getattr(step, n)) for n in ("keys", "values")}
    return replace(step, q=step.q.to(dtype).float(), **parts)


def told(step: Step) -> dict[str, int]:
    decoded = [n for n in step.news if 0 < n <= step.sizes.decode_tokens]
    return {"longest_query": max(step.news), "decode_requests": len(decoded), "longest_decode": max(decoded, default=0)}


def tables_there(step: Step) -> tuple[torch.Tensor, ...]:
    return tuple(x.to(DEVICE) for x in (step.page_table, step.seq_lens, step.query_start))


def run(attention: PagedAttention, step: Step, **numbers: int) -> torch.Tensor:
    """A step planned and run; its new keys are written by `append`, into caches that hold the others."""
    attention.plan(*tables_there(step), **numbers)
    dtype = attention.limits.dtype
    caches = tuple(c.to(DEVICE, dtype) for c in step.caches(new=False))
    new = [torch.cat([x[len(x) - n :] for x, n in zip(part, step.news, strict=True)]) for part in (step.keys, step.values)]
    attention.append(*(x.to(DEVICE, dtype) for x in new), *caches)
    for found, wanted in zip(caches, step.caches(), strict=True):
        torch.testing.assert_close(found.cpu(), wanted.to(dtype), rtol=0, atol=0, equal_nan=True)
    return attention.run(step.q.to(DEVICE, dtype), *caches)


def check(out: torch.Tensor, step: Step, text: str, tables: dict[str, torch.Tensor]) -> None:
    wanted = step.reference(program_of(text), tables)
    if wanted.size:
        allowed = ERROR[out.dtype] * max(1e-3, np.abs(wanted).max())
        np.testing.assert_allclose(out.double().cpu().numpy(), wanted, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", CASES)
def test_steps_of_all_kinds(name: str) -> None:
    """Decode, prefill and both, told and read; poisoned pages never show; the same bits wherever pages lie."""
    text, sizes, dtype = CASES[name]
    rng = np.random.default_rng(len(name))
    tables = tables_of(program_of(text), rng, sizes)
    attention = attention_of(text, sizes, dtype, tables, places="one")
    for number in range(5):
        step = rounded(random_step(rng, sizes), dtype)
        numbers = told(step) if number % 2 else {}
        out = run(attention, step, **numbers)
        check(out, step, text, tables)
        assert torch.equal(out, run(attention, moved(step, rng), **numbers))


def test_pages_at_several_places() -> None:
    rng = np.random.default_rng(0)
    step = at_other_places(random_step(rng, Sizes(), share=False))
    attention = attention_of(CAUSAL, step.sizes, torch.float32, {}, places="any")
    check(run(attention, step), step, CAUSAL, {})


def test_a_group_of_layers_shares_a_step() -> None:
    rng = np.random.default_rng(1)
    near = attention_of("mask m = 0 <= q - k < 70", SIZES, torch.bfloat16, {})
    far = attention_of(CAUSAL, SIZES, torch.bfloat16, {}, step=near.step)
    step = rounded(random_step(rng, SIZES), torch.bfloat16)
    near.plan(*tables_there(step), **told(step))
    far.plan_lists()
    caches = tuple(c.to(DEVICE, torch.bfloat16) for c in step.caches())
    for attention, text in ((near, "mask m = 0 <= q - k < 70"), (far, CAUSAL)):
        check(attention.run(step.q.to(DEVICE, torch.bfloat16), *caches), step, text, {})


def compilations(attention: PagedAttention) -> int:
    """How many kernels there are: those of Dynamo, and of Triton for this object's launches."""
    from torch._dynamo.utils import counters

    count = int(counters["stats"]["unique_graphs"])
    if attention._planner is None:
        return count
    launchers = [*attention.step.on_cuda().launchers.values(), *attention._planner.launchers.values()]
    launchers += [x for made in attention._decoders.values() for x in made.launchers.values()]
    caches = [cache[0] for x in launchers for cache in x.function.device_caches.values()]
    return count + sum(len(cache) for cache in caches)


def test_nothing_is_compiled_again() -> None:
    """300 steps, decode and prefill mixed, after the first ones of each kind."""
    rng = np.random.default_rng(2)
    tables = tables_of(program_of(LOCAL), rng, SMALL)
    attention = attention_of(LOCAL, SMALL, torch.bfloat16, tables, places="one")
    dtype = torch.bfloat16
    warm, kinds = 0, set()
    for number in range(340):
        step = rounded(random_step(rng, SMALL), dtype)
        attention.plan(*tables_there(step), **(told(step) if number % 2 else {}))
        out = attention.run(step.q.to(DEVICE, dtype), *(c.to(DEVICE, dtype) for c in step.caches()))
        kinds.add((attention.decodes, attention.prefills, attention.step.host.longest_decode == 1))
        if number % 60 == 0:
            check(out, step, LOCAL, tables)
        if number == 39:
            warm = compilations(attention)
    assert len(kinds) >= 4 and compilations(attention) == warm


# ---------------------------------------------------------------- CUDA graphs


@contextmanager
def never_waiting() -> Iterator[None]:
    """Within it, the host waits for nothing that the device computes."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Inputs:
    """What a step is told by, in buffers that never move; a plan, an append and a run over them."""

    def __init__(self, attention: PagedAttention, tokens: int, numbers: dict[str, int]) -> None:
        limits, self.attention, self.numbers = attention.limits, attention, numbers
        requests = limits.max_requests

        def ints(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=DEVICE)

        self.tables = ints(requests, limits.max_pages_per_request), ints(requests), ints(requests + 1)
        draw = torch.Generator(DEVICE).manual_seed(0)
        shapes = [(tokens, limits.heads, limits.head_dim), *[(tokens, limits.kv_heads, limits.head_dim)] * 2]
        self.q, *self.new = (torch.randn(s, generator=draw, device=DEVICE).to(limits.dtype) for s in shapes)
        shape = (limits.num_pages, limits.page_size, limits.kv_heads, limits.head_dim)
        self.caches = [torch.zeros(shape, dtype=limits.dtype, device=DEVICE) for _ in "kv"]

    def step(self) -> torch.Tensor:
        self.attention.plan(*self.tables, **self.numbers)
        self.attention.append(*self.new, *self.caches)
        return self.attention.run(self.q, *self.caches)

    def fill(self, table: torch.Tensor, lengths: list[int], news: list[int], seed: int) -> None:
        """The next step: other lengths, other keys and queries."""
        self.tables[0].copy_(table)
        self.tables[1].copy_(torch.tensor(lengths))
        self.tables[2].copy_(torch.tensor([0, *np.cumsum(news)]))
        draw = torch.Generator(DEVICE).manual_seed(seed)
        for x in (self.q, *self.new):
            x.copy_(torch.randn(x.shape, generator=draw, device=DEVICE))


def replays_equal_calls(inputs: Inputs, eager: Inputs, steps: list[tuple[list[int], list[int]]], tables: list[torch.Tensor]) -> None:
    """Every step replayed from one graph, bit for bit what the same calls give without."""
    for each in (inputs, eager):
        each.fill(tables[0], *steps[0], seed=0)
        each.step()
        for cache in each.caches:
            cache.zero_()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = inputs.step()
    for number, (lengths, news) in enumerate(steps):
        for each in (inputs, eager):
            each.fill(tables[number], lengths, news, seed=number)
        graph.replay()
        wanted = eager.step()
        assert torch.equal(out, wanted), number
        assert all(torch.equal(a, b) for a, b in zip(inputs.caches, eager.caches, strict=True))
        assert out.abs().sum() > 0


def growing_table(sizes: Sizes, seed: int) -> torch.Tensor:
    order = np.random.default_rng(seed).permutation(sizes.num_pages)
    entries = sizes.max_requests * sizes.max_pages_per_request
    return torch.from_numpy(np.resize(order, entries)).reshape(sizes.max_requests, -1).int()


@graphs
@pytest.mark.parametrize("text", [CAUSAL, LOCAL, SINK])
def test_decoding_is_replayed_over_growing_lengths(text: str) -> None:
    """50 steps of four requests, one of which ends and one of which begins on the way."""
    sizes = replace(SMALL, max_requests=4, max_tokens=8, num_pages=80)
    tables = tables_of(program_of(text), np.random.default_rng(3), sizes)
    numbers = {"longest_query": 1, "decode_requests": 4, "longest_decode": 1}
    both = [Inputs(attention_of(text, sizes, torch.bfloat16, tables), 6, numbers) for _ in range(2)]
    steps = []
    for i in range(50):
        lengths = [40 + i, 1 + 3 * i, 200 + i if i < 30 else 0, 0 if i < 20 else i]
        steps.append((lengths, [int(n > 0) for n in lengths]))
    replays_equal_calls(both[0], both[1], steps, [growing_table(sizes, 0)] * 50)


@graphs
def test_mixed_steps_are_replayed() -> None:
    """Chunks of a prompt beside decoding requests; in some steps there is no chunk, in some nothing to decode."""
    sizes = replace(SMALL, max_requests=4, max_tokens=256, num_pages=80)
    numbers = {"longest_query": 256, "decode_requests": 3, "longest_decode": 1}
    both = [Inputs(attention_of(CAUSAL, sizes, torch.bfloat16, {}), 256, numbers) for _ in range(2)]
    rng = np.random.default_rng(4)
    steps = []
    for i in range(12):
        chunk = int(rng.integers(5, 200)) if i % 4 else 0
        news = [1, chunk, 1, 1] if i % 3 else [0, chunk, 0, 0]
        steps.append(([n and int(rng.integers(n, 300)) for n in news], news))
    steps[0] = ([40, 150, 9, 80], [1, 130, 1, 1])
    steps = [s for s in steps if sum(s[1])]
    replays_equal_calls(both[0], both[1], steps, [growing_table(sizes, i) for i in range(len(steps))])


@graphs
def test_told_steps_wait_for_nothing() -> None:
    sizes = replace(SMALL, max_requests=4, max_tokens=256, num_pages=80)
    for news in ([1, 1, 1, 1], [1, 100, 3, 1], [0, 130, 0, 0]):
        decoded = [n for n in news if 0 < n <= sizes.decode_tokens]
        numbers = {"longest_query": max(news), "decode_requests": len(decoded), "longest_decode": max(decoded, default=0)}
        inputs = Inputs(attention_of(LOCAL, sizes, torch.bfloat16, {"slope": torch.rand(8)}), sum(news), numbers)
        inputs.fill(growing_table(sizes, 0), [200, 150, 90, 44], news, seed=0)
        inputs.step()
        with never_waiting():
            inputs.step()


def test_freed_pages_and_tails_that_hold_anything() -> None:
    """Behind a window entries are -1; nothing beyond the pool is read or written, whatever stands there."""
    text, rng = "mask m = 0 <= q - k < 40", np.random.default_rng(5)
    attention = attention_of(text, SMALL, torch.float32, {}, places="one")
    for _ in range(4):
        step = random_step(rng, SMALL, share=False)
        attention.plan(*tables_there(step))
        table = step.page_table.clone()
        for r, (length, news) in enumerate(zip(step.lengths, step.news, strict=True)):
            table[r, : max(0, length - news - 39) // SMALL.page_size] = -1 - r
        table[table == POISON] = 2**31 - 1
        attention.plan(table.to(DEVICE), *tables_there(step)[1:], **told(step))
        out = attention.run(step.q.to(DEVICE), *(c.to(DEVICE) for c in step.caches()))
        check(out, step, text, {})


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_in_bfloat16(tmp_path: Path) -> None:
    """The perplexity of a fixed text, read through the pages, is transformers' own to a thousandth: the same kernel rounds
    the same way every time, but other pages or another GPU move it by as much again.
    """
    import json

    from examples.smollm2 import eager
    from examples.smollm2.__main__ import main

    if eager.missing():
        pytest.skip(eager.missing())
    file = tmp_path / "found.json"
    options = ["--device", DEVICE, "--dtype", "bfloat16", "--page-size", "64", "--perplexity", "--tokens", "16"]
    main([*options, "--json", str(file)])
    assert json.loads(file.read_text(encoding="utf-8"))["perplexity"]["relative_difference"] <= 1e-3
