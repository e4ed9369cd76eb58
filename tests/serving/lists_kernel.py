"""What a kernel over block lists computes, in plain torch and float64: pages that are not listed are not looked at.

The mask is asked only of partial tiles, the score of all; a page listed twice counts twice, as in the real kernels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskdsl.serving.kernels import Phase, pool


def attend(phase: Phase, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
    """[rows, heads, queries, D]: what `Phase.attend` gives."""
    mask, mods = phase.mask, phase.mods
    mask_mod = None if mods.make_mask_mod is None else mods.make_mask_mod()
    score_mod = None if mods.make_score_mod is None else mods.make_score_mod()
    k, v = (pool(c)[0].double() for c in (k_cache, v_cache))
    scale = mods.scale if mods.scale is not None else 1 / math.sqrt(q.shape[-1])
    group = q.shape[1] // k.shape[0]
    out = torch.zeros(q.shape, dtype=torch.float64)
    q_block, k_block = phase.block
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for row in range(mask.kv_num_blocks.shape[2]):
                queries = torch.arange(row * q_block, min((row + 1) * q_block, q.shape[2]))
                tiles = listed(mask, b, h, row)
                if not tiles:
                    continue
                keys = torch.cat([torch.arange(p * k_block, (p + 1) * k_block) for p, _ in tiles])
                full = torch.cat([torch.full((k_block,), f) for _, f in tiles])
                at = (torch.tensor(b), torch.tensor(h), queries[:, None], keys[None])
                score = (q[b, h, queries].double() @ k[h // group, keys].T) * scale
                if score_mod is not None:
                    score = score_mod(score.float(), *at).double()
                seen = full[None].expand(score.shape)
                if mask_mod is not None:
                    seen = seen | mask_mod(*at)
                else:
                    seen = torch.ones_like(seen)
                out[b, h, queries] = softmax_sum(score, seen, v[h // group, keys], mods, h)
    return out.to(q.dtype)


def listed(mask: object, b: int, h: int, row: int) -> list[tuple[int, bool]]:
    """The tiles of a row of a BlockMask and whether they are full."""
    found = []
    for counts, indices, full in (
        (mask.kv_num_blocks, mask.kv_indices, False), (mask.full_kv_num_blocks, mask.full_kv_indices, True),
    ):  # fmt: skip
        at = (min(b, counts.shape[0] - 1), min(h, counts.shape[1] - 1), row)
        found += [(int(i), full) for i in indices[at][: int(counts[at])]]
    return found


def softmax_sum(score: Tensor, seen: Tensor, v: Tensor, mods: object, h: int) -> Tensor:
    """The weighted values; rows that see nothing are 0. As in the real kernels, a NaN in a listed page spreads."""
    score = torch.where(seen, score, -torch.inf)
    weights = torch.exp(score - (top := score.amax(-1, keepdim=True).clamp(min=-1e30)))
    if mods.normalize:
        total = weights.sum(-1, keepdim=True)
        if mods.sink is not None:
            total = total + torch.exp(mods.sink[0, h].double() - top)
        weights = weights / torch.where(total > 0, total, 1)
    else:
        weights = weights * torch.exp(top)
    return weights @ v
