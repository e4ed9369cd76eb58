"""Compiled kernels on the CPU: three for the life of an attention object, whatever its steps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from steps import Sizes, random_step

import maskdsl
from maskdsl.serving import PagedAttention

SIZES = Sizes(max_requests=4, max_tokens=150, num_pages=30, max_pages_per_request=5)
STEPS = 300


@pytest.mark.compiled
def test_nothing_is_compiled_again() -> None:
    from torch._dynamo.utils import counters

    program = maskdsl.compile("""
        mask near = k <= q and (q - k < 30 or k < 4)
        score fall(slope: float[head]) = score - slope[h] * (q - k)
        variant both(slope: float[head]) { mask = near score = fall(slope) }
    """, "both")  # fmt: skip
    rng = np.random.default_rng(0)
    tables = {"slope": torch.rand(SIZES.heads)}
    attention = PagedAttention(program, **SIZES.limits(), tables=tables)
    seen = []
    for number in range(STEPS):
        step = random_step(rng, SIZES)
        attention.plan(step.page_table, step.seq_lens, step.query_start)
        out = attention.run(step.q, *step.caches())
        if number % 25 == 0:
            np.testing.assert_allclose(out.numpy(), step.reference(program, tables), rtol=2e-4, atol=2e-5)
        seen.append(counters["stats"]["unique_graphs"])
    assert len(attention._phases.made) == 3
    assert seen[-1] - seen[0] <= 2 and seen[60] == seen[-1]
