"""Which part of a mask kept its tiles from being decided: the smallest condition whose bounds say less than its pairs.

Not here: how many tiles there are of which kind (`report`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from maskdsl.ir.nodes import Node, Op
from maskdsl.ir.types import BOOL
from maskdsl.ir.walk import children, topological
from maskdsl.source.text import NOWHERE, Span
from maskdsl.tiles.arrays import Shape, Tables, with_tile_tables
from maskdsl.tiles.classify import ALL, NONE, SOME, extremes, pair_symbols, parts_of, tile_symbols
from maskdsl.tiles.evaluate import Array, evaluate_all
from maskdsl.tiles.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Loss:
    """A condition in a `.mask` file, and in how many tiles it is what the analysis could not decide."""

    span: Span
    tiles: int


def find_losses(
    verdict: Verdict, found: Array, exact: Array, shape: Shape, tables: Tables, sizes: Mapping[str, int]
) -> tuple[Loss, ...]:
    """The conditions to blame for the tiles that are SOME in `found` and not in `exact`, most tiles first."""
    bound = with_tile_tables(verdict, shape, tables, sizes)
    blamed: dict[Span, int] = {}
    for places in parts_of(np.argwhere((found == SOME) & (exact != SOME)), verdict):
        for span, tiles in _blame(verdict, _judge(verdict, places, shape, bound, sizes), len(places)):
            blamed[span] = blamed.get(span, 0) + tiles
    return tuple(Loss(s, n) for s, n in sorted(blamed.items(), key=lambda item: -item[1]))


@dataclass(frozen=True, slots=True)
class _Judged:
    """Of every condition by identity: what its bounds say of the tiles, and what is true; int8 [n]."""

    told: dict[int, Array]
    truth: dict[int, Array]

    def undecided(self, node: Node) -> Array:
        """Where the bounds leave open what in truth is settled."""
        return np.asarray((self.told[id(node)] == SOME) & (self.truth[id(node)] != SOME))


def _judge(verdict: Verdict, places: Array, shape: Shape, bound: Tables, sizes: Mapping[str, int]) -> _Judged:
    conditions = [n for n in topological(verdict.mask) if n.type is BOOL and id(n) in verdict.intervals]
    ends = [verdict.intervals[id(n)] for n in conditions]
    at_tiles = tile_symbols(verdict, shape, tuple(places.T))
    bounds = evaluate_all([e for i in ends for e in (i.lo, i.hi)], at_tiles, bound, sizes)
    at_pairs = pair_symbols(verdict, shape, places)
    pairs = evaluate_all(conditions, at_pairs, bound, sizes, keep=lambda value: np.stack(extremes(value)))
    told = (_kind(lo & hi, hi, len(places)) for lo, hi in zip(bounds[::2], bounds[1::2], strict=True))
    truth = (_kind(every, some, len(places)) for every, some in pairs)
    names = [id(n) for n in conditions]
    return _Judged(dict(zip(names, told, strict=True)), dict(zip(names, truth, strict=True)))


def _kind(every: Array, some: Array, count: int) -> Array:
    return np.broadcast_to(np.where(every, ALL, np.where(some, SOME, NONE)), (count,))


def _blame(verdict: Verdict, judged: _Judged, count: int) -> Iterator[tuple[Span, int]]:
    """Walks down from the whole mask, in each tile to the parts that are undecided too; where none is, it stops."""
    reached = {id(verdict.mask): np.ones(count, bool)}
    span = {id(verdict.mask): verdict.mask.span}
    at_span: dict[Span, Array] = {}
    for node in reversed(list(topological(verdict.mask))):
        here = reached.get(id(node))
        if here is None or id(node) not in judged.told:
            continue
        for part in _conditions_below(node, judged):
            responsible = here & judged.undecided(part) & _matters(node, part, judged)
            reached[id(part)] = reached.get(id(part), False) | responsible
            span.setdefault(id(part), span[id(node)] if part.span is NOWHERE else part.span)
            here = here & ~responsible
        where = span[id(node)]
        at_span[where] = at_span.get(where, False) | here
    for where, tiles in at_span.items():
        if tiles.any():
            yield where, int(tiles.sum())


def _matters(node: Node, part: Node, judged: _Judged) -> Array:
    """Where knowing the part would help: `and` and `or` are what they are because of the parts that agree with them."""
    if isinstance(node, Op) and node.name in ("and", "or"):
        return np.asarray(judged.truth[id(node)] == judged.truth[id(part)])
    return np.ones(judged.truth[id(node)].shape, bool)


def _conditions_below(node: Node, judged: _Judged) -> list[Node]:
    """The conditions nearest below a node, through whatever is no condition."""
    found: list[Node] = []
    stack, seen = [*children(node)], set[int]()
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if id(part) in judged.told:
            found.append(part)
        else:
            stack.extend(children(part))
    return found
