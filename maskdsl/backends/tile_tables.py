"""Makes the tables that a verdict reads, in torch on the tables' device: once per binding and pair of lengths.

Not here: what they are (`tiles.tile_table`); the same in NumPy (`tiles.classify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from maskdsl.backends.torch_statements import DTYPES, TorchFunction, torch_function
from maskdsl.ir.nodes import Node
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.types import Table
from maskdsl.tiles.tile_table import Over, Pool, Profile
from maskdsl.tiles.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Call:
    """What a call tells: batch rows, query heads, lengths in tokens, device, and the length of every axis by name."""

    batch: int
    heads: int
    q_len: int
    kv_len: int
    device: torch.device
    sizes: Mapping[str, int]

    def length(self, side: str) -> int:
        """The length of the queries ("q") or the keys ("k")."""
        return self.q_len if side == "q" else self.kv_len

    def number(self, value: int) -> Tensor:
        """An int as a tensor of no axes, made without a copy from the host, which a CUDA graph would not record."""
        return torch.full((), value, dtype=torch.int32, device=self.device)

    def count(self, stop: int, *shape: int) -> Tensor:
        """0, 1, … as int32 of the shape given."""
        return torch.arange(stop, dtype=torch.int32, device=self.device).view(shape)


def make_tile_tables(verdict: Verdict, call: Call, tables: Mapping[Table, Tensor]) -> dict[Table, Tensor]:
    """Every table of the verdict, by the table as which its formulas read it; none where there are no positions."""
    made: dict[Table, Tensor] = {}
    if not (call.q_len and call.kv_len):
        return made
    profiles: dict[int, tuple[Tensor, Tensor]] = {}
    for spec in verdict.tables:
        if isinstance(spec, Pool):
            made[spec.table] = _pool(spec, call, tables[spec.source])
            continue
        if id(spec.node) not in profiles:
            values = _values(spec, call, tables)
            profiles[id(spec.node)] = _extremes(values.unflatten(-1, (-1, spec.block)), -1)
        made[spec.table] = profiles[id(spec.node)][spec.greatest]
    return made


def _values(spec: Profile, call: Call, tables: Mapping[Table, Tensor]) -> Tensor:
    """The values of a profile's expression at every position, the last one repeated to whole tiles: [B if read, H if
    read, length].
    """
    function = _function(spec.node)
    present = [(name, n) for name, n in (("b", call.batch), ("h", call.heads)) if name in function.symbols]
    symbols = {n: call.number(x) for n, x in (("q_len", call.q_len), ("kv_len", call.kv_len)) if n in function.symbols}
    for place, (name, count) in enumerate(present):
        symbols[name] = call.count(count, *(-1 if i == place else 1 for i in range(len(present) + 1)))
    length = call.length(spec.side)
    whole = -(-length // spec.block) * spec.block
    places = call.count(whole, -1)
    symbols[spec.side] = places if whole == length else places.clamp_(max=length - 1)
    (values,) = function(symbols, tables, call.sizes)
    return values.expand(*(count for _, count in present), whole)


@lru_cache(maxsize=1024)
def _function(node: Node) -> TorchFunction:
    """A profile's expression as a function of what it reads."""
    return torch_function([node], sorted(symbols_read(node)[id(node)]))


def _extremes(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest value along an axis."""
    if values.dtype.is_floating_point or values.dtype is torch.bool:
        return _extreme(values, axis, False), _extreme(values, axis, True)
    least, greatest = torch.aminmax(values, dim=axis)
    return least, greatest


def _reduce_tiles(values: Tensor, axis: int, block: int, greatest: bool) -> Tensor:
    """The least or greatest value of every `block` entries along an axis; the last block may be shorter."""
    missing = -values.shape[axis] % block
    if missing:
        last = values.narrow(axis, values.shape[axis] - 1, 1)
        values = torch.cat([values, last.expand(*(missing if i == axis else -1 for i in range(values.dim())))], axis)
    grouped = values.unflatten(axis, (-1, block))
    return _extreme(grouped, axis + 1, greatest)


def _extreme(values: Tensor, axis: int, greatest: bool) -> Tensor:
    if values.dtype is torch.bool:
        return values.any(axis) if greatest else values.all(axis)
    if values.dtype.is_floating_point:
        values = values.nan_to_num(nan=torch.inf if greatest else -torch.inf, posinf=torch.inf, neginf=-torch.inf)
    return values.amax(axis) if greatest else values.amin(axis)


def _pool(spec: Pool, call: Call, source: Tensor) -> Tensor:
    values = source.to(DTYPES[spec.source.type])
    for axis in reversed(range(len(spec.over))):
        match spec.over[axis]:
            case Over.Q_TILES:
                cut = values.narrow(axis, 0, min(call.q_len, values.shape[axis]))
                values = _reduce_tiles(cut, axis, spec.q_block, spec.greatest)
            case Over.K_TILES:
                cut = values.narrow(axis, 0, min(call.kv_len, values.shape[axis]))
                values = _reduce_tiles(cut, axis, spec.k_block, spec.greatest)
            case Over.WHOLE:
                values = _extreme(values, axis, spec.greatest)
    for number, (axis, levels) in enumerate(spec.ladders):
        values = _climb(values, axis + number, levels, spec.greatest)
    return values if values.dim() else values.reshape(1)


def _climb(values: Tensor, axis: int, levels: int, greatest: bool) -> Tensor:
    """Level j holds the extreme of the 2**j entries from each on."""
    size, found = values.shape[axis], [values]
    for level in range(min(levels, size.bit_length()) - 1):
        reach = (torch.arange(size, device=values.device) + 2**level).clamp(max=size - 1)
        pair = torch.stack([found[-1], found[-1].index_select(axis, reach)])
        found.append(_extreme(pair, 0, greatest))
    return torch.stack(found)
