"""Examples become calls with values: constants, tables as arrays, the place, and what is expected there.

Not here: computing what an example gives (`maskdsl.library.examples`), reading lists (`example_values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maskdsl.ir.nodes import Call, Literal, Node, Value, Variant
from maskdsl.ir.types import BOOL, FLOAT, Constant, Hole, Parameter, Scalar, Table
from maskdsl.meaning.constants import constant_value, kind_of
from maskdsl.meaning.example_places import Place, find_place
from maskdsl.meaning.example_values import Array, list_array, plain_value, read_arrays
from maskdsl.meaning.facts import all_facts
from maskdsl.meaning.findings import Findings, counted
from maskdsl.meaning.lower_calls import check_constant, check_mask, match_arguments
from maskdsl.meaning.lower_expressions import lower
from maskdsl.meaning.lower_names import refuse_unknown
from maskdsl.meaning.lowering import Lowering, Record, Setting, Typed
from maskdsl.meaning.requirements import verify_calls
from maskdsl.meaning.scope import Defined, Scope
from maskdsl.source.diagnostic import Label, MaskError
from maskdsl.source.text import Span
from maskdsl.syntax import ast

Rows = tuple[tuple[bool, ...], ...]
Arrays = Mapping[Table, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A test of a definition.

    `root` is the call that is computed: constants are literals, a table parameter stands for itself, masks are nodes.
    It is None for a score of a variant without one (the score then is what comes in), and for no mask (then all is
    visible). `tables` has an array for every table that `root` reads: int32, float64 or bool. `expected` is the
    picture's rows, or a value. `facts` are about the tables and sizes given; those about constants have been checked.
    `row_spans` has a span for every row of a picture.
    """

    target: Variant
    root: Node | None
    constants: Mapping[Constant, Value]
    tables: Arrays
    masks: Mapping[Hole, Node]
    place: Place
    expected: Rows | Value
    facts: tuple[Node, ...]
    span: Span
    call_span: Span
    expected_span: Span
    row_spans: tuple[Span, ...] = ()


def lower_example(findings: Findings, example: ast.Example, scope: Scope) -> Example | None:
    """The example with all its values; None after an error in it or in what it shows."""
    before = findings.errors
    lowering = Lowering("example", Setting.VALUE, scope, findings, Record(lists={}))
    expected = _expected(lowering, example)
    variant = _target(lowering, example.call)
    if variant is None or expected is None:
        return None
    arguments = _arguments(lowering, example.call, variant)
    if arguments is None or not _fits(findings, example, variant, expected):
        return None
    root, facts = _root(variant, arguments, example, expected), _facts(lowering, variant, arguments, example.call)
    tables = read_arrays(lowering)
    tables |= {p: a for p, a in arguments.items() if isinstance(p, Table) and isinstance(a, np.ndarray)}
    place = find_place(lowering, example, root, tables)
    if place is None or findings.errors > before:
        return None
    picture = example.expected if isinstance(example.expected, ast.Picture) else None
    return Example(
        variant, root, {p: a.value for p, a in arguments.items() if isinstance(p, Constant) and isinstance(a, Literal)},
        tables, {p: a for p, a in arguments.items() if isinstance(p, Hole) and not isinstance(a, np.ndarray)}, place,
        expected, facts, example.span, example.call.span, example.expected.span, picture.row_spans if picture else (),
    )


def _target(lowering: Lowering, call: ast.Call) -> Variant | None:
    """The definition that an example shows; None if there is none, or it has an error."""
    defined = lowering.scope.find(call.name.text)
    if not isinstance(defined, Defined):
        return refuse_unknown(lowering, call.name, called=True)
    return defined.variant


def _root(
    variant: Variant, arguments: Mapping[Parameter, Node | Array], example: ast.Example, expected: Rows | Value
) -> Node | None:
    kind = FLOAT if not isinstance(expected, bool | tuple) else BOOL
    if (variant.mask if kind is BOOL else variant.score) is None:
        return None
    return _call(variant, arguments, kind, example.call.span)


def _call(variant: Variant, arguments: Mapping[Parameter, Node | Array], kind: Scalar, span: Span) -> Call:
    pairs = tuple((p, p if isinstance(p, Table) else a) for p, a in arguments.items())
    return Call(variant, pairs, kind, span)  # type: ignore[arg-type]


def _facts(
    lowering: Lowering, variant: Variant, arguments: Mapping[Parameter, Node | Array], call: ast.Call
) -> tuple[Node, ...]:
    """The facts about the tables of an example; those that its constants break are reported."""
    shown = Variant(variant.name, "mask", mask=_call(variant, arguments, BOOL, call.span))
    try:
        verify_calls(lowering.findings, shown)
        return tuple(f for f in all_facts(shown) if constant_value(f) is None)
    except MaskError as error:
        for diagnostic in error.diagnostics:
            lowering.findings.add(diagnostic)
        return ()


# ---------------------------------------------------------------- arguments


def _arguments(lowering: Lowering, call: ast.Call, variant: Variant) -> dict[Parameter, Node | Array] | None:
    matched = match_arguments(lowering, call, variant)
    if matched is None:
        return None
    defaults = dict(variant.defaults)
    found: dict[Parameter, Node | Array] = {}
    for parameter, argument in matched:
        value: Node | Array | None
        if argument is None:
            assert isinstance(parameter, Constant)
            value = defaults[parameter]
        else:
            value = _argument(lowering, parameter, argument.value)
        if value is not None:
            found[parameter] = value
    return found if len(found) == len(matched) else None


def _argument(lowering: Lowering, parameter: Parameter, value: ast.Expression) -> Node | Array | None:
    if isinstance(parameter, Table):
        return list_array(lowering, parameter, value)
    if isinstance(parameter, Hole):
        mask = lower(lowering.set(Setting.MASK), value)
        return None if mask is None else check_mask(lowering, parameter, Typed(mask, value.span))
    node = lower(lowering, value)
    node = None if node is None else check_constant(lowering, parameter, Typed(node, value.span))
    found = None if node is None else plain_value(lowering, Typed(node, value.span))
    return None if found is None else Literal(found, parameter.type, value.span)


# ---------------------------------------------------------------- what is expected


def _expected(lowering: Lowering, example: ast.Example) -> Rows | Value | None:
    if isinstance(example.expected, ast.Picture):
        return _rows(lowering.findings, example.expected)
    node = lower(lowering, example.expected)
    return None if node is None else plain_value(lowering, Typed(node, example.expected.span))


def _rows(findings: Findings, picture: ast.Picture) -> Rows | None:
    wide = len(picture.rows[0])
    for row, span in zip(picture.rows, picture.row_spans, strict=True):
        if len(row) != wide:
            told = f"this row has {counted(len(row), 'column')}, but the first has {wide}"
            return findings.tell(
                "E0503", told, span, also=(Label(picture.row_spans[0], counted(wide, "column")),),
                help=("a picture is a rectangle: a column for every key",),
            )
    return picture.rows


def _fits(findings: Findings, example: ast.Example, variant: Variant, expected: Rows | Value) -> bool:
    """Whether what is expected is of the kind that the definition gives."""
    name, span = f"`{variant.name}`", example.expected.span
    if isinstance(expected, tuple):
        if variant.kind != "score":
            return True
        findings.tell(
            "E0504", f"{name} is a score: a picture shows a mask", span, "a picture",
            help=(f"give a value: `example {variant.name} at (q = 3, k = 1, score = 1.0) == …`",),
        )
        return False
    given = kind_of(expected)
    if variant.kind == "variant" or (given is Scalar.BOOL) is (variant.kind == "mask"):
        return True
    gives = "true or false" if variant.kind == "mask" else "a number"
    findings.tell("E0301", f"{name} is a {variant.kind}: it gives {gives}", span, f"this is {_noun(given)}")
    return False


def _noun(kind: Scalar) -> str:
    return "a bool" if kind is BOOL else "a number"
