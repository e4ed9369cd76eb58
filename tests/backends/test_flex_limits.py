"""Which kernel a CUDA call gets, and what is refused before torch is asked; no GPU needed."""

from __future__ import annotations

import pytest
import torch

from maskdsl.backends.flex_limits import kernel_choice, refuse_dtype, require_device
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import NOWHERE

FORCED = ("FORCE_USE_FLEX_ATTENTION", True)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "q_len", "kernel"),
    [
        (4, 4, 1, "decode 16"), (4, 2, 1, "decode 16"), (8, 1, 3, "decode 32"), (4, 4, 64, "decode 64"),
        (4, 4, 65, "main"), (4, 4, 127, "main"), (4, 4, 128, "main"), (4, 2, 1000, "main"),
        # Two heads of 33 queries do not fit into one tile of 64; groups of three are no power of two.
        (4, 2, 32, "decode 64"), (4, 2, 33, "main"), (6, 2, 1, "main"), (12, 2, 5, "main"),
    ],
)  # fmt: skip
def test_which_kernel(heads: int, kv_heads: int, q_len: int, kernel: str) -> None:
    q, k = torch.empty(1, heads, q_len, 64), torch.empty(1, kv_heads, 500, 64)
    name, options = kernel_choice(q, k, (128, 128), NOWHERE)
    assert name == kernel
    # torch takes its decoding kernel for every short query unless told otherwise.
    forced = (FORCED,) if q_len < 128 else ()
    assert options == (forced if kernel == "main" else ())
    assert kernel_choice(q, k, (128, 128), NOWHERE, gradients=True) == ("main", forced)


@pytest.mark.parametrize("block", [(64, 64), (32, 64), (16, 128), (48, 96), (128, 16), (384, 192)])
def test_tiles_divide_the_blocks(block: tuple[int, int]) -> None:
    q = torch.empty(1, 2, 300, 64)
    _, options = kernel_choice(q, q, block, NOWHERE)
    tiles = dict(options)
    for name, tile in tiles.items():
        side = block["_BLOCK_N" in name]
        assert int(tile) >= 16 and int(tile).bit_count() == 1 and side % int(tile) == 0


def test_blocks_of_128_are_left_to_torch() -> None:
    q = torch.empty(1, 2, 300, 64)
    assert kernel_choice(q, q, (128, 256), NOWHERE) == ("main", ())


@pytest.mark.parametrize("block", [(8, 128), (128, 24), (100, 128)])
def test_blocks_that_no_tile_divides(block: tuple[int, int]) -> None:
    q = torch.empty(1, 2, 300, 64)
    with pytest.raises(MaskError, match="E0703.*do not split into tiles"):
        kernel_choice(q, q, block, NOWHERE)


def test_dtypes_and_devices() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        refuse_dtype(torch.empty(1, dtype=dtype), NOWHERE)
    with pytest.raises(MaskError, match="E0703.*are float64"):
        refuse_dtype(torch.empty(1, dtype=torch.float64), NOWHERE)
    with pytest.raises(MaskError, match="E0703.*no kernel for the device `meta`"):
        refuse_dtype(torch.empty(1, device="meta"), NOWHERE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu() -> None:
    require_device(torch.device("cpu"), NOWHERE)
    with pytest.raises(MaskError, match="E0701"):
        require_device(torch.device("cuda"), NOWHERE)
