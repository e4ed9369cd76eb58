"""Verdicts on any device: those of every tile at once, as a handful of vectorised torch operations.

Not here: the lists that are made of them (`block_lists`), both by one Triton launch (`block_mask_triton`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from maskdsl.backends.tile_tables import Call
from maskdsl.backends.torch_statements import TorchFunction, torch_function
from maskdsl.ir.types import Table
from maskdsl.tiles.verdict import TILE, Verdict

SYMBOLS = ("b", "h", "q_len", "kv_len", *TILE)


def verdict_function(verdict: Verdict) -> TorchFunction:
    """`possible` and `certain` of a verdict as a function of the tiles' symbols."""
    return torch_function((verdict.possible, verdict.certain), SYMBOLS)


def tile_verdicts(
    function: TorchFunction, verdict: Verdict, call: Call, tables: Mapping[Table, Tensor]
) -> tuple[Tensor, Tensor]:
    """Which tiles are partial and which are full: two bool tensors [B, H, q tiles, k tiles].

    A tile that sticks out over a length is never full. `tables` holds the bound tables and the verdict's own.
    """
    q_tile = call.count(-(-call.q_len // verdict.q_block), 1, 1, -1, 1)
    k_tile = call.count(-(-call.kv_len // verdict.k_block), 1, 1, 1, -1)
    batch, heads = call.batch, call.heads
    q_low, k_low = q_tile * verdict.q_block, k_tile * verdict.k_block
    symbols = {
        "b": call.count(batch, -1, 1, 1, 1),
        "h": call.count(heads, 1, -1, 1, 1),
        "q_len": call.number(call.q_len),
        "kv_len": call.number(call.kv_len),
        "q_tile": q_tile,
        "k_tile": k_tile,
        "q_low": q_low,
        "k_low": k_low,
        "q_high": (q_low + verdict.q_block).clamp(max=call.q_len) - 1,
        "k_high": (k_low + verdict.k_block).clamp(max=call.kv_len) - 1,
    }
    possible, certain = function(symbols, tables, call.sizes)
    inside = (q_low + verdict.q_block <= call.q_len) & (k_low + verdict.k_block <= call.kv_len)
    full = possible & certain & inside
    shape = (batch, heads, q_tile.shape[2], k_tile.shape[3])
    return (possible & ~full).expand(shape), full.expand(shape)
