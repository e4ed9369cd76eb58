"""The lists that a step's flex kernels visit: pages by tiles of packed queries, on the CPU by decoded requests as well.

Buffers only.

Not here: filling them (`plan_torch`, `backends.paged_plan_triton`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists, empty_lists
from maskdsl.serving.limits import Limits


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """Rows of a decode step on the CPU, one for every request: `lists` [rows, 1, 1, columns] of physical pages.

    `request`, `first` (the position of its first query) and `limit` (its length) are int32 [rows]. Rows that are not
    used have no pages. Of every listed page `logical_page` [pages] holds the logical place.
    """

    request: Tensor
    first: Tensor
    limit: Tensor
    lists: Lists
    logical_page: Tensor

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
    return DecodeRows(zeros(rows), zeros(rows), zeros(rows), lists, zeros(limits.num_pages))


@dataclass(frozen=True, slots=True)
class PrefillPages:
    """The pages that tiles of packed queries visit: `lists` [1, heads, tiles, columns], on CUDA [tiles, heads, 1,
    columns], of physical pages.

    Of every listed page `logical_page` [pages] holds the logical place and, on CUDA, `members` [words, tiles, pages] a
    bit for each of the tile's requests that sees it, from the one numbered `first_number` [tiles] on.
    """

    lists: Lists
    logical_page: Tensor
    members: Tensor
    first_number: Tensor


def prefill_pages(limits: Limits, heads: int) -> PrefillPages:
    """Buffers, without pages."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=limits.device)

    pages = limits.num_pages
    if not limits.on_gpu:
        lists = empty_lists(1, heads, limits.tiles, pages, limits.device)
        return PrefillPages(_no_pages(lists), zeros(pages), zeros(0), zeros(0))
    # Kernels on a GPU look at no more columns than are counted.
    columns = min(pages, limits.tile_requests * limits.max_pages_per_request)
    lists = empty_lists(limits.tiles, heads, 1, columns, limits.device)
    return PrefillPages(
        _no_pages(lists), zeros(pages), zeros(limits.member_words, limits.tiles, pages), zeros(limits.tiles)
    )


def _no_pages(lists: Lists) -> Lists:
    for tensor in lists:
        tensor.zero_()
    return lists
