"""What a kernel that was compiled ahead of time computes, for which calls, and in which order it takes its tensors.

Its inputs are query, key, value, the four lists of the BlockMask, whatever the mods close over, and the sink if there
is one. Not here: compiling (`package`, `launch_build`), what is compiled (`exported`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends.closures import tensors_of
from maskdsl.backends.flex_blocks import MaskMod
from maskdsl.backends.flex_kernels import ScoreMod, Signature
from maskdsl.ir.types import Table
from maskdsl.source.diagnostic import Diagnostic, MaskError

QKV = tuple[Tensor, Tensor, Tensor]
Mods = tuple[MaskMod, ScoreMod | None]
Pattern = tuple[int | str, ...]
TableOf = Callable[[Tensor], Table | None]
"""The table that a captured tensor is bound to; None for what is no table."""

LISTS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices")

CALLED = ("batch", "q_len", "kv_len")
"""The names of free sizes that are no axes of tables alone."""


class Call(NamedTuple):
    """What `flex` hands to a kernel: see `flex_kernels.call`."""

    signature: Signature
    qkv: QKV
    mask: BlockMask
    mods: Mods
    sink: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """The kernel's inputs, in order."""
        lists = [getattr(self.mask, name) for name in LISTS]
        assert all(x is not None for x in lists)
        return [*self.qkv, *lists, *_captured(self.mods), *([] if self.sink is None else [self.sink])]


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that the kernel takes: what it is, its dtype, and along every axis a size or the name of a free one."""

    name: str
    dtype: str
    shape: Pattern


@dataclass(frozen=True, slots=True)
class Contract:
    """What a kernel computes, and for which calls.

    `text` is the hash of the emitted mods, `kind` says which of `flex`'s calls it is, `block` the sides of a tile.
    `threads` is the number that may run it, None for any.
    """

    text: str
    scale: float
    kind: str
    block: tuple[int, int]
    inputs: tuple[Input, ...]
    threads: int | None = None

    @property
    def free(self) -> tuple[str, ...]:
        """The names of the sizes that a call may choose; the numbers of tiles follow from the lengths."""
        return tuple(name for name in self.open if not name.endswith("_tiles"))

    @property
    def open(self) -> tuple[str, ...]:
        """The names in the shapes of inputs."""
        return tuple(dict.fromkeys(s for i in self.inputs for s in i.shape if isinstance(s, str)))

    @property
    def grouped(self) -> bool:
        """Whether several query heads share a key/value head."""
        return self.inputs[0].shape[1] != self.inputs[1].shape[1]

    def plain(self) -> dict[str, Any]:
        """The contract as JSON says it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Contract:
        """The contract that `plain` gave."""
        inputs = tuple(Input(i["name"], i["dtype"], tuple(i["shape"])) for i in plain["inputs"])
        rest = {name: plain[name] for name in ("text", "scale", "kind", "threads")}
        return cls(**rest, block=tuple(plain["block"]), inputs=inputs)


def contract_of(
    call: Call, table_of: TableOf, free: frozenset[str], *, open_tables: bool = True, threads: int | None = None
) -> Contract:
    """The contract of a kernel for this call and for all that differ from it in the free sizes alone.

    `free` names axes of tables that may vary, and `batch`, `q_len` and `kv_len`. A free batch needs a call with more
    rows than one, which alone tells what there is one of for every row. Without `open_tables` the sizes of captured
    tensors are fixed, but for the batch.
    """
    captured = _captured(call.mods)
    tables = [table_of(t) for t in captured]
    if not open_tables and any("batch" in (t.axes if t else ()) for t in tables):
        free -= {"batch"}
    names = {axis: axis if axis in CALLED else f"size({axis})" for axis in free}
    own = {axis: name for axis, name in names.items() if open_tables or axis == "batch"}
    patterns = [*_call_patterns(call.qkv, call.mask, names), *map(partial(_captured_pattern, own), captured, tables)]
    called = ["q", "k", "v", *LISTS, *(t.name if t else f"captured {n}" for n, t in enumerate(tables))]
    if call.sink is not None:
        called.append("sink")
        patterns.append((call.sink.shape[0] if call.sink.shape[0] == 1 else names.get("batch", call.sink.shape[0]),
                         call.sink.shape[1]))  # fmt: skip
    inputs = tuple(Input(n, _dtype_name(x), p) for n, x, p in zip(called, call.tensors, patterns, strict=True))
    signature = call.signature
    return Contract(_hash(signature.text), signature.scale, _kind(signature), call.mask.BLOCK_SIZE, inputs, threads)


def mismatch(contract: Contract, call: Call, tensors: Sequence[Tensor]) -> str:
    """How a call, whose inputs are these tensors, differs from what a kernel is for, in words; empty if it does not."""
    if _hash(call.signature.text) != contract.text:
        return "its mods read otherwise: a size in them differs, they shall be `precise`, or another maskdsl wrote them"
    if contract.threads is not None and torch.get_num_threads() > contract.threads:
        return f"it has {torch.get_num_threads()} threads, and the kernel scratch memory for {contract.threads}"
    if (_kind(call.signature), tuple(call.mask.BLOCK_SIZE)) != (contract.kind, contract.block):
        return f"its tiles are {call.mask.BLOCK_SIZE[0]} by {call.mask.BLOCK_SIZE[1]}"
    if not math.isclose(call.signature.scale, contract.scale, rel_tol=1e-6):
        return f"its scale is {call.signature.scale:g}, and the kernel's {contract.scale:g}"
    if len(tensors) != len(contract.inputs):
        return f"it captures {len(tensors) - 7} tensors, and the kernel {len(contract.inputs) - 7}"
    known: dict[str, int] = {}
    for tensor, wanted in zip(tensors, contract.inputs, strict=True):
        fits = len(tensor.shape) == len(wanted.shape) and all(
            size == (known.setdefault(s, size) if isinstance(s, str) else s)
            for size, s in zip(tensor.shape, wanted.shape, strict=True)
        )
        if not fits or _dtype_name(tensor) != wanted.dtype:
            return f"`{wanted.name}` is {_spelt(_dtype_name(tensor), tuple(tensor.shape))}, and the kernel takes " \
                f"{_spelt(wanted.dtype, wanted.shape)}"
    return ""


def refuse(wrong: str, contract: Contract) -> NoReturn:
    """Raise MaskError E0712 for a call, which is `wrong` in these words."""
    free = ", ".join(contract.free)
    raise MaskError(Diagnostic(
        "E0712", "the artifact has no kernel for this call",
        notes=(wrong, f"free are: {free}" if free else "no size is free"),
        help=("compile an artifact for it, or call the program itself: `maskdsl.get(…).bind(…).attention(q, k, v)`",),
    ))  # fmt: skip


def fitted(tensors: list[Tensor], inputs: Sequence[Input]) -> list[Tensor]:
    """The same with keys and values for every batch row, and one row of lists where the mask is the same for all."""
    batch = tensors[0].shape[0]
    for place in (1, 2):
        tensors[place] = tensors[place].expand(batch, -1, -1, -1)
    for place, wanted in enumerate(inputs[3:7], 3):
        tensors[place] = tensors[place][:1] if wanted.shape[0] == 1 else tensors[place]
    return tensors


def _call_patterns(qkv: QKV, mask: BlockMask, names: Mapping[str, str]) -> Iterator[Pattern]:
    """The patterns of query, key and value, and of the lists."""
    q, k, _ = qkv
    batch = names.get("batch", q.shape[0])
    lengths = [names.get(name, x.shape[2]) for name, x in (("q_len", q), ("kv_len", k), ("kv_len", k))]
    for x, length in zip(qkv, lengths, strict=True):
        yield (batch, x.shape[1], length, x.shape[3])
    sides = zip(("q", "kv"), lengths, mask.kv_indices.shape[2:], strict=False)
    tiles = tuple(f"{side}_tiles" if isinstance(length, str) else size for side, length, size in sides)
    for name in LISTS:
        x = getattr(mask, name)
        rows = batch if x.shape[0] == q.shape[0] > 1 else x.shape[0]
        yield (rows, x.shape[1], *tiles[: x.dim() - 2])


def _captured_pattern(names: Mapping[str, str], tensor: Tensor, table: Table | None) -> Pattern:
    shape = tuple(tensor.shape)
    if table is not None and table.axes:
        return tuple(names.get(str(a), size) for a, size in zip(table.axes, shape, strict=True))
    # The extra key's score is there for every batch row and head.
    return (names.get("batch", shape[0]), *shape[1:]) if table is None and tensor.dim() == 2 else shape


def _captured(mods: Mods) -> list[Tensor]:
    return [t for mod in mods for t in tensors_of(mod)]


@lru_cache(maxsize=256)
def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _kind(signature: Signature) -> str:
    return " ".join([signature.finish, *(part for part in signature.static[:1] if isinstance(part, str))]).strip()


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _spelt(dtype: str, shape: Pattern) -> str:
    return f"{dtype} [{', '.join(map(str, shape))}]"
