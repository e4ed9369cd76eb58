"""One instruction of the GPU, element by element, inside the kernels of FlashAttention-4.

torch's CuteDSL writer knows no inline assembly, and CuteDSL's own `tanh` is libdevice's: two branches and a division,
`fastmath` or not. `teach_cutedsl` gives the writer what Triton's has, so that the operators of `fast_math` are the same
instruction in both; the kernels that it writes call `apply`. All private interfaces of torch that this needs are here.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

CALL = "__import__('maskdsl.backends.flash_math', fromlist=['apply']).apply"
"""How generated code, whose imports are torch's alone, names `apply`."""

NEEDED = ("_apply_unary_op", "tanh", "exp", "where")
"""What torch's class of CuteDSL's expressions must have to be the one that is known here (torch 2.11 to 2.13)."""


@functools.cache
def teach_cutedsl() -> bool:
    """Makes torch's CuteDSL writer take `inline_asm_elementwise`; False where torch's is not the one known here."""
    try:
        from torch._inductor.codegen.cutedsl.cutedsl_op_overrides import CuteDSLOpOverrides
    except ImportError:
        return False
    if not all(name in vars(CuteDSLOpOverrides) for name in NEEDED):
        return False
    if "inline_asm_elementwise" not in vars(CuteDSLOpOverrides):

        def write(x: Any, *, asm: str, constraints: str, dtype: torch.dtype, **_: Any) -> Any:
            if (constraints, dtype) != ("=f,f", torch.float32):
                raise NotImplementedError(f"inline assembly of {constraints} and {dtype}")
            return CuteDSLOpOverrides._apply_unary_op(x, f"{CALL}({{x}}, {asm!r})")

        CuteDSLOpOverrides.inline_asm_elementwise = staticmethod(write)
    return True


def apply(x: Any, asm: str) -> Any:
    """The instruction `asm` (`NAME $0, $1;`) of every element of a float32 value, while CuteDSL traces a kernel."""
    import cutlass
    import cutlass.cute as cute
    from cutlass._mlir.dialects import llvm
    from cutlass.cutlass_dsl import T

    def one(value: Any) -> Any:
        given = cutlass.Float32(value).ir_value()
        dialect = llvm.AsmDialect.AD_ATT
        made = llvm.inline_asm(
            T.f32(), [given], asm, "=f,f", has_side_effects=False, is_align_stack=False, asm_dialect=dialect
        )
        return cutlass.Float32(made)

    if not isinstance(x, cute.TensorSSA):
        return one(x)
    held = cute.make_rmem_tensor(x.shape, cutlass.Float32)
    held.store(x)
    for place in range(cute.size(held)):
        held[place] = one(held[place])
    return held.load()
