"""An artifact that was opened: a program whose calls run what `maskdsl compile` left in a folder.

The first call of a package, or of kernels that are launched, imports neither Dynamo nor Inductor and compiles nothing:
seen on the CPU with torch 2.13, and on an H200 with torch 2.11.
Caches are traced by Dynamo at the first call, and then compile nothing for the call that they were made of; seen on the
CPU with torch 2.13, and not yet run on CUDA.
Not here: what a folder holds and when it is refused (`artifact`), building it (`made`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskdsl.binding.artifact import (
    CACHES,
    MANIFEST,
    PACKAGE,
    Section,
    damaged,
    read_manifest,
    read_program,
    read_section,
    stale,
    verify_file,
    verify_machine,
    write_manifest,
)
from maskdsl.binding.program import Program
from maskdsl.ir.nodes import Variant
from maskdsl.source.diagnostic import MaskError

if TYPE_CHECKING:
    from torch import Tensor

    from maskdsl.backends.flex_kernels import Kernel
    from maskdsl.binding.bound import Bound
    from maskdsl.library.manifest import Manifest

WIDER = {"int32": ("int8", "int16", "int64", "uint8"), "int64": ("int8", "int16", "int32", "uint8"),
         "float32": ("float16", "bfloat16")}  # fmt: skip
"""Dtypes of tables that mean the same in another: the mods compute in int32 and float32 whatever a table's dtype is."""


@dataclass(slots=True)
class Last:
    """The tables of the last call, how often each had been written to, and what was bound to them."""

    tables: dict[str, Any]
    versions: tuple[int, ...]
    bound: Bound


class Opened:
    """A compiled definition: `attention(q, k, v, **tables)`, or `bind(**tables)` once and `attention` often.

    `manifest` is what `manifest.json` says, `free` the sizes that calls may choose.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], section: Section, program: Program) -> None:
        self._folder = folder
        self._section = section
        self._program = program
        self._last: Last | None = None
        self.manifest = dict(manifest)

    def __repr__(self) -> str:
        return f"<{self._program.name} from {self._folder}: {self._section.kind} for {self._section.call.device}>"

    @property
    def name(self) -> str:
        """The definition's name."""
        return self._program.name

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that calls take."""
        return self._program.tables

    @property
    def free(self) -> tuple[str, ...]:
        """The sizes that calls may choose; none where the kernel comes from caches."""
        return self._section.free

    @property
    def program(self) -> Program:
        """The definition, whose bound forms run the opened kernel."""
        return self._program

    def bind(self, /, **tables: Any) -> Bound:
        """The definition over these tables, as `Program.bind`, whose `attention` runs the opened kernel.

        A table of another dtype than the kernel reads is converted where that changes no value it sees: it is then a
        copy. Raises MaskError as `Program.bind` does.
        """
        return self._program.bind(**{name: self._typed(name, value) for name, value in tables.items()})

    def attention(self, /, q: Tensor, k: Tensor, v: Tensor, **tables: Any) -> Tensor:
        """Attention [B, Hq, Q, Dv] in q's dtype; rows that see nothing are 0; as `Bound.attention` otherwise.

        Tables are bound anew, and what `requires` says of them is checked, when they are others than at the last call
        or were written to since. Raises MaskError as `bind` and `Bound.attention` do, E0712 for a call that the kernel
        was not compiled for.
        """
        versions = tuple(getattr(t, "_version", -1) for t in tables.values())
        last = self._last
        if last is None or last.versions != versions or not _same(last.tables, tables):
            self._last = last = Last(tables, versions, self.bind(**tables))
        return last.bound.attention(q, k, v)

    def _typed(self, name: str, value: Any) -> Any:
        wanted = self._section.tables.get(name, "")
        if str(getattr(value, "dtype", ""))[6:] not in WIDER.get(wanted, ()) or not hasattr(value, "detach"):
            return value
        import torch

        return value.to(getattr(torch, wanted))


def open_artifact(folder: Path, *, recompile: bool = False) -> Opened:
    """What `maskdsl compile … -o DIR` left in a folder, ready to be called.

    Open what you would import: its code is run. With `recompile`, an artifact of another machine or version, or one
    whose kernel is damaged, is compiled again in place (seconds to minutes), for the GPU that is here if it is for one:
    no other thread may use CUDA meanwhile. Raises MaskError: E0107 for a folder that holds none, E0710 for a stale one,
    E0711 for a damaged one, E0701 without the GPU that it needs, E0107 for one that cannot be written again.
    """
    manifest = read_manifest(folder)
    section = read_section(folder, manifest)
    variant = read_program(folder, section)
    try:
        kernel = _kernel(folder, section)
    except MaskError as problem:
        if not recompile or problem.diagnostics[0].code not in ("E0710", "E0711"):
            raise
        manifest, section = _compiled_again(folder, manifest, section, variant)
        kernel = _kernel(folder, section)
    described = partial(_described, folder, manifest)
    # The section alone has a hash: a kernel may be run whose description was edited.
    constants = tuple(manifest.get("constants") or ())
    return Opened(folder, manifest, section, Program(variant, described, constants, kernel))


def _kernel(folder: Path, section: Section) -> Kernel | None:
    """What runs calls: a package or launches, or None for torch's own compiler with its caches filled."""
    verify_machine(folder, section)
    for name in section.files:
        verify_file(folder, section, name)
    try:
        return kernel_in(folder, section)
    except (RuntimeError, KeyError, TypeError, ValueError) as problem:
        raise MaskError(damaged(folder, f"it cannot be loaded: {str(problem).splitlines()[0][:200]}")) from None


def kernel_in(folder: Path, section: Section) -> Kernel | None:
    """What runs the calls of a folder that was verified. Raises MaskError E0710, and what torch raises."""
    if section.kind == "caches":
        from maskdsl.backends.cache_bundle import load_bundle

        load_bundle(folder / CACHES)
        return None
    if section.kind == "launches":
        return load_launches(folder)
    from maskdsl.backends.contract import Contract
    from maskdsl.backends.package import PackagedKernel

    assert section.contract is not None
    return PackagedKernel(Contract.of(section.contract), folder / PACKAGE)


def load_launches(folder: Path) -> Kernel:
    """Kernels loaded onto the current GPU. Raises MaskError E0710 where its driver does not take them."""
    import torch

    from maskdsl.backends.cuda_driver import DriverError, driver
    from maskdsl.backends.launched_calls import LaunchedKernel, Plan

    device = torch.device("cuda", torch.cuda.current_device())
    try:
        kernel = LaunchedKernel(Plan.read(folder), folder, driver())
        kernel.place(device)
    except DriverError as problem:
        raise MaskError(stale(folder, [f"the driver refuses its kernels: {problem}"])) from None
    return kernel


def _compiled_again(
    folder: Path, manifest: Mapping[str, Any], section: Section, variant: Variant
) -> tuple[dict[str, Any], Section]:
    """The folder's manifest and section after the kernel was compiled for this machine."""
    from maskdsl.binding.described import write_again
    from maskdsl.binding.made import write_kernel
    from maskdsl.binding.staged import staged

    with staged(folder) as made:
        # For the card that is here, whichever the old kernels were for.
        fresh = write_kernel(made, variant, replace(section.call, target=""), dtypes=section.tables)
        whole = write_again(made, folder, manifest, fresh, variant)
        write_manifest(made, whole)
    return whole, fresh


def _described(folder: Path, manifest: Mapping[str, Any]) -> Manifest:
    """What the definition offers. Raises MaskError E0711 for a manifest that does not tell."""
    from maskdsl.library.manifest import Manifest

    try:
        return Manifest.model_validate(manifest.get("definition"))
    except ValueError:
        raise MaskError(damaged(folder, f"`{MANIFEST}` does not describe the definition")) from None


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return old.keys() == new.keys() and all(old[n] is new[n] for n in old)
