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
    """Where the run of equal values around every place along an axis begins ("first"), or the next one ("end").

    The values ascend along the axis, as the language reads them: as int32.
    """
    rows = values.to(torch.int32).movedim(axis, -1).contiguous()
    return torch.searchsorted(rows, rows, right=kind == "end", out_int32=True).movedim(-1, axis).contiguous()
