"""Random steps of an engine: requests, lengths, page tables, new tokens; and what each request's attention must be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

POISON = 987_654_321
"""What entries of a page table hold that must not be read."""


@dataclass(frozen=True)
class Sizes:
    """The limits of the attention objects under test."""

    max_requests: int = 7
    max_tokens: int = 200
    num_pages: int = 64
    page_size: int = 16
    max_pages_per_request: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    decode_tokens: int = 4

    def limits(self) -> dict[str, Any]:
        """The keyword arguments of `PagedAttention`."""
        return dict(vars(self))


@dataclass(frozen=True)
class Step:
    """A step with the keys, values and queries of its requests: (tokens, heads, D), new tokens at the end."""

    sizes: Sizes
    lengths: tuple[int, ...]
    news: tuple[int, ...]
    page_table: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    q: Tensor

    @property
    def seq_lens(self) -> Tensor:
        """int32 [requests]."""
        return torch.tensor(self.lengths, dtype=torch.int32)

    @property
    def query_start(self) -> Tensor:
        """int32 [requests + 1]."""
        return torch.tensor(np.concatenate([[0], np.cumsum(self.news)]), dtype=torch.int32)

    def caches(self, *, new: bool = True) -> tuple[Tensor, Tensor]:
        """The pools with the keys and values of all tokens, or of those that are not `new`.

        Pages of no request are NaN; where a request's pages hold no token of it they are 9.
        """
        s = self.sizes
        made = []
        for parts in (self.keys, self.values):
            pool = torch.full((s.num_pages, s.page_size, s.kv_heads, s.head_dim), torch.nan)
            written = [n - (0 if new else fresh) for n, fresh in zip(self.lengths, self.news, strict=True)]
            for r, part in enumerate(parts):
                for t in range(0, len(part), s.page_size):
                    page = pool[int(self.page_table[r, t // s.page_size])]
                    page.copy_(torch.where(page.isnan(), 9.0, page))
            for r, part in enumerate(parts):
                for t in range(0, written[r], s.page_size):
                    count = min(s.page_size, written[r] - t)
                    pool[int(self.page_table[r, t // s.page_size]), :count] = part[t : t + count]
            made.append(pool)
        return made[0], made[1]

    def reference(self, program: Any, tables: dict[str, Tensor]) -> np.ndarray:
        """What every query sees, (tokens, heads, D) in float64: each request alone, dense, by the NumPy meaning.

        A request is the row of a batch that it is in the step; the other rows are zeros.
        """
        out = np.zeros(self.q.shape)
        start = self.query_start.tolist()
        for r, (length, news) in enumerate(zip(self.lengths, self.news, strict=True)):
            if not news or not length:
                continue
            q = torch.zeros(length, *self.q.shape[1:])
            q[length - news :] = self.q[start[r] : start[r + 1]]
            found = program.reference(*(self._row(x, r) for x in (q, self.keys[r], self.values[r])), **tables)
            out[start[r] : start[r + 1]] = found[r, :, length - news :].transpose(1, 0, 2)
        return out

    def _row(self, x: Tensor, r: int) -> np.ndarray:
        """(tokens, heads, D) as row r of [max_requests, heads, tokens, D]."""
        rows = np.zeros((self.sizes.max_requests, x.shape[1], x.shape[0], x.shape[2]))
        rows[r] = x.transpose(0, 1).double().numpy()
        return rows


DEFAULT = Sizes()


def random_step(rng: np.random.Generator, sizes: Sizes = DEFAULT, *, share: bool = True) -> Step:
    """Lengths at and around page and tile ends, decode and prefill mixed, requests without tokens, shared prefixes."""
    page, capacity = sizes.page_size, sizes.page_size * sizes.max_pages_per_request
    requests = int(rng.integers(1, sizes.max_requests + 1))
    edges = [min(n, capacity) for n in (0, 1, page - 1, page, page + 1, 2 * page, capacity - 1, capacity)]
    lengths = [int(rng.choice(edges) if rng.random() < 0.5 else rng.integers(0, capacity + 1)) for _ in range(requests)]
    news, left = [], sizes.max_tokens
    for length in lengths:
        most = min(length, left)
        few = rng.random() < 0.5
        news.append(int(rng.integers(0, min(most, sizes.decode_tokens) + 1) if few else rng.integers(0, most + 1)))
        left -= news[-1]
    shape = (sizes.kv_heads, sizes.head_dim)
    keys = [torch.from_numpy(rng.standard_normal((n, *shape)).astype(np.float32)) for n in lengths]
    values = [torch.from_numpy(rng.standard_normal((n, *shape)).astype(np.float32)) for n in lengths]
    shared = _share_prefix(keys, values, lengths, page) if share and rng.random() < 0.5 else {}
    table = _page_table(rng, sizes, lengths, shared)
    q = torch.from_numpy(rng.standard_normal((sum(news), sizes.heads, sizes.head_dim)).astype(np.float32))
    return Step(sizes, tuple(lengths), tuple(news), table, tuple(keys), tuple(values), q)


def moved(step: Step, rng: np.random.Generator) -> Step:
    """The same step with its physical pages permuted."""
    order = torch.from_numpy(rng.permutation(step.sizes.num_pages)).to(torch.int32)
    used = step.page_table != POISON
    table = torch.where(used, order[torch.where(used, step.page_table, 0).long()], POISON)
    return replace(step, page_table=table)


def at_other_places(step: Step) -> Step:
    """The step with a second request whose second page is the first one's first."""
    page, s = step.sizes.page_size, step.sizes
    rng = np.random.default_rng(3)
    shape = (s.kv_heads, s.head_dim)
    keys, values = ([torch.from_numpy(rng.standard_normal((n, *shape)).astype(np.float32)) for n in (40, 60)] for _ in "kv")
    for part in (keys, values):
        part[1][page : 2 * page] = part[0][:page]
    table = step.page_table.new_full((2, s.max_pages_per_request), -5)
    table[0, :3], table[1, :4] = torch.tensor([9, 4, 7]), torch.tensor([2, 9, 5, 1])
    q = torch.from_numpy(rng.standard_normal((1 + 50, s.heads, s.head_dim)).astype(np.float32))
    return Step(s, (40, 60), (1, 50), table, tuple(keys), tuple(values), q)


def _share_prefix(keys: list[Tensor], values: list[Tensor], lengths: list[int], page: int) -> dict[int, int]:
    """Gives later requests the first one's full pages at their beginning; how many pages, by request."""
    shared = {}
    for r in range(1, len(lengths)):
        pages = min(lengths[0] // page, lengths[r] // page)
        for tensors in (keys, values):
            tensors[r][: pages * page] = tensors[0][: pages * page]
        shared[r] = pages
    return shared


def _page_table(rng: np.random.Generator, sizes: Sizes, lengths: list[int], shared: dict[int, int]) -> Tensor:
    free = iter(rng.permutation(sizes.num_pages))
    table = torch.full((len(lengths), sizes.max_pages_per_request), POISON, dtype=torch.int32)
    for r, length in enumerate(lengths):
        for place in range(-(-length // sizes.page_size)):
            table[r, place] = int(table[0, place]) if place < shared.get(r, 0) else int(next(free))
    return table
