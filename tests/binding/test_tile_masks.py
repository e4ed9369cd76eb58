"""BlockMasks of bound definitions: kept while tables stay, made anew, filled in place; and those of Python functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

import maskdsl
from maskdsl.binding import tile_masks
from maskdsl.binding.bound import Bound

PACKED = """mask m(document: int[batch, position]) = document[b, q] == document[b, k] and k <= q
    requires ascending(document, position)"""


def documents(seed: int, length: int = 300) -> torch.Tensor:
    """Ascending document numbers, int32 [2, length]."""
    values = np.sort(np.random.default_rng(seed).integers(0, 6, (2, length)))
    return torch.from_numpy(values.astype(np.int32))


def lists(mask: BlockMask) -> list[torch.Tensor]:
    """All the lists of a mask, entries past the counts set to -1."""
    found = []
    for name in ("kv", "full_kv", "q", "full_q"):
        counts, indices = getattr(mask, f"{name}_num_blocks"), getattr(mask, f"{name}_indices")
        if counts is not None:
            valid = torch.arange(indices.shape[-1]) < counts[..., None]
            found += [counts, torch.where(valid, indices, -1)]
    return found


def same(one: BlockMask, other: BlockMask) -> bool:
    """Whether two masks list the same tiles."""
    return all(torch.equal(a, b) for a, b in zip(lists(one), lists(other), strict=True))


def masks_of(bound: Bound, **options: Any) -> BlockMask:
    """The mask of 2 rows of 300 tokens in tiles of 32 x 64."""
    return bound.block_mask(2, 1, 300, 300, device="cpu", block_size=(32, 64), **options)


def test_a_mask_is_kept_while_its_tables_stay() -> None:
    table = documents(0)
    bound = maskdsl.compile(PACKED).bind(document=table)
    first = masks_of(bound)
    assert masks_of(bound) is first
    assert masks_of(bound, fresh=True) is not first and same(masks_of(bound, fresh=True), first)
    table.copy_(documents(1))
    assert masks_of(bound) is not first
    assert same(masks_of(bound), masks_of(maskdsl.compile(PACKED).bind(document=documents(1))))


def test_lists_for_the_backward_pass_are_left_out_on_request() -> None:
    bound = maskdsl.compile(PACKED).bind(document=documents(0))
    assert masks_of(bound).q_indices is not None
    assert masks_of(bound, transposed=False).q_indices is None


def test_partial_and_full_lists_have_one_layout() -> None:
    mask = masks_of(maskdsl.compile(PACKED).bind(document=documents(0)))
    for some, every in ((mask.kv_indices, mask.full_kv_indices), (mask.q_indices, mask.full_q_indices)):
        assert some is not None and every is not None
        assert (some.shape, some.stride(), some.dtype) == (every.shape, every.stride(), torch.int32)


# ---------------------------------------------------------------- in place


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_mask_is_filled_in_place(exact: bool, transposed: bool) -> None:
    table = documents(0)
    bound = maskdsl.compile(PACKED).bind(document=table)
    mask = masks_of(bound, transposed=transposed, exact=exact)
    before = [x.data_ptr() for x in lists_as_they_are(mask)]
    table.copy_(documents(1))
    assert masks_of(bound, out=mask, exact=exact) is mask
    assert [x.data_ptr() for x in lists_as_they_are(mask)] == before
    wanted = masks_of(maskdsl.compile(PACKED).bind(document=documents(1)), transposed=transposed, exact=exact)
    assert same(mask, wanted)


def lists_as_they_are(mask: BlockMask) -> list[torch.Tensor]:
    """The tensors of a mask."""
    names = (f"{n}_{what}" for n in ("kv", "full_kv", "q", "full_q") for what in ("num_blocks", "indices"))
    return [x for x in (getattr(mask, name) for name in names) if x is not None]


def test_its_mask_mod_sees_the_tables_that_were_derived_anew() -> None:
    table = documents(0)
    bound = maskdsl.compile(PACKED).bind(document=table)
    mask = masks_of(bound)
    table.copy_(documents(1))
    masks_of(bound, out=mask)
    place = torch.arange(2)[:, None, None], torch.tensor(0), torch.arange(300)[:, None], torch.arange(300)
    seen = mask.mask_mod(*place)
    now = documents(1)
    assert torch.equal(seen, (now[:, :, None] == now[:, None]) & torch.ones(300, 300, dtype=torch.bool).tril())


def test_filling_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA a graph may capture it: no tensor becomes a Python number, and no table is judged or planned again."""
    bound = maskdsl.compile(PACKED).bind(document=documents(0))
    mask = masks_of(bound)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("read back")

    for name in ("item", "tolist", "__bool__", "__int__", "__index__", "nonzero", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    monkeypatch.setattr(torch, "tensor", refuse)  # it copies from the host
    monkeypatch.setattr(tile_masks, "limits_of", refuse)
    monkeypatch.setattr(tile_masks, "tile_plan", refuse)
    assert masks_of(bound, out=mask) is mask


@pytest.mark.parametrize("what", ["another program's", "other lengths", "other tiles", "torch's own"])
def test_what_cannot_be_filled(what: str) -> None:
    bound = maskdsl.compile(PACKED).bind(document=documents(0))
    mask, call, block = masks_of(bound), (2, 1, 300, 300), (32, 64)
    if what == "another program's":
        mask = masks_of(maskdsl.compile(PACKED).bind(document=documents(0)))
    elif what == "torch's own":
        mask = create_block_mask(mask.mask_mod, 2, 1, 300, 300, device="cpu", BLOCK_SIZE=block)
    call = (2, 1, 300, 299) if what == "other lengths" else call
    block = (64, 64) if what == "other tiles" else block
    with pytest.raises(maskdsl.MaskError) as caught:
        bound.block_mask(*call, device="cpu", block_size=block, out=mask)
    assert [d.code for d in caught.value.diagnostics] == ["E0607"]


def test_a_program_without_tables_fills_too() -> None:
    program = maskdsl.get("causal")
    mask = program.block_mask(1, 1, 256, 256, device="cpu")
    assert program.block_mask(1, 1, 256, 256, device="cpu", out=mask) is mask


# ---------------------------------------------------------------- values beyond the usual


def test_tables_that_grow_beyond_the_usual_are_planned_anew() -> None:
    text = "mask m(t: int[position]) = t[q] - t[k] < 10"
    table = torch.arange(64, dtype=torch.int32)
    bound = maskdsl.compile(text).bind(t=table)
    for values in (torch.arange(64), torch.tensor([-(2**31), 2**31 - 1] * 32)):
        table.copy_(values)
        mask, exact = (bound.block_mask(1, 1, 64, 64, device="cpu", block_size=8, exact=e) for e in (False, True))
        assert (exact.to_dense() <= mask.to_dense()).all()
    assert same(exact, create_block_mask(bound.mask_mod, 1, 1, 64, 64, device="cpu", BLOCK_SIZE=8))


# ---------------------------------------------------------------- Python functions


@pytest.mark.parametrize("block", [128, (32, 64)])
def test_python_functions_go_through_every_pair(block: int | tuple[int, int]) -> None:
    def mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q >= k) & ((q - k) % (h + 2) == b)

    mine = maskdsl.block_mask(mod, 2, 3, 200, 170, device="cpu", block_size=block)
    assert same(mine, create_block_mask(mod, 2, 3, 200, 170, device="cpu", BLOCK_SIZE=block))
    assert maskdsl.block_mask(mod, 2, 3, 200, 170, device="cpu", transposed=False).q_indices is None


def test_no_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(maskdsl.MaskError, match="no GPU"):
        maskdsl.block_mask(lambda b, h, q, k: q >= k, None, None, 8, 8, device="cuda")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_graph_fills_a_mask_again_and_again() -> None:
    table = documents(0).cuda()
    bound = maskdsl.compile(PACKED).bind(document=table)
    call = (2, 1, 300, 300)
    mask = bound.block_mask(*call, block_size=(32, 64))
    bound.block_mask(*call, block_size=(32, 64), out=mask)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        bound.block_mask(*call, block_size=(32, 64), out=mask)
    for seed in (1, 2, 3):
        table.copy_(documents(seed))
        graph.replay()
        wanted = masks_of(maskdsl.compile(PACKED).bind(document=documents(seed)))
        assert same(mask.to("cpu"), wanted)
