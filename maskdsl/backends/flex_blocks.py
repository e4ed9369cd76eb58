"""Builds torch's BlockMask: which tiles of q × k hold some, all or none of the visible pairs.

Not here: deciding tiles from the formula (`tiles`); this evaluates every pair, a slab of rows at a time, in torch's own
way: a mask sees the numbers of one pair, whatever it does with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_mask

from maskdsl.source.diagnostic import Diagnostic, MaskError

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

PAIRS_AT_ONCE = 1 << 24
"""Pairs evaluated in one go; bounds the memory at a few hundred MiB whatever the lengths."""


class Shape(NamedTuple):
    """What a BlockMask covers: batch rows and heads (1: the same for all), lengths in tokens, tile sides in tokens."""

    batch: int
    heads: int
    q_len: int
    kv_len: int
    q_block: int = 128
    kv_block: int = 128

    @property
    def rows(self) -> int:
        """The number of tiles along q."""
        return -(-self.q_len // self.q_block)

    @property
    def columns(self) -> int:
        """The number of tiles along k."""
        return -(-self.kv_len // self.kv_block)


def block_mask(mask_mod: MaskMod | None, shape: Shape, device: torch.device, *, transposed: bool = True) -> BlockMask:
    """The BlockMask of `mask_mod` (None: every pair is visible), exact tile for tile.

    Partial and full lists have the same shape and strides, int32 [batch, heads, rows, columns]. `transposed` adds the
    lists that the backward pass reads. Raises MaskError E0610 for what is no function from four indices to a bool.
    """
    if mask_mod is not None:
        _check_function(mask_mod)
    with torch.inference_mode(False), torch.no_grad():
        some, every = _all_tiles(shape, device) if mask_mod is None else _evaluated_tiles(mask_mod, shape, device)
        return from_tiles(some & ~every, every, shape, mask_mod or everything, transposed=transposed)


def from_tiles(partial: Tensor, full: Tensor, shape: Shape, mask_mod: MaskMod, *, transposed: bool) -> BlockMask:
    """The BlockMask of two bool tensors [batch, heads, rows, columns]: which tiles are partial, which are full."""
    backward = (*_lists(partial.mT), *_lists(full.mT)) if transposed else (None, None, None, None)
    block = (shape.q_block, shape.kv_block)
    lengths = (shape.q_len, shape.kv_len)
    return BlockMask(lengths, *_lists(partial), *_lists(full), *backward, BLOCK_SIZE=block, mask_mod=mask_mod)


def for_every_row(mask: BlockMask, batch: int) -> BlockMask:
    """The same lists repeated for `batch` rows: torch wants them where keys of one row serve several."""
    names = (f"{part}{what}" for part in ("kv_", "full_kv_", "q_", "full_q_") for what in ("num_blocks", "indices"))
    lists = (getattr(mask, name) for name in names)
    repeated = (x if x is None else x.expand(batch, *x.shape[1:]).contiguous() for x in lists)
    return BlockMask(mask.seq_lengths, *repeated, BLOCK_SIZE=mask.BLOCK_SIZE, mask_mod=mask.mask_mod)


def with_one_more_key(mask: BlockMask, shape: Shape, mask_mod: MaskMod) -> BlockMask:
    """The same lists for one more key at the end, which every query sees: its tile becomes partial everywhere.

    `shape` is that of `mask`, before the key joins.
    """
    wider = shape._replace(kv_len=shape.kv_len + 1)
    partial = _tiles(mask.kv_num_blocks, mask.kv_indices, wider.columns)
    assert mask.full_kv_num_blocks is not None and mask.full_kv_indices is not None
    full = _tiles(mask.full_kv_num_blocks, mask.full_kv_indices, wider.columns)
    partial[..., -1], full[..., -1] = True, False
    return from_tiles(partial, full, wider, mask_mod, transposed=False)


def sees_some_tile(mask: BlockMask, q_len: int) -> Tensor:
    """Which queries have a tile at all: bool [batch, heads, q_len, 1]."""
    tiles = mask.kv_num_blocks
    if mask.full_kv_num_blocks is not None:
        tiles = tiles + mask.full_kv_num_blocks
    return (tiles > 0).repeat_interleave(mask.BLOCK_SIZE[0], dim=-1)[..., :q_len, None]


def everything(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
    """The mask that sees every pair."""
    return (q_idx >= 0) & (kv_idx >= 0)


def _check_function(mask_mod: MaskMod) -> None:
    if hasattr(mask_mod, "block_mask"):
        named = getattr(mask_mod, "name", "it")
        help = f"`{named}.block_mask(…)` decides its tiles from the formula"
        raise MaskError(Diagnostic("E0610", f"{mask_mod!r} is a definition, no function", help=(help,)))
    try:
        inspect.signature(mask_mod).bind(*range(4))
    except (TypeError, ValueError):
        help = "`def mask_mod(b, h, q_idx, kv_idx)` returns a tensor of one bool"
        raise MaskError(Diagnostic("E0610", f"{mask_mod!r} takes no four indices", help=(help,))) from None


def _evaluated_tiles(mask_mod: MaskMod, shape: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    grid = (shape.batch, shape.heads, shape.rows, shape.columns)
    some = torch.empty(grid, dtype=torch.bool, device=device)
    every = torch.empty_like(some)
    for b, h, rows in _slabs(shape):
        visible = _visible(mask_mod, shape, b, h, rows, device)
        some[b, h, rows] = visible.any(dim=5).any(dim=3)
        every[b, h, rows] = visible.all(dim=5).all(dim=3)
    return some, every


def _slabs(shape: Shape) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of batch, heads and rows of tiles; each ends within the shape."""
    pairs_per_row = max(1, shape.q_block * shape.columns * shape.kv_block)
    rows = max(1, PAIRS_AT_ONCE // pairs_per_row)
    heads = max(1, PAIRS_AT_ONCE // (pairs_per_row * min(rows, max(1, shape.rows))))
    batch = max(1, PAIRS_AT_ONCE // (pairs_per_row * min(rows, max(1, shape.rows)) * min(heads, shape.heads)))
    for b in _parts(shape.batch, batch):
        for h in _parts(shape.heads, heads):
            for r in _parts(shape.rows if shape.columns else 0, rows):
                yield b, h, r


def _parts(stop: int, step: int) -> Iterator[slice]:
    yield from (slice(start, min(start + step, stop)) for start in range(0, stop, step))


def _visible(mask_mod: MaskMod, shape: Shape, b: slice, h: slice, rows: slice, device: torch.device) -> Tensor:
    """Bool [batch, heads, rows, q_block, columns, kv_block] of a slab; pairs past the lengths are not visible."""
    first, last = rows.start * shape.q_block, min(rows.stop * shape.q_block, shape.q_len)

    def of_slab(b_idx: Tensor, h_idx: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return _checked(mask_mod(b_idx + b.start, h_idx + h.start, q_idx + first, kv_idx), mask_mod)

    size = (b.stop - b.start, h.stop - h.start, last - first, shape.kv_len)
    visible = create_mask(of_slab, *size, device)
    missing = (-size[2] % shape.q_block, -size[3] % shape.kv_block)
    visible = torch.nn.functional.pad(visible, (0, missing[1], 0, missing[0]), value=False)
    return visible.reshape(*size[:2], -1, shape.q_block, shape.columns, shape.kv_block)


def _checked(seen: Tensor, mask_mod: MaskMod) -> Tensor:
    """What a mask said of one pair. Raises MaskError E0610 unless it is a tensor of one bool."""
    if isinstance(seen, Tensor) and seen.dtype is torch.bool and seen.dim() == 0:
        return seen
    what = f"{seen.dtype} {list(seen.shape)}" if isinstance(seen, Tensor) else f"a `{type(seen).__name__}`"
    raise MaskError(Diagnostic(
        "E0610", f"{mask_mod!r} returned {what}, not a tensor of one bool", help=("compare: `q_idx >= kv_idx`",),
    ))  # fmt: skip


def _all_tiles(shape: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every tile is full but those that reach past the lengths."""
    some = torch.ones((shape.batch, shape.heads, shape.rows, shape.columns), dtype=torch.bool, device=device)
    every = some.clone()
    if shape.q_len % shape.q_block:
        every[..., -1, :] = False
    if shape.kv_len % shape.kv_block:
        every[..., -1] = False
    return some, every


def _lists(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Counts and column indices (those present first, ascending) of bool [..., rows, columns], int32."""
    order = torch.argsort(tiles.to(torch.int8), dim=-1, descending=True, stable=True)
    return tiles.sum(-1, dtype=torch.int32), order.to(torch.int32).contiguous()


def _tiles(counts: Tensor, indices: Tensor, columns: int) -> Tensor:
    """The inverse of `_lists`: bool [..., rows, columns]."""
    listed = torch.arange(indices.shape[-1], device=indices.device) < counts[..., None]
    tiles = torch.zeros((*indices.shape[:-1], columns + 1), dtype=torch.bool, device=indices.device)
    # Entries past the count are undefined: they all go to one column beyond the end.
    target = torch.where(listed, indices, columns).long()
    return tiles.scatter_(-1, target, True)[..., :columns].contiguous()
