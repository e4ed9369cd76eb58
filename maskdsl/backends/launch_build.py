"""Builds the plan of a call's kernels for a named GPU and writes it to a folder, together with Triton's source and PTX.

Not here: tracing and compiling (`exported`, `offline`), running a plan (`launched_calls`), calls (`binding.launched`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends import offline
from maskdsl.backends.block_mask_triton import VECTOR, Kernel
from maskdsl.backends.contract import Contract, Mods
from maskdsl.backends.cubins import resources
from maskdsl.backends.exported import Options, exported
from maskdsl.backends.launch_plan import KernelPlan, Unplannable, call_text, verify_plan
from maskdsl.backends.launched_calls import CALL, SOURCE, Form
from maskdsl.backends.launched_lists import ListsPlan
from maskdsl.backends.targets import Target

POINTERS = {
    "bool": "*i1", "uint8": "*u8", "int8": "*i8", "int16": "*i16", "int32": "*i32", "int64": "*i64",
    "float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32", "float64": "*fp64",
}  # fmt: skip
"""Triton's name of a pointer to a dtype."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A form to build: its name, what is computed, the options of the kernel, and for which lengths it is.

    `whole` says that lengths are multiples of 128, `any_length` that the main kernel serves every one.
    """

    name: str
    contract: Contract
    mods: Mods
    options: Options
    whole: bool = False
    any_length: bool = False


def build_form(wanted: Wanted, target: Target, folder: Path) -> Form:
    """Compile a form and write its files into the folder of its name.

    Raises Unplannable where Inductor's module does more than launch kernels, and what torch and Triton raise.
    """
    options = dict(wanted.options)
    if wanted.whole:
        options["IS_DIVISIBLE"] = True
    if wanted.any_length:
        options["FORCE_USE_FLEX_ATTENTION"] = True
    with offline.any_device():
        program = exported(wanted.contract, wanted.mods, torch.device("cpu"), tuple(options.items()))
    made = offline.generated(offline.exported_graph(program), target, any_length=wanted.any_length)
    kernels = write_kernels(made.source, target, folder / wanted.name)
    text = call_text(made.source, [k.name for k in kernels])
    (folder / wanted.name / CALL).write_text(text, encoding="utf-8")
    return Form(wanted.name, wanted.contract, wanted.whole, made.conditions, made.sizes, kernels)


def build_training(function: Any, inputs: tuple[Tensor, ...], target: Target, folder: Path) -> tuple[KernelPlan, ...]:
    """Compile what a function's backward pass runs and write it, for people to look at.

    Raises what torch and Triton raise.
    """
    _, backward = offline.training_graphs(function, inputs)
    return write_kernels(offline.generated(backward, target).source, target, folder)


def write_kernels(source: str, target: Target, folder: Path) -> tuple[KernelPlan, ...]:
    """Compile the Triton kernels of Inductor's module and write source, PTX and cubins."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE).write_text(source, encoding="utf-8")
    kernels = tuple(_written(kernel, folder) for kernel in offline.compiled(source, target).values())
    for kernel in kernels:
        verify_fits(kernel, target)
    return kernels


def verify_fits(kernel: KernelPlan, target: Target) -> None:
    """Raise Unplannable for a kernel that the target could not launch; Triton itself asks when it loads one."""
    if kernel.shared > target.shared:
        wants = f"{kernel.shared:,} bytes of shared memory, and the {target.card} has {target.shared:,}"
        raise Unplannable(f"`{kernel.name}` wants {wants} for a block")


def build_lists(kernel: Kernel, tables: Sequence[Tensor], target: Target, folder: Path) -> ListsPlan:
    """Compile the kernel that lists the tiles of a mask, for tables of these dtypes, and write it."""
    dtypes = tuple(str(x.dtype).removeprefix("torch.") for x in tables)
    names = [n for n in kernel.function.arg_names if n != "VECTOR"]
    kinds = dict.fromkeys(names, "i32") | dict.fromkeys(names[:4], "*i32")
    kinds |= {name: POINTERS[dtype] for name, dtype in zip(names[4:], dtypes, strict=False)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE).write_text(kernel.source, encoding="utf-8")
    plans = []
    for warps in (2, 1):
        binary = offline.compiled_function(kernel.function, kinds, {"VECTOR": VECTOR}, target, warps)
        meta = binary.metadata
        name, file = f"build_lists, {warps} warps", f"{folder.name}/{warps}_warps.cubin"
        plan = KernelPlan(
            name, file, meta.name, tuple(names), tuple(kinds.items()), "grid = None", meta.num_warps, meta.shared,
            meta.global_scratch_size, {"VECTOR": VECTOR},
        )  # fmt: skip
        plans.append(_noted(plan, binary.asm["ptx"], binary.asm["cubin"], folder.parent))
    return ListsPlan(kernel.source, dtypes, tuple(plans))


def _written(kernel: offline.Compiled, folder: Path) -> KernelPlan:
    plan = KernelPlan(
        kernel.name, f"{kernel.name}.cubin", kernel.entry, kernel.arguments, kernel.signature, kernel.grid,
        kernel.warps, kernel.shared, kernel.scratch, kernel.constants,
    )  # fmt: skip
    return _noted(plan, kernel.ptx, kernel.cubin, folder)


def _noted(plan: KernelPlan, ptx: str, cubin: bytes, folder: Path) -> KernelPlan:
    """The plan with its registers and spills, after its files were written. Raises Unplannable."""
    verify_plan(plan, ptx)
    file = folder / plan.cubin
    file.write_bytes(cubin)
    file.with_suffix(".ptx").write_text(ptx, encoding="utf-8")
    registers, spilled = resources(file)
    return replace(plan, registers=registers, spilled=spilled)


__all__ = ["Unplannable", "Wanted", "build_form", "build_lists", "build_training"]
