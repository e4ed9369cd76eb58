"""A bound definition in a layout: another bound definition, which speaks of physical coordinates.

Not here: layouts and their tensors (`arrangements`), the substitution itself (`layouts.arrange`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskdsl.binding.arrangements import Arrangement
from maskdsl.binding.bound_texts import size_not_told
from maskdsl.binding.lowered import Lowering
from maskdsl.binding.tables import BoundTables, axis_sizes
from maskdsl.ir.nodes import LENGTHS
from maskdsl.layouts.arrange import LOGICAL, arrange
from maskdsl.source.diagnostic import MaskError

if TYPE_CHECKING:
    from maskdsl.binding.bound import Bound


def arranged(bound: Bound, arrangement: Arrangement) -> Bound:
    """The definition of `bound`, over its tables, in the physical coordinates of a layout.

    Tables keep their logical indices: `batch` is the request, `position` the logical place. `q_len` and `kv_len`, where
    `bind(sizes=…)` gave them, are the lengths of the call, which are physical. Raises MaskError E0609
    where a size that the layout changes must be known and is not.
    """
    layout = arrangement.layout
    logical = {**arrangement.sizes, **bound.sizes}
    made = arrange(bound.variant, layout, logical)
    tables = bound.bound_tables
    tensors = {made.tables[t]: x for t, x in tables.tensors.items()} | dict(arrangement.tensors)
    converted = frozenset(made.tables[t] for t in tables.converted)
    carried = axis_sizes(tensors)
    stay = {"head", "kv_head"} - layout.counts | {*LENGTHS}
    physical = {axis: n for axis, n in bound.sizes.items() if axis in stay}
    lowering = Lowering(made.variant)
    unknown = sorted(a.removeprefix(LOGICAL) for a in lowering.needed - carried.keys() if a.startswith(LOGICAL))
    if unknown:
        raise MaskError(size_not_told(bound.variant.name, unknown[0], bound.variant.span))
    there = type(bound)(lowering, BoundTables(tensors, converted, carried), physical)
    there.layout = kernel_layout(layout.name, bound.layout)
    return there


def kernel_layout(name: str, inner: str) -> str:
    """What kernels are told of a layout: packed queries find in a page table, by query and key, whether a key's page is
    their own.
    """
    if "packed + paged" in name:
        return "paged pairs"
    return next((known for known in ("paged", "packed") if known in name), inner)
