"""The lists of a BlockMask, tile for tile, against torch's own `create_block_mask` and against dense counting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from maskdsl.backends import flex_blocks
from maskdsl.backends.flex_blocks import Shape, block_mask, for_every_row, sees_some_tile, with_one_more_key

CPU = torch.device("cpu")
MASKS: dict[str, Callable[..., Tensor]] = {
    "causal": lambda b, h, q, k: k <= q,
    "per head": lambda b, h, q, k: (k - q) % (h + 2) == 0,
    "per row and head": lambda b, h, q, k: (k <= q + 40 * b) & (q - k < 70 * (h + 1)),
    "nothing": lambda b, h, q, k: k < 0,
    "holes": lambda b, h, q, k: (q // 100 % 2 == 1) & (k >= 0),
}
SHAPES = [Shape(1, 1, 1, 1), Shape(2, 3, 300, 129), Shape(2, 1, 127, 640), Shape(1, 2, 96, 100, 16, 32)]


def listed(counts: Tensor | None, indices: Tensor | None) -> list[list[int]]:
    assert counts is not None and indices is not None
    rows = zip(counts.flatten().tolist(), indices.flatten(0, 2).tolist(), strict=True)
    return [sorted(row[:count]) for count, row in rows]


def all_lists(mask: BlockMask) -> list[list[list[int]]]:
    pairs = ("kv_num_blocks", "kv_indices"), ("full_kv_num_blocks", "full_kv_indices")
    pairs += ("q_num_blocks", "q_indices"), ("full_q_num_blocks", "full_q_indices")
    return [listed(getattr(mask, a), getattr(mask, b)) for a, b in pairs]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_lists_as_torch(name: str, shape: Shape) -> None:
    ours = block_mask(MASKS[name], shape, CPU)
    theirs = create_block_mask(
        MASKS[name], shape.batch, shape.heads, shape.q_len, shape.kv_len, CPU, (shape.q_block, shape.kv_block)
    )
    assert all_lists(ours) == all_lists(theirs)
    assert ours.shape == theirs.shape and ours.BLOCK_SIZE == theirs.BLOCK_SIZE


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_mask_sees_everything(shape: Shape) -> None:
    everything = block_mask(lambda b, h, q, k: (q >= 0) & (k >= 0), shape, CPU)
    assert all_lists(block_mask(None, shape, CPU)) == all_lists(everything)


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape(2, 3, 300, 129)
    whole = all_lists(block_mask(MASKS["per row and head"], shape, CPU))
    for pairs in (1, 2 * 128 * 256, 7 * 128 * 256):
        monkeypatch.setattr(flex_blocks, "PAIRS_AT_ONCE", pairs)
        assert all_lists(block_mask(MASKS["per row and head"], shape, CPU)) == whole


def test_partial_and_full_lists_have_one_layout() -> None:
    mask = block_mask(MASKS["causal"], Shape(2, 3, 300, 129), CPU)
    assert mask.full_kv_indices is not None and mask.full_kv_num_blocks is not None
    assert mask.kv_indices.stride() == mask.full_kv_indices.stride() and mask.kv_indices.is_contiguous()
    assert mask.kv_num_blocks.stride() == mask.full_kv_num_blocks.stride()
    assert mask.kv_indices.dtype == mask.kv_num_blocks.dtype == torch.int32


@pytest.mark.parametrize("kv_len", [128, 129, 255, 256])
def test_one_more_key_joins_every_row(kv_len: int) -> None:
    def wider(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((k <= q + 40 * b) & (k < kv_len)) | (k == kv_len)

    shape = Shape(2, 1, 300, kv_len)
    narrow = block_mask(lambda b, h, q, k: k <= q + 40 * b, shape, CPU)
    ours = with_one_more_key(narrow, shape, wider)
    exact = block_mask(wider, shape._replace(kv_len=kv_len + 1), CPU)
    # The last tile is partial in ours whatever it holds; every other tile is as it was counted.
    last = ours.kv_indices.shape[-1] - 1
    for mine, true in zip(all_lists_forward(ours), all_lists_forward(exact), strict=True):
        assert [[c for c in row if c != last] for row in mine] == [[c for c in row if c != last] for row in true]
    assert all(last in row for row in all_lists_forward(ours)[0])
    assert ours.shape[-1] == kv_len + 1


def all_lists_forward(mask: BlockMask) -> list[list[list[int]]]:
    return [listed(mask.kv_num_blocks, mask.kv_indices), listed(mask.full_kv_num_blocks, mask.full_kv_indices)]


def test_lists_repeat_for_every_row() -> None:
    shape = Shape(1, 3, 300, 129)
    one, three = (block_mask(MASKS["per head"], shape._replace(batch=n), CPU) for n in (1, 3))
    repeated = for_every_row(one, 3)
    assert all_lists(repeated) == all_lists(three) and repeated.kv_indices.is_contiguous()


def test_rows_without_tiles() -> None:
    mask = block_mask(MASKS["holes"], Shape(1, 1, 300, 50, 50, 50), CPU)
    expected = [100 <= q < 200 for q in range(300)]
    assert sees_some_tile(mask, 300)[0, 0, :, 0].tolist() == expected


def test_masks_made_in_inference_mode_serve_training() -> None:
    with torch.inference_mode():
        mask = block_mask(MASKS["causal"], Shape(1, 1, 8, 8), CPU)
    assert not mask.kv_indices.is_inference()
