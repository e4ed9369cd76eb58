"""The lists that a step's flex kernels visit: pages by tiles of packed queries, on the CPU by decoded requests as well.

Buffers only.

Not here: filling them (`plan_torch`, `backends.paged_plan_triton`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists, empty_lists
from maskdsl.serving.limits import Q_BLOCK, Limits


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """Rows of a decode step on the CPU, one for every request: `lists` [rows, 1, 1, columns] of physical pages.

    `request`, `first` (the position of its first query) and `limit` (its length) are int32 [rows]. Rows that are not
    used have no pages.
    """

    request: Tensor
    first: Tensor
    limit: Tensor
    lists: Lists

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self.request.shape[0])


def decode_rows(limits: Limits) -> DecodeRows:
    """Buffers."""
    rows = limits.max_requests
    # torch's CPU kernel wants a column for every page of the pool.
    columns = max(limits.num_pages, limits.max_pages_per_request)

    def zeros(count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.int32, device=limits.device)

    lists = _no_pages(empty_lists(rows, 1, 1, columns, limits.device))
    return DecodeRows(zeros(rows), zeros(rows), zeros(rows), lists)


def prefill_lists(limits: Limits, heads: int) -> Lists:
    """Buffers for the pages that each tile of packed queries visits: [1, heads, tiles, columns]."""
    columns = limits.num_pages
    if limits.device.type == "cuda":  # where kernels look at no more columns than are counted
        columns = min(columns, tile_requests(limits) * limits.max_pages_per_request)
    return _no_pages(empty_lists(1, heads, limits.tiles, columns, limits.device))


def tile_requests(limits: Limits) -> int:
    """The most requests that are prefilled in one tile: the first and the last may reach over its edges."""
    return min(limits.max_requests, 2 + (Q_BLOCK - 2) // (limits.decode_tokens + 1))


def _no_pages(lists: Lists) -> Lists:
    for tensor in lists:
        tensor.zero_()
    return lists
