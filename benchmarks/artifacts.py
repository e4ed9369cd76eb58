"""How long a new process waits for its first output: with an artifact, and with none and empty caches.

    python benchmarks/artifacts.py [--device cuda] [--dtype bfloat16] [--runs 5] [--out benchmarks/results]

Every definition is compiled once by `maskdsl compile`; then processes open it, each with caches of its own that are
empty, from `import torch` done to the first output that is there. The cold process compiles the same call. What is
opened is opened alone; `--jobs` lets others compile at once, where there are cores for that. It prints a table and
writes `artifacts_DEVICE.json` under --out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from maskdsl.binding.machine import processor, triton_version
from maskdsl.cli.fresh_start import Start, seconds_to_start
from maskdsl.cli.measure import Shape
from maskdsl.version import VERSION

TARGET = {"cpu": 1.0, "cuda": 1.5}
"""Seconds that the start with an artifact may take."""

CALLS = {
    "causal": Shape(1, 4, 4, 64, 128, 128),
    "sliding_window": Shape(1, 4, 4, 64, 128, 128),
    "alibi": Shape(2, 4, 4, 64, 128, 128),
    "document": Shape(2, 4, 2, 64, 128, 128),
    "gemma2_local": Shape(1, 8, 4, 64, 128, 128),
    "gpt_oss_local": Shape(1, 8, 2, 64, 128, 128),
}
"""The definitions, and the calls that they are compiled for."""

COLD = """
import json, sys, time
import torch
begun = time.perf_counter()
import maskdsl
import numpy as np
name, tables, (device, dtype, q, k) = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
q, k, v = (torch.zeros(s, dtype=getattr(torch, dtype), device=device) for s in (q, k, k))
given = {n: torch.from_numpy(x).to(device) for n, x in np.load(tables).items()}
with torch.no_grad():
    maskdsl.get(name).bind(**given).attention(q, k, v).flatten()[:1].cpu()
print(json.dumps(time.perf_counter() - begun))
"""


def main() -> None:
    """Measure, print and write."""
    options = _options()
    names = options.only or tuple(CALLS)
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        compiled = list(pool.map(lambda name: _compiled(name, options, Path(place)), names))
        opened = [_opened(*case, options, Path(place)) for case in zip(names, compiled, strict=True)]
        cold = pool.map(lambda name, case: _cold(name, case, options, Path(place)), names, compiled)
        rows = [{**a, **b, "cold_s": round(c, 2)} for a, b, c in zip(compiled, opened, cold, strict=True)]
    print("\n".join(map(_line, rows)))
    worst = max(r["opened_s"] for r in rows)
    met = "met" if worst <= TARGET[options.device] else "missed"
    print(f"\nthe slowest start with an artifact: {worst:.2f} s; {TARGET[options.device]} s are asked for: {met}")
    record = {"about": _about(options), "rows": rows}
    file = options.out / f"artifacts_{options.device}.json"
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=tuple(TARGET), default="cpu")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="how many may compile at once")
    parser.add_argument("--only", nargs="*", choices=tuple(CALLS), default=())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.dtype = options.dtype or ("bfloat16" if options.device == "cuda" else "float32")
    return options


def _compiled(name: str, options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """An artifact is made: what its manifest says, and the seconds that it took."""
    words = [w for pair in CALLS[name].options().items() for w in pair]
    begun = time.perf_counter()
    told = _run(["-m", "maskdsl", "compile", name, "-o", str(place / name), "--device", options.device, "--dtype",
                 options.dtype, "--json", *words], place)  # fmt: skip
    seconds, manifest = time.perf_counter() - begun, json.loads(told)
    return {
        "definition": name, "kind": manifest["artifact"]["kind"], "why_caches": manifest["artifact"]["why_caches"],
        "call": manifest["shape"], "tables": manifest["tables"], "compile_s": round(seconds, 1),
    }  # fmt: skip


def _tables(compiled: dict[str, Any]) -> dict[str, Any]:
    """Tables of zeros where the facts allow them: the shapes and dtypes that the manifest tells."""
    return {n: np.zeros(t["shape"], dtype=t["dtype"]) for n, t in compiled["tables"].items()}


def _opened(name: str, compiled: dict[str, Any], options: argparse.Namespace, place: Path) -> dict[str, float]:
    """Seconds of processes that open the artifact one after the other: the median, the worst, and of the processor."""
    starts = [_start(name, _tables(compiled), options, place) for _ in range(options.runs)]
    opened, worked = zip(*starts, strict=True)
    return {
        "opened_s": round(statistics.median(opened), 3), "opened_worst_s": round(max(opened), 3),
        "opened_worked_s": round(statistics.median(worked), 3),
    }  # fmt: skip


def _start(name: str, tables: dict[str, Any], options: argparse.Namespace, place: Path) -> Start:
    with tempfile.TemporaryDirectory(dir=place) as caches:
        start = seconds_to_start(place / name, tables, CALLS[name], options.dtype, options.device, _empty(caches))
    if start is None:
        raise SystemExit(f"{name} could not be opened")
    return start


def _cold(name: str, compiled: dict[str, Any], options: argparse.Namespace, place: Path) -> float:
    """Seconds of a process that compiles the same call itself."""
    shape = CALLS[name]
    query = (shape.batch, shape.heads, shape.q_len, shape.head_dim)
    key = (shape.batch, shape.kv_heads, shape.kv_len, shape.head_dim)
    file = place / f"{name}.npz"
    np.savez(file, **_tables(compiled))
    call = json.dumps([options.device, options.dtype, query, key])
    return float(_run(["-c", COLD, name, str(file), call], place))


def _run(words: list[str], place: Path) -> str:
    """What a Python process with empty caches printed."""
    with tempfile.TemporaryDirectory(dir=place) as caches:
        done = subprocess.run([sys.executable, *words], env=_empty(caches), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout


def _empty(caches: str) -> dict[str, str]:
    names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "XDG_CACHE_HOME")
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, **{n: f"{caches}/{n}" for n in names}, "PYTHONPATH": path}


def _line(row: dict[str, Any]) -> str:
    why = f" ({row['why_caches']})" if row["why_caches"] else ""
    return (
        f"{row['definition']:16} {row['kind']:9} opened {row['opened_s']:5.2f} s (worst {row['opened_worst_s']:.2f}, "
        f"{row['opened_worked_s']:.2f} of the processor), "
        f"cold {row['cold_s']:6.2f} s, compiled in {row['compile_s']:.0f} s{why}"
    )


def _about(options: argparse.Namespace) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    return {
        "what": "seconds from `import torch` done to the first output of a new process with empty caches",
        "date": datetime.date.today().isoformat(), "machine": name, "cores": os.cpu_count(), "torch": torch.__version__,
        "triton": triton_version(), "maskdsl": VERSION, "dtype": options.dtype, "runs": options.runs,
        "compiling_at_once": options.jobs,
        "load_average": round(os.getloadavg()[0], 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
