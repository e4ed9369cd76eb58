"""What `maskdsl compile` leaves behind: the mods, the kernel's source, a picture, and a manifest of all that.

Not here: compiling and measuring (`measure`).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskdsl.binding.described import MODS, PICTURE, code_described
from maskdsl.cli.measure import Measured, Offline
from maskdsl.cli.plot import save_picture
from maskdsl.cli.show import report_tiles
from maskdsl.cli.trial import Trial
from maskdsl.cli.view import MOST_TOKENS, view
from maskdsl.library.files import writing

CPP = re.compile(r"async_compile\.cpp\w*\(.*?r?'''\n(.*?)'''", re.S)
"""A C++ kernel inside the Python text that Inductor generates."""


def write_artifact(folder: Path, trial: Trial, found: Measured | Offline) -> dict[str, Any]:
    """Write everything but the manifest into the folder and return the manifest.

    Raises MaskError E0107 when the folder cannot be written.
    """
    with writing(folder):
        (folder / MODS).write_text(found.mods, encoding="utf-8")
        sources = [_write_kernel(folder, found)] if isinstance(found, Measured) and not _launches(found) else []
        shown = view(trial, step=-(-max(trial.q_len, trial.kv_len) // MOST_TOKENS))
        tiles = report_tiles(trial, shown) if shown.step == 1 else None
        save_picture(shown, folder / PICTURE, tiles)
    return describe(trial, found, folder, sources)


def _launches(found: Measured) -> bool:
    return found.section is not None and found.section.kind == "launches"


def _write_kernel(folder: Path, measured: Measured) -> str:
    """Write what Inductor generated, and return the file's name."""
    name, text = kernel_text(measured)
    (folder / name).write_text(text, encoding="utf-8")
    return name


def kernel_text(measured: Measured) -> tuple[str, str]:
    """The file name and the text of what Inductor generated: C++ alone for the CPU, Python with Triton for a GPU."""
    whole = "\n\n".join(measured.kernels)
    if measured.section and measured.section.kind == "package":
        return "kernel.cpp", whole
    cpp = CPP.findall(whole) if measured.device == "cpu" else []
    return ("kernel.cpp", "\n\n".join(cpp)) if cpp else ("kernel.py", whole)


def describe(trial: Trial, found: Measured | Offline, folder: Path, sources: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest: what was compiled, for which sizes, by which versions, how right and how quick it was.

    A kernel that computes something else is there to be looked at: its manifest has no section to open it by.
    """
    backward = found.backward if isinstance(found, Offline) else ()
    opens = found.section if isinstance(found, Offline) or found.is_right else None
    return {
        "definition": trial.manifest.model_dump(mode="json"),
        "constants": {n: v if math.isfinite(v) else str(v) for n, v in trial.constants.items()},
        "tables": {t.name: {"shape": list(x.shape), "dtype": str(x.dtype)} for t, x in trial.tables.items()},
        "shape": asdict(found.shape),
        "dtype": found.dtype,
        **(_measured(found) if isinstance(found, Measured) else {"error": None, "seconds": {}}),
        **code_described(folder, found.device, found.section, sources, backward),
        "source_sha256": hashlib.sha256(trial.manifest.source.encode()).hexdigest(),
        "artifact": opens.plain() if opens else None,
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
