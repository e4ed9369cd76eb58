"""What engines do at the edges: freed pages, steps without work, sinks that are trained, shares of heads, mistakes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent)]

from plain import plain_kernels  # noqa: E402
from steps import Sizes, Step, random_step  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402
from maskdsl.serving import limits as limits_module  # noqa: E402
from maskdsl.serving import step as step_module  # noqa: E402
from maskdsl.serving.phases import reads_pairs  # noqa: E402
from maskdsl.source.diagnostic import MaskError  # noqa: E402
from maskdsl.source.text import NOWHERE  # noqa: E402

SIZES = Sizes()
WINDOW = 20


@pytest.fixture(autouse=True, scope="module")
def plain() -> Iterator[None]:
    with plain_kernels():
        yield


def told(step: Step) -> dict[str, int]:
    """What an engine tells of a step."""
    decoded = [n for n in step.news if 0 < n <= step.sizes.decode_tokens]
    return {"longest_query": max(step.news), "decode_requests": len(decoded), "longest_decode": max(decoded, default=0)}


def run(attention: PagedAttention, step: Step, table: torch.Tensor | None = None, **numbers: int) -> np.ndarray:
    """The step planned and run over caches that hold all its tokens."""
    attention.plan(step.page_table if table is None else table, step.seq_lens, step.query_start, **numbers)
    return attention.run(step.q, *step.caches()).numpy()


def behind_the_window(step: Step) -> Iterator[tuple[int, int]]:
    """Request and place of every page that the window of its new queries has passed."""
    for r, (length, news) in enumerate(zip(step.lengths, step.news, strict=True)):
        for place in range(max(0, length - news - WINDOW + 1) // step.sizes.page_size):
            yield r, place


def no_page(step: Step, r: int, place: int) -> int:
    return -1 - place


def null_page(step: Step, r: int, place: int) -> int:
    return 0


def page_of_another(step: Step, r: int, place: int) -> int:
    """The last page of the longest other request: that is where the freed page went."""
    other = max((i for i in range(len(step.lengths)) if i != r), key=lambda i: step.lengths[i], default=r)
    return int(step.page_table[other, max(0, (step.lengths[other] - 1) // step.sizes.page_size)])


@pytest.mark.parametrize("entry", [no_page, null_page, page_of_another])
@pytest.mark.parametrize("places", ["one", "auto"])
def test_pages_behind_a_window_may_be_freed(entry: Callable[[Step, int, int], int], places: str) -> None:
    """Their entries hold nothing, one page for all, or a page that somebody else has got since; told, nothing is read."""
    program, rng = maskdsl.get("sliding_window", window=WINDOW), np.random.default_rng(2)
    attention = PagedAttention(program, **SIZES.limits(), places=places)
    freed = 0
    for _ in range(8):
        step = random_step(rng, SIZES, share=False)
        table = step.page_table.clone()
        for r, place in behind_the_window(step):
            table[r, place] = entry(step, r, place)
            freed += 1
        if places == "one":
            found = run(attention, step, table, **told(step))
        else:
            found = run(attention, step, table)
        np.testing.assert_allclose(found, step.reference(program, {}), rtol=2e-4, atol=2e-5)
    assert freed > 10


def test_a_visible_key_without_a_page_is_not_there() -> None:
    program = maskdsl.compile("mask m = true")
    attention = PagedAttention(program, **SIZES.limits())
    step = random_step(np.random.default_rng(3), replace(SIZES, max_requests=1))
    while step.lengths[0] < 3 * SIZES.page_size or not step.news[0]:
        step = random_step(np.random.default_rng(step.lengths[0] + 4), replace(SIZES, max_requests=1))
    table = step.page_table.clone()
    table[0, 0] = -1
    without = maskdsl.compile(f"mask m = k >= {SIZES.page_size}")
    np.testing.assert_allclose(run(attention, step, table), step.reference(without, {}), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("numbers", [{}, {"longest_query": 0, "decode_requests": 0}])
def test_steps_without_work(numbers: dict[str, int]) -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    caches = torch.zeros(2, SIZES.num_pages, SIZES.page_size, SIZES.kv_heads, SIZES.head_dim)
    entries = SIZES.max_pages_per_request
    for requests, lengths in ((0, []), (2, [40, 0])):
        table = torch.zeros(requests, entries, dtype=torch.int64)
        attention.plan(table, torch.tensor(lengths, dtype=torch.int64), torch.zeros(requests + 1, dtype=torch.int64), **numbers)
        for tokens in (0, 3):
            q = torch.ones(tokens, SIZES.heads, SIZES.head_dim)
            new = torch.ones(tokens, SIZES.kv_heads, SIZES.head_dim)
            attention.append(new, new, caches[0], caches[1])
            assert torch.equal(attention.run(q, caches[0], caches[1]), torch.zeros_like(q))
    assert not caches.any()


def test_sinks_count_as_their_table_holds_them() -> None:
    program = maskdsl.compile("variant v(logit: float[head]) { mask = k <= q sink = logit[h] }", "v")
    logit, rng = torch.zeros(SIZES.heads), np.random.default_rng(4)
    attention = PagedAttention(program, **SIZES.limits(), tables={"logit": logit})
    step = random_step(rng, SIZES)
    for value in (0.0, 3.0, -1.0):
        logit.copy_(value + torch.arange(SIZES.heads))
        wanted = step.reference(program, {"logit": logit})
        np.testing.assert_allclose(run(attention, step), wanted, rtol=2e-4, atol=2e-5)


def test_a_step_that_was_refused_is_not_run() -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    step = random_step(np.random.default_rng(5), SIZES)
    run(attention, step)
    with pytest.raises(MaskError, match="page_table"):
        attention.plan(step.page_table[:, :2], step.seq_lens, step.query_start)
    new = torch.zeros(1, SIZES.kv_heads, SIZES.head_dim)
    for call in (lambda: attention.run(step.q, *step.caches()), attention.plan_lists, lambda: attention.append(new, new, *step.caches())):
        with pytest.raises(MaskError, match="no step was planned"):
            call()


def test_queries_that_are_too_few_are_refused() -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    step = random_step(np.random.default_rng(6), SIZES)
    run(attention, step)
    with pytest.raises(MaskError, match="are planned"):
        attention.run(step.q[:-1], *step.caches())


def test_what_is_wrong_with_lengths_is_told() -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    table = torch.zeros(1, SIZES.max_pages_per_request, dtype=torch.int32)
    with pytest.raises(MaskError, match="negative length"):
        attention.plan(table, torch.tensor([-3]), torch.tensor([0, 0]))


def test_a_share_of_the_heads() -> None:
    """A rank's heads of a program that reads the head's number and a table over all heads."""
    text = """score fall(slope: float[head]) = score - slope[h] * (q - k) / float(1 + h)
              variant v(slope: float[head]) { mask = k <= q and (h < 3 or k % 2 == 0) score = fall(slope) }"""
    program, rng = maskdsl.compile(text, "v"), np.random.default_rng(7)
    slope = torch.rand(8)
    sizes = replace(SIZES, heads=8, kv_heads=4)
    step = random_step(rng, sizes)
    wanted = step.reference(program, {"slope": slope})
    for rank in (0, 1):
        share = maskdsl.Sharded(heads=8, kv_heads=4, head_offset=4 * rank)
        mine = replace(sizes, heads=4, kv_heads=2)
        attention = PagedAttention(program.bind(slope=slope).arranged(share), **mine.limits())
        attention.plan(step.page_table, step.seq_lens, step.query_start)
        heads, kv_heads = slice(4 * rank, 4 * rank + 4), slice(2 * rank, 2 * rank + 2)
        k_cache, v_cache = (c[:, :, kv_heads].contiguous() for c in step.caches())
        out = attention.run(step.q[:, heads].contiguous(), k_cache, v_cache)
        np.testing.assert_allclose(out.numpy(), wanted[:, heads], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("change", [{"head_dim": 80}, {"page_size": 8}, {"page_size": 1, "max_pages_per_request": 60, "num_pages": 500}, {"heads": 9, "kv_heads": 3}, {"page_size": 24}])
def test_sizes_of_all_kinds(change: dict[str, Any]) -> None:
    program, sizes = maskdsl.compile("mask m = 0 <= q - k < 30"), replace(SIZES, **change)
    attention = PagedAttention(program, **sizes.limits())
    for seed in range(2):
        step = random_step(np.random.default_rng(seed), sizes)
        np.testing.assert_allclose(run(attention, step), step.reference(program, {}), rtol=2e-4, atol=2e-5)


def test_all_requests_at_their_limits() -> None:
    sizes = replace(SIZES, max_requests=3, max_tokens=3 * 96, num_pages=18)
    program, rng = maskdsl.get("causal"), np.random.default_rng(8)
    attention = PagedAttention(program, **sizes.limits())
    parts = [[torch.from_numpy(rng.standard_normal((96, 2, 16)).astype(np.float32)) for _ in range(3)] for _ in "kv"]
    table = torch.from_numpy(rng.permutation(18).reshape(3, 6)).int()
    q = torch.from_numpy(rng.standard_normal((288, 4, 16)).astype(np.float32))
    step = Step(sizes, (96,) * 3, (96,) * 3, table, tuple(parts[0]), tuple(parts[1]), q)
    np.testing.assert_allclose(run(attention, step), step.reference(program, {}), rtol=2e-4, atol=2e-5)


PAIRS = (
    ("mask m = k <= q", False), ("mask m(first: int[batch]) = k < first[b]", False),
    ("score s(bias: float[head, position]) = score + bias[h, k]", False),
    ("score s(bias: float[head, n]) = score + bias[h, clamp(q - k, 0, size(n) - 1)]", True),
    ("mask m(image: int[batch, position]) = image[b, q] == image[b, k]", True),
    ("mask m(document: int[batch, position]) = document[b, q] == document[b, k] requires ascending(document, position)", False),
)  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), PAIRS)
def test_programs_that_read_a_table_by_query_and_key_at_once(text: str, wanted: bool) -> None:
    """On a GPU they need smaller tiles; runs of equal values have become their ends, which are read by query."""
    variant = maskdsl.compile(text).variant
    facts = {"batch": 4, "head": 2, "position": 96, "n": 7}
    assert reads_pairs(variant, facts) is wanted


CUDA = (
    ({"num_pages": 2**17, "page_size": 128, "head_dim": 128}, "passes 2**31"), ({"page_size": 8}, "tiles of 16"),
    ({"head_dim": 8}, "16 or more"),
)  # fmt: skip


@pytest.mark.parametrize(("change", "told"), CUDA)
def test_limits_that_no_gpu_keeps(change: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the check alone, where there is no GPU."""
    monkeypatch.setattr(limits_module, "require_device", lambda device, span: None)
    sizes = {**replace(SIZES, **change).limits(), "dtype": torch.bfloat16, "device": torch.device("cuda", 0)}
    with pytest.raises(MaskError, match=re.escape(told)) as caught:
        limits_module.check_limits(limits_module.Limits(**sizes), NOWHERE)
    assert {d.code for d in caught.value.diagnostics} == {"E0902"}
    good = {**SIZES.limits(), "dtype": torch.bfloat16, "device": torch.device("cuda", 0), "head_dim": 80, "heads": 6}
    limits_module.check_limits(limits_module.Limits(**good), NOWHERE)


def test_room_for_packed_queries() -> None:
    """On a GPU whole tiles, and a bit for every request that a tile can hold; elsewhere what is asked for."""
    there = limits_module.Limits(**SIZES.limits(), dtype=torch.bfloat16, device=torch.device("cuda", 0))
    here = replace(there, device=torch.device("cpu"))
    assert (there.packed_tokens, here.packed_tokens, there.tiles) == (256, 200, 2)
    many = replace(there, max_requests=100)
    assert [replace(many, decode_tokens=n).member_words for n in (16, 3, 2, 1)] == [1, 2, 2, 3]
    assert replace(many, decode_tokens=16).tile_requests == 9


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_inference_mode_comes_and_goes(built: bool, first: bool) -> None:
    """Made in it or not, run in it and then not, or the other way round."""
    program = maskdsl.compile("variant v(logit: float[head]) { mask = k <= q sink = logit[h] }", "v")
    logit, step = torch.zeros(SIZES.heads), random_step(np.random.default_rng(9), SIZES)
    with torch.inference_mode(built):
        attention = PagedAttention(program, **SIZES.limits(), tables={"logit": logit})
    wanted = step.reference(program, {"logit": logit})
    for mode in (first, not first):
        with torch.inference_mode(mode):
            found = run(attention, step)
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda a, q, k, c: a.run([1.0], c, c), "`q` is a list"), (lambda a, q, k, c: a.run(q[0, 0, 0], c, c), "`q` is ()"),
        (lambda a, q, k, c: a.append(k, k[:-1], c, c), "`v` is"), (lambda a, q, k, c: a.append(k, None, c, c), "`v` is a NoneType"),
        (lambda a, q, k, c: a.run(q, c, None), "`v_cache` is a NoneType"),
        (lambda a, q, k, c: a.append(q, q, c, c), "`k` is"),
    ],
)  # fmt: skip
def test_tensors_that_are_none(call: Callable[..., Any], told: str) -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    step = random_step(np.random.default_rng(6), SIZES)
    cache, _ = step.caches()
    run(attention, step)
    with pytest.raises(MaskError, match=re.escape(told)) as caught:
        call(attention, step.q, torch.zeros(len(step.q), SIZES.kv_heads, SIZES.head_dim), cache)
    assert {d.code for d in caught.value.diagnostics} == {"E0904"}


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        ({"device": "gpu"}, "E0902", "no device `gpu`"), ({"device": "meta"}, "E0902", "`meta`"),
        ({"tables": {"prefix": [1]}}, "E0606", "bound to its tables already"),
    ],
)  # fmt: skip
def test_objects_that_cannot_be_made(more: dict[str, Any], code: str, told: str) -> None:
    with pytest.raises(MaskError, match=told) as caught:
        PagedAttention(maskdsl.get("causal").bind(), **{**SIZES.limits(), **more})
    assert {d.code for d in caught.value.diagnostics} == {code}


def test_a_graph_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is captured, a plan is told its numbers."""
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    step = random_step(np.random.default_rng(6), SIZES)
    monkeypatch.setattr(step_module, "captures", lambda: True)
    with pytest.raises(MaskError, match="CUDA graph"):
        run(attention, step)
    run(attention, step, **told(step))
