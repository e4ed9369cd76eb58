"""What is said of a bound definition that cannot do what it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.binding.shapes import Lengths
from maskdsl.ir.types import Table
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.text import Span


def sizes_unknown(name: str, missing: list[str], span: Span) -> Diagnostic:
    """E0609: sizes that the text depends on, and that no call has given yet."""
    sizes = ", ".join(f'"{axis}": …' for axis in missing)
    listed = " and ".join(f"`{axis}`" for axis in missing)
    return Diagnostic(
        "E0609", f"`{name}` depends on {listed}, which no call has given yet", span,
        help=(f"`.bind(sizes={{{sizes}}})` gives it beforehand; `attention(q, k, v)` takes it from the call",),
    )


def size_not_told(name: str, axis: str, span: Span) -> Diagnostic:
    """E0609: the length of a logical axis that neither tables nor the layout tell."""
    return Diagnostic(
        "E0609", f"`{name}` depends on `size({axis})`, which the layout does not tell", span,
        help=(f'`.bind(sizes={{"{axis}": …}})` gives it',),
    )


def elsewhere(table: Table, tensor: Tensor, device: torch.device) -> Diagnostic:
    """E0604: a table that is on another device than the call."""
    return Diagnostic(
        "E0604", f"`{table.name}` is on {tensor.device}, and the call on {device}", table.span, f"on {tensor.device}",
        help=(f"bind `{table.name}` on {device}",),
    )


def not_ours(name: str, out: BlockMask, lengths: Lengths, block: tuple[int, int], span: Span) -> Diagnostic:
    """E0607: a BlockMask that an object was not asked for, or for another call."""
    told = f"{out.seq_lengths[0]} x {out.seq_lengths[1]} tokens in tiles of {out.BLOCK_SIZE[0]} x {out.BLOCK_SIZE[1]}"
    wanted = f"{lengths.q_len} x {lengths.kv_len} tokens in tiles of {block[0]} x {block[1]}"
    return Diagnostic(
        "E0607", f"`out` cannot take the tiles of `{name}`", span,
        notes=(f"`out` is for {told}, the call for {wanted}",) if told != wanted else (),
        help=("give a mask that `block_mask` of the same bound object returned for the same batch, heads and lengths",),
    )
