"""Where an example is evaluated: coordinates, lengths, sizes of axes; and whether all that is read is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from maskdsl.ir.nodes import COORDINATES, LENGTHS, Call, Node, Size, Symbol, Value, Variant
from maskdsl.ir.substitute import inline
from maskdsl.ir.types import FLOAT, INT, Hole, Scalar, Table
from maskdsl.ir.walk import topological
from maskdsl.meaning.example_values import Array, plain_value
from maskdsl.meaning.findings import Findings, an, counted, listed, quoted
from maskdsl.meaning.lower_expressions import lower
from maskdsl.meaning.lower_tables import AXIS_OF
from maskdsl.meaning.lowering import Lowering, Typed
from maskdsl.meaning.reads import is_variable
from maskdsl.source.diagnostic import Label, MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span
from maskdsl.syntax import ast


@dataclass(frozen=True, slots=True)
class Place:
    """A place with nothing left open.

    `coordinates` are `b` and `h` and, unless a picture has all of them, `q` and `k`; `lengths` are `q_len` and
    `kv_len`; `sizes` has every axis that the example reads; `score` is None where none was given.
    """

    coordinates: Mapping[str, int]
    lengths: Mapping[str, int]
    sizes: Mapping[str, int]
    score: float | None = None


def find_place(
    lowering: Lowering, example: ast.Example, root: Node | None, tables: Mapping[Table, Array]
) -> Place | None:
    """The place of an example; None after reporting what is wrong, or what is missing (E0504)."""
    given = _given(lowering, example)
    sizes = None if given is None else _sizes(lowering.findings, example, given, tables)
    if given is None or sizes is None:
        return None
    numbers = {n: v for (n, size_of), v in given.items() if not size_of}
    try:
        needed = _needed(root)
    except MaskError as error:
        for diagnostic in error.diagnostics:
            lowering.findings.add(diagnostic)
        return None
    place = _filled(example, numbers, sizes)
    complete = _is_complete(lowering.findings, example, needed, sizes, numbers)
    return place if complete and _is_inside(lowering.findings, example, place) else None


Given = Mapping[tuple[str, bool], Value]
"""What `at (…)` says: by name, and whether the name is that of an axis whose size is given."""


def _given(lowering: Lowering, example: ast.Example) -> Given | None:
    found: dict[tuple[str, bool], Value] = {}
    seen: dict[tuple[str, bool], Span] = {}
    for coordinate in example.place:
        key = (coordinate.name.text, coordinate.size_of)
        value = _coordinate(lowering, example, coordinate)
        if key in seen:
            also = (Label(seen[key], "given here first"),)
            return lowering.findings.tell("E0409", f"`{_text(key)}` is given twice", coordinate.span, also=also)
        seen[key] = coordinate.span
        if value is not None:
            found[key] = value
    return found if len(found) == len(example.place) else None


def _coordinate(lowering: Lowering, example: ast.Example, coordinate: ast.Coordinate) -> Value | None:
    name = coordinate.name.text
    known = (*COORDINATES, *LENGTHS, "score")
    if not coordinate.size_of and name not in known:
        advice = ("`kv_h` follows from `h`",) if name == "kv_h" else did_you_mean(name, known)
        return lowering.findings.tell("E0409", f"an example has no `{name}`", coordinate.name.span, help=advice)
    if name in ("q", "k", "score") and not coordinate.size_of and isinstance(example.expected, ast.Picture):
        told = f"a picture shows all of `{name}`" if name != "score" else "a mask reads no `score`"
        return lowering.findings.tell("E0504", told, coordinate.span, help=(f"leave `{name}` out",))
    node = lower(lowering, coordinate.value)
    value = None if node is None else plain_value(lowering, Typed(node, coordinate.value.span))
    if node is None or value is None:
        return None
    return _number(lowering.findings, coordinate, node, value)


def _number(findings: Findings, coordinate: ast.Coordinate, node: Node, value: Value) -> Value | None:
    name, span = _text((coordinate.name.text, coordinate.size_of)), coordinate.value.span
    wanted = FLOAT if name == "score" else INT
    if node.type is not wanted and (node.type, wanted) != (INT, FLOAT):
        code = "E0302" if (node.type, wanted) == (FLOAT, INT) else "E0301"
        told = f"`{name}` is {an(wanted)}, but {quoted(span)} is {an(node.type)}"
        return findings.tell(code, told, span, an(node.type))
    if wanted is FLOAT:
        return float(value)
    least = 1 if coordinate.size_of else 0
    return value if value >= least else findings.tell("E0504", f"`{name}` is at least {least}, not {value}", span)


# ---------------------------------------------------------------- sizes


def _sizes(
    findings: Findings, example: ast.Example, given: Given, tables: Mapping[Table, Array]
) -> dict[str, int] | None:
    """The length of every axis that a list or `size(…)` tells; two that differ are reported."""
    sizes: dict[str, tuple[int, str]] = {}
    told = [(n, int(v), "`at` says so") for (n, size_of), v in given.items() if size_of]
    told += [(a, n, f"`{t.name}` has as many") for t, x in tables.items() for a, n in zip(t.axes, x.shape, strict=True)
             if isinstance(a, str)]  # fmt: skip
    for axis, length, why in told:
        before = sizes.setdefault(axis, (length, why))
        if before[0] != length:
            return findings.tell(
                "E0504", f"the axis `{axis}` has two lengths: {before[0]} and {length}", example.call.span,
                notes=(f"{before[0]}: {before[1]}", f"{length}: {why}"),
            )
    known = {axis: length for axis, (length, _) in sizes.items()}
    heads, groups = known.get("head"), known.get("kv_head")
    if heads is not None and groups is not None and heads % groups:
        message = f"{heads} heads cannot share {groups} key/value heads evenly"
        return findings.tell("E0504", message, example.call.span)
    return known


def _needed(root: Node | None) -> list[str]:
    """What the example reads: symbols by name, sizes as `size(axis)`, in the order of the text."""
    if root is None:
        return []
    assert isinstance(root, Call)
    if any(isinstance(p, Hole) for p, _ in root.arguments):
        return _read_by(root)
    found = _read_in(root.target, root.type)
    if isinstance(found, MaskError):
        raise found
    return found


@lru_cache(maxsize=64)
def _read_in(target: Variant, kind: Scalar) -> list[str] | MaskError:
    """What a definition without mask parameters reads: the same in every example of it."""
    try:
        return _read_by(Call(target, tuple((p, p) for p in target.tables), kind))
    except MaskError as error:
        return error


def _read_by(root: Node) -> list[str]:
    nodes = topological(inline(root))
    names = [n.name if isinstance(n, Symbol) else _text((n.axis, True)) for n in nodes
             if isinstance(n, Size) or (isinstance(n, Symbol) and not is_variable(n))]  # fmt: skip
    return list(dict.fromkeys(names))


def _filled(example: ast.Example, numbers: Mapping[str, Value], sizes: Mapping[str, int]) -> Place:
    coordinates = {n: int(numbers.get(n, 0)) for n in COORDINATES}
    if isinstance(example.expected, ast.Picture):
        rows = example.expected.rows
        coordinates = {n: coordinates[n] for n in ("b", "h")}
        lengths = {"q_len": len(rows), "kv_len": len(rows[0])}
    else:
        length = sizes.get("position", max(coordinates["q"], coordinates["k"]) + 1)
        lengths = {"q_len": length, "kv_len": length}
    lengths |= {n: int(numbers[n]) for n in LENGTHS if n in numbers}
    shown = coordinates.get("q", 0) + 1, coordinates.get("k", 0) + 1
    filled = {"batch": coordinates["b"] + 1, "position": max(*lengths.values(), *shown)} | dict(sizes)
    filled.setdefault("head", max(coordinates["h"] + 1, filled.get("kv_head", 1)))
    filled.setdefault("kv_head", filled["head"])
    score = numbers.get("score")
    return Place(coordinates, lengths, filled, None if score is None else float(score))


def _is_complete(
    findings: Findings, example: ast.Example, needed: list[str], told: Mapping[str, int], numbers: Mapping[str, Value]
) -> bool:
    """Whether all that is read is given: a picture gives q, k and lengths, `b` and `h` may be left out.

    `told` are the sizes that lists and `size(…)` tell.
    """
    picture = isinstance(example.expected, ast.Picture)
    free = {"b", "h", *numbers} | ({"q", "k", *LENGTHS, "size(position)"} if picture else set())
    free |= {_text((axis, True)) for axis in told}
    missing = [n for n in needed if n not in free]
    if not missing:
        return True
    name = example.call.name.text
    findings.tell(
        "E0504", f"`{name}` reads {listed(missing)}, which this example leaves open", example.call.span,
        help=(f"write `at ({', '.join(f'{n} = …' for n in missing)})`",),
    )
    return False


def _is_inside(findings: Findings, example: ast.Example, place: Place) -> bool:
    """Whether coordinates and picture lie inside their axes."""
    reached = {c: v + 1 for c, v in place.coordinates.items()}
    if isinstance(example.expected, ast.Picture):
        reached |= {"q": len(example.expected.rows), "k": len(example.expected.rows[0])}
    for coordinate, length in reached.items():
        axis = AXIS_OF[coordinate]
        if length > place.sizes[axis]:
            what = "the picture" if coordinate not in place.coordinates else f"`{coordinate}`"
            entries = counted(place.sizes[axis], "entry").replace("entrys", "entries")
            findings.tell(
                "E0504", f"{what} passes the end of the axis `{axis}`, which has {entries}", example.call.span,
                help=("give longer lists, or a smaller place",),
            )
            return False
    return True


def _text(key: tuple[str, bool]) -> str:
    return f"size({key[0]})" if key[1] else key[0]
