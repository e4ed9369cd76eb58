"""Outputs and gradients of a few queries in float64, step by step, from the closures by hand: what kernels must give.

The gradient of the output is zero but at those queries, so that they alone decide every gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.kernels_cases import ByHand, Size

SAMPLED = 16
LIMITS = {"bfloat16": {"out": 1e-2, "gradient": 2e-2}, "float32": {"out": 1e-4, "gradient": 1e-3}}
"""The largest error of an output, and of a gradient, relative to the largest one."""

APPROXIMATE = 2e-3
"""What the GPU's fast forms may add to the error of an output."""


@dataclass(frozen=True)
class Expected:
    """The outputs of some queries, the gradients of q there, and those of k and v; None without gradients."""

    rows: Tensor
    out: Tensor
    grads: tuple[Tensor, Tensor, Tensor] | None = None


def sampled_rows(length: int, device: torch.device) -> Tensor:
    """Queries from the first to the last, at uneven distances."""
    generator = torch.Generator().manual_seed(1)
    inner = torch.randperm(length, generator=generator)[: SAMPLED - 2]
    return torch.cat((torch.tensor([0, length - 1]), inner)).unique().to(device)


def only_rows(grad: Tensor, rows: Tensor) -> Tensor:
    """The gradient of the output, zero but at some queries."""
    kept = torch.zeros_like(grad)
    kept[:, :, rows] = grad[:, :, rows]
    return kept


def expected(hand: ByHand, size: Size, inputs: tuple[Tensor, ...], rows: Tensor, gradients: bool) -> Expected:
    """The reference for some queries, one batch row after the other; `inputs` are q, k, v and the output's gradient."""
    found = [_of_row(hand, size, b, [x[b].double() for x in inputs], rows, gradients) for b in range(size.batch)]
    grads = [torch.stack([f[1][i] for f in found]) for i in range(3)] if gradients else None
    return Expected(rows, torch.stack([f[0] for f in found]), (grads[0], grads[1], grads[2]) if grads else None)


def _of_row(
    hand: ByHand, size: Size, b: int, inputs: list[Tensor], rows: Tensor, gradients: bool
) -> tuple[Tensor, list[Tensor]]:
    q, k, v, grad = inputs
    q = q[:, rows]
    for x in (q, k, v) if gradients else ():
        x.requires_grad_()
    out = _attend(hand, size, b, (q, k, v), rows)
    if not gradients:
        return out, []
    return out.detach(), list(torch.autograd.grad(out, (q, k, v), grad[:, rows]))


def _attend(hand: ByHand, size: Size, b: int, qkv: tuple[Tensor, Tensor, Tensor], rows: Tensor) -> Tensor:
    q, k, v = qkv
    device, group = q.device, size.heads // size.kv_heads
    row = torch.full((1, 1, 1), b, device=device)
    head = torch.arange(size.heads, device=device)[:, None, None]
    query, key = rows[None, :, None], torch.arange(size.length, device=device)[None, None]
    grouped = q.reshape(size.kv_heads, group * rows.numel(), size.dim)
    scores = (grouped @ k.mT).reshape(size.heads, rows.numel(), size.length) * size.dim**-0.5
    if hand.score_mod is not None:
        scores = hand.score_mod(scores, row, head, query, key)
    scores = scores.masked_fill(~hand.mask_mod(row, head, query, key), -torch.inf)
    if hand.sink is not None:
        sink = hand.sink.double()[:, None, None].expand(-1, rows.numel(), 1)
        scores = torch.cat((scores, sink), dim=-1)
    weights = scores.softmax(-1)[..., : size.length].reshape(size.kv_heads, group * rows.numel(), size.length)
    return (weights @ v).reshape(size.heads, rows.numel(), size.dim)


def relative_error(found: Tensor, right: Tensor) -> float:
    """The largest difference over the largest value."""
    return float((found.double() - right).abs().max() / right.abs().max())
