"""Definitions become IR one by one: local names, body or fields, facts; calls in them stay calls."""

from __future__ import annotations

from dataclasses import replace

from maskdsl.ir.nodes import Call, Fill, Lookup, Moved, Node, Op, Variant
from maskdsl.ir.types import BOOL, FLOAT
from maskdsl.meaning.constants import verify_value
from maskdsl.meaning.facts import lower_facts
from maskdsl.meaning.findings import Findings, an, as_int, quoted
from maskdsl.meaning.lower_calls import refuse_varying
from maskdsl.meaning.lower_expressions import lower
from maskdsl.meaning.lowering import Lowering, Record, Setting, Typed, as_float
from maskdsl.meaning.names import check_name, refuse_second
from maskdsl.meaning.reads import first_illegal, is_constant_part, is_sink_part, refuse_read
from maskdsl.meaning.scope import Entry, Given, Local, Scope
from maskdsl.meaning.signatures import Definition, Header, kind_of
from maskdsl.source.diagnostic import Label
from maskdsl.syntax import ast

SETTINGS = {"mask": Setting.MASK, "score": Setting.SCORE}


def lower_definition(
    findings: Findings, definition: Definition, header: Header, scope: Scope
) -> tuple[Variant | None, Record]:
    """The definition as IR (None after an error in it) and what it has used; `scope` has what it may call."""
    before = findings.errors
    record = Record(broken_axes=header.broken_axes)
    setting = SETTINGS.get(kind_of(definition), Setting.VALUE)
    lowering = Lowering(definition.name.text, setting, Scope(header.names, scope), findings, record)
    roots: dict[str, Node | None]
    facts: tuple[Node, ...] = ()
    if isinstance(definition, ast.Variant):
        roots = _fields(lowering, definition)
    else:
        lowering = _with_locals(lowering, definition.where, header.names)
        roots = {kind_of(definition): _body(lowering, definition)}
        facts = lower_facts(lowering, definition.requires)
    if findings.errors > before or header.signature is None or None in roots.values():
        return None, record
    return replace(header.signature, **roots, facts=facts), record  # type: ignore[arg-type]


def _with_locals(lowering: Lowering, bindings: tuple[ast.Binding, ...], parameters: dict[str, Entry]) -> Lowering:
    """The lowering that knows the names of `where`, each of which may use those before it."""
    names: dict[str, Entry] = {}
    for binding in bindings:
        node = lower(lowering.inside(dict(names)), binding.value)
        first = names.get(binding.name.text, parameters.get(binding.name.text))
        if not check_name(lowering.findings, binding.name, own=True):
            names[binding.name.text] = Local(None, binding.name)
            continue
        if isinstance(first, Given | Local):
            place = first.declared if isinstance(first, Given) else first.name
            refuse_second(lowering.findings, binding.name, place.span)
            continue
        names[binding.name.text] = Local(_named(node, binding.name.text), binding.name)
    return lowering.inside(names)


def _named(node: Node | None, name: str) -> Node | None:
    """The node with the name that `where` gives to it, for readable output."""
    if isinstance(node, Op | Lookup) and not node.hint:
        return replace(node, hint=name)
    return node


def _body(lowering: Lowering, definition: ast.Mask | ast.Score) -> Node | None:
    node = lower(lowering, definition.body)
    if node is None:
        return None
    value = Typed(node, definition.body.span)
    return check_mask_body(lowering, value) if isinstance(definition, ast.Mask) else check_score_body(lowering, value)


def check_mask_body(lowering: Lowering, value: Typed) -> Node | None:
    """What a mask is: a bool."""
    if value.node.type is BOOL:
        return value.node
    text, kind = quoted(value.span), value.node.type
    return lowering.findings.tell(
        "E0301", f"a mask is a bool, but {text} is {an(kind)}", value.span, an(kind),
        help=("compare it with something, such as `… == 0`",),
    )


def check_score_body(lowering: Lowering, value: Typed) -> Node | None:
    """What a score is: a number, as a float."""
    if value.node.type is not BOOL:
        return as_float(lowering, value.node)
    text = quoted(value.span)
    if isinstance(value.node, Call | Fill):
        return lowering.findings.tell(
            "E0303", f"{text} is a mask, but a score is needed", value.span, "a mask",
            help=("a variant takes it as `mask = …`; in a score write `… if mask else …`",),
        )
    return lowering.findings.tell(
        "E0301", f"a score is a float, but {text} is a bool", value.span, "a bool", help=(as_int(text, BOOL),),
    )


# ---------------------------------------------------------------- the fields of a variant


def _fields(lowering: Lowering, variant: ast.Variant) -> dict[str, Node | None]:
    seen: dict[str, ast.Field] = {}
    roots: dict[str, Node | None] = {}
    for field in variant.fields:
        name = field.name.text
        if name in seen:
            also, told = (Label(seen[name].name.span, "given here first"),), f"`{name}` is given twice"
            lowering.findings.tell("E0407", told, field.name.span, also=also, help=(_joining(name),))
        node = _field(lowering, field)
        roots.setdefault(name, node)
        seen.setdefault(name, field)
    return roots


def _joining(name: str) -> str:
    return {"mask": "join masks with `and` or `or`", "score": "join scores with `then`"}.get(name, "keep one of them")


def _field(lowering: Lowering, field: ast.Field) -> Node | None:
    match field.name.text:
        case "mask":
            node = lower(lowering.set(Setting.MASK), field.stages[0])
            return None if node is None else check_mask_body(lowering, Typed(node, field.stages[0].span))
        case "score":
            return _pipeline(lowering.set(Setting.SCORE), field.stages)
        case "scale":
            return _constant_field(lowering, field, "a scale", wanted_bool=False)
        case "normalize":
            return _constant_field(lowering, field, "`normalize`", wanted_bool=True)
    return _sink(lowering, field.stages[0])


def _pipeline(lowering: Lowering, stages: tuple[ast.Expression, ...]) -> Node | None:
    """`a then b`: b, and where it reads `score`, a."""
    whole: Node | None = None
    sound = True
    for stage in stages:
        node = lower(lowering, stage)
        node = None if node is None else check_score_body(lowering, Typed(node, stage.span))
        sound = sound and node is not None
        if node is not None:
            span = stages[0].span.to(stage.span)
            whole = node if whole is None else Moved(node, (("score", whole),), FLOAT, span)
    return whole if sound else None


def _constant_field(lowering: Lowering, field: ast.Field, what: str, *, wanted_bool: bool) -> Node | None:
    span = field.stages[0].span
    node = lower(lowering.set(Setting.VALUE), field.stages[0])
    if node is None:
        return None
    illegal = first_illegal(node, is_constant_part)
    if illegal is not None:
        return refuse_varying(lowering.findings, f"{what} is a constant, but {quoted(span)} is none", span, illegal)
    if (node.type is BOOL) is not wanted_bool:
        wanted = "a bool" if wanted_bool else "a float"
        told = f"{what} is {wanted}, but {quoted(span)} is {an(node.type)}"
        return lowering.findings.tell("E0301", told, span, an(node.type))
    if not verify_value(lowering.findings, node):
        return None
    return node if wanted_bool else as_float(lowering, node)


def _sink(lowering: Lowering, expression: ast.Expression) -> Node | None:
    span = expression.span
    node = lower(lowering.set(Setting.VALUE), expression)
    if node is None:
        return None
    illegal = first_illegal(node, is_sink_part)
    if illegal is not None:
        message, help_ = "a sink is one number for every head", "it reads `h`, tables and constants"
        return refuse_read(lowering.findings, "E0412", message, span, illegal, help=(help_,))
    if node.type is BOOL:
        return lowering.findings.tell("E0301", f"a sink is a float, but {quoted(span)} is a bool", span, "a bool")
    return as_float(lowering, node)
