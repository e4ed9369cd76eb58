"""Writes new keys and values into their pages."""

from __future__ import annotations

import torch
from torch import Tensor

from maskdsl.serving.step import Step


def append_tokens(step: Step, new: tuple[Tensor, Tensor], caches: tuple[Tensor, Tensor]) -> None:
    """Copies (tokens, kv_heads, D) into caches (pages, page_size, kv_heads, D) at the step's places."""
    tokens = new[0].shape[0]
    page_size = step.limits.page_size
    position = step.token_position[:tokens]
    entry = position.clamp(min=0) // page_size
    page = step.page_table[step.request[:tokens].long(), entry.long()]
    place = torch.where(position >= 0, page * page_size + position % page_size, -1).long()
    for values, cache in zip(new, caches, strict=True):
        flat = cache.view(-1, *cache.shape[2:])
        kept = place >= 0
        flat[place[kept]] = values[kept]
