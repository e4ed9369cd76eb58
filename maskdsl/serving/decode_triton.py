"""Decodes on CUDA: two launches a layer, attention over the planned items and the merge of those of one request.

Not here: the kernels (`backends.paged_decode_triton`, `backends.paged_kernels`), the items (`plan_triton`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskdsl.backends import paged_kernels
from maskdsl.backends.launches import Launcher
from maskdsl.backends.paged_decode_triton import DecodeKernel, Shape, decode_kernel, shape_for
from maskdsl.binding.lowered import Lowering
from maskdsl.ir.types import Table
from maskdsl.serving.plan_triton import DecodeItems
from maskdsl.serving.step import Step

PIECES = 16
"""Pieces of one request that are merged at once."""


@dataclass(frozen=True, slots=True)
class DecodeProgram:
    """A program's kernel, what it reads beside the step, and the numbers that surround the softmax."""

    kernel: DecodeKernel
    extra: tuple[object, ...]
    scale: float
    normalize: bool


def decode_program(
    lowering: Lowering, tensors: Mapping[Table, Tensor], sizes: Mapping[str, int], head_dim: int
) -> DecodeProgram:
    """The kernel of a program for these sizes; `tensors` holds its tables, those derived from others too."""
    lowered = lowering.at(sizes)
    kernel = decode_kernel(lowering.inside_at(sizes))
    scale = 1.0 / math.sqrt(head_dim) if lowered.scale is None else lowered.scale
    return DecodeProgram(kernel, kernel.extra(tensors, sizes), scale, lowered.normalize)


@dataclass(slots=True)
class Decoder:
    """Decodes steps whose requests have at most `width` new tokens each.

    `pieces` holds the outputs of items that are not all of their request, float32 [items, kv_heads, width * group, D],
    and `piece_lse` their log-sum-exps in base 2.
    """

    program: DecodeProgram
    step: Step
    items: DecodeItems
    width: int
    shape: Shape
    pieces: Tensor
    piece_lse: Tensor
    launchers: dict[str, Launcher] = field(default_factory=dict)

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, out: Tensor) -> None:
        """Writes the outputs of decoded requests into `out` (tokens, heads, D), and 0 behind the last request."""
        if not self.launchers:
            self._make()
        limits, shape, dim = self.step.limits, self.shape, q.shape[2]
        q = q if q.stride()[1:] == (dim, 1) and q.stride(0) % dim == 0 else q.contiguous()
        blocks = -(-self.width * limits.heads // limits.kv_heads // shape.rows)
        tokens = q.shape[0]
        self.launchers["attend"](
            (self.items.count * limits.kv_heads * blocks, 1, 1),
            q, k_cache, v_cache, out, q.stride(0) // dim, out.stride(0) // dim, tokens,
        )  # fmt: skip
        self.launchers["merge"]((tokens, limits.heads, 1), out, out.stride(0))

    def _make(self) -> None:
        step, limits, items, pages = self.step, self.step.limits, self.items, self.items.pages
        sizes = {
            "NORMALIZE": self.program.normalize, "WIDTH": self.width, "KV_HEADS": limits.kv_heads,
            "GROUP": limits.heads // limits.kv_heads, "DIM": limits.head_dim,
            "COLUMNS": max(16, 1 << (limits.head_dim - 1).bit_length()),
        }  # fmt: skip
        pieces = (self.pieces, self.piece_lse)
        self.launchers["attend"] = Launcher(
            self.program.kernel.function,
            (*pieces, items.request, items.start, pages.whole_counts, pages.part_counts, pages.physical, pages.logical,
             step.seq_lens, step.query_start, limits.max_pages_per_request, limits.max_requests, *self.program.extra),
            {"SCALE": self.program.scale, **sizes, "PAGE": limits.page_size, "ROWS": self.shape.rows,
             "KEYS": self.shape.keys},
            {"num_warps": self.shape.warps, "num_stages": self.shape.stages},
        )  # fmt: skip
        self.launchers["merge"] = Launcher(
            paged_kernels.merge_pieces,
            (*pieces, items.start, step.request, step.query_start, limits.max_requests, limits.decode_tokens),
            {**sizes, "PIECES": PIECES}, {"num_warps": 4},
        )  # fmt: skip


def decoder(
    program: DecodeProgram, step: Step, items: DecodeItems, width: int, shape: Shape | None = None
) -> Decoder:
    """A decoder; its buffers are those of all that share the step."""
    limits = step.limits
    rows = width * (limits.heads // limits.kv_heads)
    size = torch.empty((), dtype=limits.dtype).element_size()
    lines = (items.count, limits.kv_heads, rows)
    pieces = step.room(f"pieces {width} {items.count}", (*lines, limits.head_dim), torch.float32)
    piece_lse = step.room(f"log-sum-exps {width} {items.count}", lines, torch.float32)
    made = shape_for(rows, limits.head_dim, size) if shape is None else shape
    return Decoder(program, step, items, width, made, pieces, piece_lse)
