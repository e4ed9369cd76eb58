"""The way of a CUDA call, walked on the CPU: torch's dense evaluation of the graph instead of a kernel.

What a kernel makes of it is for `benchmarks/correctness.py` on a GPU; here are the sink and the sum by the
log-sum-exp, narrow heads, and how often a graph is traced.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends import flex, flex_kernels
from maskdsl.binding import bound as bound_module


@pytest.fixture(autouse=True)
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CPU tensors go the way of CUDA tensors; wrappers are traced by Dynamo and then run eagerly."""
    flex_kernels._compiled.cache_clear()
    monkeypatch.setattr(flex_kernels.torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(flex, "_on_cpu", partial(flex._on_cuda, gradients=False))
    yield
    flex_kernels._compiled.cache_clear()


def random_qkv(q_len: int, kv_len: int, dim: int = 16, heads: int = 4) -> Any:
    torch.manual_seed(q_len)
    return [torch.randn(2, h, n, dim) for h, n in ((heads, q_len), (2, kv_len), (2, kv_len))]


def error(program: maskdsl.Program, qkv: Any, **tables: Any) -> float:
    out = program.bind(**tables).attention(*qkv)
    assert not out.isnan().any()
    expected = program.reference(*qkv, **tables)
    return float(np.abs(out.double().numpy() - expected).max() / max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("field", ["sink = logit[h]", "normalize = false", "scale = 0.5"])
def test_what_surrounds_the_softmax(field: str) -> None:
    text = f"""
        mask seen = k <= q and q % 4 != 1
        score moved(logit: float[head]) = score + logit[h]
        variant v(logit: float[head]) {{ mask = seen score = moved(logit) {field} }}"""
    assert error(maskdsl.compile(text), random_qkv(30, 40), logit=[0.5, -1.0, 2.0, 0.0]) < 1e-5


@pytest.mark.parametrize("dim", [1, 8, 16, 24])
def test_narrow_heads_are_padded(dim: int) -> None:
    assert error(maskdsl.get("causal"), random_qkv(30, 40, dim)) < 1e-5


def test_rows_in_any_order() -> None:
    """[B, Q, H, D] in memory, as projections leave it, and a last axis that is not dense."""
    program = maskdsl.get("causal")
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in random_qkv(30, 40))
    assert error(program, (q, k, v)) < 1e-5
    assert error(program, (torch.cat((q, q), -1)[..., ::2], k, v)) < 1e-5


def test_lengths_change_without_new_traces() -> None:
    program = maskdsl.compile("mask m(limit: int[]) = k <= q + kv_len - q_len and k < limit")
    for q_len in (150, 300):
        error(program, random_qkv(q_len, q_len + 50), limit=[100])
    before = int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    for q_len in (170, 401, 530):
        assert error(program, random_qkv(q_len, q_len + 31), limit=[q_len]) < 1e-5
    assert int(torch._dynamo.utils.counters["stats"]["unique_graphs"]) == before


def test_first_lengths_of_training_are_numbers() -> None:
    """Two lengths have kernels of their own, whose backward pass is faster; all others share one."""
    free = flex_kernels.Signature("of this test", 1.0, "", (), True, ())
    lengths = [(torch.Size((n,)),) for n in (128, 256, 384, 128, 512, 256)]
    assert [flex_kernels.trains_at(free, n) for n in lengths] == [True, True, False, True, False, True]
    assert flex_kernels.trains_at(free._replace(scale=2.0), lengths[2])


def test_only_training_has_kernels_of_its_own_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(flex, "_run", lambda mods, signature, qkv, *_: seen.append(signature.dynamic) or qkv[0])
    for gradients in (False, True):
        monkeypatch.setattr(flex, "_on_cpu", partial(flex._on_cuda, gradients=gradients))
        for length in (150, 300, 450):
            maskdsl.compile("mask m = k <= q + 77").bind().attention(*random_qkv(length, length))
    assert seen == [True, True, True, False, False, True]


def test_lengths_are_one_tensor_each() -> None:
    device = torch.device("cpu")
    assert bound_module._one_element(7, device) is bound_module._one_element(7, device)


@pytest.mark.parametrize(("q_len", "kv_len", "whole"), [(256, 512, True), (300, 512, False), (256, 500, False), (1, 512, False)])
def test_free_lengths_that_fill_their_tiles_are_told(q_len: int, kv_len: int, whole: bool) -> None:
    q, k, _ = random_qkv(q_len, kv_len)
    free = flex_kernels.Signature("", 1.0, "", (("num_stages", 2),), True, ())
    told = dict(flex_kernels.with_whole_tiles(free, (q, k, k)).options)
    assert told == {"num_stages": 2, **({"IS_DIVISIBLE": True} if whole else {})}
    # Of numbers torch sees it by itself.
    fixed = free._replace(dynamic=False)
    assert flex_kernels.with_whole_tiles(fixed, (q, k, k)) == fixed


def test_a_call_tells_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    original = flex_kernels.flex_attention

    def recorded(*args: Any, kernel_options: dict[str, object], **named: Any) -> Any:
        seen.append(dict(kernel_options))
        return original(*args, kernel_options=None, **named)

    monkeypatch.setattr(flex_kernels, "flex_attention", recorded)
    monkeypatch.setattr(flex_kernels.torch, "compile", lambda function, **_: function)
    for length in (256, 300, 384):
        error(maskdsl.get("causal"), random_qkv(length, length))
    assert [options.get("IS_DIVISIBLE", False) for options in seen] == [True, False, True]
