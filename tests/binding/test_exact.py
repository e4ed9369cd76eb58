"""`exact=True` is torch's `create_block_mask` tile for tile, for random masks, tables, lengths and sides of tiles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Program, programs
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

import maskdsl
from maskdsl.binding.bound import Bound

sys.path.insert(0, str(Path(__file__).parent.parent / "tiles"))

from test_structured import FACTS, HEADER, conditions, draw_tables

sides = st.sampled_from((1, 2, 3, 5, 8, 16))
blocks = st.tuples(sides, sides)


def tiles(mask: BlockMask) -> list[torch.Tensor]:
    """Which tiles each list holds, bool [B, H, rows, columns]; torch's own have as many rows and heads as ours."""
    found = []
    for name in ("kv", "full_kv", "q", "full_q"):
        counts, indices = getattr(mask, f"{name}_num_blocks"), getattr(mask, f"{name}_indices")
        columns = indices.shape[-1]
        target = torch.where(torch.arange(columns) < counts[..., None], indices, columns).long()
        found.append(torch.zeros((*indices.shape[:-1], columns + 1), dtype=torch.bool).scatter_(-1, target, True)[..., :-1])
    return found


def verify(bound: Bound, call: tuple[int, int, int, int], block: tuple[int, int], kv_heads: int | None = None) -> None:
    """Exact lists against torch's; those of the bounds alone may have more tiles, and more of them partial."""
    exact, plain = (
        bound.block_mask(*call, device="cpu", block_size=block, kv_heads=kv_heads, exact=e) for e in (True, False)
    )
    rows, heads = exact.kv_indices.shape[:2]
    wanted = create_block_mask(exact.mask_mod, rows, heads, *call[2:], device="cpu", BLOCK_SIZE=block)
    for one, other in zip(tiles(exact), tiles(wanted), strict=True):
        torch.testing.assert_close(one, other)
    (some, every, *_), (partial, full, *_) = tiles(exact), tiles(plain)
    assert not (full & ~every).any() and not ((some | every) & ~(partial | full)).any()


@given(text=conditions(2), lengths=st.tuples(st.integers(1, 40), st.integers(1, 40)), block=blocks, seed=st.integers(0, 999))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_masks_as_people_write_them(text: str, lengths: tuple[int, int], block: tuple[int, int], seed: int) -> None:
    tables = draw_tables(np.random.default_rng(seed), max(lengths))
    program = maskdsl.compile(HEADER + text + FACTS)
    bound = program.bind(**{t.name: torch.from_numpy(tables[t.name]) for t in program.variant.tables})
    verify(bound, (2, 2, *lengths), block)


@given(program=programs(kinds=("mask",), depth=3), block=blocks, cut=st.tuples(st.integers(0, 3), st.integers(0, 3)))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_mask(program: Program, block: tuple[int, int], cut: tuple[int, int]) -> None:
    sizes = {axis: n for axis, n in program.sizes.items() if axis in ("batch", "head", "kv_head", "position")}
    q_len, kv_len = (max(1, sizes["position"] - c) for c in cut)
    constants: dict[str, Any] = {c.name: v for c, v in program.constants.items()}
    tables = {t.name: torch.from_numpy(np.array(a)) for t, a in program.tables.items()}
    bound = maskdsl.compile(program.text, program.variant.name, **constants).bind(**tables, sizes=sizes)
    verify(bound, (sizes["batch"], sizes["head"], q_len, kv_len), block, sizes["kv_head"])
