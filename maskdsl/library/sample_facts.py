"""Whether facts hold of tables that are only tried: yes or no, without a word about why.

Not here: what a user is told of tables that break a fact (`binding.facts`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.backends.reference_evaluate import read
from maskdsl.backends.reference_scene import Frame, Lanes, Scene, as_lanes
from maskdsl.ir.nodes import LENGTHS, Ascending, Lookup, Node, Op, Size, Symbol
from maskdsl.ir.types import INT, Table
from maskdsl.ir.walk import topological
from maskdsl.source.diagnostic import Diagnostic, MaskError

Arrays = Mapping[Table, NDArray[Any]]

COMPARISONS = ("eq", "le", "ge", "lt", "gt")

REACH = {"b": "batch", "h": "head", "q": "position", "k": "position"}
"""A fact holds for every value of the coordinates in it, along these axes."""


MOST_PLACES = 1 << 24
"""How many places a fact may speak of."""


def hold(facts: Sequence[Node], arrays: Arrays, sizes: Mapping[str, int]) -> bool:
    """Whether every fact holds; a lookup out of bounds counts as no.

    Raises MaskError E0605 for a fact that speaks of too many places to look at.
    """
    return all(_holds(f, arrays, sizes) for f in sorted(facts, key=_depth))


def decidable(facts: Sequence[Node], tables: Collection[Table], sizes: Collection[str]) -> list[Node]:
    """The facts that speak of no other tables and no other sizes than these."""
    return [f for f in facts if _tables_of(f) <= {*tables} and _axes_of(f) <= {*sizes}]


def _tables_of(fact: Node) -> set[Table]:
    return {n.table for n in topological(fact) if isinstance(n, Lookup | Ascending)}


def _axes_of(fact: Node) -> set[str]:
    nodes = list(topological(fact))
    reach = {REACH[n.name] for n in nodes if isinstance(n, Symbol) and n.name in REACH}
    return reach | {n.axis for n in nodes if isinstance(n, Size)}


def compared_with_sizes(facts: Sequence[Node], sizes: Mapping[str, int]) -> set[int]:
    """The values, as far as these sizes tell them, that the facts compare the size of an axis with."""
    found = set()
    for node in topological(facts):
        if isinstance(node, Op) and node.name in COMPARISONS and any(isinstance(a, Size) for a in node.args):
            others = [a for a in node.args if _axes_of(a) <= {*sizes} and not _tables_of(a) and not _symbols_of(a)]
            found |= {int(_value(a, {}, {}, sizes).value) for a in others if a.type is INT}
    return found


def about_sizes(facts: Sequence[Node]) -> list[Node]:
    """The facts that speak of no table's values."""
    return [f for f in facts if not _tables_of(f)]


def _depth(fact: Node) -> int:
    """Facts with fewer lookups come first: they are what keeps the others' indices in bounds."""
    return sum(isinstance(n, Lookup) for n in topological(fact))


def _symbols_of(node: Node) -> set[str]:
    return {n.name for n in topological(node) if isinstance(n, Symbol)}


def places_of(fact: Node, sizes: Mapping[str, int]) -> int:
    """How many places a fact speaks of: all those that its coordinates reach."""
    return prod(sizes[REACH[name]] for name in _symbols_of(fact) & REACH.keys())


def _holds(fact: Node, arrays: Arrays, sizes: Mapping[str, int]) -> bool:
    names = _symbols_of(fact) & REACH.keys()
    if (count := places_of(fact, sizes)) > MOST_PLACES:
        told = f"`{' '.join(fact.span.text.split())}` speaks of {count:,} places here, too many to look at"
        raise MaskError(Diagnostic("E0605", told, fact.span, f"at most {MOST_PLACES:,} are looked at"))
    place = {
        name: as_lanes(np.arange(sizes[REACH[name]]).reshape([-1 if i == j else 1 for j in range(len(names))]), INT)
        for i, name in enumerate(sorted(names))
    }
    found = _value(fact, place, arrays, sizes)
    return bool(found.value.all()) and not any(lanes.any() for lanes in found.faults.values())


def _value(node: Node, place: Mapping[str, Lanes], arrays: Arrays, sizes: Mapping[str, int]) -> Lanes:
    lengths = {name: np.asarray(sizes.get(name, sizes["position"]), np.int32) for name in LENGTHS}
    return read(node, Scene(Frame(arrays, {}, {}, sizes, {}), place, lengths))
