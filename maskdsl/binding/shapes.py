"""Checks query, key and value, alone and against the tables, lengths and tiles, and says what the sizes of a call are.

Not here: what a kernel cannot run (`backends.flex_limits`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from maskdsl.ir.types import Table
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Span
from maskdsl.tiles.limits import LONGEST

if TYPE_CHECKING:
    from torch import Tensor

AXES = {"q": "batch, head, q_len, dim", "k": "batch, kv_head, kv_len, dim", "v": "batch, kv_head, kv_len, value_dim"}


class Lengths(NamedTuple):
    """The sizes of one call: of the query's batch and heads, the key/value heads, and the lengths in tokens."""

    batch: int
    head: int
    kv_head: int
    q_len: int
    kv_len: int

    def axes(self) -> dict[str, int]:
        """The sizes of the axes that every definition knows; `position` reaches over queries and keys."""
        longest = max(self.q_len, self.kv_len, 1)
        return {"batch": self.batch, "head": self.head, "kv_head": self.kv_head, "position": longest}


def check_call(q: Tensor, k: Tensor, v: Tensor, span: Span) -> Lengths:
    """The sizes of a call with query [B, Hq, Q, D], key [B or 1, Hkv, K, D] and value [B or 1, Hkv, K, Dv].

    Raises MaskError E0608 when they do not fit together.
    """
    import torch

    for name, value in (("q", q), ("k", k), ("v", v)):
        if not isinstance(value, torch.Tensor):
            raise MaskError(_unfit(f"`{name}` is a `{type(value).__name__}`, not a tensor", span))
    wrong = next(_disagreements(q, k, v), None)
    if wrong:
        shapes = "; ".join(f"{n} is ({', '.join(map(str, x.shape))})" for n, x in (("q", q), ("k", k), ("v", v)))
        raise MaskError(_unfit(wrong, span, shapes))
    return Lengths(q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2])


def check_shapes(q: Any, k: Any, v: Any, span: Span) -> Lengths:
    """The same for three shapes, of tensors or arrays of any dtype. Raises MaskError E0608."""
    wrong = next(_shape_disagreements(q, k, v), None)
    if wrong:
        raise MaskError(_unfit(wrong, span))
    return Lengths(q[0], q[1], k[1], q[2], k[2])


def check_sizes(lengths: Lengths, sizes: Mapping[str, int], tables: Mapping[str, Table], span: Span) -> dict[str, int]:
    """The size of every axis for a call: `sizes` (of the tables, or given when they were bound) and the call's own.

    `tables` gives the table that an axis's size comes from, for the message.
    Raises MaskError E0607 when a size disagrees with query, key and value; `position` may be longer than both.
    """
    wrong = []
    for axis, own in lengths.axes().items():
        size = sizes.get(axis, own)
        fits = size >= own if axis == "position" else size == own
        if not fits:
            wrong.append(_disagreement(axis, size, own, tables.get(axis), span))
    for name, own in (("q_len", lengths.q_len), ("kv_len", lengths.kv_len)):
        if sizes.get(name, own) != own:
            wrong.append(_disagreement(name, sizes[name], own, None, span))
    if wrong:
        raise MaskError(wrong)
    return {**lengths.axes(), **sizes}


def check_lengths(lengths: Lengths, span: Span | None) -> Lengths:
    """The sizes of a call as ints. Raises MaskError E0610 for those that no block mask can have."""
    least = {"B": 1, "H": 1, "kv_heads": 1, "q_len": 0, "kv_len": 0}
    wrong = [_impossible(n, x, least[n], span) for n, x in zip(least, lengths, strict=True)]
    if lengths.kv_head == lengths.head:
        del wrong[2]  # it is said once
    found = [w for w in wrong if w is not None]
    if not found and lengths.head % lengths.kv_head:
        shared = f"{lengths.head} heads cannot share {lengths.kv_head} key/value heads evenly"
        found = [Diagnostic("E0610", shared, span)]
    if found:
        raise MaskError(found)
    return Lengths(*map(index, lengths))


def sides_of(block_size: int | tuple[int, int], span: Span | None) -> tuple[int, int]:
    """The sides of a tile along q and k. Raises MaskError E0610 for what is no int, and no pair of them, from 1 on."""
    pair = block_size if isinstance(block_size, tuple | list) else (block_size, block_size)
    if len(pair) != 2:
        note = "it is one number, or a pair: the side along the queries and the one along the keys"
        raise MaskError(Diagnostic("E0610", f"`block_size` is {block_size!r}", span, notes=(note,)))
    wrong = _impossible("block_size", pair[0], 1, span) or _impossible("block_size", pair[1], 1, span)
    if wrong is not None:
        raise MaskError(wrong)
    return index(pair[0]), index(pair[1])


def _impossible(name: str, value: SupportsIndex, least: int, span: Span | None) -> Diagnostic | None:
    """What is wrong with a size of a block mask, if anything is."""
    if not hasattr(value, "__index__") or isinstance(value, bool):
        why = "is no whole number"
    elif index(value) < least:
        why = f"is less than {least}"
    elif index(value) > LONGEST:
        why = f"is more than {LONGEST}"
    else:
        return None
    return Diagnostic("E0610", f"`{name}` is {value!r}, which {why}", span)


def _disagreements(q: Tensor, k: Tensor, v: Tensor) -> Iterator[str]:
    yield from _shape_disagreements(q.shape, k.shape, v.shape)
    for name, x in (("k", k), ("v", v)):
        if x.dtype != q.dtype:
            yield f"`{name}` is {str(x.dtype)[6:]}, and `q` is {str(q.dtype)[6:]}"
        if x.device != q.device:
            yield f"`{name}` is on {x.device}, and `q` on {q.device}"


def _shape_disagreements(q: Any, k: Any, v: Any) -> Iterator[str]:
    for name, shape in (("q", q), ("k", k), ("v", v)):
        if len(shape) != 4:
            yield f"`{name}` has {len(shape)} axes, and needs the four ({AXES[name]})"
        elif shape[2] > LONGEST:
            yield f"`{name}` has {shape[2]} positions, more than the {LONGEST} that are possible"
    if k[3] != q[3]:
        yield f"`k` has head dimension {k[3]}, and `q` has {q[3]}"
    if q[3] == 0:
        yield "`q` has head dimension 0"
    for axis, what in ((0, "batch rows"), (1, "heads"), (2, "positions")):
        if k[axis] != v[axis]:
            yield f"`k` has {k[axis]} {what}, and `v` has {v[axis]}"
    if k[0] not in (1, q[0]):
        yield f"`k` has {k[0]} batch rows, and `q` has {q[0]}"
    if k[1] == 0 or q[1] % k[1]:
        yield f"`q` has {q[1]} heads, which is no multiple of the {k[1]} of `k` and `v`"


def _unfit(message: str, span: Span, shapes: str = "") -> Diagnostic:
    return Diagnostic(
        "E0608", message, span, notes=(shapes,) if shapes else (),
        help=tuple(f"{name} is ({axes})" for name, axes in AXES.items()),
    )


def _disagreement(axis: str, size: int, own: int, table: Table | None, span: Span) -> Diagnostic:
    whose = f"in `{table.name}`" if table else "in `sizes`"
    if axis == "position":
        message = f"`position` is {size} {whose}, and query or key have {own} positions"
    else:
        message = f"`{axis}` is {size} {whose}, and {own} in query, key and value"
    return Diagnostic("E0607", message, table.span if table else span)
