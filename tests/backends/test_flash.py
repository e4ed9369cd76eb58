"""FlashAttention-4's kernel against the reference, where it and a GPU that it runs on are there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends.kernel_choice import FLASH_CAPABILITIES, flash_is_here

PROGRAMS = {
    "causal": "variant v(s: float[head]) { mask = k <= q score = score }",
    "a sink": "variant v(s: float[head]) { mask = 0 <= q - k < 200 sink = s[h] }",
    "no division": "variant v(s: float[head]) { mask = k <= q score = 0.1 * score - 5.0 normalize = false }",
    "a cap": "variant v(s: float[head]) { mask = k <= q score = 5.0 * tanh(score / 5.0) }",
    "slopes": "variant v(s: float[head]) { mask = k <= q score = score - s[h] * (q - k) }",
}


def has_flash() -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability()[0] in FLASH_CAPABILITIES and flash_is_here()


@pytest.mark.cuda
@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("name", PROGRAMS)
def test_outputs(name: str, dim: int) -> None:
    """A sink and the sum without a division are made of the log-sum-exp that the kernel gives."""
    if not has_flash():
        pytest.skip("needs FlashAttention-4 and its GPU")
    torch.manual_seed(0)
    program, slopes = maskdsl.compile(PROGRAMS[name]), np.linspace(0.01, 1.0, 4, dtype=np.float32)
    q, k, v = (torch.randn(2, heads, 500, dim, device="cuda", dtype=torch.bfloat16) for heads in (4, 2, 2))
    found = program.bind(s=slopes).attention(q, k, v, backend="flash").double().cpu().numpy()
    expected = program.reference(*(x.double().cpu().numpy() for x in (q, k, v)), s=slopes)
    assert np.linalg.norm(found - expected) <= 8e-3 * np.linalg.norm(expected)


@pytest.mark.cuda
@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_of_what_auto_takes(name: str) -> None:
    """Beside those of the textbook's forms in float32 on Triton."""
    if not has_flash():
        pytest.skip("needs FlashAttention-4 and its GPU")
    torch.manual_seed(0)
    bound = maskdsl.compile(PROGRAMS[name]).bind(s=np.linspace(0.01, 1.0, 4, dtype=np.float32))
    leaves = [torch.randn(1, heads, 500, 64, device="cuda", dtype=torch.bfloat16) for heads in (4, 2, 2)]
    d_out = torch.randn_like(leaves[0])
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        qkv = [x.to(dtype).requires_grad_() for x in leaves]
        found.append(torch.autograd.grad(bound.attention(*qkv, precise=dtype is torch.float32), qkv, d_out.to(dtype)))
    for mine, right in zip(*found, strict=True):
        assert float((mine.float() - right).norm()) <= 1.5e-2 * float(right.norm())
