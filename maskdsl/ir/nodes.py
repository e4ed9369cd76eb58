"""The nodes of the IR: an expression graph over logical coordinates.

Nodes compare by identity; the pass `share` makes structurally equal nodes one object. Every node knows its scalar
`type` and the `span` of the text it came from.

Not here: what an operation means or costs (`ops`), walking and rewriting (`walk`), text (`print`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maskdsl.ir.types import BOOL, FLOAT, INT, Axis, Constant, Hole, Parameter, Scalar, Table
from maskdsl.source.text import NOWHERE, Span

COORDINATES = ("b", "h", "q", "k")
"""Batch row, query head, and the logical positions of query and key: all int, all 0-based."""

LENGTHS = ("q_len", "kv_len")
"""Lengths of the current sequence (they may differ per batch row)."""

Value = bool | int | float


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A value written in the text, or folded by a pass."""

    value: Value
    type: Scalar
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A coordinate (`b h q k`), a length (`q_len kv_len`), `score`, or a quantifier's variable (any other name).

    Names of quantifier variables are unique within a definition.
    """

    name: str
    type: Scalar = INT
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """The length of an axis of one of the tables, or of `batch`, `head`, `kv_head`, `position`; at least 1."""

    axis: str
    type: Scalar = INT
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """A constant parameter whose value is not known yet."""

    constant: Constant
    type: Scalar
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A row of the table of functions applied to arguments; `name` is the row's key in `ops.OPS`.

    `hint` is the name a `where` gave to the value, for readable output.
    """

    name: str
    args: tuple[Node, ...]
    type: Scalar
    span: Span = NOWHERE
    hint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """`table[indices]`; no indices for a one-element table such as `int[]`."""

    table: Table
    indices: tuple[Node, ...]
    type: Scalar
    span: Span = NOWHERE
    hint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Quantified:
    """`any`, `all` or `sum` of `body` for `variable` in `range(start, stop)`; the bounds are constants or sizes."""

    kind: str
    variable: str
    start: Node
    stop: Node
    body: Node
    type: Scalar
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Ascending:
    """The fact that a table never decreases along `axis` (0-based position in `table.axes`)."""

    table: Table
    axis: int
    type: Scalar = BOOL
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Another definition's body with its parameters replaced; a Table argument stands for a Table parameter.

    `arguments` pairs every parameter of `target` with a Node (constants, masks) or a Table. A score's body reads
    the `score` of the place where the call stands.
    """

    target: Variant
    arguments: tuple[tuple[Parameter, Node | Table], ...]
    type: Scalar
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """The mask given for a mask parameter, at the coordinates of this place."""

    hole: Hole
    type: Scalar = BOOL
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """`body at (q = …, k = …)`: all the moves happen at once; the moved values are read at this place.

    Movable are `b h q k` and, where body reads it, `score`.
    """

    body: Node
    moves: tuple[tuple[str, Node], ...]
    type: Scalar
    span: Span = NOWHERE


Node = Literal | Symbol | Size | Use | Op | Lookup | Quantified | Ascending | Call | Fill | Moved


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """A table made from a bound one when tables are bound: the ends of the runs of equal values along an axis.

    `kind` "first" holds, for every place, the first place of its run; "end" the place behind the run's last. `source`
    is ascending along `axis`; `table` has its axes and is int.
    """

    table: Table
    source: Table
    axis: int
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A definition: a mask (`mask` alone), a score (`score` alone) or a variant (any field).

    `facts` are bool nodes: conditions on constants, and statements about tables that hold for every value of the
    coordinates in them. `defaults` gives the default of the constants that have one. `normalize` is bool or None.
    `derived` lists the tables beyond the parameters that a pass made use of.
    """

    name: str
    kind: str
    parameters: tuple[Parameter, ...] = ()
    defaults: tuple[tuple[Constant, Node], ...] = ()
    mask: Node | None = None
    score: Node | None = None
    scale: Node | None = None
    sink: Node | None = None
    normalize: Node | None = None
    facts: tuple[Node, ...] = ()
    derived: tuple[Derived, ...] = ()
    doc: str = ""
    span: Span = NOWHERE

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables among the parameters, in order."""
        return tuple(p for p in self.parameters if isinstance(p, Table))

    @property
    def constants(self) -> tuple[Constant, ...]:
        """The constants among the parameters, in order."""
        return tuple(p for p in self.parameters if isinstance(p, Constant))

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The mask parameters, in order."""
        return tuple(p for p in self.parameters if isinstance(p, Hole))

    @property
    def roots(self) -> tuple[tuple[str, Node], ...]:
        """The expressions that are present, by field name."""
        fields = ("mask", "score", "scale", "sink", "normalize")
        return tuple((f, n) for f in fields if (n := getattr(self, f)) is not None)


def literal(value: Value, span: Span = NOWHERE) -> Literal:
    """A literal of the type that the Python value has."""
    if isinstance(value, bool):
        return Literal(value, BOOL, span)
    return Literal(value, INT if isinstance(value, int) else FLOAT, span)


__all__ = [
    "COORDINATES", "LENGTHS", "Ascending", "Axis", "Call", "Derived", "Fill", "Literal", "Lookup", "Moved", "Node",
    "Op", "Quantified", "Size", "Symbol", "Use", "Value", "Variant", "literal",
]
