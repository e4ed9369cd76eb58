"""The FLASH column of the table: torch code that Inductor turns into CuteDSL inside a FlashAttention-4 kernel.

CuteDSL knows fewer functions than Triton. torch 2.11 writes no `minimum`, `maximum`, `floor` and `rsqrt`: what limits a
value is a choice, and the rest is made of what there is. A row without a form here is written as in the torch column;
one that `refuse`s has no form, and its variant runs on Triton. The rows of the column `flash_fast` are one instruction
of the GPU; `tanh` of libdevice made 337 TFLOP/s, forms by powers 190 on an H100 (causal, softcap 50, 8,192 tokens, 32/8
heads, head_dim 128, torch 2.11).
"""

from __future__ import annotations

from maskdsl.ir import ops_torch as in_torch
from maskdsl.ir.emission import Argument, Writer, by_type
from maskdsl.ir.ops_torch import TORCH_SUPPORT, bit_length_text
from maskdsl.ir.types import BOOL, FLOAT, INT

FLASH_SUPPORT: dict[str, str] = {
    "flash_remainder": '''\
def flash_remainder(x, y):
    """x % y of ints with the sign of y, whichever sign the machine's own has; a y of 0 or -1 counts as 1."""
    safe = torch.where((y == 0) | (y == -1), 1, y)
    rest = x % safe
    return torch.where((rest != 0) & ((rest < 0) != (safe < 0)), rest + safe, rest)
''',
    "flash_divide": '''\
def flash_divide(x, y):
    """x // y of ints, rounded down, whichever way the machine rounds; a y of 0 counts as 1."""
    safe = torch.where((y == 0) | (y == -1), 1, y)
    quotient = x // safe
    rest = x - quotient * safe
    floored = torch.where((rest != 0) & ((rest < 0) != (safe < 0)), quotient - 1, quotient)
    return torch.where(y == -1, y * x, floored)
''',
    "flash_remainder_by": '''\
def flash_remainder_by(x, y):
    """x % y of ints for a number y but 0 and -1, with the sign of y."""
    rest = x % y
    return torch.where(rest < 0 if y > 0 else rest > 0, rest + y, rest)
''',
    "flash_divide_by": '''\
def flash_divide_by(x, y):
    """x // y of ints for a number y but 0 and -1, rounded down."""
    quotient = x // y
    rest = x - quotient * y
    return torch.where(rest < 0 if y > 0 else rest > 0, quotient - 1, quotient)
''',
    "flash_sign": '''\
def flash_sign(x):
    """-1, 0 or 1, as x is negative, zero or positive; 0 of NaN."""
    return torch.where(x > 0, 1, torch.where(x < 0, -1, torch.where(x == 0, x, 0)))
''',
    "flash_trunc": '''\
def flash_trunc(x):
    """x without its fraction: from 2**23 on there is none."""
    small = torch.abs(x) < 8388608.0
    return torch.where(small, torch.where(small, x, 0.0).to(torch.int32).to(torch.float32), x)
''',
    "flash_floor": '''\
def flash_floor(x):
    """The greatest whole float that is at most x."""
    whole = flash_trunc(x)
    return torch.where(whole > x, whole - 1.0, whole)
''',
    "flash_log1p": '''\
def flash_log1p(x):
    """log(1 + x), precise near 0: the rounding of 1 + x cancels (Kahan's quotient)."""
    one_more = 1.0 + x
    near = torch.where(one_more == 1.0, 1.0, one_more - 1.0)
    exact = torch.where(one_more == 1.0, x, torch.log(one_more) * (x / near))
    return torch.where(x > 3.0e38, x, exact)
''',
    "flash_log_sigmoid": '''\
def flash_log_sigmoid(x):
    """log(sigmoid(x)) without overflow."""
    return torch.where(x > 0.0, 0.0, x) - flash_log1p(torch.exp(torch.where(x > 0.0, -x, x)))
''',
    "flash_fast_log_sigmoid": '''\
def flash_fast_log_sigmoid(x):
    """log(sigmoid(x)) without overflow, in powers and logarithms of 2."""
    power = torch.exp(torch.where(x > 0.0, -x, x))
    return torch.where(x > 0.0, 0.0, x) - torch.ops.maskdsl.log2_approx(1.0 + power) * 0.6931471805599453
''',
    "flash_int_of_float": '''\
def flash_int_of_float(x):
    """x cut towards zero and kept within int32; NaN is 0."""
    inside = torch.where((x >= -2147483648.0) & (x < 2147483648.0), x, 0.0).to(torch.int32)
    above = torch.where(x >= 2147483648.0, 2147483647, inside)
    return torch.where(x < -2147483648.0, -2147483648, above)
''',
    "flash_shift_left": '''\
def flash_shift_left(x, n):
    """x << n, as a product of a power of two for every bit of n."""
    for bits in (1, 2, 4, 8, 16):
        x = x * torch.where((n & bits) == 0, n * 0 + 1, 1 << bits)
    return x
''',
    "flash_shift_right": '''\
def flash_shift_right(x, n):
    """x >> n, as a quotient; 2**31 is no int32."""
    quotient = flash_divide(x, flash_shift_left(n * 0 + 1, n))
    return torch.where(n == 31, torch.where(x < 0, x * 0 - 1, 0), quotient)
''',
    "flash_bit_length": bit_length_text("flash_bit_length", "x // (1 << bits)"),
    **{name: TORCH_SUPPORT[name] for name in ("int_power", "int_abs")},
}
"""Functions that emitted expressions call, by name; each needs `torch` alone."""


def write_divided(operator: str, guarded: str, refused: Writer) -> Writer:
    """`//` and `%`: plain where the machine's rounding does not matter, else functions that set it right."""

    def write(x: Argument, y: Argument) -> str:
        if x.type is FLOAT:
            return refused(x, y)
        if not y.is_literal:
            return f"{guarded}({_as_value(x, y)}, {y.text})"
        assert isinstance(y.value, int)
        if y.value in (0, -1):  # a quotient by 0 is never used
            return f"({x.text} * {y.text})" if operator == "//" else f"({x.text} * 0)"
        if x.natural and y.value > 0:
            return f"({x.text} {operator} {y.text})"
        return f"{guarded}_by({x.text}, {y.text})"

    return write


def _as_value(literal: Argument, like: Argument) -> str:
    """The text of a value that is none of the compiler's constants: of two such CuteDSL makes Python numbers."""
    zero = {INT: "* 0", FLOAT: "* 0.0"}[like.type]
    return f"({like.text} {zero} + {literal.text})" if literal.is_literal else literal.text


def write_shifted_left(x: Argument, n: Argument) -> str:
    """`x << n` as a product: what CuteDSL makes of a shift is no value to its other functions."""
    if n.is_literal:
        assert n.value is not None
        return f"({x.text} * {_wrapped(1 << int(n.value))})"
    return f"flash_shift_left({_as_value(x, n)}, {n.text})"


def write_shifted_right(x: Argument, n: Argument) -> str:
    """`x >> n` as a quotient."""
    if not n.is_literal:
        return f"flash_shift_right({_as_value(x, n)}, {n.text})"
    assert n.value is not None
    if n.value == 31:
        return f"torch.where({x.text} < 0, {x.text} * 0 - 1, 0)"
    return write_divided("//", "flash_divide", _no_float)(x, Argument(str(1 << int(n.value)), INT, 1 << int(n.value)))


def _wrapped(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def _no_float(*args: Argument) -> str:
    raise AssertionError("shifts are of ints")


def write_choice(condition: Argument, x: Argument, y: Argument) -> str:
    """`torch.where`; of two literals one is made a value, for CuteDSL would give both the type of the condition."""
    if condition.is_literal or not (x.is_literal and y.is_literal) or x.type is BOOL:
        return in_torch.write_choice(condition, x, y)
    zero = {INT: "torch.int32) * 0", FLOAT: "torch.float32) * 0.0"}[x.type]
    return f"torch.where({condition.text}, {condition.text}.to({zero} + {x.text}, {y.text})"


def write_lesser(x: Argument, y: Argument) -> str:
    """`min(x, y)` as a choice; NaN if one of them is."""
    return _write_limited(x, y, "<", ">")


def write_greater(x: Argument, y: Argument) -> str:
    """`max(x, y)` as a choice; NaN if one of them is."""
    return _write_limited(x, y, ">", "<")


def _write_limited(x: Argument, y: Argument, keeps_x: str, takes_literal: str) -> str:
    if x.is_literal:
        x, y = y, x
    if y.is_literal:
        return f"torch.where({x.text} {takes_literal} {y.text}, {y.text}, {x.text})"
    first = f"({x.text} {keeps_x} {y.text})"
    if x.type is FLOAT:
        first = f"({first} | ({x.text} != {x.text}))"
    return f"torch.where({first}, {x.text}, {y.text})"


def write_clamped(x: Argument, low: Argument, high: Argument) -> str:
    """`min(max(x, low), high)`."""
    if x.is_literal and low.is_literal:
        assert x.value is not None and low.value is not None
        return write_lesser(x if x.value >= low.value else low, high)
    return write_lesser(Argument(write_greater(x, low), x.type), high)


write_int_of: Writer = by_type(bool="{0}.to(torch.int32)", float="flash_int_of_float({0})", int="{0}")
