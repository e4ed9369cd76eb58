"""Replacing parameters, coordinates and calls inside an expression: hygienic, iterative, memoised.

A place is where an expression is read: what its parameters stand for (lexical, a `Frame`) and where its coordinates
point (dynamic). A mask argument keeps the caller's frame and takes the coordinates of the place where it is filled.

Not here: the passes that show these steps one by one (`passes`), the rewriting of single nodes (`walk`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace

from maskdsl.ir.names import fresh
from maskdsl.ir.nodes import (
    COORDINATES,
    Ascending,
    Call,
    Fill,
    Literal,
    Lookup,
    Moved,
    Node,
    Quantified,
    Size,
    Symbol,
    Use,
    literal,
)
from maskdsl.ir.types import BOOL, Axis, Constant, Hole, Table
from maskdsl.ir.walk import children, topological, with_children
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import NOWHERE, Span

NODE_LIMIT = 50_000
"""How many nodes one program may grow to (E0406)."""

MOVABLE = (*COORDINATES, "score")


@dataclass(frozen=True, slots=True)
class Binding:
    """What the parameters and axes of one definition stand for."""

    constants: Mapping[Constant, Node] = field(default_factory=dict)
    tables: Mapping[Table, Table] = field(default_factory=dict)
    holes: Mapping[Hole, Node] = field(default_factory=dict)
    sizes: Mapping[str, Node] = field(default_factory=dict)


def substitute(
    root: Node,
    *,
    constants: Mapping[Constant, Node] | None = None,
    tables: Mapping[Table, Table] | None = None,
    holes: Mapping[Hole, Node] | None = None,
    coordinates: Mapping[str, Node] | None = None,
    sizes: Mapping[str, Node] | None = None,
    limit: int = NODE_LIMIT,
) -> Node:
    """`root` with all the replacements made at once; the replacing nodes are not replaced in again.

    `coordinates` replaces symbols of any name: `b h q k`, `score`, lengths, quantifier variables. Where it names a
    movable one, moves inside `root` are carried out, and a call or an unfilled mask parameter is moved as a whole;
    other names enter only a call's arguments. A mask given for a hole is read at the coordinates of each place.
    Raises MaskError E0406 when more than `limit` nodes would be visited.
    """
    moved = {n: v for n, v in (coordinates or {}).items() if n in MOVABLE}
    variables = {n: v for n, v in (coordinates or {}).items() if n not in MOVABLE}
    filled = {hole: (mask, _EMPTY) for hole, mask in (holes or {}).items()}
    frame = Frame(constants or {}, tables or {}, filled, sizes or {}, variables)
    foreign = [*frame.constants.values(), *moved.values(), *variables.values(), *(holes or {}).values()]
    engine = _Engine([root], foreign, enters_calls=False, makes_moves=bool(moved), limit=limit)
    return engine.result(root, Place(frame, moved))


def inline(root: Node, limit: int = NODE_LIMIT) -> Node:
    """The same expression with no Call, Fill or Moved left (an open mask parameter stays, moved as a whole).

    Raises MaskError E0406 when more than `limit` nodes would be visited.
    """
    engine = _Engine([root], [], enters_calls=True, makes_moves=True, limit=limit)
    return engine.result(root, Place(_EMPTY, {}))


def inline_calls(roots: Iterable[Node], limit: int = NODE_LIMIT) -> tuple[Node, ...]:
    """The expressions with every call replaced by its target's body; moves stay, quantifier variables all differ."""
    return _all(tuple(roots), enters_calls=True, makes_moves=False, limit=limit)


def inline_moves(roots: Iterable[Node], limit: int = NODE_LIMIT) -> tuple[Node, ...]:
    """The expressions with every move carried out on the coordinates below it; calls stay, moved as a whole."""
    return _all(tuple(roots), enters_calls=False, makes_moves=True, limit=limit)


def binding(call: Call) -> Binding:
    """What the parameters and axes of the call's target stand for at the caller; `substitute` takes its four fields."""
    tables = {p: a for p, a in call.arguments if isinstance(p, Table) and isinstance(a, Table)}
    constants = {p: a for p, a in call.arguments if isinstance(p, Constant) and isinstance(a, Node)}
    holes = {p: a for p, a in call.arguments if isinstance(p, Hole) and isinstance(a, Node)}
    return Binding(constants, tables, holes, axis_sizes(tables))


def axis_sizes(tables: Mapping[Table, Table]) -> dict[str, Node]:
    """What `size(axis)` of the parameters' axes is, in terms of the axes of the tables given for them."""
    pairs = (pair for p, a in tables.items() for pair in zip(p.axes, a.axes, strict=True))
    return {mine: _size(given) for mine, given in pairs if isinstance(mine, str) and mine != given}


def _size(axis: Axis) -> Node:
    return literal(axis) if isinstance(axis, int) else Size(axis)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The lexical half of a place: what the names of one definition stand for; `holes` with the frame of their text."""

    constants: Mapping[Constant, Node] = field(default_factory=dict)
    tables: Mapping[Table, Table] = field(default_factory=dict)
    holes: Mapping[Hole, tuple[Node, Frame]] = field(default_factory=dict)
    sizes: Mapping[str, Node] = field(default_factory=dict)
    variables: Mapping[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A frame, and where the movable coordinates point (those absent point to themselves).

    `origin` is the outermost call or move that led here.
    """

    frame: Frame
    coordinates: Mapping[str, Node]
    origin: Span = NOWHERE


_EMPTY = Frame()
_Step = Generator[tuple[Node, Place], Node, Node]


def _all(roots: tuple[Node, ...], *, enters_calls: bool, makes_moves: bool, limit: int) -> tuple[Node, ...]:
    engine = _Engine(roots, [], enters_calls=enters_calls, makes_moves=makes_moves, limit=limit)
    start = Place(_EMPTY, {})
    return tuple(engine.result(root, start) for root in roots)


class _Engine:
    """One run of substitution: the memo over (node, place), the interned places, the names that are taken."""

    def __init__(
        self, roots: Iterable[Node], foreign: Iterable[Node], *, enters_calls: bool, makes_moves: bool, limit: int
    ) -> None:
        self.enters_calls = enters_calls
        self.makes_moves = makes_moves
        self.limit = limit
        self.visits = 0
        self.memo: dict[tuple[int, int], Node] = {}
        self.places: dict[object, Place] = {}
        self.frames: dict[object, Frame] = {}
        self.taken = _free_names(roots) | _free_names(foreign)

    def result(self, root: Node, place: Place) -> Node:
        """The value of `root` read at `place`: a trampoline, so depth costs no stack."""
        stack: list[tuple[tuple[int, int], _Step]] = []
        wanted: tuple[Node, Place] | None = (root, place)
        value: Node | None = None
        while wanted or stack:
            if wanted:
                value = self.memo.get((id(wanted[0]), id(wanted[1])))
                if value is None:
                    stack.append(self._start(*wanted))
            wanted = None
            if not stack:
                break
            try:
                wanted = stack[-1][1].send(value)  # type: ignore[arg-type]
            except StopIteration as end:
                value = self.memo[stack.pop()[0]] = end.value
        assert value is not None
        return value

    def _start(self, node: Node, place: Place) -> tuple[tuple[int, int], _Step]:
        self.visits += 1
        if self.visits > self.limit:
            raise too_large(place.origin if place.origin is not NOWHERE else node.span, self.limit)
        return (id(node), id(place)), self._read(node, place)

    def _read(self, node: Node, place: Place) -> _Step:
        """The node as it reads at the place; yields what must be read before."""
        match node:
            case Symbol() | Use() | Size():
                return _leaf(node, place)
            case Quantified():
                return (yield from self._read_quantified(node, place))
            case Moved():
                return (yield from self._read_moved(node, place))
            case Call():
                return (yield from self._read_call(node, place))
            case Fill(hole=hole):
                if hole not in place.frame.holes:
                    return _moved_whole(node, place)
                mask, frame = place.frame.holes[hole]
                return (yield mask, self._place(frame, place.coordinates, place.origin))
            case Lookup(table=table) | Ascending(table=table) if table in place.frame.tables:
                node = replace(node, table=place.frame.tables[table])
        below = []
        for child in children(node):
            below.append((yield child, place))
        return with_children(node, tuple(below))

    def _read_quantified(self, node: Quantified, place: Place) -> _Step:
        start = yield node.start, place
        stop = yield node.stop, place
        name = fresh(node.variable, self.taken)
        self.taken.add(name)
        inner = place
        if name != node.variable or name in place.frame.variables:
            variables = {**place.frame.variables, node.variable: Symbol(name, span=node.span)}
            inner = Place(replace(place.frame, variables=variables), place.coordinates, place.origin)
            self.places[len(self.places)] = inner  # kept alive: the memo knows places by their identity
        body = yield node.body, inner
        rebuilt = with_children(node, (start, stop, body))
        assert isinstance(rebuilt, Quantified)
        return rebuilt if name == node.variable else replace(rebuilt, variable=name)

    def _read_moved(self, node: Moved, place: Place) -> _Step:
        values = []
        for _, value in node.moves:
            values.append((yield value, place))
        if not self.makes_moves:
            return with_children(node, ((yield node.body, place), *values))
        moves = {name: value for (name, _), value in zip(node.moves, values, strict=True)}
        return (yield node.body, self._place(place.frame, {**place.coordinates, **moves}, _origin(place, node.span)))

    def _read_call(self, node: Call, place: Place) -> _Step:
        if not self.enters_calls:
            return (yield from self._read_arguments(node, place))
        frame = yield from self._frame(node, place)
        body = node.target.mask if node.type is BOOL else node.target.score
        assert body is not None, f"{node.target.name} has no {node.type} to call"
        return (yield body, self._place(frame, place.coordinates, _origin(place, node.span)))

    def _read_arguments(self, node: Call, place: Place) -> _Step:
        """The call itself, its arguments replaced in but not moved: a mask argument moves where it is filled."""
        still = self._place(place.frame, {}, place.origin) if place.coordinates else place
        below = []
        for child in children(node):
            below.append((yield child, still))
        call = with_children(node, tuple(below))
        assert isinstance(call, Call)
        tables = place.frame.tables
        if any(isinstance(a, Table) and a in tables for _, a in call.arguments):
            given = tuple((p, tables.get(a, a) if isinstance(a, Table) else a) for p, a in call.arguments)
            call = replace(call, arguments=given)
        return _moved_whole(call, place)

    def _frame(self, node: Call, place: Place) -> Generator[tuple[Node, Place], Node, Frame]:
        """The frame of a call's target: equal arguments give the same frame, so equal calls are read once."""
        bound = binding(node)
        constants = {}
        for constant, value in bound.constants.items():
            constants[constant] = yield value, place
        tables = {p: place.frame.tables.get(a, a) for p, a in bound.tables.items()}
        holes = {hole: (mask, place.frame) for hole, mask in bound.holes.items()}
        key = (
            tuple((p, _identity(v)) for p, v in constants.items()), tuple(tables.items()),
            tuple((p, id(mask), id(frame)) for p, (mask, frame) in holes.items()),
        )
        return self.frames.setdefault(key, Frame(constants, tables, holes, axis_sizes(tables)))

    def _place(self, frame: Frame, coordinates: Mapping[str, Node], origin: Span) -> Place:
        """The one place of this frame and these coordinates."""
        key = (id(frame), tuple(sorted(((n, _identity(v)) for n, v in coordinates.items()), key=lambda pair: pair[0])))
        return self.places.setdefault(key, Place(frame, coordinates, origin))


def _leaf(node: Symbol | Use | Size, place: Place) -> Node:
    match node:
        case Symbol(name=name):
            new = place.coordinates.get(name) or place.frame.variables.get(name)
        case Use(constant=constant):
            new = place.frame.constants.get(constant)
        case Size(axis=axis):
            new = place.frame.sizes.get(axis)
    return node if new is None or _identity(new) == _identity(node) else new


def _moved_whole(node: Call | Fill, place: Place) -> Node:
    """A call or an open mask parameter at moved coordinates (a mask reads no `score`)."""
    moves = tuple((n, v) for n, v in place.coordinates.items() if n != "score" or node.type is not BOOL)
    return Moved(node, moves, node.type, node.span) if moves else node


def _origin(place: Place, span: Span) -> Span:
    return span if place.origin is NOWHERE else place.origin


def _identity(node: Node) -> object:
    """What tells two replacing nodes apart: leaves by content, others by object."""
    match node:
        case Literal(value=value, type=kind):
            return (kind, repr(value))
        case Symbol(name=name):
            return name
        case Size(axis=axis):
            return (Size, axis)
        case Use(constant=constant):
            return constant
    return id(node)


def _free_names(roots: Iterable[Node]) -> set[str]:
    nodes = list(topological(roots))
    bound = {n.variable for n in nodes if isinstance(n, Quantified)}
    return {n.name for n in nodes if isinstance(n, Symbol)} - bound


def too_large(span: Span, limit: int) -> MaskError:
    """The error of a program that is written out into more than `limit` nodes."""
    return MaskError(Diagnostic(
        "E0406", f"the program grows beyond {limit:,} operations", span, "while this is written out",
        notes=("calls, moves and quantifiers are written out before a kernel is made",),
        help=("use fewer nested calls and moves, or a shorter range",),
    ))
