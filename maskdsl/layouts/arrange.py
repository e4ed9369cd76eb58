"""Carries a definition over to a layout: the same meaning, said in physical coordinates.

Nothing is known here of the definition: its coordinates and lengths are replaced by the layout's, its tables keep their
logical indices (`batch` is the request, `position` the logical place), and its mask is joined with the validity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from maskdsl.ir.algebra import both
from maskdsl.ir.nodes import COORDINATES, LENGTHS, Derived, Literal, Node, Size, Variant, literal
from maskdsl.ir.substitute import substitute
from maskdsl.ir.types import BOOL, Axis, Table
from maskdsl.layouts.layout import Layout
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes

LOGICAL = "logical_"
"""What the names of a definition's own axes begin with, where a layout has other ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """A definition in a layout. `tables` says under which table each table of the definition stands in it."""

    variant: Variant
    tables: Mapping[Table, Table]


def arrange(variant: Variant, layout: Layout, sizes: Mapping[str, int]) -> Arranged:
    """The definition in physical coordinates; `sizes` are the lengths of the logical axes, as far as they are known.

    The facts of the definition are used up before: they speak of logical coordinates. Raises MaskError E0403, E0406.
    """
    flat = run_passes(variant, Context(sizes), after="ascending_intervals")
    derived = tuple(d.table for d in flat.derived)
    renamed = {t: _renamed(t) for t in (*flat.tables, *derived)}
    places = {name: layout.place(name) for name in (*COORDINATES, *LENGTHS)}
    lengths = {a: _size(a, layout, sizes) for a in ("batch", "head", "kv_head", "position")}

    def moved(node: Node | None) -> Node | None:
        return None if node is None else substitute(node, tables=renamed, coordinates=places, sizes=lengths)

    mask = both(layout.valid, moved(flat.mask) or Literal(True, BOOL))
    return Arranged(
        replace(
            flat, parameters=(*(renamed[t] for t in flat.tables), *layout.tables), defaults=(), mask=mask,
            score=moved(flat.score), sink=moved(flat.sink), scale=moved(flat.scale), normalize=moved(flat.normalize),
            facts=(), derived=tuple(_moved(d, renamed) for d in flat.derived),
        ),
        renamed,
    )  # fmt: skip


def _moved(derived: Derived, renamed: Mapping[Table, Table]) -> Derived:
    return replace(derived, table=renamed[derived.table], source=renamed[derived.source])


def _renamed(table: Table) -> Table:
    """The table with axes that no physical size is held against."""
    return replace(table, axes=tuple(_logical(a) for a in table.axes))


def _logical(axis: Axis) -> Axis:
    return f"{LOGICAL}{axis}" if axis in ("batch", "head", "kv_head", "position") else axis


def _size(axis: str, layout: Layout, sizes: Mapping[str, int]) -> Node:
    """The length of a logical axis: a number where it is known, the physical one where the two are the same."""
    if axis in sizes:
        return literal(sizes[axis])
    return Size(f"{LOGICAL}{axis}") if axis in layout.counts else Size(axis)
