"""What an artifact's manifest says of the code in the folder: its files, what its kernels need, and what made it.

Not here: the section by which the folder is opened (`artifact`), what trying the kernel told (`cli.artifact`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import torch

from maskdsl.backends.targets import target_named
from maskdsl.binding.artifact import MANIFEST, PACKAGE, Section
from maskdsl.binding.machine import processor, triton_version
from maskdsl.ir.nodes import Variant
from maskdsl.version import VERSION

if TYPE_CHECKING:
    from maskdsl.backends.launch_plan import KernelPlan
    from maskdsl.backends.launched_calls import Plan

MODS, PICTURE, CPP = "mods.py", "picture.png", "kernel.cpp"


def code_described(
    folder: Path, device: str, section: Section | None, sources: Sequence[str] = (),
    backward: Sequence[KernelPlan] = (),
) -> dict[str, Any]:  # fmt: skip
    """What the manifest says of the code in the folder, for `cpu`, `cuda` or a target such as `cuda:sm_90`.

    `sources` are the files of a kernel's source where there is no plan of launches.
    """
    plan = _plan(folder, section)
    read = [*(plan.sources if plan else sources), *_backward_files(backward)]
    files = [MODS, MANIFEST, *read, PICTURE, *(section.files if section else ())]
    return {"device": _device(device), "versions": _versions(), "kernels": _kernels(plan, backward), "files": files}


def write_again(
    folder: Path, old: Path, manifest: Mapping[str, Any], section: Section, variant: Variant
) -> dict[str, Any]:
    """The manifest of an artifact whose kernel was compiled again into `folder`, after the files that people read.

    Nobody has tried the new kernel: what trying the old one told is left out.
    """
    from maskdsl.backends.package import source_of_package
    from maskdsl.binding.standalone import standalone_mods

    call = section.call
    axes = {"batch": call.batch, "head": call.heads, "kv_head": call.kv_heads, "position": max(call.q_len, call.kv_len)}
    mods = standalone_mods(variant, {**axes, **call.sizes, "q_len": call.q_len, "kv_len": call.kv_len})
    (folder / MODS).write_text(mods, encoding="utf-8")
    if section.kind == "package":
        (folder / CPP).write_text(source_of_package(folder / PACKAGE), encoding="utf-8")
    if (old / PICTURE).is_file():
        copyfile(old / PICTURE, folder / PICTURE)
    told = code_described(folder, call.device, section, (CPP,) if section.kind == "package" else ())
    files = [f for f in told["files"] if f == MANIFEST or (folder / f).is_file()]
    return {**manifest, **told, "error": None, "seconds": {}, "files": files, "artifact": section.plain()}


def _plan(folder: Path, section: Section | None) -> Plan | None:
    """The plan of launches in the folder, if there is one."""
    if section is None or section.kind != "launches":
        return None
    from maskdsl.backends.launched_calls import Plan

    return Plan.read(folder)


def _backward_files(backward: Sequence[KernelPlan]) -> list[str]:
    files = [f"backward/{file}" for k in backward for file in (k.cubin, f"{k.name}.ptx")]
    return [*files, "backward/kernels.py"] if files else []


def _kernels(plan: Plan | None, backward: Sequence[KernelPlan]) -> list[dict[str, Any]]:
    """What every kernel needs of a GPU, by the form of the call that it belongs to."""
    named = [(form.name, k) for form in plan.forms for k in form.kernels] if plan else []
    named += [("lists", k) for lists in plan.lists for k in lists.kernels] if plan else []
    return [
        {"form": form, "name": k.name, "registers": k.registers, "spilled_bytes": k.spilled, "shared_bytes": k.shared,
         "warps": k.warps}
        for form, k in (*named, *(("backward", k) for k in backward))
    ]  # fmt: skip


def _versions() -> dict[str, str | None]:
    own = {"maskdsl": VERSION, "torch": str(torch.__version__), "python": platform.python_version()}
    return {**own, "triton": triton_version()}


def _device(kind: str) -> dict[str, str]:
    target = target_named(kind)
    if target is not None:
        return {"kind": kind, "name": target.card}
    return {"kind": kind, "name": torch.cuda.get_device_name() if kind == "cuda" else processor()}
