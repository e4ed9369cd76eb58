"""Values written in examples: numbers, and lists that stand for tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskdsl.ir.nodes import Value
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar, Table
from maskdsl.meaning.constants import constant_value, kind_of, verify_value
from maskdsl.meaning.findings import an, counted, quoted, spelt
from maskdsl.meaning.lower_calls import refuse_varying
from maskdsl.meaning.lower_expressions import lower
from maskdsl.meaning.lowering import Lowering, Typed
from maskdsl.meaning.reads import first_illegal, is_literal_part
from maskdsl.source.diagnostic import Label
from maskdsl.source.text import Span
from maskdsl.syntax import ast

Array = np.ndarray[Any, Any]
DTYPES = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}


def plain_value(lowering: Lowering, value: Typed) -> Value | None:
    """The value of an expression of numbers and functions; anything else is reported."""
    illegal = first_illegal(value.node, is_literal_part)
    if illegal is not None:
        return refuse_varying(lowering.findings, f"{quoted(value.span)} is no plain value", value.span, illegal)
    return constant_value(value.node) if verify_value(lowering.findings, value.node) else None


def list_array(lowering: Lowering, table: Table, written: ast.Expression) -> Array | None:
    """The array of a list written for a table (a number for `int[]`): int32, float64 or bool, an axis a level."""
    if not isinstance(written, ast.ListValue) and table.axes:
        rank = len(table.axes)
        return lowering.findings.tell(
            "E0504", f"`{table.name}` needs a list, but {quoted(written.span)} is none", written.span, spelt(table),
            also=(Label(table.span, "the parameter"),), help=(f"write `{table.name} = {'[' * rank}…{']' * rank}`",),
        )
    items = _items(lowering, table, written, 0)
    if items is None:
        return None
    array: Array = np.array(items, DTYPES[table.type])
    for place, axis in enumerate(table.axes):
        if isinstance(axis, int) and array.shape[place] != axis:
            told = f"axis {place + 1} of `{table.name}` has {axis} entries, but the list has {array.shape[place]}"
            return lowering.findings.tell("E0504", told, written.span, also=(Label(table.span, "the parameter"),))
    return array


def read_arrays(lowering: Lowering) -> dict[Table, Array]:
    """The arrays of the lists given inside mask arguments; those with an error are left out."""
    lists = lowering.record.lists or {}
    found = {table: list_array(lowering, table, written) for table, written in lists.items()}
    return {table: array for table, array in found.items() if array is not None}


def _items(lowering: Lowering, table: Table, written: ast.Expression, depth: int) -> Any:
    """A number, or lists of numbers in `rank - depth` levels, all of one length at each level."""
    rank = len(table.axes)
    if isinstance(written, ast.ListValue) != (depth < rank):
        return _refuse_depth(lowering, table, written)
    if not isinstance(written, ast.ListValue):
        return _number(lowering, table, written)
    if not written.items:
        return lowering.findings.tell("E0504", "a list has at least one entry", written.span)
    found: list[Any] = []
    for item in written.items:
        value = _items(lowering, table, item, depth + 1)
        if value is None:
            return None
        if found and depth + 1 < rank and np.shape(value) != np.shape(found[0]):
            return _refuse_ragged(lowering, item.span, written.items[0].span)
        found.append(value)
    return found


def _number(lowering: Lowering, table: Table, written: ast.Expression) -> Value | None:
    node = lower(lowering, written)
    value = None if node is None else plain_value(lowering, Typed(node, written.span))
    if value is None:
        return None
    kind = kind_of(value)
    if kind is table.type:
        return value
    if (kind, table.type) == (INT, FLOAT):
        return float(value)
    return _refuse_type(lowering, table, kind, written.span)


def _refuse_type(lowering: Lowering, table: Table, kind: Scalar, span: Span) -> None:
    code = "E0302" if (kind, table.type) == (FLOAT, INT) else "E0301"
    told = f"`{table.name}` is {spelt(table)}, but {quoted(span)} is {an(kind)}"
    lowering.findings.tell(code, told, span, an(kind), also=(Label(table.span, "the parameter"),))


def _refuse_depth(lowering: Lowering, table: Table, written: ast.Expression) -> None:
    axes = counted(len(table.axes), "axis")
    told = f"`{table.name}` has {axes}: its list has {counted(len(table.axes), 'level')} of brackets"
    if not table.axes:
        told = f"`{table.name}` is one number, not a list"
    lowering.findings.tell("E0504", told, written.span, spelt(table), also=(Label(table.span, "the parameter"),))


def _refuse_ragged(lowering: Lowering, span: Span, first: Span) -> None:
    lowering.findings.tell(
        "E0504", "the lists inside a list are of one length", span, also=(Label(first, "another length here"),),
    )
