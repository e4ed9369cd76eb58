"""The patterns of the kernel benchmark: each in the language, and by hand as FlexAttention's examples write it.

Not here: running them (`kernels_measure`), which of them are run (`kernels`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WINDOW, CAP, CHUNK, LOCAL = 1024, 50.0, 1024, 128

Tables = dict[str, Tensor]
Mod = Callable[..., Tensor]


@dataclass(frozen=True)
class Size:
    """One call: q is [batch, heads, length, dim], k and v have `kv_heads`."""

    dim: int = 128
    length: int = 8192
    batch: int = 1
    heads: int = 32
    kv_heads: int = 8

    def __str__(self) -> str:
        return f"{self.batch}x{self.heads}/{self.kv_heads} {self.length} d{self.dim}"


@dataclass(frozen=True)
class ByHand:
    """What a user of FlexAttention writes; `sink` is a logit for every head that joins the denominator afterwards."""

    mask_mod: Mod
    score_mod: Mod | None = None
    sink: Tensor | None = None


@dataclass(frozen=True)
class Pattern:
    """A definition's text, its tables for a size, and the same by hand over those tables.

    `approximates` says that the fast forms of the GPU change its text; `sdpa` that torch's own attention has it.
    """

    name: str
    text: str
    by_hand: Callable[[Tables, Size], ByHand]
    tables: Callable[[Size], Tables] = lambda size: {}
    approximates: bool = False
    sdpa: bool = False


def causal(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
    """A query sees the keys up to its own."""
    return q_idx >= kv_idx


def _window(size: int) -> Mod:
    def sliding_window(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return (q_idx >= kv_idx) & (q_idx - kv_idx < size)

    return sliding_window


def _softcap(tables: Tables, size: Size) -> ByHand:
    def soft_cap(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return CAP * torch.tanh(score / CAP)

    return ByHand(causal, soft_cap)


def _documents(tables: Tables, size: Size) -> ByHand:
    document = tables["document"]

    def document_causal(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return (document[b, q_idx] == document[b, kv_idx]) & (q_idx >= kv_idx)

    return ByHand(document_causal)


def _alibi(tables: Tables, size: Size) -> ByHand:
    slope = tables["slope"]

    def alibi(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return score + (kv_idx - q_idx) * slope[h]

    return ByHand(causal, alibi)


def _prefix(tables: Tables, size: Size) -> ByHand:
    prefix = tables["prefix"]

    def prefix_lm(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return (kv_idx < prefix[b]) | (q_idx >= kv_idx)

    return ByHand(prefix_lm)


def _chunked(tables: Tables, size: Size) -> ByHand:
    def chunked(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return (q_idx // CHUNK == kv_idx // CHUNK) & (q_idx >= kv_idx)

    return ByHand(chunked)


def document_numbers(size: Size) -> Tables:
    """Ascending document numbers, about 2,000 tokens each, int32 [batch, length], the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    starts = torch.rand(size.batch, size.length, generator=generator) < 1 / 2000
    return {"document": starts.cumsum(1, dtype=torch.int32)}


def _slopes(size: Size) -> Tables:
    return {"slope": torch.exp2(-8.0 * torch.arange(1, size.heads + 1) / size.heads)}


def _prefixes(size: Size) -> Tables:
    return {"prefix": torch.tensor([size.length // 4 - 3 * row for row in range(size.batch)], dtype=torch.int32)}


def _sinks(size: Size) -> Tables:
    return {"sink_logit": torch.linspace(-1.0, 3.0, size.heads)}


PATTERNS: tuple[Pattern, ...] = (
    Pattern("causal", "mask m = k <= q", lambda tables, size: ByHand(causal), sdpa=True),
    Pattern("sliding window 1024", f"mask m = 0 <= q - k < {WINDOW}", lambda tables, size: ByHand(_window(WINDOW))),
    Pattern("causal, softcap 50", f"variant v {{ mask = k <= q score = {CAP} * tanh(score / {CAP}) }}", _softcap,
            approximates=True),
    Pattern("packed causal", """
        mask m(document: int[batch, position]) = document[b, q] == document[b, k] and k <= q
            requires ascending(document, position)""", _documents, document_numbers),
    Pattern("ALiBi", "variant v(slope: float[head]) { mask = k <= q score = score - slope[h] * (q - k) }", _alibi,
            _slopes),
    Pattern("prefix-LM", "mask m(prefix: int[batch]) = k <= q or k < prefix[b] requires prefix[b] >= 0", _prefix,
            _prefixes),
    Pattern("chunked 1024", f"mask m = k <= q and q // {CHUNK} == k // {CHUNK}", _chunked),
    Pattern("GPT-OSS local", f"""
        variant v(sink_logit: float[head]) {{ mask = 0 <= q - k < {LOCAL} sink = sink_logit[h] }}""",
            lambda tables, size: ByHand(_window(LOCAL), sink=tables["sink_logit"]), _sinks),
)  # fmt: skip

BY_NAME = {p.name: p for p in PATTERNS}


def on(tables: Tables, device: torch.device) -> Tables:
    """The tables on a device."""
    return {name: table.to(device) for name, table in tables.items()}


def visible_pairs(hand: ByHand, size: Size, device: torch.device) -> int:
    """How many (batch, query, key) triples the mask keeps, counted; the patterns' masks are the same for all heads."""
    key, head = torch.arange(size.length, device=device), torch.zeros((), dtype=torch.int64, device=device)
    total, rows = 0, max(1, (1 << 26) // size.length)
    for b in range(size.batch):
        row = torch.full((), b, device=device)
        for start in range(0, size.length, rows):
            query = torch.arange(start, min(start + rows, size.length), device=device)[:, None]
            total += int(hand.mask_mod(row, head, query, key).sum())
    return total


def flops(pairs: int, size: Size, backward: bool) -> float:
    """Floating-point operations of the visible pairs: two products forward, five backward, of 2 * dim each."""
    return pairs * size.heads * size.dim * (10.0 if backward else 4.0)


def qkv(size: Size, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and the gradient of the output, standard normal; the same for every implementation."""
    generator = torch.Generator(device).manual_seed(0)
    made: list[Any] = []
    for heads in (size.heads, size.kv_heads, size.kv_heads, size.heads):
        shape = (size.batch, heads, size.length, size.dim)
        made.append(torch.randn(shape, generator=generator, device=device, dtype=dtype))
    return made[0], made[1], made[2], made[3]
