"""A kernel compiled ahead of time: built from one call, and run in any process on calls of any length.

The package is torch's own (`torch.export`, then `aoti_compile_and_package`): a shared library with the C++ of the
kernel, beside its source. Its inputs are query, key, value, the four lists of the BlockMask, and whatever the mods
close over. Loading it takes torch's C++ loader alone: neither Dynamo nor Inductor is imported.
Built and run on the CPU with torch 2.13. On CUDA, torch 2.11 built such a package and crashed when loading it, so
there `cache_bundle` is what an artifact holds.
Not here: when a package may be opened at all (`binding.artifact`), what surrounds the kernel (`flex`).
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from maskdsl.backends.closures import made, recipe_of, tensors_of
from maskdsl.backends.flex_blocks import MaskMod
from maskdsl.backends.flex_kernels import ScoreMod, Signature, inductor_options
from maskdsl.backends.package_patches import is_repaired, repaired_template
from maskdsl.ir.types import Table
from maskdsl.source.diagnostic import Diagnostic, MaskError

QKV = tuple[Tensor, Tensor, Tensor]
Mods = tuple[MaskMod, ScoreMod | None]
Pattern = tuple[int | str, ...]
TableOf = Callable[[Tensor], Table | None]
"""The table that a captured tensor is bound to; None for what is no table."""

LISTS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices")

EXPORTED = {"batch": 3, "q_len": 300, "kv_len": 428, "q_tiles": 3, "kv_tiles": 4}
"""Sizes that free ones have while the kernel is traced; all differ from 0 and 1, which torch takes for constants."""


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that the kernel takes: what it is, its dtype, and along every axis a size or the name of a free one."""

    name: str
    dtype: str
    shape: Pattern


@dataclass(frozen=True, slots=True)
class Contract:
    """What a package computes, and for which calls.

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
    signature: Signature, qkv: QKV, mask: BlockMask, mods: Mods, table_of: TableOf, free: frozenset[str]
) -> Contract:
    """The contract of a package for this call and for all that differ from it in the free sizes alone.

    `free` names axes of tables that may vary, and `batch`, `q_len` and `kv_len`. A free batch needs a call with more
    rows than one, which alone tells what there is one of for every row.
    """
    captured, open_tables = _captured(mods), is_repaired()
    tables = [table_of(t) for t in captured]
    if not open_tables and any("batch" in (t.axes if t else ()) for t in tables):
        free -= {"batch"}
    names = {axis: axis if axis in EXPORTED else f"size({axis})" for axis in free}
    own = {axis: name for axis, name in names.items() if open_tables or axis == "batch"}
    patterns = (*_call_patterns(qkv, mask, names), *map(partial(_captured_pattern, own), captured, tables))
    tensors = _arguments(qkv, mask, mods)
    called = ("q", "k", "v", *LISTS, *(t.name if t else f"captured {n}" for n, t in enumerate(tables)))
    inputs = tuple(Input(n, _dtype_name(x), p) for n, x, p in zip(called, tensors, patterns, strict=True))
    threads = None if open_tables else torch.get_num_threads()
    return Contract(_hash(signature), signature.scale, _kind(signature), mask.BLOCK_SIZE, inputs, threads)


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


def build_package(contract: Contract, mods: Mods, path: Path, device: torch.device) -> None:
    """Compile the call that a contract describes into a package at `path` (`.pt2`). Seconds to a minute on the CPU.

    Raises what torch raises when it cannot.
    """
    sizes = _exported_sizes(contract)
    tensors = [_example(i, sizes, device) for i in contract.inputs]
    dims = {name: torch.export.Dim(re.sub(r"\W", "_", name), min=1) for name in contract.open}
    dynamic = tuple({n: dims[s] for n, s in enumerate(i.shape) if isinstance(s, str)} for i in contract.inputs)
    module = _Attention(contract, mods)
    with torch.no_grad(), repaired_template(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of itself
        exported = torch.export.export(module, (tensors,), dynamic_shapes=([*dynamic],), strict=True)
        options = inductor_options()
        torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=options)


def source_of_package(path: Path) -> str:
    """The C++ of the kernels in a package."""
    with zipfile.ZipFile(path) as package:
        names = sorted(n for n in package.namelist() if n.endswith(".kernel.cpp"))
        return "\n\n".join(package.read(n).decode() for n in names)


class PackagedKernel:
    """Runs calls by a package. Raises MaskError E0712 for a call that it was not built for."""

    def __init__(self, contract: Contract, path: Path) -> None:
        from torch._C._aoti import AOTIModelPackageLoader

        self._contract = contract
        self._loader = AOTIModelPackageLoader(str(path), "model", False, 1, -1)

    def __call__(self, signature: Signature, qkv: QKV, mask: BlockMask, mods: Mods, sink: Tensor | None) -> Tensor:
        tensors = _fitted(_arguments(qkv, mask, mods), self._contract.inputs)
        wrong = mismatch(self._contract, signature, mask, tensors)
        if wrong:
            refuse(wrong, self._contract)
        out: Tensor = self._loader.boxed_run([x.detach().contiguous() for x in tensors])[0]
        return out


def mismatch(contract: Contract, signature: Signature, mask: BlockMask, tensors: Sequence[Tensor]) -> str:
    """How a call differs from what a package is for, in words; empty if it does not."""
    if _hash(signature) != contract.text:
        return "its sizes change the text of the mods"
    if contract.threads is not None and torch.get_num_threads() > contract.threads:
        return f"it has {torch.get_num_threads()} threads, and the kernel scratch memory for {contract.threads}"
    if (_kind(signature), tuple(mask.BLOCK_SIZE)) != (contract.kind, contract.block):
        return f"its tiles are {mask.BLOCK_SIZE[0]} by {mask.BLOCK_SIZE[1]}"
    if not math.isclose(signature.scale, contract.scale, rel_tol=1e-6):
        return f"its scale is {signature.scale:g}, and the kernel's {contract.scale:g}"
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


class _Attention(torch.nn.Module):  # type: ignore[misc]  # torch's types are not read
    """The kernel as a module over its inputs, for `torch.export`."""

    def __init__(self, contract: Contract, mods: Mods) -> None:
        super().__init__()
        self.scale, self.block = contract.scale, contract.block
        q, k = (i.shape[1] for i in contract.inputs[:2])
        self.grouped = q != k
        self.recipes = [recipe_of(m) for m in mods if m is not None]  # type: ignore[arg-type]

    def forward(self, tensors: list[Tensor]) -> Tensor:
        q, k, v, *lists = tensors[:7]
        waiting = tensors[7:][::-1]
        mask_mod, *score_mod = [made(r, waiting) for r in self.recipes]
        mask = BlockMask((q.size(2), k.size(2)), *lists, *(None,) * 4, BLOCK_SIZE=self.block, mask_mod=mask_mod)
        score = score_mod[0] if score_mod else None
        out: Tensor = flex_attention(q, k, v, score, mask, scale=self.scale, enable_gqa=self.grouped)
        return out


def _arguments(qkv: QKV, mask: BlockMask, mods: Mods) -> list[Tensor]:
    lists = [getattr(mask, name) for name in LISTS]
    assert all(x is not None for x in lists)
    return [*qkv, *lists, *_captured(mods)]


def _fitted(tensors: list[Tensor], inputs: Sequence[Input]) -> list[Tensor]:
    """The same with keys and values for every batch row, and one row of lists where the mask is the same for all."""
    batch = tensors[0].shape[0]
    for place in (1, 2):
        tensors[place] = tensors[place].expand(batch, -1, -1, -1)
    for place, wanted in enumerate(inputs[3:7], 3):
        tensors[place] = tensors[place][:1] if wanted.shape[0] == 1 else tensors[place]
    return tensors


def _captured(mods: Mods) -> list[Tensor]:
    return [t for mod in mods for t in tensors_of(mod)]


def _exported_sizes(contract: Contract) -> dict[str, int]:
    """A size for every free name, all different, so that torch does not take two of them for one."""
    sizes = dict(EXPORTED)
    for number, name in enumerate(n for n in contract.open if n not in EXPORTED):
        sizes[name] = 431 + 2 * number
    return sizes


def _example(wanted: Input, sizes: Mapping[str, int], device: torch.device) -> Tensor:
    shape = [sizes[s] if isinstance(s, str) else s for s in wanted.shape]
    return torch.zeros(shape, dtype=getattr(torch, wanted.dtype), device=device)


def _hash(signature: Signature) -> str:
    return hashlib.sha256(signature.text.encode()).hexdigest()


def _kind(signature: Signature) -> str:
    return " ".join([signature.finish, *(part for part in signature.static[:1] if isinstance(part, str))]).strip()


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _spelt(dtype: str, shape: Pattern) -> str:
    return f"{dtype} [{', '.join(map(str, shape))}]"
