"""What compiled code depends on: versions, the processor's instructions, the GPU; and how two machines differ in it."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskdsl.version import VERSION

INSTRUCTIONS = re.compile(
    r"sse\w*|ssse3|avx\w*|amx\w*|fma\w*|f16c|bmi\d|abm|lzcnt|popcnt|movbe|adx|aes|vaes|v?pclmulqdq|gfni|sha\w*|"
    r"asimd\w*|sve\w*|i8mm|bf16|xsave\w*|clwb|clflushopt|rd\w+|fsgsbase|xop|tbm|fp\w*|neon"
)
"""Processor flags that stand for instructions which a compiler may use, as `/proc/cpuinfo` spells them."""

Machine = Mapping[str, Any]


def this_machine(device: str) -> dict[str, Any]:
    """Versions and capabilities of this process for a device, `cpu` or `cuda`, as JSON can hold them."""
    import torch

    found: dict[str, Any] = {
        "maskdsl": VERSION, "torch": str(torch.__version__),
        "triton": triton_version(), "python": ".".join(platform.python_version_tuple()[:2]),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(), "instructions": _instructions(),
    }  # fmt: skip
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        found |= {"gpu": torch.cuda.get_device_name(), "capability": f"sm_{major}{minor}", "cuda": torch.version.cuda}
    return found


def differences(made: Machine, here: Machine, *, traced: bool) -> list[str]:
    """Why code made on one machine must not run here, a phrase each; empty if it may.

    `traced` says that Python objects and Triton kernels are part of it, so that their versions count.
    """
    names = ["maskdsl", "torch", "platform", "cpu", "gpu", "capability", "cuda"]
    names += ["python", "triton"] if traced else []
    pairs = [(name, made.get(name), here.get(name)) for name in names]
    told = [f"made with {name} {old}, and this is {new}" for name, old, new in pairs if old != new]
    missing = sorted(set(made.get("instructions", ())) - set(here.get("instructions", ())))
    if missing:
        told.append(f"this processor lacks {', '.join(missing)}")
    return told


def launch_machine(capability: str, toolkit: str) -> dict[str, Any]:
    """What kernels depend on that are launched without their compiler, for a GPU of a capability such as `sm_90`."""
    return {"maskdsl": VERSION, "torch": _release(), "capability": capability, "toolkit": toolkit}


def launch_differences(made: Machine) -> list[str]:
    """Why kernels made for one GPU must not be launched by this process, a phrase each; empty if they may.

    The card may be another of the same capability: the code is the same. A driver runs what toolkits of its own major
    version of CUDA and of older ones assembled.
    """
    import torch

    from maskdsl.backends.cuda_driver import DriverError, driver

    major, minor = torch.cuda.get_device_capability()
    here = {"maskdsl": VERSION, "torch": _release(), "capability": f"sm_{major}{minor}"}
    pairs = [(name, made.get(name), new) for name, new in here.items()]
    told = [f"made with {name} {old}, and this is {new}" for name, old, new in pairs if old != new]
    try:
        newest = driver().version()
    except DriverError as problem:
        return [*told, str(problem)]
    needed = str(made.get("toolkit", "")).partition(".")[0]
    if needed.isdigit() and newest[0] < int(needed):
        told.append(f"made with CUDA {made['toolkit']}, and this driver runs CUDA up to {newest[0]}.{newest[1]}")
    return told


def _release() -> str:
    """torch's version without the part that says what it was built for."""
    import torch

    return str(torch.__version__).partition("+")[0]


def processor() -> str:
    """The processor's name as the system gives it."""
    named = re.search(r"model name\s*:\s*(.+)", _cpuinfo())
    return named[1] if named else platform.processor() or platform.machine()


def _instructions() -> list[str]:
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.M)
    return sorted({f for f in (flags[1].split() if flags else ()) if INSTRUCTIONS.fullmatch(f)})


def _cpuinfo() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""


def triton_version() -> str | None:
    """The version of Triton, None where it is not installed; it is not imported."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("triton")
    except PackageNotFoundError:
        return None
