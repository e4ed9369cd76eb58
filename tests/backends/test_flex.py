"""Compiled FlexAttention on the CPU against the reference: programs with every construct, and every kind of call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import maskdsl
from benchmarks.correctness_cases import INLINE, Case, Sizes

pytestmark = pytest.mark.compiled

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}


def random_qkv(sizes: Sizes, kv_heads: int, *, kv_batch: int | None = None, dtype: torch.dtype = torch.float32) -> Any:
    """Query, key and value with head dimensions 16 and 24."""
    torch.manual_seed(sizes.q * 1000 + sizes.k)
    rows = sizes.b if kv_batch is None else kv_batch
    shapes = (sizes.b, sizes.h, sizes.q, 16), (rows, kv_heads, sizes.k, 16), (rows, kv_heads, sizes.k, 24)
    return tuple(torch.randn(shape).to(dtype) for shape in shapes)


def verify(program: maskdsl.Program, qkv: Any, **tables: Any) -> Tensor:
    """The output, after comparing it with the reference."""
    out = program.bind(**tables).attention(*qkv)
    expected = program.reference(*qkv, **tables)
    assert out.dtype == qkv[0].dtype and tuple(out.shape) == expected.shape
    assert not out.isnan().any()
    error = float(np.abs(out.double().numpy() - expected).max(initial=0))
    assert error <= TOLERANCE[out.dtype] * max(1.0, float(np.abs(expected).max()))
    return out


@pytest.mark.parametrize("case", INLINE, ids=lambda case: case.name)
def test_programs(case: Case) -> None:
    sizes = Sizes(2, 4, 37, 150)
    tables = case.tables(np.random.default_rng(0), sizes)
    verify(maskdsl.compile(case.text, **case.constants), random_qkv(sizes, 2), **tables)


@pytest.mark.parametrize(("q_len", "kv_len"), [(1, 1), (1, 700), (129, 127), (300, 1)])
def test_lengths(q_len: int, kv_len: int) -> None:
    """Lengths of one, lengths off the tile, and the kernel that splits the keys of one query (kv_len over 512)."""
    program = maskdsl.compile("mask m(first: int[batch]) = first[b] <= k and k <= q + kv_len - q_len")
    sizes = Sizes(2, 4, q_len, kv_len)
    out = verify(program, random_qkv(sizes, 2), first=[0, kv_len])
    assert out[0].any() and not out[1].any()


@pytest.mark.parametrize("kv_len", [127, 128])
@pytest.mark.parametrize("field", ["sink = bias[h]", "normalize = false"])
def test_the_extra_key_at_the_end_of_a_tile(kv_len: int, field: str) -> None:
    """Without a log-sum-exp one more key is added; tables of positions must not notice."""
    text = f"""
        mask seen(keep: bool[position]) = keep[k] and k <= q
        score moved(bias: float[head]) = score * 0.5 + bias[h]
        variant v(keep: bool[position], bias: float[head]) {{ mask = seen(keep) score = moved(bias) {field} }}"""
    keep = np.arange(kv_len) % 5 != 0
    out = verify(maskdsl.compile(text), random_qkv(Sizes(1, 2, 60, kv_len), 2), keep=keep, bias=[0.5, -3.0])
    assert not out[:, :, 0].any()


def test_one_row_of_keys_for_the_whole_batch() -> None:
    qkv = random_qkv(Sizes(3, 2, 5, 64), 1, kv_batch=1)
    verify(maskdsl.compile("mask m(length: int[batch]) = k < length[b]"), qkv, length=[0, 1, 64])
    verify(maskdsl.get("causal"), qkv)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    verify(maskdsl.get("gemma2_local", window=20, cap=2.0), random_qkv(Sizes(1, 2, 40, 40), 1, dtype=dtype))


def test_half_precision_with_a_sink() -> None:
    program = maskdsl.get("gpt_oss_local", window=9)
    verify(program, random_qkv(Sizes(1, 2, 40, 40), 1, dtype=torch.bfloat16), sink_logit=[0.5, -1.0])


def test_groups_of_three_and_other_blocks() -> None:
    qkv = random_qkv(Sizes(1, 6, 70, 70), 2)
    program = maskdsl.get("causal")
    expected = program.reference(*qkv)
    for block_size in (128, (32, 16)):
        out = program.attention(*qkv, block_size=block_size)
        assert np.abs(out.numpy() - expected).max() < 1e-4


def test_nothing_to_attend_to() -> None:
    """Lengths of zero never reach a kernel: one of torch's would take the process down."""
    program = maskdsl.get("causal")
    for q_len, kv_len in ((0, 5), (5, 0), (0, 0)):
        out = program.attention(*random_qkv(Sizes(2, 4, q_len, kv_len), 2))
        assert out.shape == (2, 4, q_len, 24) and not out.any()


class TestCompilations:
    """How often torch compiles: once for a text and its shapes, whatever the tables hold."""

    @staticmethod
    def graphs() -> int:
        return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    def test_other_tables_need_no_other_kernel(self) -> None:
        text = """
            mask m(prefix: int[batch], limit: int[]) = k < prefix[b] and q - k < limit
            score s(slope: float[head]) = score - slope[h] * (q - k)
            variant rebound(prefix: int[batch], limit: int[], slope: float[head]) {
                mask = m(prefix, limit)
                score = s(slope)
            }"""
        qkv = random_qkv(Sizes(2, 2, 20, 30), 2)
        verify(maskdsl.compile(text), qkv, prefix=[3, 4], limit=[7], slope=[0.5, 1.0])
        before = self.graphs()
        for step in range(5):
            verify(maskdsl.compile(text), qkv, prefix=[step, 30], limit=torch.tensor([step]), slope=[0.1, step])
        assert self.graphs() == before

    def test_a_written_table_shows(self) -> None:
        prefix = torch.tensor([3, 4])
        qkv = random_qkv(Sizes(2, 2, 20, 30), 2)
        program = maskdsl.compile("mask written(prefix: int[batch]) = k < prefix[b]")
        bound = program.bind(prefix=prefix)
        bound.attention(*qkv)
        before = self.graphs()
        prefix.fill_(29)
        out = bound.attention(*qkv)
        assert np.abs(out.numpy() - program.reference(*qkv, prefix=prefix)).max() < 1e-4
        assert self.graphs() == before

    def test_many_shapes_of_one_variant_never_run_out_of_compilations(self) -> None:
        """Dynamo gives up on a code object after a few recompilations; ours has one for every static shape."""
        program = maskdsl.compile("mask shaped = k <= q")
        with torch._dynamo.config.patch(recompile_limit=1):
            for q_len in (3, 4):
                verify(program, random_qkv(Sizes(1, 1, q_len, 8), 1))


def test_inside_a_compiled_model() -> None:
    """A graph break of the model's own graph; the kernel is compiled all the same."""
    q, k, v = random_qkv(Sizes(1, 1, 8, 8), 1)
    program = maskdsl.get("alibi")
    bound = program.bind(slope=[0.5])
    model = torch.compile(lambda x: bound.attention(x * 2, k, v) + 1)
    out = model(q) - 1
    assert np.abs(out.numpy() - program.reference(q * 2, k, v, slope=[0.5])).max() < 1e-4


def test_gradients_are_refused_on_the_cpu() -> None:
    q, k, v = random_qkv(Sizes(1, 1, 8, 8), 1)
    with pytest.raises(maskdsl.MaskError, match="E0702.*`k` requires"):
        maskdsl.get("full").attention(q, k.clone().requires_grad_(), v)
    slope = torch.ones(1, requires_grad=True)
    with pytest.raises(maskdsl.MaskError, match="E0702.*a table requires"):
        maskdsl.get("alibi").bind(slope=slope).attention(q, k, v)


def test_without_gradients_parameters_may_require_them() -> None:
    qkv = tuple(x.requires_grad_() for x in random_qkv(Sizes(1, 1, 8, 8), 1))
    with torch.no_grad():
        out = verify(maskdsl.get("alibi"), qkv, slope=torch.ones(1, requires_grad=True))
    assert not out.requires_grad
