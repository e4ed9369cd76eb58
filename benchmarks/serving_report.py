"""The tables of the serving benchmark, and the targets: what is to be reached on an H100."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.correctness_record import Done, Key, Record
from benchmarks.serving_cases import KINDS

PAGES = (128, 16, 64)

UNIFORM = 0.96
"""Of the copy's bandwidth, on uniform lengths."""
MIXED = 2.75
"""TB/s on mixed lengths."""
ZIPF = 0.090
"""Milliseconds on the zipf lengths."""
PREFILL = 400.0
"""TFLOP/s of prefill at pages of 128."""
PLAN = 0.050
"""Milliseconds of a plan of 256 requests x 8192."""
PACKED = 3.0
"""Times as fast as the packed layout, everywhere."""


def lines_of(key: Key, done: Done) -> list[str]:
    """A job as lines."""
    head = f"{key[0]:15} {key[1]:9}"
    told = [f"{head} {_cells(row)}" for row in done.rows]
    return told + [f"{head} broken: {text}" for text in done.broken]


def _cells(row: dict[str, Any]) -> str:
    cells = [f"{row['who']:24}"]
    for name, form in (
        ("ms", "{:9.4f} ms"), ("tb_s", "{:6.3f} TB/s"), ("tflops", "{:6.1f} TFLOP/s"), ("cold_ms", "cold {:.4f}"),
        ("eager_ms", "eager {:.4f}"), ("launches", "{} launches"), ("host_us", "host {:.1f} µs"),
        ("error", "error {:.1e}"),
    ):  # fmt: skip
        if name in row:
            cells.append(form.format(row[name]))
    return "  ".join(cells) + ("" if row["fine"] else "  OVER")


def targets(record: Record) -> Iterator[tuple[str, float, float | None, bool]]:
    """What is to be reached, the limit, what was found, and whether more is better."""
    copy = _found(record, "copy", "", "copy", "tb_s")
    for page in PAGES:
        speed = _found(record, "decode uniform", f"page {page}", "ours", "tb_s")
        share = speed / copy if speed is not None and copy else None
        yield f"uniform lengths, page {page}: share of the copy", UNIFORM, share, True
    for page in PAGES:
        speed = _found(record, "decode mixed", f"page {page}", "ours", "tb_s")
        yield f"mixed lengths, page {page}: TB/s", MIXED, speed, True
    for page in PAGES:
        yield f"zipf lengths, page {page}: ms", ZIPF, _found(record, "decode zipf", f"page {page}", "ours", "ms"), False
    yield "prefill, page 128: TFLOP/s", PREFILL, _found(record, "prefill", "page 128", "ours", "tflops"), True
    for page in (16, 128):
        plan = _found(record, "plan", f"page {page}", "plan, decode 256x8192", "ms")
        yield f"plan, page {page}: ms", PLAN, plan, False
    for what in (*(f"decode {kind}" for kind in KINDS), "prefill"):
        for page in PAGES:
            both = [_found(record, what, f"page {page}", who, "ms") for who in ("packed", "ours")]
            ratio = both[0] / both[1] if both[0] is not None and both[1] else None
            yield f"{what}, page {page}: times the packed layout", PACKED, ratio, True


def _found(record: Record, what: str, page: str, who: str, name: str) -> float | None:
    """A number of a job, None where it did not run or is wrong."""
    rows = [r for key, done in record.jobs.items() if key[:2] == (what, page) for r in done.rows]
    return next((r[name] for r in rows if r["who"] == who and r["fine"] and name in r), None)


def report(record: Record, left: list[Key], *, full: bool) -> int:
    """Prints the targets, which are for the `full` size; 1 if anything is broken, wrong or waiting."""
    if full:
        print(f"\n{'target':50} {'wanted':>8} {'found':>8}")
    for name, limit, found, more in targets(record) if full else ():
        told = "not run" if found is None else "met" if (found >= limit if more else found <= limit) else "MISSED"
        print(f"{name:50} {limit:8.3f} {'-' if found is None else format(found, '8.3f'):>8} {told}")
    broken = sum(len(done.broken) for done in record.jobs.values())
    wrong = sum(not row["fine"] for done in record.jobs.values() for row in done.rows)
    print(f"{len(record.jobs)} jobs, {wrong} over the limit of errors, {broken} broken, {len(left)} waiting")
    return int(bool(broken or wrong or left))
