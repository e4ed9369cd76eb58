"""Makes the tables that a pass added to a definition out of the bound ones: the ends of runs of equal values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from maskdsl.ir.nodes import Derived
from maskdsl.ir.types import Table


def derived_tables(wanted: Iterable[Derived], tensors: Mapping[Table, Tensor]) -> dict[Table, Tensor]:
    """The derived tables, int32, with the axes and on the device of their sources."""
    return {d.table: run_ends(tensors[d.source], d.axis, d.kind) for d in wanted}


def run_ends(values: Tensor, axis: int, kind: str) -> Tensor:
    """Where the run of equal values around every place along an axis begins ("first"), or the next one ("end")."""
    rows = values.to(torch.int32).movedim(axis, -1)  # as the language reads them
    size = rows.shape[-1]
    change = rows[..., 1:] != rows[..., :-1]
    edge = change.new_ones((*rows.shape[:-1], 1))
    places = torch.arange(size, device=values.device)
    if kind == "first":
        found = torch.where(torch.cat((edge, change), -1), places, 0).cummax(-1).values
    else:
        ends = torch.where(torch.cat((change, edge), -1), places + 1, size)
        found = ends.flip(-1).cummin(-1).values.flip(-1)
    return found.to(torch.int32).movedim(-1, axis).contiguous()

