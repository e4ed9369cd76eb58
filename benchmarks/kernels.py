"""Speed of attention kernels on one GPU: ours beside FlexAttention by hand and torch's own, forward and backward.

    python benchmarks/kernels.py [--only PATTERN…] [--dims D…] [--kernels KERNEL…] [--resume] [--minutes N] [--out DIR]
    python benchmarks/kernels.py --device cpu --quick        # a smoke test without a GPU: one pattern, forward only

TFLOP/s of visible pairs (4 * dim operations a pair and head forward, 10 * dim backward), medians of kernel times with
a cold cache, taken in turns: `triton` and `flash` are ours on either kernel, `precise` is without the GPU's fast forms,
`second length` after a call of another length, `hand` the closures of FlexAttention's examples on the same kernel.
Before that, outputs and gradients of 16 queries are held against float64. First come the four patterns of the targets
at 8,192 tokens, then the times of first calls with and without an artifact, then the rest. Every pattern at every size
is a process: all of a batch compile at once, and are timed one after the other. `kernels_DEVICE.json` under --out is
written after each; `--resume` goes on from it. Ends with 1 if anything is broken, off by more than its limit, or slower
than by hand by more than 2 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.correctness_record import Done, Key, Record
from benchmarks.kernels_batch import KERNELS, Asked, run_batch
from benchmarks.kernels_report import FIRST_CALLS, about, lines_of, report

FIRST = ("causal", "sliding window 1024", "causal, softcap 50", "packed causal")
OTHERS = ("ALiBi", "prefix-LM", "chunked 1024", "GPT-OSS local")
BATCH = {2048: 4}
"""Batch rows by length, 1 for others."""


def main() -> int:
    """Run what is not done yet, print and write what came out."""
    options = _options()
    record = Record.open(options.out / f"kernels_{options.device}.json", about(options.device), options.resume)
    asked = [a for a in wanted(options) if options.kernels != KERNELS or not record.finished(a.key)]
    print(f"{len(asked)} to do, {options.processes} at once", flush=True)
    deadline = time.monotonic() + 60 * options.minutes
    for batch in batches(asked, options.processes):
        if time.monotonic() > deadline:
            break
        for key, done in _done(batch, options, deadline):
            before = record.jobs.get(key) if options.kernels != KERNELS else None
            record.add(key, with_others(done, before, options.kernels))
            print("\n".join(lines_of(key, done)), flush=True)
    left = [a.key for a in wanted(options) if a.key not in record.jobs]
    record.save(left)
    return report(record, left)


def with_others(done: Done, before: Done | None, kernels: tuple[str, ...]) -> Done:
    """A measurement of implementations on some kernels, with what is known of the others and of what `auto` takes."""
    if before is None:
        return done
    auto = {r["pass"]: r["auto"] for r in before.rows}
    for row in done.rows:
        row["auto"] = auto.get(row["pass"], row["auto"])
    kept = [r for r in before.rows if not any(kernel in r["implementation"] for kernel in kernels)]
    unfit = [t for t in before.unfit if not any(kernel in t.partition(":")[0] for kernel in kernels)]
    return Done(done.rows + kept, done.broken, done.unfit + unfit, before.seconds)


def _done(batch: list[Asked], options: argparse.Namespace, deadline: float) -> Iterator[tuple[Key, Done]]:
    if batch[0].key[0] != FIRST_CALLS:
        yield from run_batch(batch, deadline)
        return
    from benchmarks.kernels_start import first_calls

    yield batch[0].key, first_calls(options.device)


def wanted(options: argparse.Namespace) -> list[Asked]:
    """Everything in the order in which it is run."""
    if options.quick:
        return [Asked("causal", _size(64, 256, heads=2, kv_heads=1), options.device)]
    main_size, first = _size(128, 8192), (*FIRST, *OTHERS)
    order = [(p, main_size) for p in first]
    order += [(p, _size(64, 8192)) for p in first]
    order += [(p, _size(128, n)) for n in (2048, 32768) for p in first]
    order += [(p, _size(64, n)) for n in (2048, 32768) for p in FIRST]
    found = [Asked(p, size, options.device, options.tune, options.kernels) for p, size in order]
    if options.kernels == KERNELS:
        found.insert(len(FIRST), Asked(FIRST_CALLS, {}, options.device))
    unknown = set(options.only) - {a.pattern for a in found}
    if unknown:
        raise SystemExit(f"no pattern is called {', '.join(sorted(unknown))}: {', '.join(first)}, {FIRST_CALLS}")
    return [
        a for a in found
        if (not options.only or a.pattern in options.only) and (not a.size or a.size["dim"] in options.dims)
    ]  # fmt: skip


def batches(asked: list[Asked], processes: int) -> Iterator[list[Asked]]:
    """Groups that compile together, in order; the first calls are a group of their own, after the first group."""
    alone = [a for a in asked if a.pattern == FIRST_CALLS]
    others = [a for a in asked if a.pattern != FIRST_CALLS]
    for start in range(0, len(others), processes):
        yield others[start : start + processes]
        if alone:
            yield [alone.pop()]
    if alone:
        yield alone


def _size(dim: int, length: int, heads: int = 32, kv_heads: int = 8) -> dict[str, int]:
    return {"dim": dim, "length": length, "batch": BATCH.get(length, 1), "heads": heads, "kv_heads": kv_heads}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="one pattern at one small size")
    parser.add_argument("--only", nargs="+", default=(), metavar="PATTERN", help=f"these patterns, or {FIRST_CALLS!r}")
    parser.add_argument("--tune", action="store_true", help="also ours with the options that `tune=True` finds")
    parser.add_argument("--dims", nargs="+", type=int, choices=(64, 128), default=(64, 128), help="these head_dims")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=KERNELS,
                        help="only implementations on these, again; with --resume the file keeps the others' times")
    parser.add_argument("--resume", action="store_true", help="go on from the file of an earlier run")
    parser.add_argument("--minutes", type=float, default=9.0, help="start nothing after that")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) - 2))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.kernels = tuple(options.kernels)
    return options


if __name__ == "__main__":
    sys.exit(main())
