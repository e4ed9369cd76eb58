"""Operators of torch that mods for CUDA call, which Inductor writes as one approximate instruction of the GPU each.

`torch.ops.maskdsl.tanh_approx(x)` and `torch.ops.maskdsl.log2_approx(x)` take and give float32. On an NVIDIA GPU they
are `tanh.approx.f32`, whose relative error is at most 2**-11, and `lg2.approx.f32`, whose error is at most 2**-22,
absolute between 1/2 and 2 and relative elsewhere (PTX ISA, "tanh" and "lg2"). Elsewhere tanh is
`1 - 2 / (1 + 2**(2 * log2(e) * x))`, off by a few roundings of 1, and log2 is torch's. All give the limits at ±inf and
NaN of NaN; eager calls are torch's own functions. Gradients are those of the functions.

Importing this module registers the operators; their lowerings follow when one is first traced, for Inductor takes
seconds to import, and what was compiled before needs none of it. Not here: what calls them (`ir.ops_inductor`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

TWICE_LOG2_E = 2.0 / math.log(2.0)
LN_2 = math.log(2.0)


def _register(
    name: str, exact: Callable[[Tensor], Tensor], slope: Callable[[Tensor, Tensor], Tensor],
    instruction: str, elsewhere: Callable[[Any], Any],
) -> None:
    """Makes `torch.ops.maskdsl.NAME`: `slope(x, y)` is its derivative, `elsewhere` its form where PTX is not."""
    operator = torch.library.custom_op(f"maskdsl::{name}", exact, mutates_args=(), schema="(Tensor x) -> Tensor")
    overload = getattr(torch.ops.maskdsl, name).default
    waiting = [overload]

    def shaped(x: Tensor) -> Tensor:
        # Whoever is going to lower a graph knows its shapes first, so this runs before.
        while waiting:
            _register_lowering(waiting.pop(), instruction, elsewhere)
        return torch.empty_like(x)

    operator.register_fake(shaped)
    operator.register_vmap(lambda info, in_dims, x: (operator(x), in_dims[0]))

    def keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    operator.register_autograd(lambda ctx, grad: grad * slope(*ctx.saved_tensors), setup_context=keep)


def _register_lowering(overload: Any, instruction: str, elsewhere: Callable[[Any], Any]) -> None:
    """Tells Inductor how to write the operator inside a kernel, Triton's or FlashAttention's."""
    from torch._inductor.lowering import make_pointwise, register_lowering
    from torch._inductor.virtualized import ops

    from maskdsl.backends.flash_math import teach_cutedsl

    teach_cutedsl()

    def by_instruction(x: Any) -> Any:
        asm = f"{instruction} $0, $1;"
        return ops.inline_asm_elementwise(x, asm=asm, constraints="=f,f", dtype=torch.float32, is_pure=True, pack=1)

    @register_lowering(overload, type_promotion_kind=None)  # type: ignore[untyped-decorator]
    def lower(x: Any) -> Any:
        nvidia = x.get_device().type == "cuda" and torch.version.hip is None
        return make_pointwise(by_instruction if nvidia else elsewhere)(x)


def _tanh_by_exp2(x: Any) -> Any:
    from torch._inductor.virtualized import ops

    def of(value: float) -> Any:
        return ops.constant(value, torch.float32)

    power = ops.exp2(ops.mul(x, of(TWICE_LOG2_E)))
    return ops.sub(of(1.0), ops.truediv(of(2.0), ops.add(of(1.0), power)))


def _plain_log2(x: Any) -> Any:
    from torch._inductor.virtualized import ops

    return ops.log2(x)


_register("tanh_approx", lambda x: torch.tanh(x), lambda x, y: 1.0 - y * y, "tanh.approx.f32", _tanh_by_exp2)
_register("log2_approx", lambda x: torch.log2(x), lambda x, y: 1.0 / (x * LN_2), "lg2.approx.f32", _plain_log2)
