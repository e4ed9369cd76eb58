"""Lists of tiles of masks whose parts are known to the tile analysis alone: what it decides may leave numbers behind."""

from __future__ import annotations

import pytest
import torch

import maskdsl
from maskdsl.backends.torch_statements import torch_function
from maskdsl.ir.nodes import Symbol, literal
from maskdsl.ir.ops import make


@pytest.mark.parametrize("text", [
    "w == q if all(k <= i + k for i in range(-2, 2)) else k < w",
    "not (k <= k + 1 and q < q + 1) or q == w",
    "k < w or not all(k <= k + i for i in range(3))",
])  # fmt: skip
def test_conditions_that_are_decided_leave_no_numbers_where_tensors_are_needed(text: str) -> None:
    bound = maskdsl.compile(f"mask m(w: int[]) = {text}").bind(w=3)
    mask = bound.block_mask(1, 1, 40, 40, device="cpu", block_size=8)
    seen = bound.mask_mod(torch.tensor(0), torch.tensor(0), torch.arange(40)[:, None], torch.arange(40)).expand(40, 40)
    tiles = seen.reshape(5, 8, 5, 8).sum((1, 3))
    assert mask.kv_num_blocks[0, 0].sum() + mask.full_kv_num_blocks[0, 0].sum() == (tiles > 0).sum()


def test_operations_on_numbers_are_computed_when_written() -> None:
    x, yes = Symbol("q"), make("and", literal(True), make("not", literal(False)))
    values = torch_function((make("choose", yes, x, literal(1)), make("not", yes)), ("q",))
    first, second = values({"q": torch.tensor(7, dtype=torch.int32)}, {}, {})
    assert (first.item(), second.item(), second.dtype) == (7, False, torch.bool)
