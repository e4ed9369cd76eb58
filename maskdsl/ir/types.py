"""The scalar types, the axes and what a parameter may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from maskdsl.source.text import NOWHERE, Span

Axis = str | int
"""An axis of a table: `batch`, `head`, `kv_head`, `position`, a fresh name, or a fixed size."""

BUILT_IN_AXES = ("batch", "head", "kv_head", "position")


class Scalar(Enum):
    """The type of a value: bool, int (int32, wrapping) or float (float32; the reference uses float64)."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"

    __hash__ = object.__hash__  # in C: tables are looked up in every call

    def __str__(self) -> str:
        return self.value


BOOL, INT, FLOAT = Scalar.BOOL, Scalar.INT, Scalar.FLOAT


@dataclass(frozen=True, slots=True)
class Table:
    """A tensor given when tables are bound: rank 1 to 4, or rank 0 for `int[]` (stored as one element).

    `owner` is the definition that declares it, so that equal names of two definitions stay apart.
    """

    owner: str
    name: str
    type: Scalar
    axes: tuple[Axis, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Constant:
    """A parameter fixed when the variant is compiled."""

    owner: str
    name: str
    type: Scalar
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Hole:
    """A parameter that takes a mask."""

    owner: str
    name: str
    span: Span = NOWHERE


Parameter = Table | Constant | Hole
