"""Steps of all kinds by some programs: those that see the future, pages at several places, shared steps, mistakes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from lists_kernel import listed  # noqa: E402
from plain import plain_kernels  # noqa: E402
from programs import Program, programs  # noqa: E402
from steps import Sizes, Step, at_other_places, random_step  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402
from maskdsl.source.diagnostic import MaskError  # noqa: E402

SIZES = Sizes()
CAPACITY = SIZES.page_size * SIZES.max_pages_per_request

SEERS = (
    "mask m = true",
    "mask m = abs(q - k) <= 20",
    "mask m(prefix: int[batch]) = k <= q or k < prefix[b]",
    "mask m(image: int[batch, position]) = k <= q or image[b, q] == image[b, k]",
    "mask m(parent: int[batch, position]) = k <= q and parent[b, q] >= k or k == 0",
    "mask m = k + 7 > q and k < kv_len - 3",
)
"""Masks that see the future, or the end."""


@pytest.fixture(autouse=True, scope="module")
def plain() -> Iterator[None]:
    with plain_kernels():
        yield


def tables_of(program: Any, rng: np.random.Generator, sizes: Sizes) -> dict[str, torch.Tensor]:
    """Random small ints for every table."""
    capacity = sizes.page_size * sizes.max_pages_per_request
    axes = {"batch": sizes.max_requests, "position": capacity, "head": sizes.heads, "kv_head": sizes.kv_heads}
    made = {}
    for table in program.variant.tables:
        shape = [axes.get(a, 3) if isinstance(a, str) else a for a in table.axes]
        made[table.name] = torch.from_numpy(rng.integers(0, 40, shape)).to(torch.int32)
    return made


def run(attention: PagedAttention, step: Step, **told: int) -> torch.Tensor:
    """The step planned and run over caches that hold all its tokens."""
    attention.plan(step.page_table, step.seq_lens, step.query_start, **told)
    return attention.run(step.q, *step.caches())


@pytest.mark.parametrize("text", SEERS)
def test_lists_cover_every_visible_pair(text: str) -> None:
    program, rng = maskdsl.compile(text), np.random.default_rng(len(text))
    tables = tables_of(program, rng, SIZES)
    attention = PagedAttention(program, **SIZES.limits(), tables=tables)
    for _ in range(3):
        step = random_step(rng, SIZES)
        np.testing.assert_allclose(run(attention, step).numpy(), step.reference(program, tables), rtol=2e-4, atol=2e-5)


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(program=programs(kinds=("mask", "score"), depth=3), seed=st.integers(0, 2**16))
def test_random_programs(program: Program, seed: int) -> None:
    made = maskdsl.compile(program.text, **{c.name: v for c, v in program.constants.items()})
    tables = {t.name: torch.from_numpy(np.array(a)) for t, a in program.tables.items()}
    at, rng = program.sizes, np.random.default_rng(seed)
    page = 2 if at["position"] % 2 == 0 else 1
    sizes = Sizes(
        max_requests=at["batch"], max_tokens=12, num_pages=14, page_size=page,
        max_pages_per_request=at["position"] // page, heads=at["head"], kv_heads=at["kv_head"], head_dim=4,
        decode_tokens=2,
    )  # fmt: skip
    step = random_step(rng, sizes)
    attention = PagedAttention(made, **sizes.limits(), tables=tables)
    found, wanted = run(attention, step).numpy(), step.reference(made, tables)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4, equal_nan=True)


@pytest.mark.parametrize("places", ["any", "auto"])
def test_a_page_may_stand_at_several_places(places: str) -> None:
    """Two requests hold one page at different places; and one request a page at two, of which the last counts."""
    program, rng = maskdsl.compile("score m = score - 0.1 * (q - k)"), np.random.default_rng(0)
    attention = PagedAttention(program, **SIZES.limits(), places=places)
    step = at_other_places(random_step(rng, SIZES, share=False))
    np.testing.assert_allclose(run(attention, step).numpy(), step.reference(program, {}), rtol=2e-4, atol=2e-5)


def test_told_numbers_spare_the_reads() -> None:
    program, rng = maskdsl.get("causal"), np.random.default_rng(5)
    attention = PagedAttention(program, **SIZES.limits())
    step = random_step(rng, SIZES)
    decoded = sum(0 < n <= SIZES.decode_tokens for n in step.news)
    read = run(attention, step)
    told = run(attention, step, longest_query=max(step.news), decode_requests=decoded)
    assert torch.equal(read, told)


def test_attention_objects_may_share_a_step() -> None:
    rng = np.random.default_rng(6)
    near = PagedAttention(maskdsl.get("sliding_window", window=9), **SIZES.limits())
    far = PagedAttention(maskdsl.get("causal"), **SIZES.limits(), step=near.step)
    step = random_step(rng, SIZES)
    near.plan(step.page_table, step.seq_lens, step.query_start)
    far.plan_lists()
    for attention, program in ((near, maskdsl.get("sliding_window", window=9)), (far, maskdsl.get("causal"))):
        out = attention.run(step.q, *step.caches())
        np.testing.assert_allclose(out.numpy(), step.reference(program, {}), rtol=2e-4, atol=2e-5)


def test_what_is_written_into_tables_counts_from_the_next_plan_on() -> None:
    program, rng = maskdsl.compile(SEERS[2]), np.random.default_rng(7)
    prefix = torch.zeros(SIZES.max_requests, dtype=torch.int32)
    attention = PagedAttention(program, **SIZES.limits(), tables={"prefix": prefix})
    step = random_step(rng, SIZES)
    for value in (0, 50, 3):
        prefix.fill_(value)
        wanted = step.reference(program, {"prefix": prefix})
        np.testing.assert_allclose(run(attention, step).numpy(), wanted, rtol=2e-4, atol=2e-5)


def test_pages_are_listed_once_and_full_ones_found() -> None:
    """A tile that lies in one request skips the mask on all pages but those at the diagonal."""
    sizes = replace(SIZES, max_tokens=256, max_pages_per_request=24, max_requests=2)
    attention = PagedAttention(maskdsl.get("causal"), **sizes.limits())
    table = torch.arange(24, dtype=torch.int32)[None] + 30
    attention.plan(table, torch.tensor([384]), torch.tensor([0, 256]))
    mask = attention._phases.prefill(attention._pages).mask
    for row, whole in ((0, 8), (1, 16)):
        tiles = listed(mask, 0, 0, row)
        assert [p for p, full in tiles if full] == [*range(30, 30 + whole)]
        assert [p for p, full in tiles if not full] == [*range(30 + whole, 38 + whole)]


LIMITS = (
    ({"heads": 3}, "no multiple"), ({"page_size": 0}, "no positive int"), ({"dtype": torch.float64}, "no kernel"),
    ({"decode_tokens": 100}, "at most"), ({"places": "two"}, "places"), ({"num_pages": 2**27}, "2**30"),
)  # fmt: skip


@pytest.mark.parametrize(("change", "told"), LIMITS)
def test_limits_that_cannot_be(change: dict[str, Any], told: str) -> None:
    with pytest.raises(MaskError) as caught:
        PagedAttention(maskdsl.get("causal"), **{**SIZES.limits(), **change})
    assert {d.code for d in caught.value.diagnostics} == {"E0902"}
    assert told in caught.value.diagnostics[0].message


STEPS = (
    ([[1, 2, 3, 4, 5, 6]], [200], [0, 1], "200 tokens"),
    ([[1, 2, 3, 4, 5, 6]], [20], [0, 30], "more queries than tokens"),
    ([[1, 2, 3, 4, 5, 6]], [20], [1, 3], "begin with 0"),
    ([[999, 2, 3, 4, 5, 6]], [20], [0, 3], "no pages"),
    ([[1, 2, 3]], [20], [0, 3], "page_table"),
    ([[1, 2, 3, 4, 5, 6]], [20, 30], [0, 3], "page_table"),
    ([[1, 2, 3, 4, 5, 6]] * 9, [20] * 9, [0] * 10, "max_requests"),
)  # fmt: skip


@pytest.mark.parametrize(("table", "lengths", "starts", "told"), STEPS)
def test_steps_that_do_not_fit(table: Any, lengths: Any, starts: Any, told: str) -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    with pytest.raises(MaskError) as caught:
        attention.plan(torch.tensor(table), torch.tensor(lengths), torch.tensor(starts))
    assert {d.code for d in caught.value.diagnostics} == {"E0903"}
    assert any(told in d.message for d in caught.value.diagnostics), caught.value


def test_queries_and_caches_that_do_not_fit() -> None:
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    step = random_step(np.random.default_rng(1), SIZES)
    k_cache, v_cache = step.caches()
    with pytest.raises(MaskError, match="no step was planned"):
        attention.run(step.q, k_cache, v_cache)
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    for q, k, v in (
        (step.q[:, :2], k_cache, v_cache), (step.q.double(), k_cache, v_cache), (step.q, k_cache[:5], v_cache),
        (step.q, k_cache.transpose(0, 1), v_cache), (torch.zeros(999, 4, 16), k_cache, v_cache),
    ):  # fmt: skip
        with pytest.raises(MaskError) as caught:
            attention.run(q, k, v)
        assert {d.code for d in caught.value.diagnostics} == {"E0904"}


def test_tables_of_other_sizes_are_refused() -> None:
    with pytest.raises(MaskError) as caught:
        PagedAttention(maskdsl.compile(SEERS[2]), **SIZES.limits(), tables={"prefix": torch.zeros(3, dtype=torch.int32)})
    assert {d.code for d in caught.value.diagnostics} == {"E0607"}
