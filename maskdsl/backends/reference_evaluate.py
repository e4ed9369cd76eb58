"""Evaluates expressions as they are written: calls, moves and quantifiers by environments, not by rewriting.

Lookups out of bounds, divisions by zero and impossible shifts are faults of their lanes; `and`, `or` and a choice
forget the faults of what they do not take. Depth costs no stack: every step is a generator on one explicit stack.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from maskdsl.backends.reference_scene import (
    DTYPES,
    Array,
    Closure,
    Frame,
    Lanes,
    Scene,
    as_lanes,
    axis_sizes,
    merged,
)
from maskdsl.ir.nodes import (
    LENGTHS,
    Ascending,
    Call,
    Fill,
    Literal,
    Lookup,
    Moved,
    Node,
    Op,
    Quantified,
    Size,
    Symbol,
    Use,
)
from maskdsl.ir.ops import OPS
from maskdsl.ir.substitute import too_large
from maskdsl.ir.types import BOOL, INT, Constant, Hole, Table

STEP_LIMIT = 200_000
"""How many nodes one evaluation may read, those of a quantifier's body once a turn (E0406)."""

Step = Generator[tuple[Node, Scene], Lanes, Lanes]


def read(root: Node, scene: Scene, limit: int = STEP_LIMIT) -> Lanes:
    """The value of a node in a scene. Raises MaskError E0406 when more than `limit` nodes would be read."""
    stack: list[tuple[Node, Scene, Step]] = []
    wanted: tuple[Node, Scene] | None = (root, scene)
    value: Lanes | None = None
    steps = 0
    while wanted or stack:
        if wanted:
            node, place = wanted
            value = place.memo.get(id(node))
            if value is None:
                steps += 1
                if steps > limit:
                    raise too_large(root.span, limit)
                stack.append((node, place, _step(node, place)))
        if not stack:
            break
        node, place, step = stack[-1]
        try:
            wanted = step.send(value)  # type: ignore[arg-type]
        except StopIteration as end:
            value = place.memo[id(node)] = end.value
            wanted = None
            stack.pop()
    assert value is not None
    return value


def _step(node: Node, scene: Scene) -> Step:
    match node:
        case Op():
            return _read_op(node, scene)
        case Lookup():
            return _read_lookup(node, scene)
        case Quantified():
            return _read_quantified(node, scene)
        case Moved():
            return _read_moved(node, scene)
        case Call():
            return _read_call(node, scene)
        case Fill(hole=hole):
            return _read_fill(scene.frame.masks[hole], scene)
    return _read_leaf(node, scene)


def _read_leaf(node: Node, scene: Scene) -> Step:
    yield from ()
    match node:
        case Literal(value=value):
            return as_lanes(value, node.type)
        case Symbol(name=name):
            return _symbol(name, scene)
        case Size(axis=axis):
            return as_lanes(scene.frame.sizes[axis], INT)
        case Use(constant=constant):
            return scene.frame.constants[constant]
        case Ascending(table=table, axis=along):
            values = scene.frame.tables[table]
            return as_lanes(bool(np.all(_following(values, along) >= _leading(values, along))), BOOL)
    raise AssertionError(f"no value for {type(node).__name__}")


def _symbol(name: str, scene: Scene) -> Lanes:
    if name in scene.frame.variables:
        return scene.frame.variables[name]
    return as_lanes(scene.lengths[name], INT) if name in LENGTHS else scene.coordinates[name]


def _following(values: Array, axis: int) -> Array:
    return np.take(values, range(1, values.shape[axis]), axis)


def _leading(values: Array, axis: int) -> Array:
    return np.take(values, range(values.shape[axis] - 1), axis)


def _read_op(node: Op, scene: Scene) -> Step:
    args: list[Lanes] = []
    for arg in node.args:
        args.append((yield arg, scene))
    value = OPS[node.name].reference(*(a.value for a in args))
    assert value.dtype == DTYPES[node.type], f"{node.name} gave {value.dtype}"
    return Lanes(value, merged(_faults_of(node, args), *_faults_taken(node.name, args)))


def _faults_taken(name: str, args: list[Lanes]) -> list[dict[str, Array]]:
    """The arguments' faults, but for those in lanes where the argument is not taken."""
    first, rest = args[0], args[1:]
    match name:
        case "and":
            masked = [rest[0].only_where(first.value)]
        case "or":
            masked = [rest[0].only_where(~first.value)]
        case "choose":
            masked = [rest[0].only_where(first.value), rest[1].only_where(~first.value)]
        case _:
            masked = [a.faults for a in rest]
    return [dict(faults) for faults in (first.faults, *masked)]


def _faults_of(node: Op, args: list[Lanes]) -> dict[str, Array]:
    """What goes wrong in the operation itself."""
    match node.name:
        case "floordiv" | "mod" if node.type is INT:
            return _fault(f"{node.name} by zero", args[1].value == 0)
        case "shift_left" | "shift_right":
            return _fault(f"{node.name} by a count outside 0 to 31", (args[1].value < 0) | (args[1].value > 31))
    return {}


def _fault(text: str, lanes: Array) -> dict[str, Array]:
    return {text: np.asarray(lanes)} if np.any(lanes) else {}


def _read_lookup(node: Lookup, scene: Scene) -> Step:
    indices: list[Lanes] = []
    for index in node.indices:
        indices.append((yield index, scene))
    table = scene.frame.tables[node.table]
    if not indices:
        return as_lanes(table.reshape(()), node.type)
    inside = [np.clip(i.value, 0, size - 1) for i, size in zip(indices, table.shape, strict=True)]
    text = f"a lookup in `{node.table.name}` out of bounds"
    outside = [_fault(text, i.value != kept) for i, kept in zip(indices, inside, strict=True)]
    value = np.asarray(table[tuple(inside)]).astype(DTYPES[node.type])
    return Lanes(value, merged(*outside, *(i.faults for i in indices)))


def _read_quantified(node: Quantified, scene: Scene) -> Step:
    start: Lanes = yield node.start, scene
    stop: Lanes = yield node.stop, scene
    faults = merged(start.faults, stop.faults)
    function = {"any": "or", "all": "and", "sum": "add"}[node.kind]
    total = as_lanes(node.kind == "all", node.type).value
    for i in range(int(start.value), int(stop.value)):
        frame = scene.frame
        variables = {**frame.variables, node.variable: as_lanes(i, INT)}
        inner = Scene(
            Frame(frame.tables, frame.constants, frame.masks, frame.sizes, variables), scene.coordinates, scene.lengths
        )
        term: Lanes = yield node.body, inner
        total = OPS[function].reference(total, term.value.astype(DTYPES[node.type]))
        faults = merged(faults, term.faults)
    return Lanes(total, faults)


def _read_moved(node: Moved, scene: Scene) -> Step:
    moves: dict[str, Lanes] = {}
    for name, value in node.moves:
        moves[name] = yield value, scene
    return (yield node.body, scene.moved(moves))


def _read_fill(closure: Closure, scene: Scene) -> Step:
    return (yield closure.node, scene.within(closure.frame))


def _read_call(node: Call, scene: Scene) -> Step:
    constants: dict[Constant, Lanes] = {}
    tables: dict[Table, Array] = {}
    masks: dict[Hole, Closure] = {}
    for parameter, argument in node.arguments:
        match parameter, argument:
            case Table(), Table():
                tables[parameter] = scene.frame.tables[argument]
            case Constant(), argument if not isinstance(argument, Table):
                constants[parameter] = yield argument, scene
            case Hole(), argument if not isinstance(argument, Table):
                masks[parameter] = Closure(argument, scene.frame)
    frame = Frame(tables, constants, masks, axis_sizes(tables, scene.frame.sizes), {})
    body = node.target.mask if node.type is BOOL else node.target.score
    assert body is not None, f"{node.target.name} has no {node.type} to call"
    return (yield body, scene.within(frame))
