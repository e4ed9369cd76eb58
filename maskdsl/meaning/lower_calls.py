"""Calls of definitions: which argument goes to which parameter, and whether it may.

Not here: lowering the arguments themselves (`lower_expressions`).
"""

from __future__ import annotations

from maskdsl.ir.nodes import Node, Variant
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Parameter, Table
from maskdsl.meaning.constants import verify_value
from maskdsl.meaning.findings import Findings, an, as_int, counted, listed, quoted
from maskdsl.meaning.lowering import Lowering, Setting, Typed, as_float
from maskdsl.meaning.reads import first_illegal, is_scoreless, is_unrolled_part, refuse_read, told
from maskdsl.meaning.scope import Defined
from maskdsl.source.diagnostic import Label
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span
from maskdsl.syntax import ast

Matched = tuple[tuple[Parameter, ast.Argument | None], ...]
"""Every parameter in order with the argument given for it; None stands for its default."""


def may_call(lowering: Lowering, call: ast.Call, defined: Defined) -> bool:
    """Whether a definition of this kind may be called here."""
    name, kind = call.name.text, defined.kind
    if kind == "variant":
        lowering.findings.tell(
            "E0303", f"`{name}` is a variant: it cannot be part of another definition", call.name.span, "a variant",
            also=(Label(defined.name.span, "defined here"),), help=("call its mask and its scores instead",),
        )
        return False
    if kind == "score" and lowering.setting is Setting.MASK:
        lowering.findings.tell(
            "E0303", f"`{name}` is a score: a mask cannot call it", call.name.span, "a score",
            also=(Label(defined.name.span, "defined here"),),
            notes=("which pairs attend is decided before their scores are known",),
        )
        return False
    return True


def match_arguments(lowering: Lowering, call: ast.Call, signature: Variant) -> Matched | None:
    """The parameters with their arguments: by place first, then by name. Each mistake is reported."""
    before = lowering.findings.errors
    given: dict[str, ast.Argument] = {}
    names = [p.name for p in signature.parameters]
    for place in range(len(call.arguments)):
        _place_argument(lowering, call, names, place, given)
    defaults = {c.name for c, _ in signature.defaults}
    missing = [n for n in names if n not in given and n not in defaults]
    if missing and before == lowering.findings.errors:
        _refuse_missing(lowering, call, signature, missing)
    if before != lowering.findings.errors:
        return None
    return tuple((p, given.get(p.name)) for p in signature.parameters)


def check_constant(lowering: Lowering, parameter: Constant, value: Typed) -> Node | None:
    """An argument for a constant: known when compiled, of the parameter's type (an int becomes a float)."""
    text, wanted, kind = quoted(value.span), parameter.type, value.node.type
    illegal = first_illegal(value.node, is_unrolled_part, lowering.record.sound[is_unrolled_part])
    if illegal is not None:
        message = f"`{parameter.name}` takes a constant, but {text} is none"
        return refuse_varying(lowering.findings, message, value.span, illegal, parameter)
    if not verify_value(lowering.findings, value.node):
        return None
    if kind is wanted:
        return value.node
    if kind is INT and wanted is FLOAT:
        return as_float(lowering, value.node)
    code = "E0302" if (kind, wanted) == (FLOAT, INT) else "E0301"
    lowering.findings.tell(
        code, f"`{parameter.name}` is {an(wanted)}, but {text} is {an(kind)}", value.span, an(kind),
        also=(Label(parameter.span, "the parameter"),), help=(as_int(text, kind),) if wanted is INT else (),
    )
    return None


def check_mask(lowering: Lowering, parameter: Hole, value: Typed) -> Node | None:
    """An argument for a mask parameter: a bool that does not read `score`."""
    text = quoted(value.span)
    illegal = first_illegal(value.node, is_scoreless, lowering.record.sound[is_scoreless])
    if illegal is not None:
        lowering.findings.tell(
            "E0401", "a mask may not read `score`", value.span, f"given for the mask `{parameter.name}`",
            also=(Label(illegal.span, told(illegal)),),
        )
        return None
    if value.node.type is BOOL:
        return value.node
    lowering.findings.tell(
        "E0301", f"`{parameter.name}` is a mask, but {text} is {an(value.node.type)}", value.span, an(value.node.type),
        also=(Label(parameter.span, "the parameter"),), help=("give a mask, or any bool of `b`, `h`, `q` and `k`",),
    )
    return None


def refuse_varying(
    findings: Findings, message: str, span: Span, illegal: Node, parameter: Parameter | None = None
) -> None:
    """Report a value at `span` that is no constant; `illegal` is the part that changes."""
    also = () if parameter is None else (Label(parameter.span, "the parameter"),)
    note = "a constant is fixed when the variant is compiled"
    refuse_read(findings, "E0311", message, span, illegal, also=also, notes=(note,))


def refuse_table(lowering: Lowering, parameter: Table, argument: ast.Argument) -> None:
    """Report an argument that is no table, for a parameter that is one."""
    axes = f"{parameter.type}[{', '.join(map(str, parameter.axes))}]"
    value = argument.value
    help_ = (f"declare a parameter `{parameter.name}: {axes}` and give it",)
    if isinstance(value, ast.Lookup):
        help_ = (f"give the whole table: `{value.table.text}`",)
    lowering.findings.tell(
        "E0301", f"`{parameter.name}` takes a table, but {quoted(value.span)} is none", value.span,
        "a list stands only in an example" if isinstance(value, ast.ListValue) else "",
        also=(Label(parameter.span, "the parameter"),), help=help_,
    )


def _place_argument(
    lowering: Lowering, call: ast.Call, names: list[str], place: int, given: dict[str, ast.Argument]
) -> None:
    callee, argument = call.name.text, call.arguments[place]
    if argument.name is None and place >= len(names):
        return _refuse_many(lowering, call, len(names), argument, place)
    if argument.name is None and any(a.name is not None for a in call.arguments[:place]):
        return lowering.findings.tell(
            "E0212", "an argument without a name stands after one with a name", argument.span,
            help=(f"arguments of `{callee}` by place come first",),
        )
    name = names[place] if argument.name is None else argument.name.text
    if name not in names:
        takes = f"it takes {listed(names)}" if names else "it takes no arguments"
        assert argument.name is not None
        told_unknown = f"`{callee}` has no parameter `{name}`"
        return lowering.findings.tell(
            "E0208", told_unknown, argument.name.span, notes=(takes,), help=did_you_mean(name, names),
        )
    if name in given:
        return lowering.findings.tell(
            "E0212", f"`{name}` is given twice", argument.span, also=(Label(given[name].span, "given here first"),),
        )
    given[name] = argument
    return None


def _refuse_many(lowering: Lowering, call: ast.Call, wanted: int, argument: ast.Argument, place: int) -> None:
    if place == wanted:
        takes = counted(wanted, "argument") if wanted else "no arguments"
        lowering.findings.tell("E0210", f"`{call.name.text}` takes {takes}, not {len(call.arguments)}", argument.span)


def _refuse_missing(lowering: Lowering, call: ast.Call, signature: Variant, missing: list[str]) -> None:
    declared = tuple(Label(p.span, "no default") for p in signature.parameters if p.name in missing)
    lowering.findings.tell(
        "E0209", f"`{call.name.text}` needs {listed(missing)}", call.span, also=declared,
        help=(f"write `{call.name.text}({', '.join(f'{m} = …' for m in missing)})`",) if not call.arguments else (),
    )
