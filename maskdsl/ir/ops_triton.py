"""The Triton column of the table: expressions in a kernel over int32, float32 and bool, scalars and blocks alike.

A kernel's module imports `triton`, `triton.language as tl`, and `libdevice` from `triton.language.extra`. Float
functions are those that Inductor calls, so that both kernels see the same bits as far as possible.
"""

from __future__ import annotations

import math

import numpy as np

from maskdsl.ir.emission import Argument, Writer, by_type
from maskdsl.ir.interval import SMALLEST_NORMAL
from maskdsl.ir.nodes import Value
from maskdsl.ir.types import FLOAT, INT

TRITON_SUPPORT: dict[str, str] = {
    "negated": '''\
@triton.jit
def negated(x):
    """-x of ints. The assembler (ptxas 12.8 to 13.1) drops `-x` from the inner of two nested maxima on sm_90, as it
    drops abs(x); what it knows nothing of, such as the program's third number, which is 0, it keeps.
    """
    return tl.program_id(2) - x
''',
    "floor_divide": '''\
@triton.jit
def floor_divide(x, y):
    """x // y of ints, towards minus infinity (Triton's own cuts); a y of 0 counts as 1."""
    safe = tl.where((y == 0) | (y == -1), 1, y)
    quotient = x // safe
    rest = x - quotient * safe
    floored = tl.where((rest != 0) & ((rest < 0) != (safe < 0)), quotient - 1, quotient)
    return tl.where(y == -1, y * x, floored)
''',
    "floor_remainder": '''\
@triton.jit
def floor_remainder(x, y):
    """x % y of ints, with the sign of y (Triton's own has that of x); a y of 0 counts as 1."""
    safe = tl.where((y == 0) | (y == -1), 1, y)
    rest = x % safe
    return tl.where((rest != 0) & ((rest < 0) != (safe < 0)), rest + safe, rest)
''',
    "float_floor_divide": '''\
@triton.jit
def float_floor_divide(x, y):
    """x // y of floats, as Python divides."""
    rest = libdevice.fmod(x, y)
    quotient = libdevice.nearbyint((x - rest) / y)
    floored = tl.where((rest != 0.0) & ((rest < 0.0) != (y < 0.0)), quotient - 1.0, quotient)
    return tl.where(y == 0.0, x / y, floored)
''',
    "float_floor_remainder": '''\
@triton.jit
def float_floor_remainder(x, y):
    """x % y of floats, with the sign of y."""
    rest = libdevice.fmod(x, y)
    return tl.where((rest != 0.0) & ((rest < 0.0) != (y < 0.0)), rest + y, rest)
''',
    "int_abs": '''\
@triton.jit
def int_abs(x):
    """abs(x) of ints."""
    return tl.where(x < 0, negated(x), x)
''',
    "int_power": '''\
@triton.jit
def int_power(x, n: tl.constexpr):
    """x ** n of ints for a constant n of at least 0, by squaring."""
    result = x * 0 + 1
    for step in tl.static_range(31):
        if (n >> (30 - step)) > 0:
            result = result * result
            if (n >> (30 - step)) % 2 == 1:
                result = result * x
    return result
''',
    "lesser_or_nan": '''\
@triton.jit
def lesser_or_nan(x, y):
    """min(x, y) of floats, NaN if one of them is."""
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)
''',
    "greater_or_nan": '''\
@triton.jit
def greater_or_nan(x, y):
    """max(x, y) of floats, NaN if one of them is."""
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)
''',
    "int_of_float": '''\
@triton.jit
def int_of_float(x):
    """x cut towards zero and kept within int32; NaN is 0."""
    inside = tl.where((x >= -2147483648.0) & (x < 2147483648.0), x, 0.0).to(tl.int32)
    return tl.where(x >= 2147483648.0, 2147483647, tl.where(x < -2147483648.0, -2147483648, inside))
''',
    "sign_of": '''\
@triton.jit
def sign_of(x):
    """-1, 0 or 1 of x's type; 0 of NaN."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)
''',
    "log_sigmoid": '''\
@triton.jit
def log_sigmoid(x):
    """log(sigmoid(x)) without overflow."""
    return tl.minimum(x, 0.0, propagate_nan=tl.PropagateNan.ALL) - libdevice.log1p(libdevice.exp(-tl.abs(x)))
''',
    "bit_length": '''\
@triton.jit
def bit_length(x):
    """The number of bits of abs(x); 32 for the smallest int."""
    smallest = x == -2147483648
    length = 32 * smallest.to(tl.int32)
    x = tl.where(smallest, 0, tl.where(x < 0, negated(x), x))
    for step in tl.static_range(5):
        bits = 16 >> step
        large = x >= (1 << bits)
        length = length + bits * large.to(tl.int32)
        x = tl.where(large, x >> bits, x)
    return length + x
''',
}
"""Functions that emitted expressions call, by name; they may call those before them."""


def triton_literal(value: Value) -> str:
    """A literal for a kernel: a float is rounded to float32, for Triton would take others for float64."""
    if not isinstance(value, float):
        return f"({value!r})" if value < 0 else repr(value)
    with np.errstate(over="ignore", under="ignore"):
        single = float(np.float32(value))
    if not math.isfinite(single):
        return 'float("nan")' if math.isnan(single) else 'float("inf")' if single > 0 else '(-float("inf"))'
    single = single if abs(single) >= SMALLEST_NORMAL else 0.0
    return f"({single!r})" if single < 0 else repr(single)


def write_divided(operator: str, guarded: str) -> Writer:
    """`//` and `%`: shifts and masks for powers of two, else functions that floor."""

    def write(x: Argument, y: Argument) -> str:
        if x.type is FLOAT:
            return f"float_{guarded}({x.text}, {y.text})"
        if isinstance(y.value, int) and y.value > 0 and y.value & (y.value - 1) == 0:
            return f"({x.text} >> {y.value.bit_length() - 1})" if operator == "//" else f"({x.text} & {y.value - 1})"
        return f"{guarded}({x.text}, {y.text})"

    return write


def write_power(x: Argument, n: Argument) -> str:
    """`x ** n`; an int's exponent is a literal, multiplied out by squaring."""
    assert x.type is FLOAT or n.is_literal, "the exponent of an int is a constant"
    return f"{'libdevice.pow' if x.type is FLOAT else 'int_power'}({x.text}, {n.text})"


def write_difference(x: Argument, y: Argument) -> str:
    """`x - y`."""
    return write_negative(y) if x.value == 0 and x.type is INT else f"({x.text} - {y.text})"


def write_product(x: Argument, y: Argument) -> str:
    """`x * y`."""
    for one, other in ((x, y), (y, x)):
        if one.value == -1 and one.type is INT:
            return write_negative(other)
    return f"({x.text} * {y.text})"


write_negative: Writer = by_type(int="negated({0})", float="(-{0})")
write_int_of: Writer = by_type(bool="{0}.to(tl.int32)", float="int_of_float({0})", int="{0}")
write_float_of: Writer = by_type(bool="{0}.to(tl.float32)", int="{0}.to(tl.float32)", float="{0}")
write_distance: Writer = by_type(int="int_abs({0})", float="tl.abs({0})")
write_lesser: Writer = by_type(int="tl.minimum({0}, {1})", float="lesser_or_nan({0}, {1})")
write_greater: Writer = by_type(int="tl.maximum({0}, {1})", float="greater_or_nan({0}, {1})")


def write_clamped(x: Argument, low: Argument, high: Argument) -> str:
    """`min(max(x, low), high)`."""
    return write_lesser(Argument(write_greater(x, low), x.type), high)
