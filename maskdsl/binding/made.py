"""Builds the compiled part of an artifact: one call, from which the kernel for all calls of its kind is compiled.

Not here: what is written about it (`artifact`), how a package is built (`backends.package`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from maskdsl.backends.cache_bundle import save_bundle
from maskdsl.backends.contract import Call, Contract, Mods, TableOf
from maskdsl.backends.launch_plan import Unplannable
from maskdsl.backends.package import build_package, package_contract
from maskdsl.binding.artifact import CACHES, LAUNCHES, PACKAGE, PROGRAM, CallShape, Section, hash_of, store_program
from maskdsl.binding.bound import Bound
from maskdsl.binding.launched import zeros
from maskdsl.binding.lowered import FIXED, Lowering
from maskdsl.binding.machine import launch_machine, this_machine
from maskdsl.binding.shapes import check_call
from maskdsl.binding.tables import BoundTables, Owner, bind_tables
from maskdsl.ir.nodes import Variant
from maskdsl.ir.print import text
from maskdsl.ir.types import Table
from maskdsl.library.sample import sample_tables
from maskdsl.source.diagnostic import Diagnostic, MaskError

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    from maskdsl.backends.flex_kernels import Signature
    from maskdsl.backends.launch_plan import KernelPlan

QKV = tuple[Tensor, Tensor, Tensor]
Arrays = Mapping[Table, np.ndarray[Any, Any]]


def write_kernel(
    folder: Path, variant: Variant, call: CallShape, tables: Arrays | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> Section:  # fmt: skip
    """Compile a fixed definition's kernel for calls of a kind, and write it to an artifact's folder.

    On the CPU that is a package, on CUDA kernels with a plan of their launches; the caches of torch's compiler where
    those cannot be built. `tables` are used where none that satisfy the facts are found; `dtypes` gives tables another
    dtype than int32, float32 or bool. Raises MaskError as `Bound.attention` does, E0714 for a GPU that is not here.
    """
    lowering = Lowering(variant)
    for name in (PACKAGE, LAUNCHES, CACHES):
        (folder / name).unlink(missing_ok=True)
    store_program(folder, variant)
    build = _Building(folder, lowering, call, tables, dtypes or {})
    with torch.no_grad():
        return (build.package() if call.device == "cpu" else build.launches()) or build.caches()


def write_backward(
    folder: Path, variant: Variant, call: CallShape, tables: Arrays | None = None
) -> tuple[KernelPlan, ...]:
    """Compile the kernels of the backward pass for a GPU that need not be here, for people to look at.

    Raises MaskError E0714 where that cannot be done, E0705 for a pass that does not compile.
    """
    from maskdsl.binding.launched import build_backward

    lowering = Lowering(variant)
    build = _Building(folder, lowering, call, tables, {})
    try:
        return build_backward(lowering, call, build.tables_for, folder)
    except MaskError:
        raise
    except Exception as problem:  # Dynamo, Inductor and Triton have many ways to fail
        raise MaskError(_not_for(call.target, variant, _reason(problem))) from problem


@dataclass(slots=True)
class _Building:
    """A kernel that is being built in one way after the other; `why` the last one did not do."""

    folder: Path
    lowering: Lowering
    call: CallShape
    tables: Arrays | None
    dtypes: Mapping[str, str]
    why: str = ""

    def package(self) -> Section | None:
        """A package for the CPU, None where torch cannot build one."""
        # With one row alone, what there is one of for every row and what there is one of at all look the same.
        rows = max(2, self.call.batch) if "batch" in free_sizes(self.lowering) else self.call.batch
        bound, several = self.tables_for(replace(self.call, batch=rows))
        contract, self.why = _packaged(self.lowering, bound, zeros(several), self.folder / PACKAGE)
        if contract is None:
            return None
        machine = this_machine("cpu")
        return self._section("package", machine, bound, [PACKAGE], contract=contract.plain(), free=contract.free)

    def launches(self) -> Section | None:
        """Kernels for a GPU, None where they can be had from torch's compiler alone, which needs the GPU."""
        from maskdsl.binding.launched import build_plan, target_of
        from maskdsl.binding.opened import load_launches

        try:
            plan = build_plan(self.lowering, self.call, free_sizes(self.lowering), self.tables_for, self.folder)
            if not self.call.target:
                load_launches(self.folder)  # what the driver here refuses is no artifact
        except MaskError as problem:
            if self.call.target or problem.diagnostics[0].code not in ("E0710", "E0714"):
                raise
            self.why = problem.diagnostics[0].notes[0]
            return None
        except Exception as problem:  # export, Inductor and Triton have many ways to fail
            self.why = _reason(problem)
            if self.call.target:
                raise MaskError(_not_for(self.call.target, self.lowering.variant, self.why)) from problem
            return None
        bound, _ = self.tables_for(replace(self.call, device="cpu"))
        machine = launch_machine(target_of(self.call).name, plan.toolkit)
        return self._section("launches", machine, bound, plan.files, free=plan.free)

    def caches(self) -> Section:
        """What torch's compiler leaves in its caches after a call."""
        bound, self.call = self.tables_for(self.call)
        save_bundle(lambda: Bound(self.lowering, bound, {}).attention(*zeros(self.call)), self.folder / CACHES)
        return self._section("caches", this_machine(self.call.device), bound, [CACHES])

    def tables_for(self, call: CallShape) -> tuple[BoundTables, CallShape]:
        """Tables for a call, and the call that they are for."""
        return _bound_tables(self.lowering, call, self.tables, self.dtypes)

    def _section(
        self, kind: str, machine: Mapping[str, Any], bound: BoundTables, files: Iterable[str], *,
        contract: Mapping[str, Any] | None = None, free: tuple[str, ...] = (),
    ) -> Section:  # fmt: skip
        dtypes = {t.name: str(x.dtype)[6:] for t, x in bound.tensors.items()}
        hashes = {name: hash_of(self.folder / name) for name in (PROGRAM, *files)}
        formula = text(self.lowering.variant)
        return Section(kind, machine, self.call, dtypes, contract, free, formula, hashes, self.why)


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
        contract = package_contract(Call(signature, args, mask, mods), table_of, free_sizes(lowering))
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


def _reason(problem: Exception) -> str:
    """The first line of what torch or Triton said; a plan that cannot be says it in words of its own."""
    named = "" if isinstance(problem, Unplannable) else f"{type(problem).__name__}: "
    return f"{named}{problem}".splitlines()[0][:300]


def _not_for(target: str, variant: Variant, why: str) -> Diagnostic:
    return Diagnostic(
        "E0705", f"the kernel of `{variant.name}` did not compile for `{target}`", variant.span,
        notes=(why if why.startswith("`") else f"torch {torch.__version__} says: {why}",),
    )  # fmt: skip
