"""The FLASH column of the table: torch code that Inductor turns into CuteDSL inside a FlashAttention-4 kernel.

CuteDSL knows fewer functions than Triton, and lacks `minimum`, `maximum` and `clamp` in some releases of torch, so what
limits a value is written as a choice. A row without a form here is written as in the torch column; one that `refuse`s
has no form, and its variant runs on Triton. `tanh` stays as it is: 337 TFLOP/s against 190 for the forms by powers on
an H100 (causal, softcap 50, 8,192 tokens, 32/8 heads, head_dim 128, torch 2.11).
"""

from __future__ import annotations

from maskdsl.ir.emission import Argument, Writer, by_type
from maskdsl.ir.ops_torch import TORCH_SUPPORT, as_tensor
from maskdsl.ir.types import FLOAT

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
    "flash_sign": '''\
def flash_sign(x):
    """-1, 0 or 1, as x is negative, zero or positive; 0 of NaN."""
    return torch.where(x > 0, 1, torch.where(x < 0, -1, torch.where(x == 0, x, 0)))
''',
    "flash_trunc": '''\
def flash_trunc(x):
    """x without its fraction."""
    return torch.where(x < 0, -torch.floor(-x), torch.floor(x))
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
    "flash_int_of_float": '''\
def flash_int_of_float(x):
    """x cut towards zero and kept within int32; NaN is 0."""
    inside = torch.where((x >= -2147483648.0) & (x < 2147483648.0), x, 0.0).to(torch.int32)
    above = torch.where(x >= 2147483648.0, 2147483647, inside)
    return torch.where(x < -2147483648.0, -2147483648, above)
''',
    **{name: TORCH_SUPPORT[name] for name in ("int_power", "int_abs", "bit_length")},
}
"""Functions that emitted expressions call, by name; each needs `torch` alone."""


def write_divided(operator: str, guarded: str, refused: Writer) -> Writer:
    """`//` and `%`: plain where the machine's rounding does not matter, else functions that set it right."""

    def write(x: Argument, y: Argument) -> str:
        if x.type is FLOAT:
            return refused(x, y)
        if x.natural and y.is_literal and y.value is not None and y.value > 0 and not x.is_literal:
            return f"({x.text} {operator} {y.text})"
        return f"{guarded}({as_tensor(x, y)}, {as_tensor(y, x)})"

    return write


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
