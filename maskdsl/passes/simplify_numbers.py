"""The rules of `simplify` for ints, which wrap, and floats, which are IEEE. Equal operands are the same node."""

from __future__ import annotations

import math
from collections.abc import Callable

from maskdsl.ir.nodes import Literal, Node, Op, Value, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, FLOAT, INT

Rule = Callable[[Op], Node | None]

LARGEST_POWER = 4
"""Powers with a literal exponent up to this one become products."""


def _number(node: Node, kind: object) -> Value | None:
    return node.value if isinstance(node, Literal) and node.type is kind else None


def _zero(node: Op) -> Literal:
    return literal(0, node.span)


def _drop_neutral_int(node: Op) -> Node | None:
    # x + 0 = x - 0 = x * 1 = x // 1 = x; x | 0 = x ^ 0 = x << 0 = x >> 0 = x; x & -1 = x
    return node.args[0] if _number(node.args[1], INT) == _NEUTRAL[node.name] else None


def _drop_neutral_int_first(node: Op) -> Node | None:
    # 0 + x = 1 * x = 0 | x = 0 ^ x = -1 & x = x
    return node.args[1] if _number(node.args[0], INT) == _NEUTRAL[node.name] else None


def _vanish(node: Op) -> Node | None:
    # x * 0 = x & 0 = 0 of ints
    return _zero(node) if any(_number(a, INT) == 0 for a in node.args) else None


def _drop_neutral_float(node: Op) -> Node | None:
    # x * 1.0 = 1.0 * x = x / 1.0 = x; exact for every x
    if _number(node.args[1], FLOAT) == 1.0:
        return node.args[0]
    return node.args[1] if node.name == "mul" and _number(node.args[0], FLOAT) == 1.0 else None


def _subtract_float_zero(node: Op) -> Node | None:
    # x - 0.0 = x, also of -0.0 (while -0.0 + 0.0 is 0.0)
    zero = _number(node.args[1], FLOAT)
    return node.args[0] if zero == 0.0 and math.copysign(1.0, zero) > 0 else None


def _combine_equal(node: Op) -> Node | None:
    # x - x = x ^ x = 0 of ints
    x, y = node.args
    return _zero(node) if x is y and x.type is INT else None


def _keep_equal(node: Op) -> Node | None:
    # x & x = x | x = min(x, x) = max(x, x) = x
    x, y = node.args
    return x if x is y else None


def _negate_twice(node: Op) -> Node | None:
    # -(-x) = x; -(x - y) = y - x of ints (of floats, x - x is 0.0 on both sides)
    match node.args[0]:
        case Op(name="neg", args=(x,)):
            return x
        case Op(name="sub", args=(x, y)) if node.type is INT:
            return make("sub", y, x, span=node.span, hint=node.hint)
    return None


def _subtract_from_zero(node: Op) -> Node | None:
    # 0 - x = -x of ints (of floats, 0.0 - 0.0 is 0.0 and -0.0 is not)
    return make("neg", node.args[1], span=node.span, hint=node.hint) if _number(node.args[0], INT) == 0 else None


def _add_negative(node: Op) -> Node | None:
    # x + -y = x - y, -x + y = y - x, x - -y = x + y; exact for floats, where a - b is defined as a + -b
    x, y = node.args
    other = {"add": "sub", "sub": "add"}[node.name]
    if isinstance(y, Op) and y.name == "neg":
        return make(other, x, y.args[0], span=node.span, hint=node.hint)
    if isinstance(x, Op) and x.name == "neg" and node.name == "add":
        return make("sub", y, x.args[0], span=node.span, hint=node.hint)
    return None


def _gather_constants(node: Op) -> Node | None:
    # (x + a) + b = x + (a + b) and its kin, of ints: sums modulo 2**32 associate
    match node.args:
        case (Op(name="add" | "sub" as inner, args=(x, Literal(value=a, type=kind))), Literal(value=b)) if kind is INT:
            total = (a if inner == "add" else -a) + (b if node.name == "add" else -b)
            return _add_number(node, x, total)
    return None


def _add_number(node: Op, x: Node, number: Value) -> Node:
    """`x + number`, with the sign that keeps the number small and positive."""
    wrapped = (int(number) + 2**31) % 2**32 - 2**31
    if wrapped == 0:
        return x
    name = "sub" if -(2**31) < wrapped < 0 else "add"
    return make(name, x, literal(-wrapped if name == "sub" else wrapped), span=node.span, hint=node.hint)


def _cancel_summand(node: Op) -> Node | None:
    # (x + y) - y = x and (x + y) - x = y and x - (x - y) = y and (x - a) - (y - a) = x - y, of ints: they wrap alike
    if node.type is not INT:
        return None
    match node.args:
        case (Op(name="add", args=(a, b)), c) if c is a or c is b:
            return b if c is a else a
        case (a, Op(name="sub", args=(b, c))) if a is b:
            return c
        case (Op(name="add" | "sub" as name, args=(a, b)), Op(name=other, args=(c, d))) if name == other and b is d:
            return make("sub", a, c, span=node.span, hint=node.hint)
    return None


def _add_back(node: Op) -> Node | None:
    # (x - y) + y = x and y + (x - y) = x of ints
    for a, b in (node.args, node.args[::-1]):
        match a:
            case Op(name="sub", args=(x, y)) if y is b and node.type is INT:
                return x
    return None


def _multiply_by_minus_one(node: Op) -> Node | None:
    # x * -1 = -1 * x = -x, x / -1.0 = -x; exact for floats
    for x, y in (node.args, node.args[::-1]) if node.name == "mul" else (node.args,):
        if isinstance(y, Literal) and y.type is not BOOL and y.value == -1:
            return make("neg", x, span=node.span, hint=node.hint)
    return None


def _divide_by_power_of_two(node: Op) -> Node | None:
    # x / 2**n = x * 2**-n, exact while 2**-n is a float32 of full precision
    divisor = _number(node.args[1], FLOAT)
    if divisor is None or not math.isfinite(divisor) or divisor == 0:
        return None
    mantissa, exponent = math.frexp(divisor)
    if abs(mantissa) != 0.5 or abs(exponent) > 64:
        return None
    return make("mul", node.args[0], literal(1.0 / divisor), span=node.span, hint=node.hint)


def _leave_nothing(node: Op) -> Node | None:
    # x % 1 = 0 of ints
    return _zero(node) if _number(node.args[1], INT) == 1 else None


def _multiply_out(node: Op) -> Node | None:
    # x ** 0 = 1 (also of NaN), x ** 1 = x, x ** 2 = x * x, x ** 3 = (x * x) * x, x ** 4 = (x * x) * (x * x)
    x, exponent = node.args
    if not isinstance(exponent, Literal) or exponent.value not in range(LARGEST_POWER + 1):
        return None
    square = make("mul", x, x, span=node.span)
    powers: list[Node] = [
        literal(1.0 if node.type is FLOAT else 1, node.span), x, square,
        make("mul", square, x, span=node.span), make("mul", square, square, span=node.span),
    ]  # fmt: skip
    return powers[int(exponent.value)]


def _convert_same(node: Op) -> Node | None:
    # int(x) = x of an int, float(x) = x of a float
    return node.args[0] if node.args[0].type is node.type else None


_NEUTRAL = {
    "add": 0, "sub": 0, "mul": 1, "floordiv": 1, "bit_and": -1, "bit_or": 0, "bit_xor": 0, "shift_left": 0,
    "shift_right": 0,
}  # fmt: skip

NUMBER_RULES: dict[str, tuple[Rule, ...]] = {
    "add": (_drop_neutral_int, _drop_neutral_int_first, _gather_constants, _add_negative, _add_back),
    "sub": (
        _drop_neutral_int, _subtract_float_zero, _combine_equal, _subtract_from_zero, _gather_constants, _add_negative,
        _cancel_summand,
    ),
    "mul": (_drop_neutral_int, _drop_neutral_int_first, _vanish, _drop_neutral_float, _multiply_by_minus_one),
    "div": (_drop_neutral_float, _multiply_by_minus_one, _divide_by_power_of_two),
    "floordiv": (_drop_neutral_int,),
    "mod": (_leave_nothing,),
    "pow": (_multiply_out,),
    "neg": (_negate_twice,),
    "min": (_keep_equal,),
    "max": (_keep_equal,),
    "bit_and": (_drop_neutral_int, _drop_neutral_int_first, _vanish, _keep_equal),
    "bit_or": (_drop_neutral_int, _drop_neutral_int_first, _keep_equal),
    "bit_xor": (_drop_neutral_int, _drop_neutral_int_first, _combine_equal),
    "shift_left": (_drop_neutral_int,),
    "shift_right": (_drop_neutral_int,),
    "to_int": (_convert_same,),
    "to_float": (_convert_same,),
}  # fmt: skip
