"""Runs a variant on FlexAttention: one compiled call on CUDA or the CPU, with its sink and normalisation.

Not here: the compiled wrappers (`flex_kernels`), which tiles to visit (`flex_blocks`), what is refused
(`flex_limits`), the mods' text (`mods`).
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends.flex_blocks import MaskMod, Shape, everything, for_every_row, sees_some_tile, with_one_more_key
from maskdsl.backends.flex_kernels import Kernel, ScoreMod, Signature, call, trains_at
from maskdsl.backends.flex_limits import (
    Options,
    gradient_block,
    kernel_choice,
    no_gradients_on_cpu,
    refuse_dtype,
    spare_memory,
)
from maskdsl.backends.kernel_choice import PLAIN, Plan
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Span

QKV = tuple[Tensor, Tensor, Tensor]

SMALLEST_HEAD_DIM = 16
"""Triton's dot takes no fewer columns; smaller heads are padded with zeros."""


@dataclass(frozen=True, slots=True)
class Mods:
    """A variant with its tables bound, for one call: what `flex_attention` needs to know.

    The two makers return fresh closures, so that clones of float tables are fresh for every backward pass; None means
    no mask, no score. `captured` are the tensors they close over. `reads` are the coordinates among `b` and `h` that
    the mask depends on. `scale` is None for 1/sqrt(head_dim). `sink` is float32 [B or 1, Hq] or None. `kernel` runs
    the call once everything around the kernel is settled.
    """

    name: str
    text: str
    span: Span
    make_mask_mod: Callable[[], MaskMod] | None = None
    make_score_mod: Callable[[], ScoreMod] | None = None
    captured: tuple[Tensor, ...] = ()
    reads: frozenset[str] = frozenset()
    scale: float | None = None
    sink: Tensor | None = None
    normalize: bool = True
    kernel: Kernel = call


FLASH = ("BACKEND", "FLASH")
"""The option that asks for FlashAttention-4."""

Blocks = Callable[[Shape, torch.device, bool], BlockMask]
"""Gives the BlockMask for a shape and device; the flag asks for the lists of the backward pass."""


def attention(
    mods: Mods, qkv: QKV, blocks: Blocks, *, block: tuple[int, int] = (128, 128), plan: Plan = PLAIN
) -> Tensor:
    """Attention output [B, Hq, Q, Dv] in q's dtype; rows that see nothing are 0.

    q is [B, Hq, Q, D], k [B or 1, Hkv, K, D], v [B or 1, Hkv, K, Dv], of one dtype and device, Hq a multiple of Hkv:
    the caller has checked shapes. Gradients flow to q, k, v and the float tables on CUDA.
    Raises MaskError: E0702 a gradient asked for on the CPU, E0703 a dtype, device or block that no kernel takes,
    E0705 torch could not compile the kernel.
    """
    q, k, v = qkv
    refuse_dtype(q, mods.span)
    wanted = _wants_gradients(*qkv, *mods.captured, mods.sink)
    if wanted and q.device.type == "cpu":
        raise MaskError(no_gradients_on_cpu(qkv, mods.span))
    if not (q.numel() and k.numel() and v.numel()):
        return _nothing(q, k, v)
    if q.device.type == "cuda" and wanted:
        return _on_cuda(mods, qkv, blocks, block, plan, gradients=True)
    with torch.no_grad():
        if q.device.type == "cuda":
            return _on_cuda(mods, qkv, blocks, block, plan, gradients=False)
        return _on_cpu(mods, qkv, blocks, block)


def mask_shape(mods: Mods, q: Tensor, k: Tensor, block: tuple[int, int]) -> Shape:
    """The shape of the BlockMask for a call: one batch row or head where the mask is the same for all."""
    every_row = "b" in mods.reads or k.shape[0] != q.shape[0]
    batch = q.shape[0] if every_row else 1
    heads = q.shape[1] if "h" in mods.reads else 1
    return Shape(batch, heads, q.shape[2], k.shape[2], *block)


def _mask_of_call(blocks: Blocks, shape: Shape, device: torch.device, gradients: bool) -> BlockMask:
    """The BlockMask, with a list for every batch row that the shape asks for; it outlives inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        mask = blocks(shape, device, gradients)
        return mask if mask.kv_num_blocks.shape[0] == shape.batch else for_every_row(mask, shape.batch)


def _on_cuda(
    mods: Mods, qkv: QKV, blocks: Blocks, block: tuple[int, int], plan: Plan = PLAIN, *, gradients: bool
) -> Tensor:
    signature, padded, mask = cuda_call(mods, qkv, blocks, block, plan, gradients=gradients)
    return _run(mods, signature, padded, mask, *made_mods(mods))[..., : qkv[2].shape[-1]]


def cuda_call(
    mods: Mods, qkv: QKV, blocks: Blocks, block: tuple[int, int], plan: Plan = PLAIN, *, gradients: bool = False
) -> tuple[Signature, QKV, BlockMask]:
    """What a kernel for CUDA is given for a call, wherever the tensors are: see `flex_kernels.call`."""
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in qkv)
    if plan.flash and k.shape[0] != q.shape[0]:  # FlashAttention-4 takes no keys that several rows share
        k, v = (x.expand(q.shape[0], *x.shape[1:]).contiguous() for x in (k, v))
    block = gradient_block(block) if gradients else block
    mask = _mask_of_call(blocks, mask_shape(mods, q, k, block), q.device, gradients)
    padded = (_padded(q), _padded(k), _padded(v))
    return _cuda_signature(mods, padded, mask, _scale(mods, q), gradients, plan), padded, mask


def _on_cpu(mods: Mods, qkv: QKV, blocks: Blocks, block: tuple[int, int]) -> Tensor:
    # torch refuses what merely could require gradients here, even where none are computed.
    q, k, v = (x.detach().contiguous() for x in qkv)
    shape = mask_shape(mods, q, k, block)
    mask = _mask_of_call(blocks, shape, q.device, False)
    if mods.sink is None and mods.normalize:
        mask_mod, score_mod = made_mods(mods)
        signature = _cpu_signature(mods, (q, k, v), mask, "")
        out = _run(mods, signature, (q, k, v), mask, mask_mod, _in_float32(score_mod))
        # A row without tiles is NaN in one of torch's CPU kernels.
        return out.masked_fill_(~sees_some_tile(mask, q.shape[2]), 0)
    return _with_extra_key(mods, (q, k, v), mask, shape)


def _with_extra_key(mods: Mods, qkv: QKV, mask: BlockMask, shape: Shape) -> Tensor:
    """Where the log-sum-exp cannot be had: the sink is one more key, with a zero value and the sink as its score.

    Without the division, that key scores 0 and one more value column is 1 at it and 0 elsewhere: the column comes out
    as 1 / (Z + 1) beside sum / (Z + 1), where Z is the softmax's denominator.
    """
    q, k, v = qkv if mods.normalize else tuple(x.float() for x in qkv)
    last = torch.full((), k.shape[2], dtype=torch.int32)
    k = torch.cat((k, k.new_zeros(*k.shape[:2], 1, k.shape[3])), dim=2)
    v = torch.cat((v, v.new_zeros(*v.shape[:2], 1, v.shape[3])), dim=2)
    sink = mods.sink if mods.normalize else None
    if not mods.normalize:
        v = torch.cat((v, torch.zeros_like(v[..., :1])), dim=3)
        v[:, :, -1, -1] = 1
    mask_mod, score_mod = made_mods(mods)
    logit = _every_head(sink, q)
    more_mask, more_score = _mask_with_key(mask_mod, last), _score_with_key(score_mod, last, logit)
    wider = with_one_more_key(mask, shape, more_mask)
    signature = _cpu_signature(mods, (q, k, v), wider, "extra key")
    out = _run(mods, signature, (q, k, v), wider, more_mask, _in_float32(more_score))
    return out if mods.normalize else (out[..., :-1] / out[..., -1:]).to(qkv[0].dtype)


def _in_float32(score_mod: ScoreMod | None) -> ScoreMod | None:
    """The score_mod for the CPU's kernel, whose scores are float32 although torch traces it with those of q's dtype.

    What it returned in half precision would be read as float32.
    """
    if score_mod is None:
        return None

    def widened(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return score_mod(score.to(torch.float32), b, h, q_idx, kv_idx)

    return widened


def _mask_with_key(mask_mod: MaskMod, last: Tensor) -> MaskMod:
    def extended(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return mask_mod(b, h, q_idx, torch.minimum(kv_idx, last - 1)) | (kv_idx == last)

    return extended


def _score_with_key(score_mod: ScoreMod | None, last: Tensor, logit: Tensor) -> ScoreMod:
    def extended(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        inside = score if score_mod is None else score_mod(score, b, h, q_idx, torch.minimum(kv_idx, last - 1))
        return torch.where(kv_idx == last, logit[b, h].to(score.dtype), inside)

    return extended


def _every_head(sink: Tensor | None, q: Tensor) -> Tensor:
    """The extra key's score for every batch row and head, float32 [B, Hq]; 0 without a sink."""
    size = (q.shape[0], q.shape[1])
    return torch.zeros(size) if sink is None else sink.float().expand(size).contiguous()


def _cuda_signature(
    mods: Mods, qkv: QKV, mask: BlockMask, scale: float, gradients: bool, plan: Plan = PLAIN
) -> Signature:
    q, k, _ = qkv
    finish = "sum" if not mods.normalize else "" if mods.sink is None else "sink"
    kernel, options = _kernel_of(mods, q, k, mask.BLOCK_SIZE, plan, gradients)
    sizes = tuple((x.dtype, x.shape[:2], x.shape[3], x.requires_grad, _axes_in_memory(x)) for x in qkv)
    captured = tuple((t.dtype, t.dim(), t.requires_grad) for t in mods.captured)
    mode = (gradients, torch.is_inference_mode_enabled())
    static = (q.device, kernel, sizes, captured, mode, mask.kv_indices.shape[:2], mask.BLOCK_SIZE)
    free = Signature(mods.text, scale, finish, options, True, static)
    lengths = (mask.kv_indices.shape, *(x.shape for x in (*qkv, *mods.captured)))
    # torch 2.11 writes no free size into CuteDSL.
    fixed = plan.fixed or (plan.flash and ".shape[" in mods.text)
    if fixed or (gradients and not plan.flash and trains_at(free, lengths)):
        return free._replace(dynamic=False, static=(*static, lengths))
    return free


def _axes_in_memory(x: Tensor) -> tuple[int, ...]:
    """The axes of a tensor, the one with the largest stride first; `Tensor.dim_order` of torch 2.11 imports sympy."""
    return tuple(sorted(range(x.dim()), key=lambda axis: -x.stride(axis)))


def _kernel_of(
    mods: Mods, q: Tensor, k: Tensor, block: tuple[int, int], plan: Plan, gradients: bool
) -> tuple[str, Options]:
    """The kernel's name and its options: the plan's, but for those that the call needs.

    How many queries a tile has is the plan's where they divide the block.
    """
    if plan.flash:
        return "flash", (FLASH,)
    kernel, needed = kernel_choice(q, k, block, mods.span, gradients=gradients)
    needed += spare_memory(q, mods.captured) if mods.make_score_mod is not None else ()
    rows = {n: v for n, v in plan.options if n == "fwd_BLOCK_M" and block[0] % int(v) == 0}
    return kernel, tuple({**dict(plan.options), **dict(needed), **rows}.items())


def _cpu_signature(mods: Mods, qkv: QKV, mask: BlockMask, extra: str) -> Signature:
    tensors = (*qkv, mask.kv_num_blocks, *mods.captured)
    sizes = tuple((t.dtype, tuple(t.shape)) for t in tensors)
    static = (extra, sizes, mask.BLOCK_SIZE, torch.is_inference_mode_enabled())
    return Signature(mods.text, _scale(mods, qkv[0]), "", (), False, static)


def _run(
    mods: Mods, signature: Signature, qkv: QKV, mask: BlockMask, mask_mod: MaskMod, score_mod: ScoreMod | None
) -> Tensor:
    sink = mods.sink if signature.finish == "sink" else None
    try:
        return mods.kernel(signature, qkv, mask, (mask_mod, score_mod), sink)
    except _compile_errors(FLASH in signature.options) as error:
        raise MaskError(_not_compiled(mods, error)) from error


def _compile_errors(flash: bool = False) -> tuple[type[Exception], ...]:
    """What torch and Triton raise when a kernel cannot be made; imported only then, since Dynamo takes seconds.

    A FlashAttention-4 kernel is made at its first call, by Python functions that raise what Python does.
    """
    from torch._dynamo.exc import TorchDynamoException

    found: list[type[Exception]] = [TorchDynamoException]
    if flash:
        found += [AssertionError, AttributeError, ImportError, NotImplementedError, TypeError, ValueError]
        found += [e for e in (getattr(sys.modules.get("cutlass.base_dsl.common"), "DSLBaseError", None),) if e]
    with contextlib.suppress(ImportError):
        from triton.runtime.errors import OutOfResources

        found.append(OutOfResources)
    return tuple(found)


def _not_compiled(mods: Mods, error: Exception) -> Diagnostic:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return Diagnostic(
        "E0705", f"the kernel of `{mods.name}` did not compile", mods.span,
        notes=(f"torch {torch.__version__} says: {first[:300]}",),
        help=("`.reference(q, k, v)` computes the same without a kernel",),
    )


def made_mods(mods: Mods) -> tuple[MaskMod, ScoreMod | None]:
    """The closures that a kernel is given."""
    mask_mod = everything if mods.make_mask_mod is None else mods.make_mask_mod()
    return mask_mod, None if mods.make_score_mod is None else mods.make_score_mod()


def _scale(mods: Mods, q: Tensor) -> float:
    return 1.0 / math.sqrt(q.shape[-1]) if mods.scale is None else mods.scale


def _padded(x: Tensor) -> Tensor:
    """The tensor with its last axis filled up to `SMALLEST_HEAD_DIM` with zeros."""
    missing = SMALLEST_HEAD_DIM - x.shape[-1]
    return torch.nn.functional.pad(x, (0, missing)) if missing > 0 else x


def _nothing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """No query, or no key for any: zeros, with gradients of zero where they are wanted."""
    out = q.new_zeros((*q.shape[:3], v.shape[3]))
    return out + sum(x[..., :0].sum() for x in (q, k, v)) if _wants_gradients(q, k, v) else out


def _wants_gradients(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
