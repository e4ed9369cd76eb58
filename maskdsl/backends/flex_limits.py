"""Says before a kernel runs what FlexAttention cannot do, and which kernel options keep it on firm ground."""

from __future__ import annotations

import torch
from torch import Tensor

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Span

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

Options = tuple[tuple[str, int | bool | str], ...]

MOST_DECODED = 64
"""Rows of the largest tile that the decode kernel is given. Of 128, with torch's default of one stage, half came out
wrong: the mask `sta_3d` in bfloat16, 127 queries (torch 2.11, Triton 3.6, an H100 and an H200)."""


def refuse_dtype(q: Tensor, span: Span) -> None:
    """Raises MaskError E0703 unless q is float32, bfloat16 or float16 on the CPU or a CUDA device."""
    if q.device.type not in ("cpu", "cuda"):
        raise MaskError(_refused(f"FlexAttention has no kernel for the device `{q.device.type}`", span))
    if q.dtype not in DTYPES:
        known = ", ".join(_dtype_name(d) for d in DTYPES)
        raise MaskError(_refused(
            f"query, key and value are {_dtype_name(q.dtype)}, which FlexAttention cannot compute", span,
            help=f"use one of {known}, or `.reference(q, k, v)` for float64",
        ))


def no_gradients_on_cpu(qkv: tuple[Tensor, Tensor, Tensor], span: Span) -> Diagnostic:
    """E0702: one of q, k, v or the bound tables requires a gradient on the CPU."""
    wanted = [name for name, tensor in zip("qkv", qkv, strict=True) if tensor.requires_grad]
    who = f"`{wanted[0]}` requires" if wanted else "a table requires"
    return Diagnostic(
        "E0702", f"{who} a gradient, and FlexAttention computes none on the CPU", span,
        notes=("on the CPU FlexAttention is for inference only",),
        help=("call it inside `torch.no_grad()`, or move the tensors to a CUDA device",),
    )


def require_device(device: torch.device, span: Span | None) -> None:
    """Raises MaskError E0701 when a CUDA device is asked for and there is none."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MaskError(Diagnostic(
            "E0701", f"there is no GPU here for the device `{device}`", span,
            notes=("torch finds no CUDA device",),
            help=("use `device=\"cpu\"`, or run on a machine with a GPU and a CUDA build of torch",),
        ))


def kernel_choice(
    q: Tensor, k: Tensor, block: tuple[int, int], span: Span, *, gradients: bool = False
) -> tuple[str, Options]:
    """Which of torch's two CUDA kernels a call gets, by name and tile, and the options that make it so.

    Raises MaskError E0703 for a block that no tile divides.
    """
    rows = decode_rows(q.shape[2], q.shape[1] // k.shape[1], block[0], gradients=gradients)
    forced: Options = (("FORCE_USE_FLEX_ATTENTION", True),) if q.shape[2] < 128 and not rows else ()
    return f"decode {rows}" if rows else "main", forced + _tiles(block, rows > 0, span)


def decode_rows(q_len: int, group: int, q_block: int, *, gradients: bool = False) -> int:
    """The rows of a tile of torch's decode kernel for these queries; 0 where the main kernel is run.

    It holds all queries of a group of heads in one tile: a power of two that divides the block. Training takes the main
    kernel: behind the decode kernel, gradients of one query were up to four times as far off as those of torch's own
    attention.
    """
    if gradients:
        return 0
    rows = max(16, 1 << (q_len * group - 1).bit_length())
    return rows if group & (group - 1) == 0 and rows <= MOST_DECODED and q_block % rows == 0 else 0


def spare_memory(q: Tensor, tables: tuple[Tensor, ...]) -> Options:
    """Fewer stages where a score reads a bias table: three ask for more shared memory than there is.

    Seen on an H100 with torch 2.11 in half precision: 245,760 of 232,448 bytes forward at a head_dim of 64, 234,496
    backward from 65 on.
    """
    bias = any(t.is_floating_point() and t.dim() >= 2 for t in tables)
    if not bias or q.dtype is torch.float32:
        return ()
    return (("fwd_num_stages", 2), ("bwd_num_stages", 2))


def gradient_block(block: tuple[int, int]) -> tuple[int, int]:
    """Block sizes that torch's backward kernel accepts: multiples of 128, whatever tiles it is told to use."""
    return (-(-block[0] // 128) * 128, -(-block[1] // 128) * 128)


def _tiles(block: tuple[int, int], decodes: bool, span: Span) -> Options:
    """Tiles of the forward and backward kernels inside blocks other than torch's own choice expects; else none."""
    if block[0] % 128 == 0 and block[1] % 128 == 0:
        return ()
    rows, columns = (min(64, side & -side) for side in block)
    if min(rows, columns) < 16:
        raise MaskError(_refused(
            f"blocks of {block[0]} by {block[1]} tokens do not split into tiles of 16 or more", span,
            help="use block sizes that are multiples of 16",
        ))
    forward: Options = (("fwd_BLOCK_N", columns),) + (() if decodes else (("fwd_BLOCK_M", rows),))
    backward = ("bwd_BLOCK_M1", "bwd_BLOCK_N1", "bwd_BLOCK_M2", "bwd_BLOCK_N2")
    return forward + tuple((name, min(rows, columns)) for name in backward)


def _refused(message: str, span: Span, *, help: str = "") -> Diagnostic:
    return Diagnostic("E0703", message, span, help=(help,) if help else ())


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
