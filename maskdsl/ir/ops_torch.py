"""The torch column of the table: expressions over tensors of int32, float32 and bool, and Python literals among them.

Right in eager mode, under vmap, and compiled by Inductor: at least one argument is a tensor (literals fold before), the
result keeps its dtype whatever torch's default dtype is, and nothing traps in a lane whose value is not used.
"""

from __future__ import annotations

import numpy as np

from maskdsl.ir.emission import Argument, Writer, by_type
from maskdsl.ir.nodes import Value
from maskdsl.ir.types import BOOL, FLOAT, INT

LARGEST_FLOAT = float(np.finfo(np.float32).max)


def bit_length_text(name: str, moved: str) -> str:
    """The function of that name, with an expression for x, at least 0, moved down by `bits`."""
    return f'''\
def {name}(x):
    """The number of bits of abs(x), an int32; 32 for the smallest int."""
    smallest = x == -2147483648
    x, length = torch.where(smallest, 0, x), 32 * smallest.to(torch.int32)
    x = torch.where(x < 0, -x, x)
    for bits in (16, 8, 4, 2, 1):
        large = x >= 1 << bits
        length = length + bits * large.to(torch.int32)
        x = torch.where(large, {moved}, x)
    return length + x
'''


TORCH_SUPPORT: dict[str, str] = {
    "floor_divide": '''\
def floor_divide(x, y):
    """x // y of ints; where y is 0 the value is never used, where y is -1 it would overflow."""
    safe = torch.where((y == 0) | (y == -1), 1, y)
    return torch.where(y == -1, y * x, x // safe)
''',
    "floor_remainder": '''\
def floor_remainder(x, y):
    """x % y of ints; where y is 0 the value is never used."""
    safe = torch.where((y == 0) | (y == -1), 1, y)
    return x % safe
''',
    "float_floor_divide": '''\
def float_floor_divide(x, y):
    """x // y of floats, as Python divides (compiled `//` only rounds the quotient down)."""
    rest = torch.fmod(x, y)
    quotient = torch.round((x - rest) / y)
    floored = torch.where((rest != 0) & ((rest < 0) != (y < 0)), quotient - 1, quotient)
    return torch.where(y == 0, x / y, floored)
''',
    "float_floor_remainder": '''\
def float_floor_remainder(x, y):
    """x % y of floats, with the sign of y, exact (compiled `%` is not)."""
    rest = torch.fmod(x, y)
    return torch.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)
''',
    "int_power": '''\
def int_power(x, n):
    """x ** n of ints for a Python int n of at least 1, by squaring."""
    result = None
    while n:
        if n % 2:
            result = x if result is None else result * x
        x, n = x * x, n // 2
    return result
''',
    "int_abs": '''\
def int_abs(x):
    """abs(x) of ints, by comparison: compiled integer abs is not reliable."""
    return torch.where(x < 0, -x, x)
''',
    "int_of_float": '''\
def int_of_float(x):
    """x cut towards zero and kept within int32; NaN is 0."""
    inside = torch.clamp(torch.where(x == x, x, 0.0), -2147483648.0, 2147483520.0)
    return torch.where(x >= 2147483648.0, 2147483647, inside.to(torch.int32))
''',
    "log_sigmoid": '''\
def log_sigmoid(x):
    """log(sigmoid(x)) without overflow."""
    return torch.clamp(x, max=0.0) - torch.log1p(torch.exp(-torch.abs(x)))
''',
    "bit_length": bit_length_text("bit_length", "x >> bits"),
}
"""Functions that emitted expressions call, by name; each needs `torch` alone."""


def torch_literal(value: Value) -> str:
    """A Python literal for emitted torch code, negative numbers in parentheses.

    A float beyond float32 is the float32 next to it, perhaps infinite: `torch.clamp` and others refuse it as it is.
    """
    if isinstance(value, float) and abs(value) > LARGEST_FLOAT:
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return "torch.nan" if value != value else "torch.inf" if value > 0 else "(-torch.inf)"
    return f"({value!r})" if value < 0 else repr(value)


def write_divided(operator: str, guarded: str) -> Writer:
    """`//` and `%`: literal ints directly, int tensors guarded against 0 and -1, floats by functions of their own."""

    def write(x: Argument, y: Argument) -> str:
        if x.type is FLOAT:
            return f"float_{guarded}({as_tensor(x, y)}, {as_tensor(y, x)})"
        plain = y.is_literal and y.value not in (0, -1)
        return f"({x.text} {operator} {y.text})" if plain else f"{guarded}({x.text}, {as_tensor(y, x)})"

    return write


def as_tensor(literal: Argument, like: Argument) -> str:
    """The text of a tensor: of the argument itself, or of its value in the shape and dtype of another."""
    if not literal.is_literal:
        return literal.text
    return f"torch.full_like({like.text}, {literal.text})"


def write_power(x: Argument, n: Argument) -> str:
    """`x ** n`; an int's exponent is a literal."""
    if x.type is FLOAT:
        return f"({x.text} ** {n.text})"
    assert n.is_literal, "the exponent of an int is a constant"
    return f"torch.ones_like({x.text})" if n.value == 0 else f"int_power({x.text}, {n.text})"


def write_choice(condition: Argument, x: Argument, y: Argument) -> str:
    """`torch.where`, with one branch made a tensor where both are literals, for the dtype's sake."""
    if condition.is_literal:
        taken, other = (x, y) if condition.value else (y, x)
        return as_tensor(taken, other)
    text = x.text
    if x.is_literal and y.is_literal:
        dtype = {INT: "torch.int32", FLOAT: "torch.float32", BOOL: "torch.bool"}[x.type]
        text = f"torch.full_like({condition.text}, {x.text}, dtype={dtype})"
    return f"torch.where({condition.text}, {text}, {y.text})"


def write_lesser(x: Argument, y: Argument) -> str:
    """`min(x, y)`."""
    return _write_limited(x, y, "torch.minimum({0}, {1})", "torch.clamp({0}, max={1})")


def write_greater(x: Argument, y: Argument) -> str:
    """`max(x, y)`."""
    return _write_limited(x, y, "torch.maximum({0}, {1})", "torch.clamp({0}, min={1})")


def _write_limited(x: Argument, y: Argument, tensors: str, literal: str) -> str:
    if x.is_literal:
        x, y = y, x
    return (literal if y.is_literal else tensors).format(x.text, y.text)


def write_clamped(x: Argument, low: Argument, high: Argument) -> str:
    """`min(max(x, low), high)`."""
    if not x.is_literal and low.is_literal and high.is_literal:
        return f"torch.clamp({x.text}, {low.text}, {high.text})"
    if x.is_literal and low.is_literal:
        return write_lesser(max(x, low, key=_number), high)
    return write_lesser(Argument(write_greater(x, low), x.type), high)


def _number(argument: Argument) -> Value:
    assert argument.value is not None
    return argument.value


write_int_of: Writer = by_type(bool="{0}.to(torch.int32)", float="int_of_float({0})", int="{0}")
write_float_of: Writer = by_type(bool="{0}.to(torch.float32)", int="{0}.to(torch.float32)", float="{0}")
write_distance: Writer = by_type(int="int_abs({0})", float="torch.abs({0})")
