"""Builds the compiled part of an artifact: one call, from which the kernel for all calls of its kind is compiled.

Not here: what is written about it (`artifact`), how a package is built (`backends.package`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from maskdsl.backends.cache_bundle import save_bundle
from maskdsl.backends.package import Contract, Mods, TableOf, build_package, contract_of
from maskdsl.binding.artifact import CACHES, PACKAGE, PROGRAM, CallShape, Section, hash_of, store_program
from maskdsl.binding.bound import Bound
from maskdsl.binding.lowered import FIXED, Lowering
from maskdsl.binding.machine import this_machine
from maskdsl.binding.shapes import check_call
from maskdsl.binding.tables import BoundTables, Owner, bind_tables
from maskdsl.ir.nodes import Variant
from maskdsl.ir.print import text
from maskdsl.ir.types import Table
from maskdsl.library.sample import sample_tables
from maskdsl.source.diagnostic import MaskError

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    from maskdsl.backends.flex_kernels import Signature

QKV = tuple[Tensor, Tensor, Tensor]
Arrays = Mapping[Table, np.ndarray[Any, Any]]


def write_kernel(
    folder: Path, variant: Variant, call: CallShape, tables: Arrays | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> Section:  # fmt: skip
    """Compile a fixed definition's kernel for calls of a kind, and write it to an artifact's folder.

    On the CPU that is a package, or the caches where torch cannot build one; on CUDA the caches. `tables` are used
    where none that satisfy the facts are found; `dtypes` gives tables another dtype than int32, float32 or bool.
    Raises MaskError as `Bound.attention` does.
    """
    lowering, contract, why = Lowering(variant), None, ""
    (folder / PACKAGE).unlink(missing_ok=True)
    (folder / CACHES).unlink(missing_ok=True)
    with torch.no_grad():
        if call.device == "cpu":
            # With one row alone, what there is one of for every row and what there is one of at all look the same.
            rows = max(2, call.batch) if "batch" in free_sizes(lowering) else call.batch
            bound, several = _bound_tables(lowering, replace(call, batch=rows), tables, dtypes or {})
            contract, why = _packaged(lowering, bound, _zeros(several), folder / PACKAGE)
        if contract is None:
            bound, call = _bound_tables(lowering, call, tables, dtypes or {})
            save_bundle(lambda: Bound(lowering, bound, {}).attention(*_zeros(call)), folder / CACHES)
    store_program(folder, variant)
    written = (PROGRAM, PACKAGE if contract else CACHES)
    return Section(
        this_machine(call.device), call, {t.name: str(x.dtype)[6:] for t, x in bound.tensors.items()},
        contract.plain() if contract else None, contract.free if contract else (), text(variant),
        {name: hash_of(folder / name) for name in written}, why,
    )  # fmt: skip


def free_sizes(lowering: Lowering) -> frozenset[str]:
    """The sizes that no number in the kernel depends on: axes of tables, `batch`, and the lengths."""
    axes = {a for t in lowering.variant.tables for a in t.axes if isinstance(a, str)} | {"batch"}
    lengths = set() if "position" in lowering.needed else {"q_len", "kv_len"}
    return frozenset((axes | lengths) - lowering.needed - FIXED)


def _bound_tables(
    lowering: Lowering, call: CallShape, tables: Arrays | None, dtypes: Mapping[str, str]
) -> tuple[BoundTables, CallShape]:
    """Tables to build from, drawn such that the facts hold, or those given; and the call that they are for."""
    variant = lowering.variant
    built = {"head": call.heads, "kv_head": call.kv_heads, "position": max(call.q_len, call.kv_len)}
    kept = {axis: size for axis, size in call.sizes.items() if axis in lowering.needed - {*built, "batch"}}
    try:
        drawn = sample_tables(variant, {**kept, **built, "batch": call.batch})
    except MaskError:
        if tables is None:
            raise
        drawn = dict(tables)
        rows = next((x.shape[t.axes.index("batch")] for t, x in drawn.items() if "batch" in t.axes), call.batch)
        call = replace(call, batch=rows)
    tensors = {t.name: torch.from_numpy(np.array(array)) for t, array in drawn.items()}
    typed = {n: x.to(getattr(torch, dtypes.get(n, str(x.dtype)[6:]))).to(call.device) for n, x in tensors.items()}
    owner = Owner(variant.name, variant.span, variant.tables)
    return bind_tables(owner, typed), replace(call, sizes=kept)


def _packaged(lowering: Lowering, tables: BoundTables, qkv: QKV, path: Path) -> tuple[Contract | None, str]:
    """The contract of the package that was built, or None and why torch could not build it."""
    made: list[Contract] = []

    def build(signature: Signature, args: QKV, mask: BlockMask, mods: Mods, sink: Tensor | None) -> Tensor:
        contract = contract_of(signature, args, mask, mods, table_of, free_sizes(lowering))
        build_package(contract, mods, path, args[0].device)
        made.append(contract)
        return args[0].new_zeros((*args[0].shape[:3], args[2].shape[3]))

    bound = Bound(lowering, tables, {}, build)
    found = bound.tables_of_call(check_call(*qkv, lowering.variant.span), qkv[0].device)
    table_of = _known({x.data_ptr(): table for table, x in found.items()})
    try:
        bound.attention(*qkv)
    except MaskError as problem:
        if problem.diagnostics[0].code != "E0705":
            raise
        return None, problem.diagnostics[0].notes[0]
    except Exception as problem:  # export has many ways to fail, and the caches serve as well
        return None, f"{type(problem).__name__}: {problem}".splitlines()[0][:300]
    return made[0], ""


def _known(tables: Mapping[int, Table]) -> TableOf:
    """Which table a captured tensor is, by where it lies in memory."""
    return lambda tensor: tables.get(tensor.data_ptr())


def _zeros(call: CallShape) -> QKV:
    dtype = getattr(torch, call.dtype)
    query = (call.batch, call.heads, call.q_len, call.head_dim)
    key = (call.batch, call.kv_heads, call.kv_len, call.head_dim)
    q, k, v = (torch.zeros(s, dtype=dtype, device=call.device) for s in (query, key, key))
    return q, k, v
