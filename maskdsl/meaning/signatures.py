"""Headers of definitions: their parameters, types, axes and defaults.

Not here: bodies (`lower_definitions`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maskdsl.ir.nodes import Literal, Node, Value, Variant
from maskdsl.ir.types import FLOAT, INT, Axis, Constant, Hole, Parameter, Scalar, Table
from maskdsl.meaning.constants import constant_value, verify_value
from maskdsl.meaning.findings import Findings, an, as_int, quoted
from maskdsl.meaning.lower_calls import refuse_varying
from maskdsl.meaning.lower_expressions import lower
from maskdsl.meaning.lowering import Lowering, Setting, Typed
from maskdsl.meaning.names import check_axis, check_name, refuse_second
from maskdsl.meaning.reads import first_illegal, is_literal_part
from maskdsl.meaning.scope import Entry, Given, Local, Scope
from maskdsl.syntax import ast

Definition = ast.Mask | ast.Score | ast.Variant
MOST_AXES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a header declares: names for the body, and the signature, a variant without a body (None after an error)."""

    names: dict[str, Entry]
    signature: Variant | None
    broken_axes: bool


def kind_of(definition: Definition) -> str:
    """`mask`, `score` or `variant`."""
    return type(definition).__name__.lower()


def declare(findings: Findings, definition: Definition) -> Header:
    """The header of a definition; mistakes in it are reported, and a wrong parameter's name means nothing further."""
    before = findings.errors
    names: dict[str, Entry] = {}
    parameters: list[Parameter] = []
    defaults: list[tuple[Constant, Node]] = []
    for declared in definition.parameters:
        parameter = _parameter(findings, definition.name.text, declared)
        if not _may_declare(findings, declared, names):
            names.setdefault(declared.name.text, Local(None, declared.name))
            continue
        names[declared.name.text] = Local(None, declared.name) if parameter is None else Given(parameter, declared)
        if parameter is not None:
            parameters.append(parameter)
            defaults.extend(_default(findings, declared, parameter))
    signature = Variant(
        definition.name.text, kind_of(definition), tuple(parameters), tuple(defaults), doc=doc_text(definition.doc),
        span=definition.name.span,
    )
    broken = any(isinstance(e, Local) for e in names.values())
    return Header(names, signature if findings.errors == before else None, broken)


def doc_text(lines: tuple[str, ...]) -> str:
    """Documentation without its `##` marks, a line each."""
    return "\n".join(line.strip().removeprefix("##").strip() for line in lines).strip()


def _may_declare(findings: Findings, declared: ast.Parameter, names: dict[str, Entry]) -> bool:
    name = declared.name
    if not check_name(findings, name, own=True):
        return False
    if name.text in names:
        first = names[name.text]
        assert isinstance(first, Given | Local)
        refuse_second(findings, name, (first.declared if isinstance(first, Given) else first.name).span)
        return False
    return True


def _parameter(findings: Findings, owner: str, declared: ast.Parameter) -> Parameter | None:
    name, span, kind = declared.name.text, declared.span, declared.type
    if kind.name == "mask":
        return Hole(owner, name, span)
    scalar = Scalar(kind.name)
    if kind.axes is None:
        return Constant(owner, name, scalar, span)
    if len(kind.axes) > MOST_AXES:
        return findings.tell("E0310", f"`{name}` has {len(kind.axes)} axes, more than {MOST_AXES}", kind.span)
    axes = [_axis(findings, axis) for axis in kind.axes]
    sound = tuple(a for a in axes if a is not None)
    return Table(owner, name, scalar, sound, span) if len(sound) == len(axes) else None


def _axis(findings: Findings, axis: ast.Name | ast.Integer) -> Axis | None:
    match axis:
        case ast.Name(text=text):
            return text if check_axis(findings, axis) else None
        case ast.Integer(value=value) if value > 0:
            return value
    return findings.tell("E0313", "an axis has at least one entry", axis.span, "a length of 0")


def _default(findings: Findings, declared: ast.Parameter, parameter: Parameter) -> list[tuple[Constant, Node]]:
    if declared.default is None:
        return []
    if not isinstance(parameter, Constant):
        kind = "a table" if isinstance(parameter, Table) else "a mask"
        findings.tell(
            "E0312", f"`{parameter.name}` is {kind}: it has no default", declared.default.span,
            notes=("only constants have defaults",),
        )
        return []
    lowering = Lowering(parameter.owner, Setting.VALUE, Scope(), findings)
    node = lower(lowering, declared.default)
    value = None if node is None else _default_value(lowering, parameter, Typed(node, declared.default.span))
    return [] if value is None else [(parameter, Literal(value, parameter.type, declared.default.span))]


def _default_value(lowering: Lowering, parameter: Constant, default: Typed) -> Value | None:
    illegal = first_illegal(default.node, is_literal_part)
    if illegal is not None:
        told = f"the default of `{parameter.name}` is no number: {quoted(default.span)}"
        return refuse_varying(lowering.findings, told, default.span, illegal)
    kind, text = default.node.type, quoted(default.span)
    if kind is not parameter.type and (kind, parameter.type) != (INT, FLOAT):
        code = "E0302" if (kind, parameter.type) == (FLOAT, INT) else "E0301"
        told = f"`{parameter.name}` is {an(parameter.type)}, but its default {text} is {an(kind)}"
        return lowering.findings.tell(
            code, told, default.span, an(kind), help=(as_int(text, kind),) if parameter.type is INT else (),
        )
    if not verify_value(lowering.findings, default.node):
        return None
    value = constant_value(default.node)
    assert value is not None
    return float(value) if parameter.type is FLOAT else value
