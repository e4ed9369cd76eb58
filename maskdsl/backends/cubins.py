"""What NVIDIA's tools, which Triton brings along, say of cubins and of themselves.

Not here: making cubins (`offline`).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from maskdsl.backends.targets import Target


def toolkit(target: Target) -> str:
    """The version of the CUDA toolkit whose assembler makes cubins for a target, such as `12.9`; empty if unsaid."""
    from triton.backends.nvidia.compiler import get_ptxas_version

    found = re.search(r"release (\d+\.\d+)", get_ptxas_version(target.arch))
    return found[1] if found else ""


def resources(cubin: Path) -> tuple[int, int]:
    """Registers of a thread, and the bytes of it that lie in local memory (spills above all), of a cubin's kernel."""
    from triton import knobs

    words = [knobs.nvidia.cuobjdump.path, "-res-usage", str(cubin)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    assert found is not None, told
    return int(found[1]), int(found[2])
