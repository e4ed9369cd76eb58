"""The laws of a paged, packed step: for every program, attention over pages is that over each request's own keys.

The kernels are a plain rendering of what block lists mean (`lists_kernel`), so that what is tested here is the layouts,
the rewriting and the plans; compiled kernels are in `test_compiled`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.serving import PagedAttention
from maskdsl.serving.kernels import Phase

VARIANTS = Path(__file__).parent.parent / "variants"
sys.path[:0] = [str(VARIANTS), str(Path(__file__).parent)]

import lists_kernel  # noqa: E402
from oracle import Oracle  # noqa: E402
from oracle import Sizes as Lengths  # noqa: E402
from steps import Sizes, Step, moved, random_step  # noqa: E402

FAMILIES = sorted(path.stem for path in VARIANTS.glob("*_oracles.py"))
ORACLES: dict[str, Oracle] = {n: o for f in FAMILIES for n, o in importlib.import_module(f).ORACLES.items()}

SIZES = Sizes(max_requests=4, max_tokens=140, num_pages=24, page_size=16, max_pages_per_request=5, heads=2, kv_heads=2)
CAPACITY = SIZES.page_size * SIZES.max_pages_per_request


@pytest.fixture(autouse=True)
def plain_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Phase, "attend", lists_kernel.attend)


def run(attention: PagedAttention, step: Step) -> torch.Tensor:
    """A step planned and run; its new keys are written by `append`."""
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    before, after = step.caches(new=False), step.caches()
    new = [torch.cat([x[len(x) - n :] for x, n in zip(part, step.news, strict=True)]) for part in (step.keys, step.values)]
    attention.append(new[0], new[1], *before)
    torch.testing.assert_close(before, after, equal_nan=True, rtol=0, atol=0)
    return attention.run(step.q, *before)


def check(attention: PagedAttention, program: Any, tables: dict[str, torch.Tensor], step: Step, seed: int) -> None:
    """The step's output is each request's own, and the same bit for bit wherever its pages lie."""
    out = run(attention, step)
    np.testing.assert_allclose(out.numpy(), step.reference(program, tables), rtol=2e-4, atol=2e-5)
    elsewhere = run(attention, moved(step, np.random.default_rng(seed)))
    assert torch.equal(out, elsewhere)


@pytest.mark.parametrize("name", ORACLES)
def test_every_shipped_definition(name: str) -> None:
    oracle = ORACLES[name]
    rng = np.random.default_rng(len(name))
    program = maskdsl.get(name, **oracle.constants[0], **oracle.masks)
    tables = given(oracle, rng)
    attention = PagedAttention(program, **SIZES.limits(), tables=tables)
    check(attention, program, tables, random_step(rng, SIZES), len(name))


def given(oracle: Oracle, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Tables for all requests, as long as a request may be."""
    lengths = Lengths(SIZES.max_requests, SIZES.heads, CAPACITY, CAPACITY)
    return {n: torch.as_tensor(np.asarray(x)) for n, x in oracle.inputs(rng, lengths).items()}
