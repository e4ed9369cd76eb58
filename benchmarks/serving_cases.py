"""Batches of the serving benchmark: lengths, page tables, caches; and what is right, in float64.

Not here: who computes them (`serving_subjects`), how they are timed (`serving_measure`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

KINDS = ("uniform", "mixed", "zipf")


@dataclass(frozen=True, slots=True)
class Size:
    """How large the batches are: `requests` decode up to `longest` keys each; `prefills` requests have `new` tokens on
    `cached` ones; `planned` requests are planned.
    """

    requests: int
    longest: int
    prefills: int
    new: int
    cached: int
    planned: int
    heads: int
    kv_heads: int
    dim: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.requests}x{self.longest} {self.heads}/{self.kv_heads} d{self.dim} {self.dtype}"

    @property
    def key_bytes(self) -> int:
        """The bytes of one token's keys and values."""
        return 2 * self.kv_heads * self.dim * torch.empty((), dtype=getattr(torch, self.dtype)).element_size()


FULL = Size(64, 8192, 4, 2048, 6144, 256, 32, 8, 128, "bfloat16")
QUICK = Size(8, 1024, 2, 256, 256, 16, 8, 2, 128, "bfloat16")
TINY = Size(3, 96, 2, 20, 12, 4, 4, 2, 16, "float32")
"""For the CPU."""

Pool = tuple[Tensor, Tensor]
"""Keys and values of all pages, [tokens, kv_heads, D]."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A step: requests with `lengths` tokens, the last `news` of them new, in pages of `page` tokens.

    On the device: `table` [requests, entries], `seq_lens`, `query_start` and `query_request` (int32), queries `q`
    (tokens, heads, D), caches (pages, page, kv_heads, D).
    """

    size: Size
    page: int
    lengths: tuple[int, ...]
    news: tuple[int, ...]
    table: Tensor
    seq_lens: Tensor
    query_start: Tensor
    q: Tensor
    k_cache: Tensor
    v_cache: Tensor

    @property
    def starts(self) -> list[int]:
        """Where each request's queries begin."""
        return [0, *np.cumsum(self.news).tolist()]

    @property
    def bytes(self) -> int:
        """The bytes of the keys and values that are read."""
        return sum(self.lengths) * self.size.key_bytes

    @property
    def pairs(self) -> int:
        """The visible pairs of a causal mask, of one head."""
        return sum(n * new - new * (new - 1) // 2 for n, new in zip(self.lengths, self.news, strict=True))

    @property
    def told(self) -> dict[str, int]:
        """The numbers that an engine tells a plan."""
        decoded = [n for n in self.news if n <= 16]
        return {
            "longest_query": max(self.news), "decode_requests": len(decoded), "longest_decode": max(decoded, default=0),
        }  # fmt: skip

    def keys_of(self, request: int) -> Pool:
        """A request's keys and values in logical order, [tokens, kv_heads, D]."""
        length = self.lengths[request]
        pages = self.table[request, : -(-length // self.page)].long()
        return tuple(c[pages].flatten(0, 1)[:length] for c in (self.k_cache, self.v_cache))  # type: ignore[return-value]


def decode_lengths(kind: str, size: Size) -> tuple[int, ...]:
    """The lengths of decoded requests: all the longest, uniformly random from a 32nd of that on, or a zipf's."""
    match kind:
        case "uniform":
            return (size.longest,) * size.requests
        case "mixed":
            drawn = np.random.default_rng(0).integers(size.longest // 32, size.longest + 1, size.requests)
            return tuple(int(n) for n in drawn)
        case "zipf":
            return tuple(max(64, size.longest // (i + 1)) for i in range(size.requests))
    raise SystemExit(f"no lengths are called {kind}")


def make_pool(size: Size, tokens: int, device: torch.device) -> Pool:
    """Random keys and values."""
    draw = torch.Generator(device).manual_seed(0)
    shape = (tokens, size.kv_heads, size.dim)
    made = [torch.empty(shape, dtype=getattr(torch, size.dtype), device=device).normal_(generator=draw) for _ in "kv"]
    return made[0], made[1]


def make_batch(size: Size, page: int, lengths: tuple[int, ...], news: tuple[int, ...], pool: Pool) -> Batch:
    """A step over a pool, its pages shuffled."""
    device, tokens = pool[0].device, pool[0].shape[0]
    longest = max(size.longest, size.new + size.cached)
    rng = np.random.default_rng(1)
    pages = tokens // page
    order, table = iter(rng.permutation(pages)), np.full((len(lengths), -(-longest // page)), -1, np.int32)
    for row, length in zip(table, lengths, strict=True):
        for place in range(-(-length // page)):
            row[place] = next(order)
    draw = torch.Generator(device).manual_seed(2)
    shape = (sum(news), size.heads, size.dim)
    q = torch.empty(shape, dtype=pool[0].dtype, device=device).normal_(generator=draw)
    k_cache, v_cache = (x[: pages * page].view(pages, page, size.kv_heads, size.dim) for x in pool)

    def ints(values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.int32), device=device)

    starts = np.concatenate([[0], np.cumsum(news)])
    return Batch(size, page, lengths, news, ints(table), ints(lengths), ints(starts), q, k_cache, v_cache)


def relative_error(batch: Batch, out: Tensor) -> float:
    """The largest error of some queries of some requests, relative to the largest value that is right.

    The requests are the longest, the shortest and two others; of each up to 16 queries, the first and the last among
    them. Every request is computed alone, in float64.
    """
    order = sorted(range(len(batch.lengths)), key=lambda r: batch.lengths[r])
    chosen = {order[0], order[-1], order[len(order) // 3], order[len(order) // 2]}
    wrong, largest = 0.0, 0.0
    for r in sorted(chosen):
        rows = torch.linspace(0, batch.news[r] - 1, min(16, batch.news[r])).round().long().unique().to(out.device)
        right = _attend(batch, r, rows)
        found = out[batch.starts[r] + rows].double()
        wrong = max(wrong, float((found - right).abs().nan_to_num(nan=torch.inf).max()))
        largest = max(largest, float(right.abs().max()))
    return wrong / largest


def _attend(batch: Batch, request: int, rows: Tensor) -> Tensor:
    """Causal attention of some of a request's queries, [rows, heads, D] in float64."""
    size, length = batch.size, batch.lengths[request]
    group = size.heads // size.kv_heads
    k, v = (x.double().repeat_interleave(group, 1) for x in batch.keys_of(request))
    q = batch.q[batch.starts[request] + rows].double()
    scores = torch.einsum("qhd,khd->hqk", q, k) / size.dim**0.5
    position = length - batch.news[request] + rows
    future = torch.arange(length, device=q.device) > position[:, None]
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), v)
