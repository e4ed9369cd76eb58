"""Operators and functions over typed operands: which signature of the table fits, what converts, what is refused.

Not here: lowering the operands themselves (`lower_expressions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from maskdsl.ir import ops
from maskdsl.ir.nodes import Literal, Node
from maskdsl.ir.ops import Function
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar
from maskdsl.meaning.constants import constant_value, verify_value
from maskdsl.meaning.findings import an, as_int, counted, quoted
from maskdsl.meaning.lowering import Lowering, Typed, as_float
from maskdsl.meaning.reads import first_illegal, is_unrolled_part
from maskdsl.source.diagnostic import Label
from maskdsl.source.text import Span
from maskdsl.syntax import ast


def apply(lowering: Lowering, function: Function, operands: Sequence[Typed], span: Span, word: str) -> Node | None:
    """The function at the operands, ints made floats where only that fits; `word` is the user's name for it."""
    wanted = _fitting(function, tuple(o.node.type for o in operands))
    if wanted is None:
        return _refuse(lowering, function, operands, span, word)
    return ops.make(function.name, *_converted(lowering, operands, wanted), span=span)


def apply_power(lowering: Lowering, base: Typed, exponent: Typed, span: Span, word: str) -> Node | None:
    """`base ** exponent`: an int only for an int and a constant exponent that is not negative."""
    if base.node.type is not INT or exponent.node.type is not INT:
        return apply(lowering, ops.OPS["pow"], (base, exponent), span, word)
    if first_illegal(exponent.node, is_unrolled_part) is not None:
        return _refuse_exponent(lowering, base, exponent)
    if not verify_value(lowering.findings, exponent.node):
        return None
    value = constant_value(exponent.node)
    if isinstance(value, int) and value < 0:
        return ops.make("pow", as_float(lowering, base.node), as_float(lowering, exponent.node), span=span)
    return ops.make("pow", base.node, exponent.node, span=span)


def apply_chain(lowering: Lowering, operators: Sequence[str], operands: Sequence[Typed], span: Span) -> Node | None:
    """`a < b <= c`: `a < b and b <= c`, with one node for `b`."""
    parts = []
    for operator, left, right in zip(operators, operands, operands[1:], strict=False):
        where = left.span.to(right.span) if len(operators) > 1 else span
        parts.append(apply(lowering, ops.BY_SYMBOL[operator], (left, right), where, operator))
    whole = [p for p in parts if p is not None]
    return join("and", whole, span) if len(whole) == len(parts) else None


def apply_logic(lowering: Lowering, word: str, operands: Sequence[Typed], span: Span) -> Node | None:
    """`a and b and …`, `a or b or …`: every operand a bool; each wrong one is reported."""
    wrong = [o for o in operands if o.node.type is not BOOL]
    for operand in wrong:
        _refuse_operand(lowering, operand, (BOOL,), word)
    return None if wrong else join(word, [o.node for o in operands], span)


def join(name: str, nodes: Sequence[Node], span: Span) -> Node:
    """The binary function `name` folded over one or more nodes from the left."""
    return reduce(lambda left, right: ops.make(name, left, right, span=span), nodes)


def choose(lowering: Lowering, condition: Typed, value: Typed, otherwise: Typed, span: Span) -> Node | None:
    """`value if condition else otherwise`: the condition a bool, the branches of one type after conversion."""
    if condition.node.type is not BOOL:
        return _refuse_operand(lowering, condition, (BOOL,), "if")
    if BOOL in (value.node.type, otherwise.node.type) and value.node.type is not otherwise.node.type:
        return _refuse_pair(lowering, value, otherwise, "the branches of `if` differ in type")
    return apply(lowering, ops.OPS["choose"], (condition, value, otherwise), span, "if")


def call_function(lowering: Lowering, call: ast.Call, function: Function, operands: Sequence[Typed]) -> Node | None:
    """A function of the table called by its name."""
    name = call.name.text
    if function.variadic:
        return _call_variadic(lowering, call, function, operands)
    if len(operands) != function.arity:
        return refuse_count(lowering, call, counted(function.arity, "argument"))
    if function.name == "pow":
        return apply_power(lowering, operands[0], operands[1], call.span, name)
    return apply(lowering, function, operands, call.span, name)


def refuse_count(lowering: Lowering, call: ast.Call, wanted: str) -> None:
    """Report a call with the wrong number of arguments."""
    given = counted(len(call.arguments), "argument")
    lowering.findings.tell("E0304", f"`{call.name.text}` takes {wanted}, not {len(call.arguments)}", call.span, given)


def _call_variadic(lowering: Lowering, call: ast.Call, function: Function, operands: Sequence[Typed]) -> Node | None:
    if len(operands) < 2:
        return refuse_count(lowering, call, "two or more arguments")
    kind = FLOAT if any(o.node.type is FLOAT for o in operands) else INT
    wrong = [o for o in operands if o.node.type is BOOL]
    if wrong:
        return _refuse_operand(lowering, wrong[0], (INT, FLOAT), call.name.text)
    nodes = [as_float(lowering, o.node) if kind is FLOAT else o.node for o in operands]
    return join(function.name, nodes, call.span)


def _fitting(function: Function, given: tuple[Scalar, ...]) -> tuple[Scalar, ...] | None:
    """The arguments of the first signature that takes these types, ints converted only where nothing fits as it is."""
    signatures = [arguments for arguments, _ in function.signatures]
    if given in signatures:
        return given
    return next((s for s in signatures if all(_takes(w, g) for w, g in zip(s, given, strict=True))), None)


def _takes(wanted: Scalar, given: Scalar) -> bool:
    return wanted is given or (wanted is FLOAT and given is INT)


def _converted(lowering: Lowering, operands: Sequence[Typed], wanted: tuple[Scalar, ...]) -> list[Node]:
    pairs = zip(operands, wanted, strict=True)
    return [as_float(lowering, o.node) if w is FLOAT else o.node for o, w in pairs]


# ---------------------------------------------------------------- what does not fit


def _refuse(lowering: Lowering, function: Function, operands: Sequence[Typed], span: Span, word: str) -> None:
    """Report the first operand that no signature takes, or the first two that do not go together."""
    for place, operand in enumerate(operands):
        wanted = tuple(dict.fromkeys(arguments[place] for arguments, _ in function.signatures))
        if not any(_takes(w, operand.node.type) for w in wanted):
            return _refuse_operand(lowering, operand, wanted, word)
    odd = next(o for o in operands if o.node.type is not operands[0].node.type)
    return _refuse_pair(lowering, operands[0], odd, f"`{word}` needs two values of one type")


def _refuse_operand(lowering: Lowering, operand: Typed, wanted: tuple[Scalar, ...], word: str) -> None:
    kind, text = operand.node.type, quoted(operand.span)
    told = f"`{word}` needs {_needed(wanted)}, but {text} is {an(kind)}"
    if kind is FLOAT and FLOAT not in wanted and INT in wanted:
        lowering.findings.tell("E0302", told, operand.span, an(kind), help=(as_int(text, FLOAT),))
    elif kind is BOOL:
        lowering.findings.tell("E0301", told, operand.span, an(kind), help=(as_int(text, BOOL),))
    else:
        lowering.findings.tell("E0301", told, operand.span, an(kind), help=("compare it with something: `… != 0`",))


def _needed(wanted: tuple[Scalar, ...]) -> str:
    if wanted == (BOOL,):
        return "bools"
    return "ints" if FLOAT not in wanted else "numbers"


def _refuse_pair(lowering: Lowering, left: Typed, right: Typed, told: str) -> None:
    odd = left if left.node.type is BOOL else right
    lowering.findings.tell(
        "E0301", told, right.span, an(right.node.type), also=(Label(left.span, an(left.node.type)),),
        help=(as_int(quoted(odd.span), BOOL),) if odd.node.type is BOOL else (),
    )


def _refuse_exponent(lowering: Lowering, base: Typed, exponent: Typed) -> None:
    two = isinstance(base.node, Literal) and base.node.value == 2
    shift = f"for a power of two write `shift_left(1, {quoted(exponent.span).strip('`')})`"
    lowering.findings.tell(
        "E0411", f"an int's exponent is a constant, but {quoted(exponent.span)} is none", exponent.span,
        "changes from place to place", notes=("whether the power is an int depends on the sign of the exponent",),
        help=(*([shift] if two else []), f"for a float write `float({quoted(base.span).strip('`')}) ** …`"),
    )
