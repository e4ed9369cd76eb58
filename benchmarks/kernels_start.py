"""How long a new process waits for its first output, with and without an artifact: from `import torch` done to the end.

Every process has caches of its own, empty ones, as on a new machine. The artifact is compiled for the very call. On a
GPU's machine the programs are measured at once, which leaves each more cores than it uses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.correctness_record import Done

PROGRAMS = {
    "causal": "mask causal_attention = k <= q",
    "softcap": "variant softcapped { mask = k <= q score = 50.0 * tanh(score / 50.0) }",
}
CALL = {"cuda": ("bfloat16", 1, 32, 8, 4096, 128), "cpu": ("float32", 1, 4, 4, 256, 64)}
PATIENCE = 240.0
"""Seconds after which a process is given up."""

CHILD = """
import json, sys, time
import torch
started = time.perf_counter()
what, how, device, (dtype, batch, heads, kv_heads, length, dim) = json.loads(sys.argv[1])
import maskdsl
attention = maskdsl.open(what).attention if how == "artifact" else maskdsl.load(what).attention
shapes = [(batch, n, length, dim) for n in (heads, kv_heads, kv_heads)]
q, k, v = (torch.randn(s, dtype=getattr(torch, dtype), device=device) for s in shapes)
with torch.no_grad():
    out = attention(q, k, v)
assert bool(torch.isfinite(out).all())
print(f"@{time.perf_counter() - started}")
"""


def first_calls(device: str) -> Done:
    """Rows of seconds; what fails is a text."""
    done, started = Done(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with ThreadPoolExecutor(len(PROGRAMS) if device == "cuda" else 1) as pool:
            list(pool.map(lambda name: _measure(done, name, Path(folder), device), PROGRAMS))
    done.seconds = time.monotonic() - started
    return done


def _measure(done: Done, name: str, folder: Path, device: str) -> None:
    source, artifact = folder / f"{name}.mask", folder / name
    source.write_text(PROGRAMS[name] + "\n", encoding="utf-8")
    try:
        cold = _first_call(source, "cold", device)
        done.rows.append(_row(name, "without an artifact", cold))
        _run([sys.executable, "-m", "maskdsl", *_compile_arguments(source, artifact, device)], dict(os.environ))
        done.rows.append(_row(name, "with an artifact", _first_call(artifact, "artifact", device)))
    except (subprocess.SubprocessError, RuntimeError, ValueError) as problem:
        done.broken.append(f"first call of {name}: {str(problem)[-600:]}")


def _row(name: str, how: str, seconds: float) -> dict[str, Any]:
    return {"pattern": name, "implementation": f"{name} {how}", "pass": "first call", "seconds": seconds, "fine": True}


def _first_call(what: Path, how: str, device: str) -> float:
    with tempfile.TemporaryDirectory() as caches:
        places = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME")
        environment = {**os.environ, **{name: str(Path(caches) / name) for name in places}}
        asked = json.dumps([str(what), how, device, CALL[device]])
        told = _run([sys.executable, "-c", CHILD, asked], environment)
    return float(told.rpartition("@")[2])


def _compile_arguments(source: Path, folder: Path, device: str) -> list[str]:
    dtype, batch, heads, kv_heads, length, dim = map(str, CALL[device])
    return [
        "compile", str(source), "-o", str(folder), "--device", device, "--dtype", dtype, "--batch", batch, "--heads",
        heads, "--kv-heads", kv_heads, "--head-dim", dim, "--q-len", length,
    ]  # fmt: skip


def _run(command: list[str], environment: dict[str, str]) -> str:
    root = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env={**environment, "PYTHONPATH": paths}, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command[1:3])}: {(ended.stderr or ended.stdout)[-500:]}")
    return ended.stdout
