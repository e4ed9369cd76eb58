"""Tables: lookups and their axes, and tables given for the tables of a definition that is called.

A coordinate in its own axis is safe by type. Any other index is left to the proofs (`obligations`).
"""

from __future__ import annotations

from collections.abc import Sequence

from maskdsl.ir.nodes import Lookup, Node
from maskdsl.ir.types import BUILT_IN_AXES, FLOAT, INT, Axis, Constant, Hole, Table
from maskdsl.meaning.findings import an, as_int, counted, quoted, spelt
from maskdsl.meaning.lower_names import coordinate_of, is_own, refuse_unknown
from maskdsl.meaning.lowering import Lowering, Typed
from maskdsl.meaning.scope import Defined, Given, Local
from maskdsl.source.diagnostic import Label
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span
from maskdsl.syntax import ast

AXIS_OF = {"b": "batch", "h": "head", "kv_h": "kv_head", "q": "position", "k": "position"}
"""The axis that each coordinate runs over."""

INDEX_OF = {"batch": "`b`", "head": "`h`", "kv_head": "`kv_h`", "position": "`q` or `k`"}
"""The coordinates that run over each built-in axis."""

MEANING = {"b": "a batch row", "h": "a head", "kv_h": "a key/value head", "q": "a position", "k": "a position"}


def find_table(lowering: Lowering, name: ast.Name) -> Given | None:
    """The table parameter that is followed by indices; anything else with brackets is reported."""
    match lowering.scope.find(name.text):
        case Given(parameter=Table()) as given:
            lowering.record.parameters.add(name.text)
            return given
        case Given(parameter=Constant() | Hole() as parameter, declared=declared):
            lowering.record.parameters.add(name.text)
            kind = "a constant" if isinstance(parameter, Constant) else "a mask"
            return _refuse_indices(lowering, name, kind, Label(declared.span, "declared here"))
        case Local(node=node):
            return None if node is None else _refuse_indices(lowering, name, "a value")
        case Defined(kind=kind):
            return None if not kind else _refuse_indices(lowering, name, f"a {kind}")
    if is_own(name.text):
        return _refuse_indices(lowering, name, "a name of the language")
    tables = [n for n in lowering.scope if _is_table(lowering, n)]
    if did_you_mean(name.text, tables) and name.text not in lowering.record.unknown:
        lowering.record.unknown.add(name.text)
        lowering.findings.tell("E0201", f"unknown name `{name.text}`", name.span, help=did_you_mean(name.text, tables))
        return None
    return refuse_unknown(lowering, name)


def look_up(lowering: Lowering, given: Given, lookup: ast.Lookup, indices: Sequence[Typed]) -> Node | None:
    """`table[indices]`: one int for each axis, a coordinate only in an axis that it runs over."""
    table = given.parameter
    assert isinstance(table, Table)
    if len(indices) != len(table.axes):
        return _refuse_count(lowering, given, table, lookup)
    right = [_check_index(lowering, given, place, index) for place, index in enumerate(indices)]
    return Lookup(table, tuple(i.node for i in indices), table.type, lookup.span) if all(right) else None


def match_axes(lowering: Lowering, wanted: Table, offered: Table, axes: dict[Axis, Axis], span: Span) -> bool:
    """Whether the caller's table `offered` may stand for the parameter `wanted`; binds its fresh axes in `axes`."""
    if wanted.type is not offered.type or len(wanted.axes) != len(offered.axes):
        code = "E0301" if wanted.type is not offered.type else "E0309"
        lowering.findings.tell(
            code, f"`{wanted.name}` is {spelt(wanted)}, but `{offered.name}` is {spelt(offered)}", span, spelt(offered),
            also=(Label(wanted.span, "the parameter"), Label(offered.span, "the table")),
        )
        return False
    for mine, theirs in zip(wanted.axes, offered.axes, strict=True):
        bound = mine if _is_fixed(mine) else axes.setdefault(mine, theirs)
        if bound != theirs:
            return _refuse_axis(lowering, wanted, offered, mine, bound, theirs, span)
    return True


def list_table(lowering: Lowering, wanted: Table, argument: ast.Argument, axes: dict[Axis, Axis]) -> Table:
    """A table for a list given to `wanted` inside an example's mask; its fresh axes have names of their own."""
    lists = lowering.record.lists
    assert lists is not None
    number = len(lists) + 1
    mine = tuple(a if _is_fixed(a) else axes.setdefault(a, f"{a}_{number}") for a in wanted.axes)
    table = Table("example", f"{wanted.name}_{number}", wanted.type, mine, argument.span)
    lists[table] = argument.value
    return table


def _check_index(lowering: Lowering, given: Given, place: int, index: Typed) -> bool:
    kind, text = index.node.type, quoted(index.span)
    if kind is not INT:
        told = f"an index is an int, but {text} is {an(kind)}"
        code = "E0302" if kind is FLOAT else "E0301"
        lowering.findings.tell(code, told, index.span, an(kind), help=(as_int(text, kind),))
        return False
    table = given.parameter
    assert isinstance(table, Table)
    axis, coordinate = table.axes[place], coordinate_of(index.node)
    if coordinate is None or axis not in BUILT_IN_AXES or AXIS_OF[coordinate] == axis:
        return True
    return _refuse_coordinate(lowering, given, place, coordinate, index.span)


def _refuse_coordinate(lowering: Lowering, given: Given, place: int, coordinate: str, span: Span) -> bool:
    assert isinstance(given.parameter, Table)
    axis, declared = str(given.parameter.axes[place]), given.declared.type.axes
    assert declared is not None
    meaning = MEANING[coordinate]
    lowering.findings.tell(
        "E0305", f"`{given.parameter.name}` is indexed by {axis}, but {quoted(span)} is {meaning}", span, meaning,
        also=(Label(declared[place].span, f"this axis is {axis}"),), help=(f"index it with {INDEX_OF[axis]}",),
    )
    return False


def _refuse_count(lowering: Lowering, given: Given, table: Table, lookup: ast.Lookup) -> None:
    also = (Label(given.declared.span, "declared here"),)
    if not table.axes:
        return lowering.findings.tell(
            "E0306", f"`{table.name}` is one number: it has no axes to index", lookup.span, also=also,
            help=(f"write `{table.name}` alone",),
        )
    return lowering.findings.tell(
        "E0306", f"`{table.name}` has {counted(len(table.axes), 'axis')}, but {counted(len(lookup.indices), 'index')} "
        f"{'is' if len(lookup.indices) == 1 else 'are'} given", lookup.span, spelt(table), also=also,
    )


def _refuse_indices(lowering: Lowering, name: ast.Name, kind: str, *also: Label) -> None:
    told = f"`{name.text}` is {kind}, not a table: it takes no indices"
    lowering.findings.tell("E0307", told, name.span, kind, also=also)


def _refuse_axis(
    lowering: Lowering, wanted: Table, offered: Table, mine: Axis, bound: Axis, theirs: Axis, span: Span
) -> bool:
    also = (Label(wanted.span, "the parameter"), Label(offered.span, "the table"))
    told = f"`{wanted.name}` is {spelt(wanted)}, but `{offered.name}` is {spelt(offered)}"
    why = f"`{mine}` is already `{bound}`" if mine != bound else f"`{mine}` is not `{theirs}`"
    lowering.findings.tell("E0309", told, span, f"{why} here", also=also)
    return False


def _is_fixed(axis: Axis) -> bool:
    return isinstance(axis, int) or axis in BUILT_IN_AXES


def _is_table(lowering: Lowering, name: str) -> bool:
    match lowering.scope.find(name):
        case Given(parameter=Table()):
            return True
    return False
