"""What `maskdsl compile` leaves behind: the mods, the kernel's source, a picture, and a manifest of all that.

Not here: compiling and measuring (`measure`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskdsl.backends.targets import target_named
from maskdsl.binding.artifact import MANIFEST, replace_text
from maskdsl.binding.machine import processor, triton_version
from maskdsl.cli.measure import Measured, Offline
from maskdsl.cli.outcome import writing
from maskdsl.cli.plot import save_picture
from maskdsl.cli.show import report_tiles
from maskdsl.cli.trial import Trial
from maskdsl.cli.view import MOST_TOKENS, view

if TYPE_CHECKING:
    from maskdsl.backends.launch_plan import KernelPlan
    from maskdsl.backends.launched_calls import Plan
    from maskdsl.cli.fresh_start import Start

CPP = re.compile(r"async_compile\.cpp\w*\(.*?r?'''\n(.*?)'''", re.S)
"""A C++ kernel inside the Python text that Inductor generates."""


def write_artifact(folder: Path, trial: Trial, found: Measured | Offline) -> dict[str, Any]:
    """Write everything into the folder and return the manifest. Raises MaskError E0107 when it cannot be written."""
    name, kernel = kernel_text(found) if isinstance(found, Measured) else ("", "")
    compiled = [*found.section.files] if found.section else []
    plan = _plan(folder, found)
    sources = plan.sources if plan else (name,)
    if isinstance(found, Offline):
        sources += tuple(f"backward/{file}" for k in found.backward for file in (k.cubin, f"{k.name}.ptx"))
        sources += ("backward/kernels.py",) if found.backward else ()
    manifest = describe(trial, found, ["mods.py", MANIFEST, *sources, "picture.png", *compiled], plan)
    with writing(folder):
        (folder / "mods.py").write_text(found.mods, encoding="utf-8")
        if plan is None:
            (folder / name).write_text(kernel, encoding="utf-8")
        _write_manifest(folder, manifest)
        shown = view(trial, step=-(-max(trial.q_len, trial.kv_len) // MOST_TOKENS))
        tiles = report_tiles(trial, shown) if shown.step == 1 else None
        save_picture(shown, folder / "picture.png", tiles)
    return manifest


def note_start(folder: Path, manifest: dict[str, Any], start: Start | None) -> dict[str, Any]:
    """The manifest with how long a new process took to its first output, which is written."""
    told = {"start": start.seconds, "start_worked": start.worked} if start else {"start": None, "start_worked": None}
    noted = {**manifest, "seconds": {**manifest["seconds"], **told}}
    with writing(folder):
        _write_manifest(folder, noted)
    return noted


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    replace_text(folder / MANIFEST, text + "\n")


def _plan(folder: Path, found: Measured | Offline) -> Plan | None:
    """The plan of launches in the folder, if there is one."""
    if found.section is None or found.section.kind != "launches":
        return None
    from maskdsl.backends.launched_calls import Plan

    return Plan.read(folder)


def _kernels(plan: Plan | None, backward: tuple[KernelPlan, ...]) -> list[dict[str, Any]]:
    """What every kernel needs of a GPU, by the form of the call that it belongs to."""
    if plan is None:
        return []
    named = [(form.name, k) for form in plan.forms for k in form.kernels]
    named += [("lists", k) for lists in plan.lists for k in lists.kernels] + [("backward", k) for k in backward]
    return [
        {"form": form, "name": k.name, "registers": k.registers, "spilled_bytes": k.spilled, "shared_bytes": k.shared,
         "warps": k.warps}
        for form, k in named
    ]  # fmt: skip


def make_folder(folder: Path) -> None:
    """Make the folder if need be. Raises MaskError E0107 when it cannot be written."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def kernel_text(measured: Measured) -> tuple[str, str]:
    """The file name and the text of what Inductor generated: C++ alone for the CPU, Python with Triton for a GPU."""
    whole = "\n\n".join(measured.kernels)
    if measured.section and measured.section.kind == "package":
        return "kernel.cpp", whole
    cpp = CPP.findall(whole) if measured.device == "cpu" else []
    return ("kernel.cpp", "\n\n".join(cpp)) if cpp else ("kernel.py", whole)


def describe(
    trial: Trial, found: Measured | Offline, files: list[str], plan: Plan | None = None
) -> dict[str, Any]:
    """The manifest: what was compiled, for which sizes, by which versions, how right and how quick it was."""
    return {
        "definition": trial.manifest.model_dump(mode="json"),
        "constants": {n: v if math.isfinite(v) else str(v) for n, v in trial.constants.items()},
        "tables": {t.name: {"shape": list(x.shape), "dtype": str(x.dtype)} for t, x in trial.tables.items()},
        "shape": asdict(found.shape),
        "dtype": found.dtype,
        "device": _device(found.device),
        "versions": _versions(),
        **(_measured(found) if isinstance(found, Measured) else {"error": None, "seconds": {}}),
        "kernels": _kernels(plan, found.backward if isinstance(found, Offline) else ()),
        "files": files,
        "source_sha256": hashlib.sha256(trial.manifest.source.encode()).hexdigest(),
        "artifact": found.section.plain() if found.section else None,
    }


def _measured(found: Measured) -> dict[str, Any]:
    """What running the kernel told."""
    return {
        "error": {
            "absolute": _finite(found.absolute_error),
            "relative": _finite(found.relative_error),
            "tolerance": found.tolerance,
            "queries_compared": found.rows,
        },
        "seconds": {"first_call": found.first_call, "call": found.call},
    }


def _finite(error: float) -> float | None:
    """The error, or None for one that JSON cannot say: the output was not finite."""
    return error if math.isfinite(error) else None


def _versions() -> dict[str, str | None]:
    from importlib.metadata import version

    import torch

    own = {"maskdsl": version("maskdsl"), "torch": str(torch.__version__), "python": platform.python_version()}
    return {**own, "triton": triton_version()}


def _device(kind: str) -> dict[str, str]:
    import torch

    target = target_named(kind)
    if target is not None:
        return {"kind": kind, "name": target.card}
    name = torch.cuda.get_device_name() if kind == "cuda" else processor()
    return {"kind": kind, "name": name}
