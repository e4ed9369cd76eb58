"""BlockMasks of bound definitions: kept while tables stay, made anew, filled in place; and those of Python functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

import maskdsl
from maskdsl.backends import flex_blocks
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
    monkeypatch.setattr(tile_masks, "is_read_at_once", lambda device: False)
    monkeypatch.setattr(tile_masks, "limits_of", refuse)
    monkeypatch.setattr(tile_masks, "tile_plan", refuse)
    assert masks_of(bound, out=mask) is mask


@pytest.mark.parametrize("what", ["another program's", "other lengths", "other tiles", "other rows", "torch's own"])
def test_what_cannot_be_filled(what: str) -> None:
    bound = maskdsl.compile(PACKED).bind(document=documents(0))
    mask, call, block = masks_of(bound), (2, 1, 300, 300), (32, 64)
    if what == "another program's":
        mask = masks_of(maskdsl.compile(PACKED).bind(document=documents(0)))
    elif what == "torch's own":
        mask = create_block_mask(mask.mask_mod, 2, 1, 300, 300, device="cpu", BLOCK_SIZE=block)
    call = (2, 1, 300, 299) if what == "other lengths" else (2, 3, 300, 300) if what == "other rows" else call
    block = (64, 64) if what == "other tiles" else block
    with pytest.raises(maskdsl.MaskError) as caught:
        bound.block_mask(*call, device="cpu", block_size=block, out=mask)
    assert [d.code for d in caught.value.diagnostics] == ["E0607"]


def test_facts_are_checked_again_on_request() -> None:
    table = documents(0)
    bound = maskdsl.compile(PACKED).bind(document=table)
    bound.check()
    table[1, 0] = 9
    masks_of(bound)  # nobody looks
    with pytest.raises(maskdsl.MaskError, match="`document` decreases along `position`"):
        bound.check()
    table.copy_(documents(1))
    bound.check()


def test_facts_about_a_call_are_checked_again_on_request() -> None:
    text = "mask m(t: int[batch]) = k < t[b] requires t[b] <= size(position)"
    table = torch.tensor([40], dtype=torch.int32)
    bound = maskdsl.compile(text).bind(t=table)
    bound.block_mask(1, 1, 40, 40, device="cpu")
    table.fill_(41)
    with pytest.raises(maskdsl.MaskError) as caught:
        bound.check()
    assert [d.code for d in caught.value.diagnostics] == ["E0605"]


# ---------------------------------------------------------------- sizes

IMPOSSIBLE: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((0, 1, 8, 8), {}, "`B` is 0, which is less than 1"),
    ((1, 0, 8, 8), {}, "`H` is 0, which is less than 1"),
    ((1, True, 8, 8), {}, "`H` is True, which is no whole number"),
    ((1, 1, -3, 8), {}, "`q_len` is -3, which is less than 0"),
    ((1, 1, 8.0, 8), {}, "`q_len` is 8.0, which is no whole number"),
    ((1, 1, 1, 2**30), {"block_size": 2**20}, "`kv_len` is 1073741824, which is more than 1073741823"),
    ((1, 1, 1, 2**31), {"block_size": 2**20}, "`kv_len` is 2147483648, which is more than 1073741823"),
    ((1, 1, 8, 8), {"block_size": 0}, "`block_size` is 0, which is less than 1"),
    ((1, 1, 8, 8), {"block_size": (4, -4)}, "`block_size` is -4, which is less than 1"),
    ((1, 1, 8, 8), {"block_size": (2**33, 4)}, "`block_size` is 8589934592, which is more than 1073741823"),
    ((1, 1, 8, 8), {"block_size": (4,)}, "`block_size` is (4,)"),
    ((1, 3, 8, 8), {"kv_heads": 2}, "3 heads cannot share 2 key/value heads evenly"),
    ((1, 2, 8, 8), {"kv_heads": 0}, "`kv_heads` is 0, which is less than 1"),
]


@pytest.mark.parametrize(("call", "options", "message"), IMPOSSIBLE, ids=lambda x: x if isinstance(x, str) else "")
def test_impossible_sizes_are_refused(call: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    makers = [maskdsl.get("causal").block_mask]
    if "kv_heads" not in options:
        makers.append(partial(maskdsl.block_mask, lambda b, h, q, k: k <= q))
    for make in makers:
        with pytest.raises(maskdsl.MaskError) as caught:
            make(*call, device="cpu", **options)
        assert [(d.code, d.message) for d in caught.value.diagnostics] == [("E0610", message)]


def test_numbers_of_other_kinds_are_numbers() -> None:
    mask = maskdsl.get("causal").block_mask(None, np.int64(2), np.int32(40), 40, device="cpu", block_size=np.int64(8))
    assert mask.seq_lengths == (40, 40) and all(type(n) is int for n in (*mask.seq_lengths, *mask.BLOCK_SIZE))


@pytest.mark.parametrize("lengths", [(0, 9), (9, 0), (0, 0)])
@pytest.mark.parametrize("exact", [False, True])
def test_no_positions_are_no_tiles(lengths: tuple[int, int], exact: bool) -> None:
    program = maskdsl.compile("mask m(t: int[position]) = t[q] <= k and k <= q + kv_len - q_len")
    mask = program.bind(t=np.arange(9)).block_mask(1, 1, *lengths, device="cpu", block_size=4, exact=exact)
    wanted = create_block_mask(mask.mask_mod, 1, 1, *lengths, device="cpu", BLOCK_SIZE=4)
    mine = maskdsl.block_mask(mask.mask_mod, 1, 1, *lengths, device="cpu", block_size=4)
    assert mask.kv_indices.shape == mine.kv_indices.shape == (1, 1, -(-lengths[0] // 4), -(-lengths[1] // 4))
    for found in (mask, mine):
        assert sum(int(counts.sum()) for counts in lists(found)[::2]) == 0
        assert found.kv_num_blocks.shape == wanted.kv_num_blocks.shape


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


@pytest.mark.parametrize("exact", [False, True])
def test_filling_in_place_judges_tables_on_the_cpu(exact: bool) -> None:
    """Where nothing is waited for, values that outgrow the plan are noticed, whoever wrote them."""
    held = np.arange(64, dtype=np.int32)
    bound = maskdsl.compile("mask m(t: int[position]) = t[q] - t[k] < 10").bind(t=torch.from_numpy(held))
    call: dict[str, Any] = {"B": 1, "H": 1, "q_len": 64, "kv_len": 64, "device": "cpu", "block_size": 8}
    mask = bound.block_mask(**call)
    held[:] = np.random.default_rng(0).choice([-(2**31), -(2**30), 0, 2**30, 2**31 - 1], 64)  # torch counts no write
    bound.block_mask(**call, exact=exact, out=mask)
    truth = create_block_mask(bound.mask_mod, 1, 1, 64, 64, device="cpu", BLOCK_SIZE=8)
    assert (truth.to_dense() <= mask.to_dense()).all()
    assert not exact or same(mask, truth)


# ---------------------------------------------------------------- Python functions


@pytest.mark.parametrize("block", [128, (32, 64)])
def test_python_functions_go_through_every_pair(block: int | tuple[int, int]) -> None:
    def mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q >= k) & ((q - k) % (h + 2) == b)

    mine = maskdsl.block_mask(mod, 2, 3, 200, 170, device="cpu", block_size=block)
    assert same(mine, create_block_mask(mod, 2, 3, 200, 170, device="cpu", BLOCK_SIZE=block))
    assert maskdsl.block_mask(mod, 2, 3, 200, 170, device="cpu", transposed=False).q_indices is None


TABLE = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)) < 0.5
FUNCTIONS: dict[str, Any] = {
    "two lookups": lambda b, h, q, k: TABLE[q][k],
    "a reduction": lambda b, h, q, k: (torch.arange(0, 20, 3) == k).any() & (q >= k),
    "one side": lambda b, h, q, k: TABLE[3, k],
    "stacked": lambda b, h, q, k: torch.stack([q, k + h]).max() > 5,
    "a constant": lambda b, h, q, k: torch.ones((), dtype=torch.bool),
    "a default": lambda b, h, q, k, far=7: q - k < far,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_python_functions_see_one_pair_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in torch's builder: whatever a function does with the numbers of a pair."""
    monkeypatch.setattr(flex_blocks, "PAIRS_AT_ONCE", 100)
    mine = maskdsl.block_mask(FUNCTIONS[name], 1, 2, 20, 20, device="cpu", block_size=4)
    assert same(mine, create_block_mask(FUNCTIONS[name], 1, 2, 20, 20, device="cpu", BLOCK_SIZE=4))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda b, h, q, k: q - k, "returned torch.int64 [], not a tensor of one bool"),
        (lambda b, h, q, k: True, "returned a `bool`, not a tensor of one bool"),
        (lambda b, h, q, k: TABLE[q], "returned torch.bool [20], not a tensor of one bool"),
        (lambda q, k: q >= k, "takes no four indices"),
        (lambda score, b, h, q, k: score, "takes no four indices"),
        (maskdsl.get("causal"), "is a definition, no function"),
    ],
)
def test_what_is_no_mask_is_refused(function: Any, message: str) -> None:
    with pytest.raises(maskdsl.MaskError) as caught:
        maskdsl.block_mask(function, 1, 1, 8, 8, device="cpu")
    (found,) = caught.value.diagnostics
    assert found.code == "E0610" and found.message.endswith(message) and found.help


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
