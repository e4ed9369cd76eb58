"""What a layout is: a substitution of coordinates and a validity condition, both expressions of the IR.

A program speaks of logical coordinates: request, head, position of query and key. A kernel counts physical ones: batch
row, head, place of query and key in memory. A layout gives the logical ones as expressions over the physical ones.

Not here: the layouts (a file each), carrying a definition over (`arrange`), their tensors (`binding.arrangements`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from maskdsl.ir.algebra import both
from maskdsl.ir.nodes import COORDINATES, LENGTHS, Literal, Lookup, Node, Symbol, literal
from maskdsl.ir.substitute import substitute
from maskdsl.ir.types import BOOL, INT, Axis, Scalar, Table

OWNER = "layout"
"""What the tables of layouts say of where they are declared."""

B, H, Q, K = (Symbol(name) for name in COORDINATES)
"""The physical coordinates."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Logical coordinates (`b h q k`) and lengths (`q_len kv_len`) by name, those that differ from the physical ones.

    `valid` says which physical pairs stand for a pair of one request; the logical coordinates of others mean nothing.
    `tables` are those that the expressions read. `counts` are the axes whose length in memory is not that of a
    program's tables: `batch`, `head`, `kv_head`, `position`.
    """

    name: str
    tables: tuple[Table, ...] = ()
    places: Mapping[str, Node] = field(default_factory=dict)
    valid: Node = field(default_factory=lambda: Literal(True, BOOL))
    counts: frozenset[str] = frozenset()

    def place(self, name: str) -> Node:
        """The logical coordinate or length of this name."""
        return self.places.get(name, Symbol(name))

    def then(self, inner: Layout) -> Layout:
        """Both, one behind the other: what is logical here is physical there."""
        mine = {name: self.place(name) for name in (*COORDINATES, *LENGTHS)}

        def moved(node: Node) -> Node:
            return substitute(node, coordinates=mine)

        places = {**self.places, **{name: moved(node) for name, node in inner.places.items()}}
        tables = tuple(dict.fromkeys((*self.tables, *inner.tables)))
        valid = both(self.valid, moved(inner.valid))
        return Layout(f"{self.name} + {inner.name}", tables, places, valid, self.counts | inner.counts)


def layout_table(name: str, *axes: Axis, type: Scalar = INT) -> Table:
    """A table of a layout: its axes are its own, whatever a definition calls its."""
    return Table(OWNER, name, type, tuple(f"layout_{a}" if isinstance(a, str) else a for a in axes))


def read(table: Table, *indices: Node) -> Lookup:
    """A lookup in a layout's table."""
    return Lookup(table, indices, table.type)


def number(value: int) -> Node:
    """An int of the layout that is known when it is made."""
    return literal(value)
