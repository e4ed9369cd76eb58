"""Where an expression is evaluated: what its names stand for, where its coordinates point, and what went wrong.

Not here: the evaluation itself (`reference_evaluate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.ir.nodes import Node, Value
from maskdsl.ir.types import BOOL, BUILT_IN_AXES, FLOAT, INT, Constant, Hole, Scalar, Table

Array = NDArray[Any]

DTYPES: dict[Scalar, type[np.generic]] = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}
"""How each type of the language is held: tables of other widths convert after the lookup, ints by wrapping."""


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A value for every lane (broadcastable arrays), and by its message every fault: the lanes in which it happened."""

    value: Array
    faults: Mapping[str, Array] = field(default_factory=dict)

    def only_where(self, taken: Array) -> Mapping[str, Array]:
        """The faults that happened in lanes that are taken."""
        both = {text: lanes & taken for text, lanes in self.faults.items()}
        return {text: lanes for text, lanes in both.items() if lanes.any()}


def merged(*groups: Mapping[str, Array]) -> Mapping[str, Array]:
    """All the faults of several values."""
    found: dict[str, Array] = {}
    for text, lanes in (pair for group in groups for pair in group.items()):
        found[text] = found[text] | lanes if text in found else lanes
    return found


def verify_faultless(lanes: Lanes) -> Array:
    """The value; raises AssertionError, naming the first fault, where a lane has one."""
    for text, where in lanes.faults.items():
        assert not where.any(), f"{text} (in {int(where.sum())} of {where.size} lanes)"
    return lanes.value


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What the names of one definition stand for; `sizes` are the lengths of its axes."""

    tables: Mapping[Table, Array]
    constants: Mapping[Constant, Lanes]
    masks: Mapping[Hole, Closure]
    sizes: Mapping[str, int]
    variables: Mapping[str, Lanes]


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A mask given as an argument: its names are those of the frame in which it is written."""

    node: Node
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A frame and a place: `coordinates` has `b h q k` and `score` as far as known, `lengths` those of the sequence.

    `memo` holds the values of the nodes that were read here, by identity.
    """

    frame: Frame
    coordinates: Mapping[str, Lanes]
    lengths: Mapping[str, Array]
    memo: dict[int, Lanes] = field(default_factory=dict)

    def within(self, frame: Frame) -> Scene:
        """The same place for the names of another frame."""
        return Scene(frame, self.coordinates, self.lengths)

    def moved(self, moves: Mapping[str, Lanes]) -> Scene:
        """The same names at another place."""
        return Scene(self.frame, {**self.coordinates, **moves}, self.lengths)


def as_lanes(value: Array | Value, scalar: Scalar) -> Lanes:
    """A value of a type of the language, without faults."""
    return Lanes(np.asarray(value).astype(DTYPES[scalar]))


def axis_sizes(tables: Mapping[Table, Array], around: Mapping[str, int]) -> dict[str, int]:
    """The lengths of a definition's axes: those of its tables, and the built-in ones of what is around it."""
    built_in = {axis: around[axis] for axis in BUILT_IN_AXES if axis in around}
    own = {axis: array.shape[i] for table, array in tables.items() for i, axis in enumerate(table.axes)}
    return {**built_in, **{axis: size for axis, size in own.items() if isinstance(axis, str)}}
