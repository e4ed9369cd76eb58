"""Times of making a BlockMask: ours, from the formula, beside torch's `create_block_mask`, eager and compiled.

    python benchmarks/block_mask.py [--device cuda|cpu] [--out DIR] [--quick]

GPU time is the time of the launches themselves (20 builds in a CUDA graph, divided), host time what one call of
`block_mask` keeps the host busy; torch's are from call to finish. On the CPU all are from call to finish. Peak memory
is what a build allocates above what was there. "New tables" is a build with `out=`, in place: what depends on tables,
such as their extremes in every tile, is made anew too. Partial and full counts must agree with torch's where both ran.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_block_mask

import maskdsl

LENGTHS = (8192, 32768, 131072, 1048576)
HEADS = 8
EAGER_LIMIT = {"cuda": 32768, "cpu": 16384}
COMPILED_LIMIT = {"cuda": 131072, "cpu": 16384}


def documents(length: int) -> np.ndarray[Any, Any]:
    """Ascending document numbers, about 2,000 tokens each, int32 [1, length]."""
    steps = np.random.default_rng(0).random(length) < 1 / 2000
    return np.cumsum(steps)[None].astype(np.int32)


PROGRAMS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "causal": ("mask causal = k <= q", lambda n: {}),
    "sliding window 1024": ("mask window = 0 <= q - k < 1024", lambda n: {}),
    "packed causal": (
        """mask packed(document: int[batch, position]) = document[b, q] == document[b, k] and k <= q
               requires ascending(document, position)""",
        lambda n: {"document": documents(n)},
    ),
    "prefix-LM": (
        "mask prefix_lm(prefix: int[batch]) = k <= q or k < prefix[b] requires prefix[b] >= 0",
        lambda n: {"prefix": np.array([n // 4], np.int32)},
    ),
    "chunked 8192": ("mask chunked = k <= q and q // 8192 == k // 8192", lambda n: {}),
    "dilated 4 of 4096": ("mask dilated = 0 <= q - k < 4096 and (q - k) % 4 == 0", lambda n: {}),
    "3-D video window": (
        """mask video = abs(q // 1536 - k // 1536) <= 2
               and abs(q // 48 % 32 - k // 48 % 32) <= 8 and abs(q % 48 - k % 48) <= 12""",
        lambda n: {},
    ),
    "per-head window": (
        "mask windows(window: int[head]) = k <= q and q - k < window[h]",
        lambda n: {"window": np.array([128 << i for i in range(HEADS)], np.int32)},
    ),
}


def once(build: Callable[[], Any], cuda: bool) -> float:
    """Seconds from call to finish."""
    start = time.perf_counter()
    build()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def median_of(build: Callable[[], Any], cuda: bool, repeats: int = 7) -> float:
    """Seconds from call to finish, median, after one call to warm up."""
    once(build, cuda)
    return statistics.median(once(build, cuda) for _ in range(repeats))


def gpu_seconds(build: Callable[[], Any], builds: int) -> float:
    """Seconds that the launches of one build take, from a CUDA graph of several."""
    build()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(builds):
            build()
    times = []
    for _ in range(7):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / builds / 1e3)
    return statistics.median(times)


def host_seconds(build: Callable[[], Any], builds: int) -> float:
    """Seconds that one call keeps the host, mean over calls without waiting in between."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(builds):
        build()
    spent = (time.perf_counter() - start) / builds
    torch.cuda.synchronize()
    return spent


def peak_bytes(build: Callable[[], Any], device: torch.device) -> int:
    """Bytes allocated on the device at the highest point of one build, above those before it."""
    if device.type != "cuda":
        return peak_on_cpu(build)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    build()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def peak_on_cpu(build: Callable[[], Any]) -> int:
    """The same on the CPU, where torch's profiler counts: tensors alone."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = build()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    del kept
    return most


def processor() -> str:
    """The CPU's name, and how many threads torch uses."""
    info = Path("/proc/cpuinfo")
    named = [x for x in info.read_text().splitlines() if x.startswith("model name")] if info.exists() else []
    name = named[0].split(":")[1].strip() if named else platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def counts(mask: Any) -> tuple[int, int]:
    """Partial and full tiles."""
    return int(mask.kv_num_blocks.sum()), int(mask.full_kv_num_blocks.sum())


def measure(name: str, length: int, device: torch.device, compiled: Callable[..., Any]) -> dict[str, Any]:
    """One row of the table: seconds, bytes and counts."""
    text, tables = PROGRAMS[name]
    cuda = device.type == "cuda"
    bound = maskdsl.compile(text).bind(**{n: torch.from_numpy(t).to(device) for n, t in tables(length).items()})
    heads = HEADS if name.startswith("per-head") else None

    def ours() -> Any:
        return bound.block_mask(1, heads, length, length, device=device, transposed=False, fresh=True)

    def torchs(make: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: make(bound_mod, 1, heads, length, length, device=device)

    kept = ours()

    def again() -> Any:
        return bound.block_mask(1, heads, length, length, device=device, out=kept)

    row: dict[str, Any] = {"mask": name, "length": length, "counts": counts(kept)}
    few = length > 300_000
    if cuda:
        row |= {"gpu_s": gpu_seconds(ours, 3 if few else 20), "host_s": host_seconds(ours, 3 if few else 50)}
        row |= {"again_gpu_s": gpu_seconds(again, 20), "again_host_s": host_seconds(again, 50)}
    else:
        row |= {"cpu_s": median_of(ours, cuda, 51), "again_cpu_s": median_of(again, cuda, 51)}
    row["peak_bytes"] = peak_bytes(ours, device)
    bound_mod = bound.mask_mod
    for kind, limit, make in (
        ("eager", EAGER_LIMIT, create_block_mask),
        ("compiled", COMPILED_LIMIT, compiled),
    ):
        if length <= limit[device.type] and (kind == "compiled" or heads is None):
            build = torchs(make)
            row[f"{kind}_s"] = median_of(build, cuda, repeats=3)
            row[f"{kind}_counts"] = counts(build())
            row[f"{kind}_peak_bytes"] = peak_bytes(build, device)
    return row


def line(row: dict[str, Any]) -> str:
    """A row as text."""

    def shown(key: str) -> str:
        value = row.get(key)
        if value is None:
            return "–"
        return f"{value * 1e6:.1f} µs" if value < 1e-3 else f"{value * 1e3:.2f} ms"

    kind = "gpu_s" if "gpu_s" in row else "cpu_s"
    own = row[kind]
    ratio = f"{row['compiled_s'] / own:.0f}×" if "compiled_s" in row else "–"
    eager = f"{row['eager_s'] / own:.0f}×" if "eager_s" in row else "–"
    agree = "equal" if row.get("compiled_counts", row.get("eager_counts", row["counts"])) == row["counts"] else "DIFFER"
    memory = f"{row['peak_bytes'] / 2**20:.1f} MiB" if "peak_bytes" in row else ""
    cells = [
        row["mask"].ljust(20), f"{row['length']:>8}", shown(kind).rjust(10), shown(f"again_{kind}").rjust(10),
        shown("host_s").rjust(10), memory.rjust(10), shown("eager_s").rjust(11), eager.rjust(8),
        shown("compiled_s").rjust(11), ratio.rjust(8), f"{row['counts'][0]}+{row['counts'][1]}".rjust(16), agree,
    ]  # fmt: skip
    return "  ".join(cells)


def main() -> None:
    """Measure, print, and write `block_mask_DEVICE.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="the two shortest lengths, no torch")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    lengths = (8192, 16384) if device.type == "cpu" else LENGTHS
    if asked.quick:
        lengths, COMPILED_LIMIT[device.type], EAGER_LIMIT[device.type] = lengths[:2], 0, 0
    compiled = torch.compile(create_block_mask)
    rows = []
    print("mask, tokens, ours, with new tables, on the host, peak, torch eager, ratio, torch compiled, ratio, tiles")
    for name in PROGRAMS:
        for length in lengths:
            if name.startswith("per-head") and length > 200_000:
                continue
            torch._dynamo.reset()
            rows.append(measure(name, length, device, compiled))
            print(line(rows[-1]), flush=True)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    report = {
        "machine": machine, "torch": torch.__version__, "python": platform.python_version(),
        "date": datetime.date.today().isoformat(), "block": 128, "rows": rows,
    }  # fmt: skip
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / f"block_mask_{device.type}.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
