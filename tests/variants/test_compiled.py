"""Shipped definitions as compiled FlexAttention kernels against the float64 reference.

On the CPU one of every family, the one with the most to compile; on a CUDA device (`-m cuda`) all of them, forward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from collected import ORACLES
from oracle import Sizes

import maskdsl
from maskdsl.source.shipped import variants_dir

FAMILIES = {
    "base": "flashmask_causal_2",
    "bias": "t5_bias_causal",
    "cap": "sigmoid_attention",
    "diffusion": "block_diffusion_packed",
    "dynamic": "hstu",
    "global": "longformer",
    "graph": "graphormer_edge",
    "local": "attention_chunk",
    "models": "gpt_oss_local",
    "packed": "multi_turn_reasoning",
    "prefix": "bagel",
    "scale": "scalable_softmax",
    "sparse": "deepspeed_bigbird",
    "trees": "tree_parents",
    "vision": "gna_3d",
}
CPU, CUDA = Sizes(2, 2, 37, 150), Sizes(2, 4, 100, 150)
# No length is over 150: the canvases of the oracles' images hold 156 tokens.
ERROR = 1e-4
"""The largest relative error in float32, where 1 is the largest output."""


def drawn(sizes: Sizes, device: str) -> tuple[torch.Tensor, ...]:
    """Query, key and value, float32 with a head dimension of 16."""
    torch.manual_seed(0)
    return tuple(torch.randn(sizes.b, sizes.h, n, 16, device=device) for n in (sizes.q, sizes.k, sizes.k))


def verify(name: str, sizes: Sizes, device: str) -> None:
    """The kernel with the oracle's last constants and random tables, which are the oracle's own too."""
    oracle = ORACLES[name]
    program = maskdsl.get(name, **oracle.constants[-1], **oracle.masks)
    tables: dict[str, Any] = oracle.inputs(np.random.default_rng(0), sizes)
    qkv = drawn(sizes, device)
    expected = program.reference(*qkv, **tables)
    found = program.bind(**tables).attention(*qkv).double().cpu().numpy()
    assert not np.isnan(found).any()
    assert np.abs(found - expected).max() <= ERROR * max(1.0, np.abs(expected).max())


def test_every_family_has_one() -> None:
    assert FAMILIES.keys() == {path.name for path in variants_dir().iterdir() if path.is_dir()}
    paths = {m.path for m in maskdsl.list()}
    assert {f"{family}/{name}" for family, name in FAMILIES.items()} <= paths


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_one_of_every_family_on_the_cpu(family: str) -> None:
    verify(FAMILIES[family], CPU, "cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ORACLES)
def test_every_definition_on_cuda(name: str) -> None:
    torch.set_float32_matmul_precision("highest")
    verify(name, CUDA, "cuda")
