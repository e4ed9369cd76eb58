"""The tables that a verdict reads, in NumPy, and the ranges of bound tables.

Not here: what they are (`tile_table`), the same in torch (`backends.tile_tables`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from maskdsl.ir.nodes import Derived
from maskdsl.ir.types import INT, Table
from maskdsl.tiles.evaluate import DTYPES, Array, evaluate
from maskdsl.tiles.limits import SMALL, Limits, Ranges, known_limits
from maskdsl.tiles.tile_table import Over, Pool, Profile, TileTable
from maskdsl.tiles.verdict import Verdict

Tables = Mapping[Table, Array]


@dataclass(frozen=True, slots=True)
class Shape:
    """Batch rows, query heads, query and key lengths of one call."""

    b: int
    h: int
    q_len: int
    kv_len: int


def limits_of_arrays(tables: Tables, ranges: Ranges | None = None) -> Limits:
    """The static limits of int tables: those that facts give, and the usual ones unless a value lies beyond."""
    return known_limits(ranges or {}, [t for t, a in tables.items() if t.type is INT and a.size and not _is_small(a)])


def _is_small(values: Array) -> bool:
    return SMALL[0] <= int(values.min()) and int(values.max()) <= SMALL[1]


def with_tile_tables(verdict: Verdict, shape: Shape, tables: Tables, sizes: Mapping[str, int]) -> dict[Table, Array]:
    """The bound tables and those of the verdict, by the table as which formulas read them."""
    made = {spec.table: _tile_table(spec, shape, tables, sizes) for spec in verdict.tables}
    return {**tables, **made}


def _tile_table(spec: TileTable, shape: Shape, tables: Tables, sizes: Mapping[str, int]) -> Array:
    if isinstance(spec, Profile):
        return _profile(spec, shape, tables, sizes)
    return _pool(spec, shape, tables)


def _profile(spec: Profile, shape: Shape, tables: Tables, sizes: Mapping[str, int]) -> Array:
    length = shape.q_len if spec.side == "q" else shape.kv_len
    b, h = ("batch" in spec.table.axes), ("head" in spec.table.axes)
    symbols = {
        "b": np.arange(shape.b if b else 1).reshape(-1, 1, 1),
        "h": np.arange(shape.h if h else 1).reshape(1, -1, 1),
        spec.side: np.arange(length).reshape(1, 1, -1),
        "q_len": np.array(shape.q_len),
        "kv_len": np.array(shape.kv_len),
    }
    values = np.broadcast_to(
        evaluate(spec.node, symbols, tables, sizes), (shape.b if b else 1, shape.h if h else 1, length)
    )
    reduced = _reduce_tiles(values, 2, spec.block, length, spec.greatest)
    dropped = tuple(axis for axis, kept in ((0, b), (1, h)) if not kept)
    return reduced.squeeze(dropped)


def _reduce_tiles(values: Array, axis: int, block: int, length: int, greatest: bool) -> Array:
    """Least or greatest value of every `block` entries along an axis, of its first `length` entries."""
    function = np.maximum if greatest else np.minimum
    cut = np.take(values, np.arange(min(length, values.shape[axis])), axis=axis)
    if cut.dtype.kind == "f":
        cut = np.where(np.isnan(cut), np.inf if greatest else -np.inf, cut)
    return function.reduceat(cut, np.arange(0, cut.shape[axis], block), axis=axis)


def _pool(spec: Pool, shape: Shape, tables: Tables) -> Array:
    values: Array = tables[spec.source].astype(DTYPES[spec.source.type])
    for axis in reversed(range(len(spec.over))):
        match spec.over[axis]:
            case Over.Q_TILES:
                values = _reduce_tiles(values, axis, spec.q_block, shape.q_len, spec.greatest)
            case Over.K_TILES:
                values = _reduce_tiles(values, axis, spec.k_block, shape.kv_len, spec.greatest)
            case Over.WHOLE:
                length = values.shape[axis]
                values = _reduce_tiles(values, axis, length, length, spec.greatest).squeeze(axis)
    for number, (axis, levels) in enumerate(spec.ladders):
        values = _climb(values, axis + number, levels, spec.greatest)
    return np.atleast_1d(values)


def _climb(values: Array, axis: int, levels: int, greatest: bool) -> Array:
    """Level j holds the extreme of the 2**j entries from each on; the last entries stay as they are."""
    function = np.maximum if greatest else np.minimum
    size, found = values.shape[axis], [values]
    for level in range(min(levels, size.bit_length()) - 1):
        reach = np.minimum(np.arange(size) + 2**level, size - 1)
        found.append(function(found[-1], np.take(found[-1], reach, axis=axis)))
    return np.stack(found)


def derived_arrays(wanted: Iterable[Derived], tables: Tables) -> dict[Table, Array]:
    """The tables that passes added to a definition, int32, with the axes of their sources."""
    return {d.table: _run_ends(tables[d.source].astype(DTYPES[d.source.type]), d.axis, d.kind) for d in wanted}


def _run_ends(values: Array, axis: int, kind: str) -> Array:
    """Where the run of equal values around every place along an axis begins ("first"), or the next one ("end")."""
    rows = np.moveaxis(values, axis, -1)
    change = rows[..., 1:] != rows[..., :-1]
    edge = np.ones((*rows.shape[:-1], 1), bool)
    places = np.arange(rows.shape[-1])
    if kind == "first":
        found = np.maximum.accumulate(np.where(np.concatenate((edge, change), -1), places, 0), -1)
    else:
        ends = np.where(np.concatenate((change, edge), -1), places + 1, rows.shape[-1])
        found = np.minimum.accumulate(ends[..., ::-1], -1)[..., ::-1]
    return np.moveaxis(found, -1, axis).astype(np.int32)
