"""`PagedAttention` in the plainest torch: each request's pages gathered, scores masked, softmax. Causal; slow."""

from __future__ import annotations

import torch
from torch import Tensor


class GatheredAttention:
    """The same three methods, a request at a time, in float64."""

    def plan(self, page_table: Tensor, seq_lens: Tensor, query_start: Tensor, **known: int) -> None:
        self.table, self.lengths, self.starts = page_table.long(), seq_lens.tolist(), query_start.tolist()

    def append(self, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor) -> None:
        for new, cache in ((k, k_cache), (v, v_cache)):
            for row, length in enumerate(self.lengths):
                first, end = self.starts[row : row + 2]
                for token in range(first, end):
                    at = length - (end - token)
                    cache[self.table[row, at // cache.shape[1]], at % cache.shape[1]] = new[token]

    def run(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        out = torch.zeros_like(q)
        for row, length in enumerate(self.lengths):
            first, end = self.starts[row : row + 2]
            pages = self.table[row, : -(-length // k_cache.shape[1])]
            group = q.shape[1] // k_cache.shape[2]
            k, v = (c[pages].flatten(0, 1)[:length].double().repeat_interleave(group, 1) for c in (k_cache, v_cache))
            scores = torch.einsum("qhd,khd->hqk", q[first:end].double(), k) / q.shape[2] ** 0.5
            logical = torch.arange(length - (end - first), length)
            scores = scores.masked_fill(torch.arange(length) > logical[:, None], -torch.inf)
            out[first:end] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).to(q.dtype)
        return out
