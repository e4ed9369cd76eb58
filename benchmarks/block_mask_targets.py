"""What block masks are to cost, held against what was measured.

Not here: measuring (`block_mask`), which makes the rows: dicts of a mask's name, a length, seconds and bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

SIMPLE = ("causal", "sliding window 1024", "packed causal")
"""The masks with targets of their own."""

GPU_SECONDS = {32768: 10e-6, 131072: 25e-6, 1048576: 0.5e-3}
HOST_SECONDS = 100e-6
COMPILED_RATIO = {32768: 100, 131072: 500}
EAGER_RATIO = {16384: 1000}
MEMORY_RATIO = {"gpu_s": 1.05, "cpu_s": 16.0}
"""Peak memory over the bytes of the lists, by the key that tells the device: a constant whatever the lengths."""


@dataclass(frozen=True, slots=True)
class Target:
    """A limit, and what was measured; `about` says of which mask and length."""

    about: str
    figure: str
    limit: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.about}: {self.figure} ({self.limit})"


def targets(rows: Iterable[Row]) -> Iterator[Target]:
    """Every target that rows say something of."""
    for row in rows:
        about, length = f"{row['mask']} at {row['length']:,}", row["length"]
        if row["mask"] in SIMPLE and "gpu_s" in row:
            if length in GPU_SECONDS:
                yield _at_most(f"{about}, GPU", row["gpu_s"], GPU_SECONDS[length])
            yield _at_most(f"{about}, host", row["host_s"], HOST_SECONDS)
        if row["mask"] in SIMPLE and "cpu_s" in row and "eager_s" in row and length in EAGER_RATIO:
            yield _ratio(f"{about}, beside eager torch", row["eager_s"] / row["cpu_s"], EAGER_RATIO[length])
        if length in COMPILED_RATIO:
            for key, lists in (("gpu_s", "forward lists"), ("gpu_all_s", "all lists")):
                if key in row and row.get("compiled_gpu_s"):
                    found = row["compiled_gpu_s"] / row[key]
                    yield _ratio(f"{about}, {lists}, GPU beside compiled torch's GPU", found, COMPILED_RATIO[length])
        memory, most = row["peak_bytes"] / row["list_bytes"], MEMORY_RATIO["gpu_s" if "gpu_s" in row else "cpu_s"]
        yield Target(f"{about}, peak memory", f"{memory:.2f} × the lists", f"≤ {most} ×", memory <= most)
        for kind in ("eager", "compiled"):
            if f"{kind}_counts" in row:
                same = row[f"{kind}_counts"] == row["counts"]
                yield Target(f"{about}, tiles beside {kind} torch", "equal" if same else "differ", "equal", same)


def seconds(value: float | None) -> str:
    """Seconds in the unit that suits them; a dash for None."""
    if value is None:
        return "–"
    return f"{value * 1e6:.1f} µs" if value < 1e-3 else f"{value * 1e3:.2f} ms" if value < 10 else f"{value:.1f} s"


def _at_most(about: str, found: float, limit: float) -> Target:
    return Target(about, seconds(found), f"≤ {seconds(limit)}", found <= limit)


def _ratio(about: str, found: float, limit: float) -> Target:
    return Target(about, f"{found:,.0f} ×", f"≥ {limit:,} ×", found >= limit)
