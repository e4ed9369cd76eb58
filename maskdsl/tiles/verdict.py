"""From a mask to its verdict: two formulas over tiles, "true of every pair" and "perhaps true of some pair".

The analysis is an interval analysis whose intervals are IR nodes, so the verdict is again a program that any backend
evaluates. It reads the symbols of `TILE` in place of q and k, and the tables listed in `Verdict.tables`.

Not here: the bounds of each function (`ir.ops`), how bound tables are reduced (the backends).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from maskdsl.ir.algebra import build
from maskdsl.ir.interval import Interval, of_literal, point
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Size, Symbol, literal
from maskdsl.ir.ops import OPS
from maskdsl.ir.ops_reference import INT_MAX
from maskdsl.ir.reads import rounds_below, symbols_read
from maskdsl.ir.types import BOOL, FLOAT, INT, Axis, Table
from maskdsl.ir.walk import children, topological
from maskdsl.tiles.contract import HELD, contract
from maskdsl.tiles.limits import Limits, static_limits
from maskdsl.tiles.linear import linear
from maskdsl.tiles.normalize import normalize
from maskdsl.tiles.split import Cut, combine, find_cuts
from maskdsl.tiles.tile_table import Over, Pool, Profile, TileTable
from maskdsl.tiles.width import bounds_width

TILE = ("q_low", "q_high", "q_tile", "k_low", "k_high", "k_tile")
"""First and last position (inclusive, within the lengths) and number of the tile, for queries and keys: all int."""

MAX_PROFILES = 64
MAX_POINTS = 16
NEAR = 6
"""How far two indices of one lookup may vary, for its bounds to be those of the entries that they reach."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What a mask says of a tile: NONE where `possible` is false, ALL where `certain` is true, else SOME."""

    mask: Node
    certain: Node
    possible: Node
    tables: tuple[TileTable, ...]
    intervals: dict[int, Interval]
    q_block: int
    k_block: int
    reads_b: bool
    reads_h: bool


def verdict_of(mask: Node, q_block: int, k_block: int, limits: Limits) -> Verdict:
    """The verdict of a mask that went through all passes, for tiles of `q_block` x `k_block` pairs."""
    mask = contract(normalize(mask, limits), limits, q_block, k_block)
    reads = symbols_read(mask)
    cuts = find_cuts(mask, reads, {"q": q_block, "k": k_block}, limits)
    analysis = _Analysis(q_block, k_block, limits, reads, rounds_below(mask), cuts)
    found = analysis.interval(mask)
    known = reads[id(mask)]
    return Verdict(
        mask,
        found.lo,
        found.hi,
        tuple(analysis.tables),
        analysis.intervals,
        q_block,
        k_block,
        "b" in known,
        "h" in known,
    )


@dataclass(slots=True)
class _Analysis:
    q_block: int
    k_block: int
    limits: Limits
    reads: dict[int, frozenset[str]]
    rounds: dict[int, bool]
    cuts: dict[int, Cut]
    tables: list[TileTable] = field(default_factory=list)
    intervals: dict[int, Interval] = field(default_factory=dict)
    profiles: set[int] = field(default_factory=set)
    looks_up: dict[int, bool] = field(default_factory=dict)
    is_single: dict[int, bool] = field(default_factory=dict)
    is_vague: dict[int, bool] = field(default_factory=dict)

    def interval(self, root: Node) -> Interval:
        """The interval of a node over the tile."""
        for node in topological(root):
            self._learn(node)
        for node in topological(root, stop=self._is_leaf):
            self.intervals[id(node)] = self._of(node)
        return self.intervals[id(root)]

    def _learn(self, node: Node) -> None:
        """Whether a node reads a table; has a single value in the tile; and whether a table of it would say more than
        its bounds: where it looks up at several positions, or cuts up what it looks up.
        """
        below = children(node)
        lookup, key = isinstance(node, Lookup), id(node)
        self.looks_up[key] = lookup or any(self.looks_up[id(c)] for c in below)
        self.is_single[key] = not self.rounds[key] and (self._side(node) == "" or self._is_settled(node))
        cuts_up = isinstance(node, Op) and node.name in HELD and self.looks_up[key]
        vague = lookup or cuts_up or any(self.is_vague[id(c)] for c in below)
        self.is_vague[key] = vague and not self.is_single[key]

    def _is_settled(self, node: Node) -> bool:
        match node:
            case Op(name="floordiv", args=(x, Literal(value=c))) if x.type is INT and self._is_aligned(x, int(c)):
                return True
            case Op(args=below) | Lookup(indices=below):
                return all(self.is_single[id(c)] for c in below)
        return False

    def _is_leaf(self, node: Node) -> bool:
        return self._is_table(node) or id(node) in self.cuts

    def _is_table(self, node: Node) -> bool:
        """Whether a node is a point or gets a table of its own; what is below is then not looked at."""
        side = self._side(node)
        if side is None or self.rounds[id(node)]:
            return False
        if side and self.is_vague[id(node)] and len(self.profiles) < MAX_PROFILES:
            self.profiles.add(id(node))
        return side == "" or id(node) in self.profiles

    def _side(self, node: Node) -> str | None:
        """ "q" or "k" for what varies with one of them, "" for what is one value in the tile, None for both."""
        varying = self.reads[id(node)] & {"q", "k"}
        return None if len(varying) == 2 else "".join(varying)

    def _of(self, node: Node) -> Interval:
        side = self._side(node)
        if isinstance(node, Literal):
            return of_literal(node)
        if side == "" and not self.rounds[id(node)]:
            return point(node, *self._static(node))
        if isinstance(node, Symbol):
            return self._bounded(Symbol(f"{node.name}_low"), Symbol(f"{node.name}_high"), node)
        if side and id(node) in self.profiles:
            return self._profile(node, side)
        if id(node) in self.cuts:
            return self._cut(node, self.cuts[id(node)])
        if isinstance(node, Op):
            return self._settled(node) or OPS[node.name].bounds(*(self.intervals[id(a)] for a in node.args))
        assert isinstance(node, Lookup), f"{type(node).__name__} has no place in a mask after the passes"
        return self._lookup(node)

    def _cut(self, node: Node, cut: Cut) -> Interval:
        q_block, k_block = (dict(cut.blocks)[side] for side in ("q", "k"))
        inner = _Analysis(q_block, k_block, self.limits, self.reads, self.rounds, {}, self.tables)
        return combine(inner.interval(node), cut, {"q": self.q_block, "k": self.k_block})

    def _settled(self, node: Op) -> Interval | None:
        """The interval of an operation that has one value in the tile, or whose tile lies in one period; else None."""
        ends = [self.intervals[id(a)] for a in node.args]
        if all(e.is_point and e.type is not FLOAT for e in ends) and node.type is not FLOAT:
            return point(build(node.name, *(e.lo for e in ends)), *self._static(node))
        if node.type is not INT:
            return None
        match node.name, node.args:
            case "floordiv", (x, Literal(value=c)) if self._is_aligned(x, int(c)):
                return point(build("floordiv", *(e.lo for e in ends)), *self._static(node))
            case "mod", (x, Literal(value=c)) if self._is_aligned(x, int(c)):
                low = build("mod", *(e.lo for e in ends))
                return Interval(low, build("add", low, build("sub", ends[0].hi, ends[0].lo)), 0, int(c) - 1)
        return None

    def _is_aligned(self, node: Node, period: int) -> bool:
        """Whether tiles lie in periods: a coordinate, moved by whole tiles, in periods of whole tiles."""
        form = linear(node, self.limits)
        match [*form.terms.values()]:
            case [(Symbol(name="q" | "k" as name), 1)]:
                side = self.q_block if name == "q" else self.k_block
                return period > 0 and period % side == 0 and form.constant % side == 0
        return False

    def _bounded(self, low: Node, high: Node, node: Node) -> Interval:
        """The interval of a node with its static limits; what a float table holds may be NaN."""
        least, most = self._static(node)
        return Interval(low, high, least, most, nan=node.type is FLOAT)

    def _static(self, node: Node) -> tuple[int, int] | tuple[None, None]:
        return static_limits(node, self.limits) if node.type is INT else (None, None)

    def _profile(self, node: Node, side: str) -> Interval:
        carried = [(axis, name) for axis, name in (("batch", "b"), ("head", "h")) if name in self.reads[id(node)]]
        axes: tuple[Axis, ...] = (*(axis for axis, _ in carried), f"{side}_tiles")
        index = (*(Symbol(name) for _, name in carried), Symbol(f"{side}_tile"))

        def read(greatest: bool) -> Node:
            table = self._new_table(node, axes, greatest)
            self.tables.append(Profile(table, node, side, self.q_block if side == "q" else self.k_block, greatest))
            return Lookup(table, index, node.type, node.span)

        return self._bounded(read(False), read(True), node)

    def _new_table(self, node: Node, axes: tuple[Axis, ...], greatest: bool) -> Table:
        name = f"{'high' if greatest else 'low'}_{len(self.tables)}"
        return Table("tile", name, node.type, axes, node.span)

    def _lookup(self, node: Lookup) -> Interval:
        """A lookup that reads both q and k: the range of the table over the range of its indices."""
        if self.is_single[id(node)]:
            places = tuple(self.intervals[id(i)].lo for i in node.indices)
            return point(Lookup(node.table, places, node.type, node.span), *self._static(node))
        over = tuple(self._over(axis, i) for axis, i in zip(node.table.axes, node.indices, strict=True))
        widths = [self._width(o, i) for o, i in zip(over, node.indices, strict=True)]
        if None not in widths and prod(w + 1 for w in widths if w is not None) <= MAX_POINTS:
            return self._read(node, lambda greatest: self._points(node, over, widths, greatest))
        varying = [axis for axis, w in enumerate(widths) if w != 0]
        if len(varying) == 1:
            return self._read(node, lambda greatest: self._ladder(node, over, varying, widths, greatest)[0])
        return self._read(node, lambda greatest: self._far(node, over, varying, widths, greatest))

    def _read(self, node: Lookup, side: Callable[[bool], Node]) -> Interval:
        return self._bounded(side(False), side(True), node)

    def _over(self, axis: Axis, index: Node) -> Over:
        if isinstance(index, Symbol) and axis == "position":
            return {"q": Over.Q_TILES, "k": Over.K_TILES}.get(index.name, Over.KEPT)
        return Over.KEPT

    def _width(self, over: Over, index: Node) -> int | None:
        if over is not Over.KEPT:
            return 0
        return bounds_width(index, self.intervals, self.limits, {"q": self.q_block, "k": self.k_block})

    def _points(self, node: Lookup, over: tuple[Over, ...], widths: list[int | None], greatest: bool) -> Node:
        """The extreme over every entry that the indices can reach: low, low + 1, … but never past their high ends."""
        source = self._pooled(node, over, greatest)
        choices: list[tuple[Node, ...]] = [()]
        for position, kind in enumerate(over):
            if kind is Over.WHOLE:
                continue
            steps = self._steps(node, position, kind, widths[position] or 0)
            choices = [(*chosen, step) for chosen in choices for step in steps]
        return _extreme([Lookup(source, c, node.type, node.span) for c in choices], greatest)

    def _steps(self, node: Lookup, position: int, kind: Over, width: int) -> list[Node]:
        if kind in (Over.Q_TILES, Over.K_TILES):
            return [Symbol("q_tile" if kind is Over.Q_TILES else "k_tile")]
        low, high = self._ends(node, position)
        if width == 0:
            return [low]
        return [low, *(build("min", build("add", low, literal(i)), high) for i in range(1, width + 1))]

    def _ends(self, node: Lookup, position: int) -> tuple[Node, Node]:
        """The first and last entry that an index can reach, kept within the table."""
        found = self.intervals[id(node.indices[position])]
        axis = node.table.axes[position]
        if found.lo is found.hi:
            return found.lo, found.lo
        last: Node = literal(axis - 1) if isinstance(axis, int) else build("sub", Size(axis), literal(1))
        return build("clamp", found.lo, literal(0), last), build("clamp", found.hi, literal(0), last)

    def _pooled(self, node: Lookup, over: tuple[Over, ...], greatest: bool) -> Table:
        if all(o is Over.KEPT for o in over):
            return node.table
        names = {Over.Q_TILES: "q_tiles", Over.K_TILES: "k_tiles"}
        axes = tuple(names.get(o, a) for o, a in zip(over, node.table.axes, strict=True) if o is not Over.WHOLE)
        table = self._new_table(node, axes, greatest)
        self.tables.append(Pool(table, node.table, over, self.q_block, self.k_block, greatest))
        return table

    def _far(
        self, node: Lookup, over: tuple[Over, ...], varying: list[int], widths: list[int | None], greatest: bool
    ) -> Node:
        """The extreme over the table along several axes; over what the indices reach, where that is little."""
        coarse = tuple(Over.WHOLE if axis in varying else o for axis, o in enumerate(over))
        whole = self._points(node, coarse, [0] * len(over), greatest)
        if len(varying) > 2:
            return whole
        patch, is_near = self._ladder(node, over, varying, [min(_or(w, NEAR), NEAR) for w in widths], greatest)
        return build("choose", is_near, patch, whole)

    def _ladder(
        self, node: Lookup, over: tuple[Over, ...], climbed: list[int], widths: Sequence[int | None], greatest: bool
    ) -> tuple[Node, Node]:
        """A range query in two reads an axis: the entries of 2**level values that begin at low and that end at high.

        Also a bool node: whether no range is wider than the widths given (None: any).
        """
        ladders = tuple((axis, _or(widths[axis], INT_MAX).bit_length()) for axis in climbed)
        table = self._new_table(node, (*("levels" for _ in climbed), *self._pooled_axes(node, over)), greatest)
        self.tables.append(Pool(table, node.table, over, self.q_block, self.k_block, greatest, ladders))
        fixed = [self._steps(node, p, kind, 0) for p, kind in enumerate(over)]
        levels: list[Node] = []
        is_near: Node = literal(True)
        for axis, most in ladders:
            low, high = self._ends(node, axis)
            span = build("add", build("sub", high, low), literal(1))
            level = build("sub", build("bit_length", span), literal(1))
            if widths[axis] is not None:
                is_near = build("and", is_near, build("lt", level, literal(most)))
                level = build("min", level, literal(most - 1))
            levels.insert(0, level)
            fixed[axis] = [low, build("add", build("sub", high, build("shift_left", literal(1), level)), literal(1))]
        reads = [Lookup(table, (*levels, *places), node.type, node.span) for places in product(*fixed)]
        return _extreme(reads, greatest), is_near

    def _pooled_axes(self, node: Lookup, over: tuple[Over, ...]) -> tuple[Axis, ...]:
        names = {Over.Q_TILES: "q_tiles", Over.K_TILES: "k_tiles"}
        return tuple(names.get(o, a) for o, a in zip(over, node.table.axes, strict=True))


def _or(width: int | None, otherwise: int) -> int:
    return otherwise if width is None else width


def _extreme(values: Sequence[Node], greatest: bool) -> Node:
    """The least or greatest of the values (of bools: all of them, any of them)."""
    total: Node = values[0]
    for value in values[1:]:
        join = ("or" if greatest else "and") if total.type is BOOL else ("max" if greatest else "min")
        total = build(join, total, value)
    return total
