"""Moved coordinates and quantifiers: what may be moved, and which bounds a quantifier may have."""

from __future__ import annotations

from maskdsl.ir.nodes import Node
from maskdsl.ir.types import FLOAT, INT
from maskdsl.meaning.constants import constant_value, verify_value
from maskdsl.meaning.findings import an, as_int, quoted
from maskdsl.meaning.growth import LONGEST_RANGE
from maskdsl.meaning.lowering import Lowering, Setting
from maskdsl.meaning.names import check_name
from maskdsl.meaning.reads import first_illegal, is_scoreless, is_unrolled_part, refuse_read
from maskdsl.source.diagnostic import Label
from maskdsl.source.suggest import did_you_mean
from maskdsl.syntax import ast

MOVABLE = ("b", "h", "q", "k", "score")

UNMOVABLE = {
    "kv_h": "`kv_h` follows from `h`: move `h`",
    "q_len": "lengths belong to the sequence: move `q` and `k`",
    "kv_len": "lengths belong to the sequence: move `q` and `k`",
}


def check_moves(lowering: Lowering, moved: ast.Moved) -> bool:
    """Whether every coordinate of `at (…)` can be moved, and none is moved twice."""
    seen: dict[str, ast.Coordinate] = {}
    sound = True
    for coordinate in moved.coordinates:
        name = coordinate.name.text
        if coordinate.size_of or name not in MOVABLE:
            _refuse_coordinate(lowering, coordinate)
            sound = False
        elif name in seen:
            also = (Label(seen[name].span, "moved here first"),)
            lowering.findings.tell("E0409", f"`{name}` is moved twice", coordinate.span, also=also)
            sound = False
        seen.setdefault(name, coordinate)
    return sound


def check_move(lowering: Lowering, moved: ast.Moved, body: Node) -> bool:
    """Whether `score` is moved only below what reads it."""
    place = next((c for c in moved.coordinates if c.name.text == "score"), None)
    if place is None or (lowering.setting is not Setting.MASK and first_illegal(body, is_scoreless) is not None):
        return True
    lowering.findings.tell(
        "E0409", f"{quoted(moved.body.span)} does not read `score`: it cannot be moved here", place.span,
        help=("leave `score = …` out",),
    )
    return False


def name_variable(lowering: Lowering, e: ast.Quantified) -> str | None:
    """A name for a quantifier's variable that no other of the definition has; None for one that it may not have."""
    if not check_name(lowering.findings, e.variable, own=True):
        return None
    name, number = e.variable.text, 2
    while name in lowering.record.variables:
        name, number = f"{e.variable.text}_{number}", number + 1
    lowering.record.variables.add(name)
    return name


def check_bounds(lowering: Lowering, e: ast.Quantified, start: Node, stop: Node) -> bool:
    """Whether a quantifier's bounds are int constants or sizes, and not too far apart as far as is known."""
    written = [(e.stop, stop)] if e.start is None else [(e.start, start), (e.stop, stop)]
    for expression, node in written:
        if not _check_bound(lowering, expression, node):
            return False
    first, last = constant_value(start), constant_value(stop)
    if first is None or last is None or last - first <= LONGEST_RANGE:
        return True
    lowering.findings.tell(
        "E0403", f"the quantifier has {last - first:,} steps, more than {LONGEST_RANGE:,}", e.stop.span,
        notes=("quantifiers are unrolled when a variant is compiled",),
    )
    return False


def _check_bound(lowering: Lowering, expression: ast.Expression, node: Node) -> bool:
    text, span = quoted(expression.span), expression.span
    if node.type is not INT:
        code = "E0302" if node.type is FLOAT else "E0301"
        told_type = f"a quantifier counts ints, but {text} is {an(node.type)}"
        lowering.findings.tell(code, told_type, span, an(node.type), help=(as_int(text, node.type),))
        return False
    illegal = first_illegal(node, is_unrolled_part, lowering.record.sound[is_unrolled_part])
    if illegal is None:
        return verify_value(lowering.findings, node)
    refuse_read(
        lowering.findings, "E0403", f"the bound {text} is neither a constant nor a size", span, illegal,
        notes=("quantifiers are unrolled when a variant is compiled",),
        help=("use a constant bound that is large enough, and a condition in the body",),
    )
    return False


def _refuse_coordinate(lowering: Lowering, coordinate: ast.Coordinate) -> None:
    name = coordinate.name.text
    if coordinate.size_of:
        lowering.findings.tell("E0409", f"`size({name})` is set only in an example", coordinate.span)
        return
    advice = (UNMOVABLE[name],) if name in UNMOVABLE else did_you_mean(name, MOVABLE)
    lowering.findings.tell(
        "E0409", f"`{name}` cannot be moved", coordinate.name.span, help=advice,
        notes=("`at` moves `b`, `h`, `q`, `k` and `score`",),
    )
