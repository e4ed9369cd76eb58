"""The tables that a verdict reads: values of a program reduced over tiles, rows or ranges, made once per binding.

Not here: how they are computed (the backends), where they come from (`verdict`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from maskdsl.ir.nodes import Node
from maskdsl.ir.types import Table


class Over(Enum):
    """What happens to one axis of a looked-up table: kept, or reduced over tiles of queries, of keys, or whole."""

    KEPT = "kept"
    Q_TILES = "q_tiles"
    K_TILES = "k_tiles"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The least or greatest value of an expression of one side over every `block` positions.

    `side` is "q" or "k"; `node` reads that coordinate and perhaps b and h, never the other side. The table has the
    axes batch and head where `node` reads b and h, and then one entry per tile or part of that side; only positions
    within the sequence count. NaN counts as -inf in a minimum and as inf in a maximum.
    """

    table: Table
    node: Node
    side: str
    block: int
    greatest: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The least or greatest value of a bound table over tiles of some of its axes (`over`, one entry an axis).

    A tile is `q_block` or `k_block` entries. A table that is reduced along all its axes has one element.

    Each of `ladders`, an axis (0-based position in the source's axes, none of which is then WHOLE) and a number of
    levels, adds an axis in front, the last of them first: entry `[j, …, i]` covers the 2**j entries from i on along
    that axis, cut at its end.
    """

    table: Table
    source: Table
    over: tuple[Over, ...]
    q_block: int
    k_block: int
    greatest: bool
    ladders: tuple[tuple[int, int], ...] = ()


TileTable = Profile | Pool
