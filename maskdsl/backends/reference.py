"""THE meaning of the language, in NumPy: what every backend is tested against.

Evaluates definitions as they are written, untouched by any pass: int32 that wraps, floats as float64. A lookup out of
bounds in a lane that matters is our own mistake, for the checker proves it away: an AssertionError names the table.
Not here: the softmax (`reference_attention`), how an expression is read (`reference_evaluate`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from maskdsl.backends.reference_evaluate import read
from maskdsl.backends.reference_scene import (
    Array,
    Closure,
    Frame,
    Lanes,
    Scene,
    as_lanes,
    axis_sizes,
    verify_faultless,
)
from maskdsl.ir.nodes import COORDINATES, Call, Node, Value, Variant
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Parameter, Table

Tables = Mapping[Any, Array]
Constants = Mapping[Any, Value]
Masks = Mapping[Any, Node | Variant]
"""Arguments by parameter, or by the parameter's name."""

Index = int | Array
Length = int | Array
T = TypeVar("T")

LANES_AT_ONCE = 1 << 19
"""How many lanes are evaluated together: bounds the memory, for every node's value is kept for a while."""


def evaluate(
    node: Node,
    *,
    coordinates: Mapping[str, Array],
    tables: Mapping[Table, Array],
    constants: Mapping[Constant, Value],
    sizes: Mapping[str, int],
    lengths: Mapping[str, Array],
    score: Array | None = None,
    holes: Mapping[Hole, Node] | None = None,
) -> Array:
    """The value of one expression (int32, float64 or bool), as broadcast as its operands make it.

    `coordinates` gives broadcastable int arrays for `b h q k`, and for variables of quantifiers around the expression;
    a mask in `holes` may use the same names. Raises AssertionError for a fault in any lane, KeyError for a name
    without a value, MaskError E0406 for a program without end.
    """
    place = {name: as_lanes(value, INT) for name, value in coordinates.items()}
    if score is not None:
        place["score"] = as_lanes(score, FLOAT)
    variables = {name: value for name, value in place.items() if name not in (*COORDINATES, "score")}
    given = {c: as_lanes(value, c.type) for c, value in constants.items()}
    open_frame = Frame(tables, given, {}, sizes, variables)
    masks = {hole: Closure(mask, open_frame) for hole, mask in (holes or {}).items()}
    return verify_faultless(read(node, Scene(replace(open_frame, masks=masks), place, lengths)))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A definition with its arguments, over [B, H, Q, K].

    Coordinates are 1-D int32 arrays, lengths int32 of no axis or one value a batch row.
    The query in row i stands at `q[i]`; rows whose `q - q_offset` reaches `q_len` are padding, and so are keys at
    `kv_len` and beyond.
    """

    frame: Frame
    b: Array
    h: Array
    q: Array
    k: Array
    q_len: Array
    kv_len: Array
    q_offset: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, Q, K)."""
        return len(self.b), len(self.h), len(self.q), len(self.k)

    def chunks(self) -> Iterator[slice]:
        """Slices of the query rows that together make no more than `LANES_AT_ONCE` lanes, or one row."""
        rows = max(1, LANES_AT_ONCE // max(1, len(self.b) * len(self.h) * len(self.k)))
        yield from (slice(start, start + rows) for start in range(0, len(self.q), rows))

    def value(self, node: Node, rows: slice, score: Array | None = None) -> Array:
        """The node's value in these rows, bool, int32 or float64, broadcastable to [B, H, rows, K].

        Raises AssertionError for a fault in a lane that is no padding.
        """
        coordinates = {
            "b": as_lanes(self.b[:, None, None, None], INT),
            "h": as_lanes(self.h[:, None, None], INT),
            "q": as_lanes(self.q[rows, None], INT),
            "k": as_lanes(self.k, INT),
        }
        if score is not None:
            coordinates["score"] = as_lanes(score, FLOAT)
        lengths = {"q_len": self._per_row(self.q_len), "kv_len": self._per_row(self.kv_len)}
        found = read(node, Scene(self.frame, coordinates, lengths))
        return verify_faultless(Lanes(found.value, found.only_where(self.inside(rows))))

    def inside(self, rows: slice) -> Array:
        """Which lanes are no padding, bool, broadcastable to [B, H, rows, K]."""
        inside: Array = (self.q[rows, None] - self.q_offset < self._per_row(self.q_len)) & (
            self.k < self._per_row(self.kv_len)
        )
        return inside

    def visible(self, mask: Node | None, rows: slice) -> Array:
        """Which keys the queries of these rows see, bool [B, H, rows, K]."""
        inside = self.inside(rows)
        seen = inside if mask is None else inside & self.value(mask, rows)
        count = len(self.q[rows])
        return np.broadcast_to(seen, (len(self.b), len(self.h), count, len(self.k)))

    def _per_row(self, length: Array) -> Array:
        return length[self.b][:, None, None, None] if length.ndim else length


def lay_out(
    variant: Variant,
    *,
    b: Index,
    h: Index,
    q: Index,
    k: Index,
    tables: Tables | None = None,
    constants: Constants | None = None,
    masks: Masks | None = None,
    q_len: Length | None = None,
    kv_len: Length | None = None,
    q_offset: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> Grid:
    """The grid of a definition with its arguments, by parameter or by name; constants fall back on their defaults.

    `b h q k` are sizes or 1-D index arrays (q counts from `q_offset` when it is a size); lengths are one int or an
    int array [B]. Axis sizes come from `sizes`, then the tables, then the grid. Raises KeyError for a missing argument.
    """
    places = (_indices(b), _indices(h), _indices(q, q_offset), _indices(k))
    held = {t: np.asarray(_argument(tables, t)) for t in variant.tables}
    ends = [int(p.max(initial=0)) + 1 for p in places]
    grid = {"batch": ends[0], "head": ends[1], "kv_head": ends[1], "position": max(ends[2:])}
    known = {**axis_sizes(held, grid), **(sizes or {})}
    frame = _with_constants(variant, Frame(held, {}, {}, known, {}), constants)
    closures = {m: Closure(_mask_node(_argument(masks, m)), frame) for m in variant.holes}
    lengths = (
        np.asarray(ends[2] - q_offset if q_len is None else q_len, np.int32),
        np.asarray(ends[3] if kv_len is None else kv_len, np.int32),
    )
    return Grid(replace(frame, masks=closures), *places, *lengths, q_offset)


def _indices(index: Index, start: int = 0) -> Array:
    return np.arange(start, start + index, dtype=np.int32) if isinstance(index, int) else np.asarray(index, np.int32)


def _argument(given: Mapping[Any, T] | None, parameter: Parameter) -> T:
    arguments = given or {}
    return arguments[parameter] if parameter in arguments else arguments[parameter.name]


def _with_constants(variant: Variant, frame: Frame, constants: Constants | None) -> Frame:
    """The frame with every constant's value; a default may read the constants before it."""
    defaults = dict(variant.defaults)
    given: Constants = constants or {}
    for constant in variant.constants:
        if constant in given or constant.name in given:
            value = as_lanes(_argument(given, constant), constant.type)
        elif constant in defaults:
            value = read(defaults[constant], Scene(frame, {}, {}))
        else:
            raise KeyError(constant.name)
        frame = replace(frame, constants={**frame.constants, constant: value})
    return frame


def _mask_node(mask: Node | Variant) -> Node:
    return Call(mask, (), BOOL, mask.span) if isinstance(mask, Variant) else mask


def mask(variant: Variant, **arguments: Any) -> Array:
    """Which keys are visible, bool [B, H, Q, K]; the arguments are those of `lay_out`.

    Keys and queries at or past their sequence's length are not. Raises AssertionError for a fault in another lane.
    """
    grid = lay_out(variant, **arguments)
    seen = np.empty(grid.shape, np.bool_)
    for rows in grid.chunks():
        seen[:, :, rows] = grid.visible(variant.mask, rows)
    return seen


def scores(variant: Variant, score: Array, **arguments: Any) -> Array:
    """What scaled scores [B, H, Q, K] become, float64 [B, H, Q, K]; the arguments are those of `lay_out`.

    No mask is applied. Raises AssertionError for a fault in a lane that is no padding.
    """
    grid = lay_out(variant, **arguments)
    given = np.broadcast_to(np.asarray(score, np.float64), grid.shape)
    if variant.score is None:
        return given.copy()
    changed = np.empty(grid.shape)
    for rows in grid.chunks():
        changed[:, :, rows] = grid.value(variant.score, rows, given[:, :, rows])
    return changed
