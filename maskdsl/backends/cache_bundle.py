"""What Inductor compiled for some calls, as one file that fills another process's caches.

The bundle is a zip: torch's own cache artifacts (`torch.compiler.save_cache_artifacts`) and the shared libraries that
Inductor made with the C++ compiler, which torch leaves out. A process that loads it before its first call still traces
with Dynamo, and then finds every kernel in its cache. What it may compile all the same are the small programs by which
Inductor probes a CPU's vector instructions. Calls that are not in the bundle compile as usual. Seen on the CPU with
torch 2.13; the same code is meant for CUDA, where it has not been run.
Not here: kernels that need no tracing either (`package`).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

import torch

CACHES, LIBRARIES = "caches.bin", "libraries/"


def save_bundle(run: Callable[[], Any], path: Path) -> Any:
    """The result of `run`, whose compilations go into a bundle at `path`; raises what `run` raises.

    It compiles into an empty cache folder, whatever the process has compiled before.
    """
    from torch._inductor.utils import fresh_cache

    torch.compiler.reset()
    with fresh_cache(), _as_in_a_new_process():
        result = run()
        saved = torch.compiler.save_cache_artifacts()
        assert saved is not None, "nothing was compiled"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(CACHES, saved[0])
            for library in sorted(_cache_folder().rglob("*.so")):
                bundle.write(library, LIBRARIES + library.relative_to(_cache_folder()).as_posix())
    return result


def _as_in_a_new_process() -> Any:
    """Within the block, keys are a new process's: ahead-of-time compilations leave notes that become part of them."""
    from torch._inductor import config

    noted = hasattr(config.aot_inductor, "metadata")
    return config.patch({"aot_inductor.metadata": {}}) if noted else nullcontext()


def load_bundle(path: Path) -> None:
    """Fill the caches of this process and its cache folder.

    torch unpickles what it finds: load only what you would run. Raises ValueError for a file that is no bundle.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            for name in bundle.namelist():
                if name.startswith(LIBRARIES):
                    _place(bundle.read(name), name.removeprefix(LIBRARIES))
            loaded = torch.compiler.load_cache_artifacts(bundle.read(CACHES))
    except (zipfile.BadZipFile, KeyError) as problem:
        raise ValueError(f"not a bundle of caches: {problem}") from None
    if loaded is None:
        raise ValueError("torch cannot read the caches in it")


def _place(library: bytes, name: str) -> None:
    """Write a library where Inductor looks for it, unless it is there; its name holds the hash of its source."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"the bundle holds a file outside of the cache: {name}")
    target = _cache_folder() / relative
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f"{target.name}.{os.getpid()}")
    made.write_bytes(library)
    made.replace(target)


def _cache_folder() -> Path:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    return Path(cache_dir())
