"""Attention as the language defines it, in float64: what the outputs of kernels are held against."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from maskdsl.backends.reference import Grid, lay_out
from maskdsl.backends.reference_scene import Array
from maskdsl.ir.nodes import Node, Variant

FIRST_QUERY = slice(0, 1)


def attention(variant: Variant, q: Array, k: Array, v: Array, **arguments: Any) -> tuple[Array, Array]:
    """Output float64 [B, Hq, Q, Dv], and the natural log-sum-exp of the visible scores float64 [B, Hq, Q].

    q is [B, Hq, Q, D], k [B or 1, Hkv, K, D], v [B or 1, Hkv, K, Dv] with Hq a multiple of Hkv; the arguments are those
    of `reference.lay_out` but the coordinates (`tables`, `constants`, `masks`, `q_len`, `kv_len`, `q_offset`, `sizes`).
    A query that sees nothing, or only scores of -inf, gives 0 and -inf. The log-sum-exp is that of the keys alone: a
    sink joins the denominator of the output only, and `normalize = false` gives the sum without any denominator.
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    heads, kv_heads = q.shape[1], k.shape[1]
    sizes = {"kv_head": kv_heads, **(arguments.pop("sizes", None) or {})}
    grid = lay_out(variant, b=q.shape[0], h=heads, q=q.shape[2], k=k.shape[2], sizes=sizes, **arguments)
    k, v = (np.repeat(x, heads // kv_heads, axis=1) for x in (k, v))
    out, total = np.zeros((*q.shape[:3], v.shape[3])), np.full(q.shape[:3], -np.inf)
    scale = _of_call(grid, variant.scale, 1.0 / math.sqrt(q.shape[3]))
    for rows in grid.chunks():
        score = _scores(grid, variant, rows, scale * (q[:, :, rows] @ k.swapaxes(2, 3)))
        out[:, :, rows], total[:, :, rows] = _softmax(grid, variant, rows, score, v)
    return out, total


def _of_call(grid: Grid, node: Node | None, otherwise: float) -> Array:
    """A field that does not depend on positions, broadcastable to [B, H, 1, 1]."""
    return np.asarray(otherwise) if node is None else grid.value(node, FIRST_QUERY)


def _scores(grid: Grid, variant: Variant, rows: slice, scaled: Array) -> Array:
    """The scores of these rows, -inf where a key is not visible."""
    changed = scaled if variant.score is None else grid.value(variant.score, rows, scaled)
    return np.where(grid.visible(variant.mask, rows), changed, -np.inf)


def _softmax(grid: Grid, variant: Variant, rows: slice, score: Array, v: Array) -> tuple[Array, Array]:
    """The weighted values [B, H, rows, Dv], and the log-sum-exp [B, H, rows]."""
    peak = score.max(axis=3, keepdims=True, initial=-np.inf)
    base = np.where(peak == -np.inf, 0.0, peak)
    with np.errstate(all="ignore"):
        weight = np.exp(score - base)
        count = weight.sum(axis=3, keepdims=True)
        lse = base + np.log(count)
        if not bool(_of_call(grid, variant.normalize, True).all()):
            return (weight @ v) * np.exp(base), lse[..., 0]
        drain = np.exp(_of_call(grid, variant.sink, -np.inf) - base)
        return (weight @ v) / np.where(count + drain == 0.0, 1.0, count + drain), lse[..., 0]
