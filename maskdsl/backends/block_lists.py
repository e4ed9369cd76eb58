"""The lists of a BlockMask: for every row of tiles how many are partial, how many full, and which.

Not here: which tiles are what (`block_mask_torch`), torch's object around the lists (`tile_plan`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Lists(NamedTuple):
    """Counts int32 [B, H, rows] and indices int32 [B, H, rows, columns] of partial and full tiles.

    Indices past a count are undefined.
    Both pairs have the same shapes and strides.
    """

    partial_counts: Tensor
    partial: Tensor
    full_counts: Tensor
    full: Tensor


def empty_lists(batch: int, heads: int, rows: int, columns: int, device: torch.device) -> Lists:
    """Buffers for the lists of one direction."""
    counts = torch.empty((2, batch, heads, rows), dtype=torch.int32, device=device).unbind()
    indices = torch.empty((2, batch, heads, rows, columns), dtype=torch.int32, device=device).unbind()
    return Lists(counts[0], indices[0], counts[1], indices[1])


def write_lists(partial: Tensor, full: Tensor, lists: Lists) -> None:
    """Lists the tiles of two bool tensors [B, H, rows, columns]."""
    for buffer, found in zip(lists, (*lists_of(partial), *lists_of(full)), strict=True):
        buffer.copy_(found)


def lists_of(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Counts int32 [..., rows] and ascending column indices int32 [..., rows, columns] of bool [..., rows, columns].

    Entries past the count are undefined.
    """
    columns = tiles.shape[-1]
    places = tiles.cumsum(-1, dtype=torch.int32)
    listed = torch.zeros((*tiles.shape[:-1], columns + 1), dtype=torch.int32, device=tiles.device)
    numbers = torch.arange(columns, dtype=torch.int32, device=tiles.device).expand(tiles.shape)
    listed.scatter_(-1, torch.where(tiles, places - 1, columns).long(), numbers)
    return places[..., -1].contiguous(), listed[..., :columns].contiguous()
