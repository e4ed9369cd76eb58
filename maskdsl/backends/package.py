"""A kernel for the CPU that is compiled ahead of time: built from one call, run in any process on calls of any length.

The package is torch's own (`torch.export`, then `aoti_compile_and_package`): a shared library with the C++ of the
kernel, beside its source. Loading it takes torch's C++ loader alone: neither Dynamo nor Inductor is imported.
Built and run on the CPU with torch 2.13. On CUDA, torch 2.11 built such a package and crashed when loading it, so
there an artifact holds the kernels alone (`launched_calls`).
Not here: when a package may be opened at all (`binding.artifact`), what surrounds the kernel (`flex`).
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends.contract import QKV, Call, Contract, Mods, TableOf, contract_of, fitted, mismatch, refuse
from maskdsl.backends.exported import exported
from maskdsl.backends.flex_kernels import Signature, inductor_options
from maskdsl.backends.package_patches import is_repaired, repaired_template


def package_contract(call: Call, table_of: TableOf, free: frozenset[str]) -> Contract:
    """The contract of a package for a call and those that differ in free sizes, as far as this torch can leave open."""
    threads = None if is_repaired() else torch.get_num_threads()
    return contract_of(call, table_of, free, open_tables=is_repaired(), threads=threads)


def build_package(contract: Contract, mods: Mods, path: Path, device: torch.device) -> None:
    """Compile the call that a contract describes into a package at `path` (`.pt2`). Seconds to a minute on the CPU.

    Raises what torch raises when it cannot.
    """
    with torch.no_grad(), repaired_template(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of itself
        program = exported(contract, mods, device)
        options = inductor_options()
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)


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
        call = Call(signature, qkv, mask, mods)
        tensors = fitted(call.tensors, self._contract.inputs)
        wrong = mismatch(self._contract, call, tensors)
        if wrong:
            refuse(wrong, self._contract)
        out: Tensor = self._loader.boxed_run([x.detach().contiguous() for x in tensors])[0]
        return out
