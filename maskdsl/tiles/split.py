"""Cuts a tile into parts where a condition that is vague about the tile is sharp about each part.

Four conditions are worth it, along any side of a tile:

    t[q // 64] == k // 64                  tiles of 128 are cut into halves: each has one block of queries, one of keys
    bit_xor(q // 64, k // 64) < 5          likewise
    f(q // 300) and g(q // 20 % 15)        a tile is cut where q // 300 steps: there q // 20 % 15 begins anew
    abs(q % 300 - k % 300) < 40            likewise

What is certain of every part is certain of the tile, what is possible in some part is possible in it. Where all such
conditions of a mask ask for the same cut, the whole mask is looked at part by part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import gcd

from maskdsl.ir.algebra import both, build, either
from maskdsl.ir.interval import Interval
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Symbol, literal
from maskdsl.ir.types import BOOL, INT
from maskdsl.ir.walk import children, rewrite, topological
from maskdsl.tiles.limits import SMALL, Limits
from maskdsl.tiles.linear import COMPARISONS, linear

MOST_PARTS = 4
"""Into how many parts one side of a tile is cut at most."""

NAMES = ("low", "high", "tile")


@dataclass(frozen=True, slots=True)
class Part:
    """A range of positions of one side of a tile, and the number of the tile or part in tables: int nodes."""

    low: Node
    high: Node
    tile: Node


@dataclass(frozen=True, slots=True)
class Period:
    """A coordinate plus `moved` (0 to `length` - 1), in periods of `length`."""

    side: str
    length: int
    moved: int


@dataclass(frozen=True, slots=True)
class Cut:
    """How a tile is cut: into blocks (their sides by "q" and "k", perhaps those of the tile), or where periods end."""

    blocks: tuple[tuple[str, int], ...]
    periods: tuple[Period, ...] = ()

    def parts(self, side: str, tile: int) -> tuple[Part, ...]:
        """The parts of a side, whose tiles are `tile` long."""
        block = dict(self.blocks)[side]
        period = next((p for p in self.periods if p.side == side), None)
        return _blocks(side, block, tile // block) if period is None else _before_and_after(period)


def combine(found: Interval, cut: Cut, tiles: Mapping[str, int]) -> Interval:
    """The interval over a tile (its sides by "q" and "k") of a condition whose interval over a part is `found`."""
    lo: Node = literal(True)
    hi: Node = literal(False)
    for q, k in product(*(cut.parts(side, tiles[side]) for side in ("q", "k"))):
        symbols = {f"{side}_{name}": getattr(part, name) for side, part in (("q", q), ("k", k)) for name in NAMES}
        lo, hi = both(lo, _placed(found.lo, symbols)), either(hi, _placed(found.hi, symbols))
    return Interval(lo, hi)


def _placed(bound: Node, symbols: Mapping[str, Node]) -> Node:
    return rewrite(bound, lambda n: symbols.get(n.name) if isinstance(n, Symbol) else None)


def find_cuts(
    root: Node, reads: Mapping[int, frozenset[str]], tiles: Mapping[str, int], limits: Limits
) -> dict[int, Cut]:
    """The conditions at or below `root` that are looked at part by part, by identity; none is below another."""
    finder = _Finder(reads, tiles, limits)
    cuts: dict[int, Cut] = {}
    has_cut: dict[int, bool] = {}
    for node in topological(root):
        finder.learn(node)
        inner = any(has_cut[id(c)] for c in children(node))
        cut = finder.cut_of(node) if isinstance(node, Op) and node.type is BOOL and not inner else None
        has_cut[id(node)] = inner or cut is not None
        if cut is not None:
            cuts[id(node)] = cut
    for node in topological(root, stop=lambda n: id(n) in cuts):
        cut = finder.cut_of_comparison(node) if not has_cut[id(node)] else None
        if cut is not None:
            cuts[id(node)] = cut
    joined = _joined(cuts.values())
    return cuts if joined is None else {id(root): joined}


def _joined(cuts: Iterable[Cut]) -> Cut | None:
    """The one cut that does for all of them, if there is one."""
    blocks = {cut.blocks for cut in cuts}
    periods = frozenset(p for cut in cuts for p in cut.periods)
    if len(blocks) != 1 or len({p.side for p in periods}) < len(periods):
        return None
    return Cut(blocks.pop(), tuple(sorted(periods, key=lambda p: p.side)))


@dataclass(slots=True)
class _Finder:
    reads: Mapping[int, frozenset[str]]
    tiles: Mapping[str, int]
    limits: Limits
    quotients: dict[int, frozenset[Period]] = field(default_factory=dict)
    remainders: dict[int, frozenset[Period]] = field(default_factory=dict)

    def learn(self, node: Node) -> None:
        """Collects of what periods quotients and remainders are taken at and below a node."""
        own = self._period_of(node)
        for name, found in (("floordiv", self.quotients), ("mod", self.remainders)):
            below = frozenset[Period]().union(*(found[id(c)] for c in children(node)))
            found[id(node)] = below | {own} if own and isinstance(node, Op) and node.name == name else below

    def cut_of(self, node: Op) -> Cut | None:
        """The cut that a condition is worth, or None."""
        return self._cut_into_blocks(node) or self._cut_between_periods(node)

    def _period_of(self, node: Node) -> Period | None:
        """Of what periods a quotient or remainder is taken: (y // d + m) // c is (y + m * d) // (c * d)."""
        match node:
            case Op(name="floordiv" | "mod", args=(x, Literal(value=divisor))) if x.type is INT and int(divisor) > 0:
                length, moved = int(divisor), 0
            case _:
                return None
        while length <= SMALL[1]:
            form = linear(x, self.limits)
            moved += form.constant
            match [*form.terms.values()]:
                case [(Symbol(name="q" | "k" as name), 1)]:
                    return Period(name, length, moved % length)
                case [(Op(name="floordiv", args=(y, Literal(value=d))), 1)] if int(d) > 0:
                    x, length, moved = y, length * int(d), moved * int(d)
                case _:
                    return None
        return None

    def _is_aligned(self, period: Period) -> bool:
        side = self.tiles[period.side]
        return period.length % side == 0 and period.moved % side == 0

    # ---------------------------------------------------------------- a tile that reaches into the next period

    def _cut_between_periods(self, node: Op) -> Cut | None:
        return self._cut_at(self.quotients[id(node)] & self.remainders[id(node)])

    def cut_of_comparison(self, node: Node) -> Cut | None:
        """The cut that a comparison of remainders of both sides is worth, or None."""
        if not isinstance(node, Op) or node.name not in COMPARISONS:
            return None
        found = self.remainders[id(node)]
        return self._cut_at(found) if {p.side for p in found} == {"q", "k"} else None

    def _cut_at(self, periods: Iterable[Period]) -> Cut | None:
        """The cut at the ends of the longest of those periods that are no shorter than a tile and end within tiles."""
        worth = [p for p in periods if p.length >= self.tiles[p.side] and not self._is_aligned(p)]
        longest = {p.side: p for p in sorted(worth, key=lambda p: (p.length, p.moved))}
        return Cut(tuple(self.tiles.items()), tuple(longest.values())) if longest else None

    # ---------------------------------------------------------------- blocks of one value each

    def _cut_into_blocks(self, node: Op) -> Cut | None:
        """The cut of an equality of a table's entry, one for each block of a side, and something of the other side; and
        of a comparison of bits of both sides' blocks.
        """
        matches = node.name == "eq" and self._has_two_sides(node) and self._looks_up(node)
        if not matches and not (node.name in COMPARISONS and _mixes_bits(node)):
            return None
        steps = {side: self._step(node, side) for side in self.tiles}
        blocks = tuple((side, min(step, self.tiles[side])) for side, step in steps.items() if step)
        if len(blocks) < 2 or blocks == tuple(self.tiles.items()):
            return None
        whole = all(self.tiles[side] % block == 0 for side, block in blocks)
        return Cut(blocks) if whole and max(self.tiles[s] // b for s, b in blocks) <= MOST_PARTS else None

    def _has_two_sides(self, node: Op) -> bool:
        sides = [self.reads[id(a)] & self.tiles.keys() for a in node.args]
        return all(len(s) == 1 for s in sides) and sides[0] != sides[1]

    def _looks_up(self, node: Op) -> bool:
        return any(isinstance(n, Lookup) and self.reads[id(n)] & self.tiles.keys() for n in topological(node))

    def _step(self, node: Op, side: str) -> int | None:
        """The greatest step at whose multiples alone a condition can change along one side; None: at any position."""
        found: list[int] = []
        for part in topological(node, stop=lambda n: self._is_quotient(n, side)):
            if isinstance(part, Symbol) and part.name == side:
                return None
            if self._is_quotient(part, side):
                period = self._period_of(part)
                assert period is not None
                found += [period.length, period.moved]
        return gcd(*found)

    def _is_quotient(self, node: Node, side: str) -> bool:
        if not isinstance(node, Op) or node.name != "floordiv":
            return False
        period = self._period_of(node)
        return period is not None and period.side == side


def _mixes_bits(node: Op) -> bool:
    return any(isinstance(n, Op) and n.name in ("bit_xor", "bit_or", "bit_and") for n in topological(node))


def _whole(side: str) -> Part:
    return Part(*(Symbol(f"{side}_{name}") for name in NAMES))


def _before_and_after(period: Period) -> tuple[Part, Part]:
    """The tile up to the next period, and from there on: its last position alone if it lies in one period."""
    whole, length = _whole(period.side), literal(period.length)
    number = build("floordiv", build("add", whole.low, literal(period.moved)), length)
    start = build("add", build("mul", number, length), literal(period.length - period.moved))
    before = build("min", whole.high, build("sub", start, literal(1)))
    return Part(whole.low, before, whole.tile), Part(build("min", start, whole.high), whole.high, whole.tile)


def _blocks(side: str, block: int, count: int) -> tuple[Part, ...]:
    """The blocks of a tile; for those past the length the last one stands again."""
    whole = _whole(side)
    if count == 1:
        return (whole,)
    last = build("floordiv", whole.high, literal(block))
    parts = []
    for i in range(count):
        number = build("min", build("add", build("mul", whole.tile, literal(count)), literal(i)), last)
        low = build("mul", number, literal(block))
        high = build("min", build("add", low, literal(block - 1)), whole.high)
        parts.append(Part(low, high, number))
    return tuple(parts)
