"""The lists that a step's kernels visit: pages by rows of a decode step and by tiles of packed queries. Buffers only.

Not here: filling them (`plan_torch`, `backends.paged_plan_triton`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists, empty_lists
from maskdsl.serving.limits import Limits

ITEMS_PER_DEVICE = 1056
"""How many pieces of work, over all key/value heads, a GPU is given to balance: eight for each of 132 processors."""


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """Rows of a decode step, each a piece of one request's pages: `lists` [rows, 1, 1, columns] of physical pages.

    `request`, `first` (the position of its first query) and `limit` (its length) are int32 [rows]; the rows of request
    r are `start[r]` to `start[r + 1]`, int32 [requests + 1]. Rows that are not used have no pages.
    """

    request: Tensor
    first: Tensor
    limit: Tensor
    start: Tensor
    lists: Lists

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self.request.shape[0])


def decode_rows(limits: Limits) -> DecodeRows:
    """Buffers; on CUDA there are rows to split requests into, elsewhere a row is a request."""
    splits = limits.device.type == "cuda"
    rows = limits.max_requests + (-(-ITEMS_PER_DEVICE // limits.kv_heads) if splits else 0)
    # torch's CPU kernel wants a column for every page of the pool.
    columns = limits.max_pages_per_request if splits else max(limits.num_pages, limits.max_pages_per_request)

    def zeros(count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.int32, device=limits.device)

    lists = _no_pages(empty_lists(rows, 1, 1, columns, limits.device))
    return DecodeRows(zeros(rows), zeros(rows), zeros(rows), zeros(limits.max_requests + 1), lists)


def prefill_lists(limits: Limits, heads: int) -> Lists:
    """Buffers for the pages that each tile of packed queries visits: [1, heads, tiles, pages]."""
    return _no_pages(empty_lists(1, heads, limits.tiles, limits.num_pages, limits.device))


def _no_pages(lists: Lists) -> Lists:
    for tensor in lists:
        tensor.zero_()
    return lists
