"""Kernels fed by the lists of the tile analysis and by those of `create_block_mask`: the same bits come out.

Torch's own compiled `flex_attention` with one mask, whose tables make it packed, sliding or prefix; so one kernel a device
serves all. Where the analysis decides every tile, the lists are equal and so must the outputs be, bit for bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

import maskdsl

pytestmark = pytest.mark.compiled

ROWS, HEADS, LENGTH = 2, 2, 420
BLOCK = 128
TEXT = """mask m(document: int[batch, position], reach: int[batch], prefix: int[batch]) =
        document[b, q] == document[b, k] and (0 <= q - k < reach[b] or k < prefix[b])
    requires ascending(document, position), reach[b] >= 1"""


def documents(cuts: list[list[int]]) -> Tensor:
    """The number of the document of every position, int32 [rows, LENGTH], which change at `cuts`."""
    places = torch.arange(LENGTH)
    return torch.stack([sum((places >= c).int() for c in row) + torch.zeros(LENGTH) for row in cuts]).int()


MASKS = {
    "packed causal": (documents([[50, 51, 300], [256]]), [LENGTH, LENGTH], [0, 0]),
    "sliding window": (documents([[], []]), [100, 1], [0, 0]),
    "prefix-LM": (documents([[], []]), [LENGTH, LENGTH], [130, 300]),
}


@cache
def compiled() -> Any:
    """The one wrapper."""
    return torch.compile(flex_attention, dynamic=False)


def both_masks(name: str, device: str) -> tuple[BlockMask, BlockMask]:
    """Ours and torch's, with the same `mask_mod`."""
    document, reach, prefix = MASKS[name]
    tables = {"document": document, "reach": torch.tensor(reach).int(), "prefix": torch.tensor(prefix).int()}
    bound = maskdsl.compile(TEXT).bind(**{n: t.to(device) for n, t in tables.items()})
    mine = bound.block_mask(ROWS, HEADS, LENGTH, LENGTH, device=device)
    theirs = create_block_mask(mine.mask_mod, ROWS, None, LENGTH, LENGTH, device=device, BLOCK_SIZE=BLOCK)
    for one, other in zip(listed(mine), listed(theirs), strict=True):
        assert torch.equal(one, other)
    return mine, theirs


def listed(mask: BlockMask) -> list[Tensor]:
    """All the lists, entries past the counts set to -1."""
    found = []
    for name in ("kv", "full_kv", "q", "full_q"):
        counts, indices = getattr(mask, f"{name}_num_blocks"), getattr(mask, f"{name}_indices")
        valid = torch.arange(indices.shape[-1], device=indices.device) < counts[..., None]
        found += [counts, torch.where(valid, indices, -1)]
    return found


@pytest.mark.parametrize("name", MASKS)
def test_the_same_bits_on_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    mine, theirs = both_masks(name, "cpu")
    assert mine.full_kv_num_blocks is not None and bool(mine.full_kv_num_blocks.any()) == (name != "sliding window")
    qkv = [torch.randn(ROWS, HEADS, LENGTH, 16) for _ in range(3)]
    outs = [compiled()(*qkv, block_mask=mask) for mask in (mine, theirs)]
    assert torch.equal(*outs)
    seen = mine.mask_mod(*torch.meshgrid(*map(torch.arange, (ROWS, HEADS, LENGTH, LENGTH)), indexing="ij"))
    dense = torch.nn.functional.scaled_dot_product_attention(*qkv, attn_mask=seen)
    torch.testing.assert_close(outs[0], dense, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", MASKS)
def test_the_same_bits_on_a_gpu_forward_and_backward(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    qkv = [torch.randn(ROWS, HEADS, LENGTH, 64, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3)]
    weight = torch.randn(ROWS, HEADS, LENGTH, 64, device="cuda", dtype=dtype)
    found = []
    for mask in both_masks(name, "cuda"):
        out = compiled()(*qkv, block_mask=mask)
        found.append((out, *torch.autograd.grad((out * weight).sum(), qkv)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
