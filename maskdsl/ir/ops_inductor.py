"""The Inductor column of the table: torch code that Inductor turns into Triton inside a half-precision CUDA kernel.

Only what is faster in another form has one here; a row without a form is written as in the torch column. What it costs
(found in the PTX for sm_90, and in the PTX ISA):

- `tanh(x)` is one instruction with a relative error of at most 2**-11, so `cap * tanh(score / cap)` is off by at most
  cap / 2048 where it is near ±cap. torch's own is two branches and 30 instructions.
- `exp(x)` is `2**(x * log2(e))`: a relative error of about |x| * 2**-24 more than torch's, for half the instructions.
- `log(x)`, `log2(x)` and `logsigmoid(x)` use one instruction with an error of at most 2**-22.
- `//` and `%` of an int that is known to be at least 0 by a positive constant cut instead of flooring: exact.
- `sigmoid` and `/` by a constant are as fast as they can be: Inductor itself writes `1 / (1 + 2**y)`, and a product
  with the reciprocal, which is at most one rounding away from the quotient.

Not here: shifts for powers of two (`backends.mods_strength`), the operators (`backends.fast_math`).
"""

from __future__ import annotations

from maskdsl.ir.emission import Argument, Writer
from maskdsl.ir.ops_torch import TORCH_SUPPORT
from maskdsl.ir.types import FLOAT

INDUCTOR_SUPPORT: dict[str, str] = {
    **TORCH_SUPPORT,
    "fast_log_sigmoid": '''\
def fast_log_sigmoid(x):
    """log(sigmoid(x)) without overflow, in powers and logarithms of 2."""
    power = torch.exp2(torch.abs(x) * -1.4426950408889634)
    return torch.clamp(x, max=0.0) - torch.ops.maskdsl.log2_approx(1.0 + power) * 0.6931471805599453
''',
}
"""Functions that emitted expressions call, by name; those of `torch.ops.maskdsl` need `backends.fast_math`."""


def write_divided(cut: str, otherwise: Writer) -> Writer:
    """`//` and `%` of ints: rounded towards zero where that is the same, else as the torch column writes them."""

    def write(x: Argument, y: Argument) -> str:
        positive = y.is_literal and y.value is not None and y.value > 0
        if x.type is FLOAT or not (x.natural and positive) or x.is_literal:
            return otherwise(x, y)
        return cut.format(x.text, y.text)

    return write
