"""The tables of the kernel benchmark, and what they say: targets, ratios to what is written by hand, first calls."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from typing import Any

from benchmarks.correctness_record import Done, Key, Record

FIRST_CALLS = "first calls"

SLOWER = 0.98
"""The least ratio of our speed to that by hand."""

TARGETS = {
    ("causal, softcap 50", "ours triton"): 340.0, ("causal", "ours flash"): 660.0,
    ("sliding window 1024", "ours flash"): 475.0, ("packed causal", "ours flash"): 410.0,
    ("causal, softcap 50", "ours flash"): 450.0,
}  # fmt: skip
"""TFLOP/s to reach on an H100: forward, 1 x 8192 tokens, 32/8 heads, head_dim 128, bfloat16."""

TARGET_SIZE = ("d128", "1x8192")

SHORT = {
    "ours triton": "triton", "by hand triton": "hand", "ours triton precise": "triton precise", "ours flash": "flash",
    "by hand flash": "hand", "ours flash precise": "flash precise", "ours triton, second length": "second length",
    "ours flash, second length": "second length", "ours triton tuned": "tuned", "sdpa cudnn": "cuDNN",
    "sdpa flash": "sdpa flash", "ours": "ours", "by hand": "hand",
}  # fmt: skip


def about(device: str) -> dict[str, Any]:
    """The machine, the versions, and the date."""
    import torch

    cuda = device == "cuda" and torch.cuda.is_available()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "gpu": torch.cuda.get_device_name() if cuda else None,
        "torch": torch.__version__, "triton": _version("triton"), "flash-attn-4": _version("flash-attn-4"),
        "nvidia-cutlass-dsl": _version("nvidia-cutlass-dsl"), "python": platform.python_version(),
        "machine": platform.platform(), "cores": os.cpu_count(),
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def lines_of(key: Key, done: Done) -> list[str]:
    """A measurement as lines: one for each pass, one for what did not run."""
    told = []
    for what in dict.fromkeys(row["pass"] for row in done.rows):
        rows = [row for row in done.rows if row["pass"] == what]
        told.append(f"{key[0]:20} {key[1]:>5} {key[2]:>8} {what:9} {', '.join(map(_cell, rows))}{_auto(rows)}")
    told += [f"    absent: {text}" for text in done.unfit]
    return told + [f"    broken: {text}" for text in done.broken]


def _cell(row: dict[str, Any]) -> str:
    if "seconds" in row:
        return f"{row['implementation']} {row['seconds']:.2f} s"
    speed = f"{row['tflops']:.0f}" if row["tflops"] >= 10 else f"{row['tflops']:.3f}"
    worst = max(row["errors"].values(), key=lambda error: (isnan(error), error))
    return f"{SHORT[row['implementation']]} {speed} (error {worst:.1e}{'' if row['fine'] else ' OVER'})"


def _auto(rows: list[dict[str, Any]]) -> str:
    kernel = rows[0].get("auto")
    return f"; auto takes {kernel}" if kernel else ""


def report(record: Record, left: list[Key]) -> int:
    """Prints the targets and the ratios to what is written by hand; 1 if anything is broken, wrong or too slow."""
    rows = [row for done in record.jobs.values() for row in done.rows]
    slow = list(_slower(rows))
    print(f"\n{'target':42} {'wanted':>7} {'found':>7}")
    for (pattern, who), least in TARGETS.items():
        found = _speed(record, pattern, who)
        told = "not run" if found is None else "met" if found >= least else "MISSED"
        print(f"{pattern + ', ' + who:42} {least:7.0f} {'-' if found is None else format(found, '7.0f'):>7} {told}")
    print("\n".join(["", "slower than by hand by more than 2 %:", *(slow or ["none"])]))
    broken = sum(len(done.broken) for done in record.jobs.values())
    over = sum(not row["fine"] for row in rows if _is_ours(row))
    others = sum(not row["fine"] for row in rows) - over
    told = f"{over} of ours and {others} others over the limits of errors"
    print(f"{len(rows)} times, {told}, {broken} broken, {len(left)} measurements waiting")
    return int(bool(broken or over or slow or left))


def _speed(record: Record, pattern: str, who: str) -> float | None:
    done = record.jobs.get((pattern, *TARGET_SIZE))
    rows = done.rows if done else []
    return next((r["tflops"] for r in rows if (r["implementation"], r["pass"]) == (who, "forward")), None)


def _slower(rows: list[dict[str, Any]]) -> list[str]:
    known = {(_place(r), r["implementation"]): r for r in rows if "tflops" in r and r.get("auto")}
    found = []
    for (place, who), row in known.items():
        other = known.get((place, " ".join(["by hand", *who.replace(",", "").split()[1:2]])))
        if not _is_ours(row) or other is None or not other["fine"]:
            continue
        ratio = row["tflops"] / other["tflops"]
        if ratio < SLOWER:
            found.append(f"{', '.join(map(str, place))}: {SHORT[who]} {ratio:.3f}")
    return found


def _is_ours(row: dict[str, Any]) -> bool:
    return bool(row["implementation"].startswith("ours") or row["pass"] == "first call")


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["pattern"], f"d{row['dim']}", row["length"], row["pass"]
