"""Times of making a BlockMask: ours, from the formula, beside torch's `create_block_mask`, eager and compiled.

    python benchmarks/block_mask.py [--device cuda|cpu] [--only NAME…] [--out DIR] [--quick]

"gpu" is time on the GPU: of ours with the pauses between launches (a CUDA graph of 20 builds, divided), of torch's
without them (the sum of its kernels in a profile). "forward" are the lists that a forward pass reads, "all" those of
the backward pass too, which torch's builder always makes. "host" is what a call keeps the host busy, "finish" from call
to finish, on an idle GPU. "new tables" fills a mask in place (`out=`): what depends on tables, such as their extremes
in every tile and the ends of documents, is made anew too. "peak" is what a build allocates above what was there. On the
CPU all times are from call to finish. At the end stands every target, met or missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_block_mask

import maskdsl

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.block_mask_targets import seconds, targets
from benchmarks.block_mask_timers import (
    Build,
    finish_seconds,
    graph_seconds,
    host_seconds,
    kernel_seconds,
    peak_bytes,
)

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


def processor() -> str:
    """The CPU's name, and how many threads torch uses."""
    info = Path("/proc/cpuinfo")
    named = [x for x in info.read_text().splitlines() if x.startswith("model name")] if info.exists() else []
    name = named[0].split(":")[1].strip() if named else platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def counts(mask: Any) -> tuple[int, int]:
    """Partial and full tiles."""
    return int(mask.kv_num_blocks.sum()), int(mask.full_kv_num_blocks.sum())


def list_bytes(mask: Any) -> int:
    """Bytes of the lists of a forward pass."""
    lists = (mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices)
    return sum(x.numel() * x.element_size() for x in lists)


def bound_at(name: str, length: int, device: torch.device) -> tuple[Any, int | None]:
    """A mask with its tables on the device, and for how many heads it is made (None: one for all)."""
    text, tables = PROGRAMS[name]
    bound = maskdsl.compile(text).bind(**{n: torch.from_numpy(t).to(device) for n, t in tables(length).items()})
    return bound, HEADS if name.startswith("per-head") else None


def ours(name: str, length: int, device: torch.device) -> dict[str, Any]:
    """The half of a row that is ours: seconds, bytes and counts."""
    return {"mask": name, "length": length, **_of_ours(*bound_at(name, length, device), length, device)}


def torchs(name: str, length: int, device: torch.device) -> dict[str, Any]:
    """The half of a row that is torch's, as far as torch goes."""
    bound, heads = bound_at(name, length, device)
    mod, row = bound.mask_mod, dict[str, Any]()
    for kind, limit in (("eager", EAGER_LIMIT), ("compiled", COMPILED_LIMIT)):
        if length <= limit[device.type] and (kind == "compiled" or heads is None):
            row |= _of_torch(kind, lambda make: make(mod, 1, heads, length, length, device=device), device)
    return row


def _of_ours(bound: Any, heads: int | None, length: int, device: torch.device) -> dict[str, Any]:
    """The times, bytes and counts of our builder."""
    call: dict[str, Any] = {"B": 1, "H": heads, "q_len": length, "kv_len": length, "device": device}

    def forward() -> Any:
        return bound.block_mask(**call, transposed=False, fresh=True)

    def everything() -> Any:
        return bound.block_mask(**call, fresh=True)

    kept = forward()

    def again() -> Any:
        return bound.block_mask(**call, out=kept)

    size = list_bytes(kept)
    times = (_on_gpu if device.type == "cuda" else _on_cpu)(forward, everything, again, size > 1 << 28)
    return {"counts": counts(kept), "list_bytes": size, "peak_bytes": peak_bytes(forward, device), **times}


def _on_gpu(forward: Build, everything: Build, again: Build, is_large: bool) -> dict[str, float]:
    """Our times; of large lists few builds at once, for their memory."""
    builds = 1 if is_large else 20
    return {
        "gpu_s": graph_seconds(forward, builds),
        "gpu_all_s": graph_seconds(everything, builds),
        "host_s": host_seconds(forward, 3 if is_large else 50),
        "finish_s": finish_seconds(forward, True, 15),
        "again_gpu_s": graph_seconds(again, 20),
        "again_host_s": host_seconds(again, 50),
    }


def _on_cpu(forward: Build, everything: Build, again: Build, is_large: bool) -> dict[str, float]:
    repeats = 5 if is_large else 51
    builds = {"cpu_s": forward, "cpu_all_s": everything, "again_cpu_s": again}
    return {key: finish_seconds(build, False, repeats) for key, build in builds.items()}


def _of_torch(kind: str, build: Callable[[Callable[..., Any]], Any], device: torch.device) -> dict[str, Any]:
    """The times, bytes and counts of torch's builder."""
    torch._dynamo.reset()
    make = create_block_mask if kind == "eager" else torch.compile(create_block_mask, dynamic=False)
    cuda = device.type == "cuda"
    once = partial(build, make)
    found: dict[str, Any] = {f"{kind}_s": finish_seconds(once, cuda, repeats=3), f"{kind}_counts": counts(once())}
    if cuda and kind == "compiled":
        found["compiled_gpu_s"] = kernel_seconds(once)
    return found | {f"{kind}_peak_bytes": peak_bytes(once, device)}


# ---------------------------------------------------------------- the table

COLUMNS = {
    "cuda": (
        ("gpu forward", "gpu_s"), ("gpu all", "gpu_all_s"), ("host", "host_s"), ("finish", "finish_s"),
        ("new tables gpu", "again_gpu_s"), ("host", "again_host_s"), ("peak", "peak_bytes"),
        ("torch compiled gpu", "compiled_gpu_s"), ("finish", "compiled_s"), ("peak", "compiled_peak_bytes"),
        ("torch eager finish", "eager_s"), ("peak", "eager_peak_bytes"),
    ),
    "cpu": (
        ("forward", "cpu_s"), ("all", "cpu_all_s"), ("new tables", "again_cpu_s"), ("peak", "peak_bytes"),
        ("torch compiled", "compiled_s"), ("peak", "compiled_peak_bytes"),
        ("torch eager", "eager_s"), ("peak", "eager_peak_bytes"),
    ),
}  # fmt: skip
"""What is printed, by the kind of device: a heading and a key of the rows each."""

RATIOS = {
    "cuda": (("gpu, all lists ×", "compiled_gpu_s", "gpu_all_s"), ("finish ×", "compiled_s", "finish_s")),
    "cpu": (("compiled ×", "compiled_s", "cpu_s"), ("eager ×", "eager_s", "cpu_s")),
}


def heading(kind: str) -> str:
    """The first line of the table."""
    names = [name for name, _ in COLUMNS[kind]] + [name for name, _, _ in RATIOS[kind]]
    return "  ".join(["mask".ljust(20), "tokens".rjust(9), *(n.rjust(max(len(n), 9)) for n in names), "partial+full"])


def line(row: dict[str, Any], kind: str) -> str:
    """A row as text, under `heading`."""
    cells = [row["mask"].ljust(20), f"{row['length']:,}".rjust(9)]
    for name, key in COLUMNS[kind]:
        value = row.get(key)
        shown = seconds(value) if key.endswith("_s") or value is None else f"{value / 2**20:,.1f} MiB"
        cells.append(shown.rjust(max(len(name), 9)))
    for name, above, below in RATIOS[kind]:
        known = row.get(above) is not None and row.get(below) is not None
        cells.append((f"{row[above] / row[below]:,.0f}" if known else "–").rjust(max(len(name), 9)))
    return "  ".join([*cells, f"{row['counts'][0]:,}+{row['counts'][1]:,}"])


def main() -> None:
    """Measure, print, and write `block_mask_DEVICE.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=[*PROGRAMS], metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="the two shortest lengths, no torch")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    lengths = (8192, 16384) if device.type == "cpu" else LENGTHS
    if asked.quick:
        lengths, COMPILED_LIMIT[device.type], EAGER_LIMIT[device.type] = lengths[:2], 0, 0
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    started = time.perf_counter()
    print(f"{machine}, torch {torch.__version__}, tiles of 128 × 128")
    # Ours come first, all of them: a profile, which torch's need, leaves launches slower than they were.
    rows = [ours(name, length, device) for name in asked.only for length in lengths]
    print(heading(device.type))
    for row in rows:
        row |= torchs(row["mask"], row["length"], device)
        print(line(row, device.type), flush=True)
    print("\n".join(["", "targets", *map(str, targets(rows))]))
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    report = {
        "machine": machine, "torch": torch.__version__, "python": platform.python_version(),
        "date": datetime.date.today().isoformat(), "block": 128, "rows": rows,
    }  # fmt: skip
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / f"block_mask_{device.type}.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
