"""The memory of a build: a fixed multiple of the lists that come out, whatever the lengths; never one value a pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

import maskdsl
from benchmarks.block_mask import HEADS, PROGRAMS, peak_bytes

MOST = 12
"""How many times the lists a build may take: the largest masks have some ten values a tile under way."""


def size_of(mask: BlockMask) -> int:
    """Bytes of the lists."""
    lists = (mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices)
    return sum(x.numel() * x.element_size() for x in lists if x is not None)


def build_of(name: str, length: int, exact: bool = False) -> Callable[[], BlockMask]:
    """A build of a mask of the benchmark."""
    text, tables = PROGRAMS[name]
    bound = maskdsl.compile(text).bind(**{n: torch.from_numpy(t) for n, t in tables(length).items()})
    call: Any = (1, HEADS if name.startswith("per-head") else 1, length, length)
    return lambda: bound.block_mask(*call, device="cpu", block_size=64, transposed=False, fresh=True, exact=exact)


@pytest.mark.parametrize("name", PROGRAMS)
def test_memory_grows_with_the_lists(name: str) -> None:
    for length in (2048, 8192):
        build = build_of(name, length)
        assert peak_bytes(build, torch.device("cpu")) <= MOST * size_of(build())


def test_the_measure_sees_what_is_allocated() -> None:
    build = build_of("causal", 2048)
    pairs = 2048 * 2048
    peak = peak_bytes(lambda: create_block_mask(build().mask_mod, 1, 1, 2048, 2048, device="cpu"), torch.device("cpu"))
    assert size_of(build()) <= peak_bytes(build, torch.device("cpu")) < pairs < peak
