"""What the correctness run holds kernels against: float64 for the truth, PyTorch's own attention for the yardstick.

The float64 side is a dense torch computation written here, apart from the compiler's code for kernels: it takes from
the language's NumPy reference only which pairs are visible and what scores become. Gradients of scores are differences
of that reference; gradients of tables are differences of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskdsl.backends import reference
from maskdsl.binding.bound import Bound
from maskdsl.binding.program import Program

STEP = 1e-7
"""Half the distance of the scores that a derivative is taken from."""

TABLE_STEP = 1e-5
MOST_ENTRIES = 96
"""Entries of a float table whose gradient is checked; beyond it a random choice of them."""


@dataclass(frozen=True)
class Problem:
    """One call: a program, its tables as arrays, inputs (leaves, in the dtype under test) and the output's gradient."""

    program: Program
    tables: dict[str, Any]
    q: Tensor
    k: Tensor
    v: Tensor
    d_out: Tensor
    block: int | tuple[int, int] = 128

    @property
    def group(self) -> int:
        """Query heads for each key/value head."""
        return self.q.shape[1] // self.k.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """The tables on the device of the call."""
        return {n: torch.as_tensor(x, device=self.q.device) for n, x in self.tables.items()}

    def grid(self) -> dict[str, Any]:
        """The arguments of the NumPy reference."""
        batch, heads, q_len, _ = self.q.shape
        tables = {t: np.asarray(self.tables[t.name]) for t in self.program.variant.tables}
        sizes = {"kv_head": self.k.shape[1]}
        return {"b": batch, "h": heads, "q": q_len, "k": self.k.shape[2], "tables": tables, "sizes": sizes}

    def scale(self) -> float:
        """What scaled scores are multiplied by."""
        node = self.program.variant.scale
        if node is None:
            return float(self.q.shape[3] ** -0.5)
        return float(reference.lay_out(self.program.variant, **self.grid()).value(node, slice(0, 1)).item())

    def sinks(self) -> Tensor | None:
        """The sink of every head, float64 [H]."""
        node = self.program.variant.sink
        if node is None:
            return None
        value = reference.lay_out(self.program.variant, **self.grid()).value(node, slice(0, 1))
        heads = np.broadcast_to(value, (self.q.shape[0], self.q.shape[1], 1, 1))[0, :, 0, 0]
        return torch.from_numpy(heads.copy()).to(self.q.device)

    @property
    def divides(self) -> bool:
        """Whether the softmax's division stays."""
        node = self.program.variant.normalize
        grid = reference.lay_out(self.program.variant, **self.grid())
        return node is None or bool(grid.value(node, slice(0, 1)).all())


@dataclass(frozen=True)
class Dense:
    """What the reference says of every pair: visibility bool [B, H, Q, K], and scores as a function of scaled ones."""

    problem: Problem
    visible: Tensor
    additive: Tensor | None

    def changed(self, scores: Tensor) -> Tensor:
        """The scores after the program, differentiable in the scaled scores; the dtype stays."""
        if self.additive is not None:
            return scores + self.additive.to(scores.dtype)
        out: Tensor = _Changed.apply(scores, self.problem)
        return out


class _Changed(torch.autograd.Function):
    """The reference's scores as a differentiable function of scaled scores, elementwise."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, problem: Problem) -> Tensor:
        values = scores.detach().double().cpu().numpy()
        here = _changed(problem, values)
        sides = [(_changed(problem, values + step) - here) / step for step in (STEP, -STEP)]
        # Beside a jump only the smaller difference is a derivative.
        slope = np.where(np.abs(sides[0] - sides[1]) < 1e3, (sides[0] + sides[1]) / 2, sides[0])
        slope = np.where(np.abs(slope) > 1e3, sides[1], slope)
        ctx.save_for_backward(torch.from_numpy(slope).to(scores))
        return torch.from_numpy(here).to(scores)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return torch.where(grad == 0, 0, grad * slope), None


def _changed(problem: Problem, scores: np.ndarray) -> np.ndarray:
    return reference.scores(problem.program.variant, scores, **problem.grid())


def dense(problem: Problem) -> Dense:
    """What the reference says of every pair of a problem."""
    device, variant = problem.q.device, problem.program.variant
    visible = torch.from_numpy(reference.mask(variant, **problem.grid()).copy()).to(device)
    shape = tuple(visible.shape)
    zero = _changed(problem, np.zeros(shape))
    probes = np.random.default_rng(0).standard_normal(shape)
    additive = np.abs(_changed(problem, probes) - zero - probes).max(initial=0) < 1e-9
    return Dense(problem, visible, torch.from_numpy(zero).to(device) if additive else None)


def attend(
    known: Dense, q: Tensor, k: Tensor, v: Tensor, sinks: Tensor | None, changed: Callable[[Tensor], Tensor]
) -> Tensor:
    """Dense attention in the dtype of q, scores in at least float32, `changed`; q, k and v have equal heads."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    scores = changed((q.to(wide) @ k.to(wide).mT) * known.problem.scale())
    scores = scores.masked_fill(~known.visible, -torch.inf)
    peak = scores.detach().amax(-1, keepdim=True).nan_to_num(neginf=0.0)
    weights = torch.exp(scores - peak)
    if not known.problem.divides:
        return (weights.to(q.dtype) @ v) * torch.exp(peak).to(q.dtype)
    total = weights.sum(-1, keepdim=True)
    if sinks is not None:
        total = total + torch.exp(sinks.to(wide)[None, :, None, None] - peak)
    return (weights / torch.where(total == 0, 1, total)).to(q.dtype) @ v


def truth(known: Dense, *, gradients: bool) -> dict[str, Tensor]:
    """The output in float64, and the gradients of q, k and v."""
    problem = known.problem
    leaves = [x.detach().double().requires_grad_(gradients) for x in (problem.q, problem.k, problem.v)]
    out = attend(known, *_every_head(problem, *leaves), problem.sinks(), known.changed)
    return _with_gradients(out, leaves, problem.d_out.double(), gradients)


def yardstick(known: Dense, *, gradients: bool) -> tuple[dict[str, Tensor], str]:
    """PyTorch's own attention in the dtype under test, and its name.

    `sdpa`: scaled_dot_product_attention with the mask, and scores that only add something, as a dense bias of that
    dtype; a sink is one more key. `dense`: what SDPA cannot say, step by step; the eager score_mod has float32 scores.
    """
    problem = known.problem
    leaves = [x.detach().clone().requires_grad_(gradients) for x in (problem.q, problem.k, problem.v)]
    if known.additive is None or not problem.divides:
        out = attend(known, *_every_head(problem, *leaves), problem.sinks(), _eagerly(problem, problem.tensors()))
        return _with_gradients(out, leaves, problem.d_out, gradients), "dense"
    bias = _bias(known)
    if gradients and bias.requires_grad is False:
        bias.requires_grad_(bool(_float_tables(problem)))
    out = _sdpa(known, *_every_head(problem, *leaves), bias)
    found = _with_gradients(out, [*leaves, *([bias] if bias.requires_grad else [])], problem.d_out, gradients)
    if bias.requires_grad:
        found |= _through_tables(known, found.pop("bias"))
    return found, "sdpa"


def _bias(known: Dense) -> Tensor:
    """Mask, added scores and the sink's key as one bias [B, H, Q, K or K + 1]; a row that sees nothing is all 0."""
    assert known.additive is not None
    sinks = known.problem.sinks()
    bias = known.additive.masked_fill(~known.visible, -torch.inf)
    if sinks is not None:
        bias = torch.cat((bias, sinks[None, :, None, None].expand(*bias.shape[:3], 1)), -1)
    empty = ~(bias > -torch.inf).any(-1, keepdim=True)
    return bias.masked_fill(empty, 0.0).to(known.problem.q.dtype)


def _sdpa(known: Dense, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    if bias.shape[-1] > k.shape[2]:
        k, v = (torch.cat((x, torch.zeros_like(x[:, :, :1])), 2) for x in (k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=known.problem.scale())
    return out * known.visible.any(-1, keepdim=True)


def _every_head(problem: Problem, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    k, v = (x.expand(q.shape[0], *x.shape[1:]).repeat_interleave(problem.group, 1) for x in (k, v))
    return q, k, v


def _with_gradients(out: Tensor, leaves: list[Tensor], d_out: Tensor, wanted: bool) -> dict[str, Tensor]:
    found = {"out": out.detach()}
    if wanted:
        names = ("dq", "dk", "dv", "bias")
        found |= dict(zip(names, torch.autograd.grad(out, leaves, d_out), strict=False))
    return found


# ---------------------------------------------------------------- tables


def _float_tables(problem: Problem) -> list[str]:
    """The tables whose gradients a bias carries."""
    read = [t.name for t in problem.program.variant.tables if str(t.type) == "float"]
    return read if problem.program.variant.sink is None else []


def ours(problem: Problem, *, gradients: bool) -> dict[str, Tensor]:
    """The compiled kernel's output, and the gradients of q, k, v and of float tables (as `d NAME`)."""
    leaves = [x.detach().clone().requires_grad_(gradients) for x in (problem.q, problem.k, problem.v)]
    tables = problem.tensors()
    learned = [n for n, x in tables.items() if x.is_floating_point()] if gradients else []
    for name in learned:
        tables[name].requires_grad_()
    out = problem.program.bind(**tables).attention(*leaves, block_size=problem.block)
    if not gradients:
        return {"out": out.detach()}
    grads = torch.autograd.grad(out, [*leaves, *(tables[n] for n in learned)], problem.d_out)
    return {"out": out.detach(), **dict(zip(("dq", "dk", "dv", *(f"d {n}" for n in learned)), grads, strict=True))}


def _through_tables(known: Dense, d_bias: Tensor) -> dict[str, Tensor]:
    """The gradients of float tables from that of the bias, through the eager score_mod in float32."""
    problem = known.problem
    if problem.program.variant.score is None:
        return {}
    names, tables = _float_tables(problem), problem.tensors()
    leaves = [tables[n].requires_grad_() for n in names]
    added = _eagerly(problem, tables)(torch.zeros_like(d_bias, dtype=torch.float32))
    inside = torch.where(known.visible, d_bias.float(), 0.0)
    return dict(zip((f"d {n}" for n in names), torch.autograd.grad(added, leaves, inside), strict=True))


def _eagerly(problem: Problem, tables: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """What changes the scores [B, H, Q, K] of all pairs, by the mod that torch runs op by op."""
    (batch, heads, q_len, _), (kv_heads, kv_len) = problem.q.shape, problem.k.shape[1:3]
    given = {"batch": batch, "head": heads, "kv_head": kv_heads, "q_len": q_len, "kv_len": kv_len}
    bound: Bound = problem.program.bind(**tables, sizes={**given, "position": max(q_len, kv_len)})
    score_mod, device = bound.score_mod, problem.q.device
    if score_mod is None:
        return lambda scores: scores
    shape = (batch, heads, q_len, kv_len)
    at = [torch.arange(n, device=device).view([-1 if i == j else 1 for j in range(4)]) for i, n in enumerate(shape)]
    return lambda scores: score_mod(scores, *at)


def table_truth(problem: Problem) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The gradient of every float table by differences of the float64 reference: flat places, and values there."""
    found = {}
    d_out = problem.d_out.double().cpu().numpy()
    arrays = {n: np.asarray(x) for n, x in problem.tables.items()}
    for name, values in arrays.items():
        if values.dtype.kind != "f":
            continue
        places = np.arange(values.size)
        if values.size > MOST_ENTRIES:
            places = np.sort(np.random.default_rng(0).choice(values.size, MOST_ENTRIES, replace=False))
        slopes = [_slope(problem, arrays, name, int(place), d_out) for place in places]
        found[f"d {name}"] = (places, np.array(slopes))
    return found


def _slope(problem: Problem, arrays: dict[str, Any], name: str, place: int, d_out: np.ndarray) -> float:
    sums = []
    for step in (TABLE_STEP, -TABLE_STEP):
        moved = arrays[name].astype(np.float64)
        moved.flat[place] += step
        qkv = (problem.q.double(), problem.k.double(), problem.v.double())
        out = problem.program.reference(*(x.detach().cpu().numpy() for x in qkv), **{**arrays, name: moved})
        sums.append(float((out * d_out).sum()))
    return (sums[0] - sums[1]) / (2 * TABLE_STEP)
