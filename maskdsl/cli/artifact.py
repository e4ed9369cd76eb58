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
from typing import Any

from maskdsl.binding.artifact import MANIFEST, replace_text
from maskdsl.binding.machine import processor, triton_version
from maskdsl.cli.measure import Measured
from maskdsl.cli.outcome import writing
from maskdsl.cli.plot import save_picture
from maskdsl.cli.show import report_tiles
from maskdsl.cli.trial import Trial
from maskdsl.cli.view import MOST_TOKENS, view

CPP = re.compile(r"async_compile\.cpp\w*\(.*?r?'''\n(.*?)'''", re.S)
"""A C++ kernel inside the Python text that Inductor generates."""


def write_artifact(folder: Path, trial: Trial, measured: Measured) -> dict[str, Any]:
    """Write everything into the folder and return the manifest. Raises MaskError E0107 when it cannot be written."""
    name, kernel = kernel_text(measured)
    compiled = [*measured.section.files] if measured.section else []
    manifest = describe(trial, measured, ["mods.py", "manifest.json", name, "picture.png", *compiled])
    with writing(folder):
        (folder / "mods.py").write_text(measured.mods, encoding="utf-8")
        (folder / name).write_text(kernel, encoding="utf-8")
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
        replace_text(folder / MANIFEST, text + "\n")
        shown = view(trial, step=-(-max(trial.q_len, trial.kv_len) // MOST_TOKENS))
        tiles = report_tiles(trial, shown) if shown.step == 1 else None
        save_picture(shown, folder / "picture.png", tiles)
    return manifest


def make_folder(folder: Path) -> None:
    """Make the folder if need be. Raises MaskError E0107 when it cannot be written."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def kernel_text(measured: Measured) -> tuple[str, str]:
    """The file name and the text of what Inductor generated: C++ alone for the CPU, Python with Triton for a GPU."""
    whole = "\n\n".join(measured.kernels)
    if measured.section and measured.section.is_package:
        return "kernel.cpp", whole
    cpp = CPP.findall(whole) if measured.device == "cpu" else []
    return ("kernel.cpp", "\n\n".join(cpp)) if cpp else ("kernel.py", whole)


def describe(trial: Trial, measured: Measured, files: list[str]) -> dict[str, Any]:
    """The manifest: what was compiled, for which sizes, by which versions, how right and how quick it was."""
    return {
        "definition": trial.manifest.model_dump(mode="json"),
        "constants": {n: v if math.isfinite(v) else str(v) for n, v in trial.constants.items()},
        "tables": {t.name: {"shape": list(x.shape), "dtype": str(x.dtype)} for t, x in trial.tables.items()},
        "shape": asdict(measured.shape),
        "dtype": measured.dtype,
        "device": _device(measured.device),
        "versions": _versions(),
        "error": {
            "absolute": _finite(measured.absolute_error),
            "relative": _finite(measured.relative_error),
            "tolerance": measured.tolerance,
            "queries_compared": measured.rows,
        },
        "seconds": {"first_call": measured.first_call, "call": measured.call},
        "files": files,
        "source_sha256": hashlib.sha256(trial.manifest.source.encode()).hexdigest(),
        "artifact": measured.section.plain() if measured.section else None,
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

    name = torch.cuda.get_device_name() if kind == "cuda" else processor()
    return {"kind": kind, "name": name}
