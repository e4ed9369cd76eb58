"""Ints wrap around in compiled kernels as in the reference, also where the kernel's own language leaves that open."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends.reference import mask as reference

pytestmark = pytest.mark.compiled

LENGTH = 24
CONDITIONS = """
v + q < v; v + q > v - 1; v + k < v + q; -w < 0; q * 46341 * 46341 > 0; v * k // 7 < q
""".replace("\n", ";")


def test_overflows_wrap_in_a_compiled_kernel() -> None:
    conditions = [c.strip() for c in CONDITIONS.split(";") if c.strip()]
    chosen = "false"
    for head, condition in enumerate(conditions):
        chosen = f"({condition} if h == {head} else {chosen})"
    tables = {"v": torch.tensor([2**31 - 1]), "w": torch.tensor([-(2**31)])}
    program = maskdsl.compile(f"mask m(v: int[], w: int[]) = {chosen}")
    query = torch.zeros(1, len(conditions), LENGTH, 32)
    seen = torch.eye(LENGTH, 32).expand_as(query).contiguous()  # a key's value is its number, as a unit vector
    computed = program.bind(**tables).attention(query, query.clone(), seen)[0, ..., :LENGTH] > 0
    arrays = {n: t.numpy() for n, t in tables.items()}
    expected = reference(program.variant, b=1, h=len(conditions), q=LENGTH, k=LENGTH, tables=arrays)[0]
    wrong = [c for c, one, other in zip(conditions, computed.numpy(), expected, strict=True) if (one != other).any()]
    assert not wrong
    assert all(np.unique(e).size == 2 for e in expected[[0, 1, 2, 4, 5]])
