"""How far compiled kernels are from the float64 reference, beside PyTorch's own attention in the same dtype.

    python benchmarks/correctness.py                        # one CUDA GPU: 38 programs, bf16 and fp32, both ways
    python benchmarks/correctness.py --shipped --resume     # every shipped definition once, small; call it until done
    python benchmarks/correctness.py --device cpu --quick   # a smoke test without a GPU: forward only, a few programs

For every program and call: relative errors |x - reference| / |reference| (Euclidean norms) of the output and of the
gradients of q, k, v and the float tables, of ours and of torch's (`sdpa`: scaled_dot_product_attention with the mask
and scores as a dense bias; `dense`: step by step, where SDPA cannot say it). Ours may be at most twice torch's, where
both are at least the dtype's unit roundoff; what torch cannot compute, or what is 0, has a fixed limit instead. Prints
a table and ends with 1 if anything is over, broken or not done. The file `correctness.json` (`shipped.json`) under
--out is written after every job; `--resume` goes on from it: what has ended well is kept, what broke or waits is run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.correctness_record import Done, Key, Record

ROUNDOFF = {"bfloat16": 2.0**-9, "float16": 2.0**-12, "float32": 2.0**-24}
LIMIT = {"bfloat16": 2e-2, "float16": 4e-3, "float32": 1e-4}
"""The largest error where there is no yardstick."""

MOST = 2.0
"""The largest ratio of our error to torch's."""


@dataclass(frozen=True)
class Call:
    """Sizes of one call; `tables` asks for the gradients of float tables, by differences (small calls only)."""

    batch: int
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    dim: int = 64
    tables: bool = False
    kv_batch: int | None = None
    block: int | tuple[int, int] = 128

    def __str__(self) -> str:
        rows = "" if self.kv_batch is None else f" kv{self.kv_batch}"
        block = "" if self.block == 128 else f" block {self.block}"
        return f"{self.batch}x{self.heads}/{self.kv_heads}{rows} {self.q_len}x{self.kv_len} d{self.dim}{block}"


CALLS = (
    Call(1, 4, 2, 1000, 1000),
    Call(1, 4, 2, 129, 127, tables=True),
    Call(2, 4, 4, 127, 129),
    Call(2, 4, 1, 1, 1000),
)
TOUR = (
    Call(1, 2, 2, 1, 1),
    Call(2, 6, 2, 1, 300),
    Call(2, 6, 2, 40, 300),
    Call(1, 6, 2, 300, 129),
    Call(3, 4, 2, 70, 200, kv_batch=1),
    Call(1, 2, 2, 200, 200, dim=8),
    Call(1, 2, 2, 200, 200, dim=80),
    Call(1, 2, 1, 256, 256, dim=128),
    Call(1, 2, 1, 300, 300, dim=256),
    Call(1, 4, 2, 256, 384, block=64),
    Call(1, 2, 1, 100, 100, block=(32, 64)),
    Call(1, 4, 4, 1, 500, block=64),
    Call(1, 2, 1, 2048, 4096),
)
QUICK = (Call(1, 4, 2, 129, 127),)
SHIPPED = (Call(1, 4, 2, 129, 127), Call(1, 4, 2, 64, 64), Call(1, 4, 2, 16, 16))
"""Calls of a shipped definition: the first one whose sizes are for it is made."""


@dataclass(frozen=True)
class Job:
    """A program's number in the list, a dtype, and the calls to make: all, or the `first` one that is for it."""

    number: int
    name: str
    dtype: str
    calls: tuple[Call, ...]
    device: str
    gradients: bool
    first: bool = False

    @property
    def key(self) -> Key:
        """What the record knows the job by."""
        return self.name, self.dtype, ", ".join(map(str, self.calls))


@dataclass(frozen=True)
class Row:
    """One comparison: what was compared, our error, torch's (None: no yardstick), and which yardstick it was."""

    program: str
    dtype: str
    call: str
    what: str
    ours: float
    torch: float | None
    against: str

    @property
    def ratio(self) -> float | None:
        """Our error over torch's, neither below the unit roundoff."""
        if self.torch is None:
            return None
        floor = ROUNDOFF[self.dtype]
        return max(self.ours, floor) / max(self.torch, floor)

    @property
    def is_fine(self) -> bool:
        """Whether our error is within what is allowed (NaN is not)."""
        return self.ratio <= MOST if self.ratio is not None else self.ours <= LIMIT[self.dtype]


def main() -> int:
    """Run all jobs that are not done yet, print and write what came out."""
    options = _options()
    _environment(options.device)
    record = Record.open(options.out / ("shipped.json" if options.shipped else "correctness.json"), _machine(),
                         options.resume)
    jobs = _jobs(options)
    waiting = [job for job in jobs if not record.finished(job.key)]
    print(f"{len(jobs)} jobs, {len(waiting)} to do, {options.processes} processes", flush=True)
    started = time.time()
    left = {job.key for job in waiting}
    for job, done in _run_all(_longest_first(waiting, record, options), options):
        print(f"{job.name:28} {job.dtype:9} {done.seconds:5.0f} s  {_worst(done)}", flush=True)
        record.add(job.key, done)
        left.discard(job.key)
    record.save(sorted(left))
    found = [record.jobs[job.key] for job in jobs if job.key in record.jobs]
    _report(found, len(left), time.time() - started)
    return int(bool(left) or any(d.broken or not all(r["fine"] for r in d.rows) for d in found))


def _jobs(options: argparse.Namespace) -> list[Job]:
    cases, gradients = _cases(options), options.device == "cuda"
    calls = QUICK if options.quick else SHIPPED if options.shipped else CALLS
    dtypes = ("float32",) if options.quick else tuple(options.dtypes)
    if options.shipped:
        return [Job(n, c.name, d, calls, options.device, gradients, True) for n, c in enumerate(cases) for d in dtypes]
    jobs = [Job(n, c.name, d, calls, options.device, gradients) for n, c in enumerate(cases) for d in dtypes]
    if options.quick:
        return jobs
    toured = [(n, case) for n, case in enumerate(cases) if case.name in ("causal", "pairs")]
    parts = [TOUR[start : start + len(CALLS)] for start in range(0, len(TOUR), len(CALLS))]
    return [Job(n, c.name, d, p, options.device, gradients) for n, c in toured for d in dtypes for p in parts] + jobs


def _longest_first(jobs: list[Job], record: Record, options: argparse.Namespace) -> list[Job]:
    """The jobs in the order in which to start them: by the time that they took before, else by their formulas."""
    from benchmarks.correctness_cases import cost

    cases = _cases(options)
    known = {job.number: cost(cases[job.number]) * len(job.calls) for job in jobs}

    def rank(job: Job) -> tuple[float, float]:
        before = record.jobs.get(job.key)
        return (before.seconds if before else 0.0, known[job.number])

    return sorted(jobs, key=rank, reverse=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="a few programs, one call, float32")
    parser.add_argument("--all", action="store_true", help="every shipped definition, with random tables")
    parser.add_argument("--shipped", action="store_true", help="every shipped definition once, in one small call")
    parser.add_argument("--only", nargs="+", default=(), metavar="PROGRAM", help="these programs, by name or path")
    parser.add_argument("--dtypes", nargs="+", default=("bfloat16", "float32"), choices=tuple(ROUNDOFF))
    parser.add_argument("--processes", type=int, default=min(6, os.cpu_count() or 1),
                        help="each holds a context in the memory of a GPU; they take the GPUs in turns")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop then, and report what is done")
    parser.add_argument("--resume", action="store_true", help="go on from the file of an earlier run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def _environment(device: str) -> None:
    """Settings that torch reads when it is imported: one thread a process, no compile workers of its own."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    if device == "cuda":
        os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"
        os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"  # the workers share one GPU's memory


def _cases(options: argparse.Namespace) -> tuple[Any, ...]:
    return _chosen(options.quick, options.all, options.shipped, tuple(options.only))


@cache
def _chosen(quick: bool, everything: bool, shipped: bool, only: tuple[str, ...]) -> tuple[Any, ...]:
    from benchmarks.correctness_cases import BASICS, INLINE, registered, remaining

    if quick and not only:
        return tuple(c for c in INLINE if c.name in ("rows", "twice", "scaled", "sigmoid_attention", "blind"))
    wide = everything or shipped or only
    cases = (*(() if shipped else INLINE), *registered(() if wide else BASICS))
    cases += remaining(cases) if wide else ()
    unknown = [name for name in only if not any(_is_called(case, name) for case in cases)]
    if unknown:
        raise SystemExit(f"no program is called {', '.join(unknown)}")
    return tuple(case for case in cases if not only or any(_is_called(case, name) for name in only))


def _is_called(case: Any, name: str) -> bool:
    return name in (case.name, case.name.rpartition("/")[2]) or name.rpartition("/")[2] == case.name


def _run_all(jobs: list[Job], options: argparse.Namespace) -> Iterator[tuple[Job, Done]]:
    """The jobs as they end, until the deadline; those of a worker that died end as broken."""
    pool = ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"))
    waiting = {pool.submit(_run, job, options): job for job in jobs}
    try:
        for done in as_completed(waiting, timeout=60 * options.minutes):
            job, problem = waiting.pop(done), done.exception()
            yield job, Done(broken=[f"{type(problem).__name__}: {problem}"]) if problem else done.result()
    except TimeoutError:
        print(f"stopped after {options.minutes} minutes", flush=True)
        for worker in multiprocessing.active_children():
            worker.terminate()
    pool.shutdown(wait=False, cancel_futures=True)


# ---------------------------------------------------------------- in a worker


def _run(job: Job, options: argparse.Namespace) -> Done:
    """What a job found; a call that raises is a text instead."""
    import torch

    from benchmarks.correctness_cases import Unfit

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    if job.device == "cuda":
        torch.cuda.set_device(os.getpid() % torch.cuda.device_count())
    case, started, done = _cases(options)[job.number], time.time(), Done()
    for call in job.calls:
        try:
            rows = _compare(case, job, call)
            done.rows += [{**vars(r), "ratio": r.ratio, "fine": r.is_fine} for r in rows]
        except Unfit as problem:
            done.unfit.append(f"{call}: {problem}")
            continue
        except Exception as problem:  # whatever it is, the other calls must go on
            done.broken.append(f"{job.name} {job.dtype} {call}: {type(problem).__name__}: {str(problem)[:800]}")
        if job.first:
            break
    if len(done.unfit) == len(job.calls):
        done.broken.append(f"{job.name} {job.dtype}: no call has sizes for it: {done.unfit[-1]}")
    done.seconds = time.time() - started
    return done


def _problem(case: Any, job: Job, call: Call) -> Any:
    import torch

    import maskdsl
    from benchmarks.correctness_cases import Sizes, fitting_tables
    from benchmarks.correctness_reference import Problem

    given = dict(case.constants)
    program = maskdsl.compile(case.text, **given) if case.text else maskdsl.get(case.name, **given)
    tables = fitting_tables(program, case, Sizes(call.batch, call.heads, call.q_len, call.kv_len, call.kv_heads))
    generator, dtype = torch.Generator().manual_seed(2), getattr(torch, job.dtype)
    rows = call.batch if call.kv_batch is None else call.kv_batch
    shapes = [(call.batch, call.heads, call.q_len, call.dim), *[(rows, call.kv_heads, call.kv_len, call.dim)] * 2]
    drawn = [torch.randn(s, generator=generator).to(job.device, dtype) for s in (*shapes, shapes[0])]
    return Problem(program, tables, *drawn, block=call.block)


def _compare(case: Any, job: Job, call: Call) -> list[Row]:
    import numpy as np
    import torch

    from benchmarks import correctness_reference as held

    problem = _problem(case, job, call)
    known = held.dense(problem)
    ours, wanted = _ours(problem, job.gradients)
    theirs, against = held.yardstick(known, gradients=wanted)
    right = held.truth(known, gradients=wanted)
    arrays = [x.double().cpu().numpy() for x in (problem.q, problem.k, problem.v)]
    meaning = torch.from_numpy(problem.program.reference(*arrays, **problem.tables)).to(job.device)
    assert float((right["out"] - meaning).norm()) <= 1e-9 * (1 + float(meaning.norm())), "the two references differ"

    def row(what: str, expected: Any, mine: Any, torchs: Any) -> Row:
        # Against zeros there is no relative error to compare: the limit is for what is not quite 0.
        yardstick = None if torchs is None or not expected.any() else _error(torchs, expected)
        return Row(case.name, job.dtype, str(call), what, _error(mine, expected), yardstick, against)

    rows = [row(what, right[what], ours[what], theirs[what]) for what in right]
    for what, (places, slopes) in (held.table_truth(problem) if wanted and call.tables else {}).items():
        there, expected = torch.from_numpy(places), torch.from_numpy(np.asarray(slopes))
        torchs = theirs[what].cpu().flatten()[there] if what in theirs else None
        rows.append(row(what, expected, ours[what].cpu().flatten()[there], torchs))
    return rows


def _ours(problem: Any, gradients: bool) -> tuple[dict[str, Any], bool]:
    """What the kernel gives, and whether gradients are in it: not where FlexAttention has none of such a call."""
    from benchmarks import correctness_reference as held
    from maskdsl.source.diagnostic import MaskError

    try:
        return held.ours(problem, gradients=gradients), gradients
    except MaskError as refused:
        if not gradients or any(d.code not in ("E0702", "E0703") for d in refused.diagnostics):
            raise
        return held.ours(problem, gradients=False), False


def _error(found: Any, expected: Any) -> float:
    """The relative error; of an expectation of zeros, the norm itself."""
    size = float(expected.norm())
    return float((found.double() - expected).norm()) / (size or 1.0)


# ---------------------------------------------------------------- the report


def _worst(done: Done) -> str:
    over = [f"{r['call']} {r['what']} {r['ours']:.2e} beside {r['torch']}" for r in done.rows if not r["fine"]]
    ratios = [r["ratio"] for r in done.rows if r["ratio"] is not None]
    return f"{len(done.rows)} rows, ratio at most {max(ratios, default=0):.2f} {'; '.join(over + done.broken)}"


def _report(found: list[Done], waiting: int, seconds: float) -> None:
    rows = [r for done in found for r in done.rows]
    broken = [text for done in found for text in done.broken]
    worst: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["program"], row["dtype"], row["what"])
        if key not in worst or _rank(row) > _rank(worst[key]):
            worst[key] = row
    print(f"\n{'program':28} {'dtype':9} {'what':14} {'ours':>9} {'torch':>9} {'ratio':>6}  worst call")
    for key, row in sorted(worst.items()):
        torchs = f"{row['torch']:9.2e} {row['ratio']:6.2f}" if row["ratio"] is not None else f"{'-':>9} {'-':>6}"
        told = "" if row["fine"] else "OVER"
        print(f"{key[0]:28} {key[1]:9} {key[2]:14} {row['ours']:9.2e} {torchs}  {row['call']} {told}")
    over, unfit = sum(not r["fine"] for r in rows), sum(len(done.unfit) for done in found)
    print("\n".join(["", *broken, f"{len(rows)} comparisons, {over} over, {len(broken)} broken, {unfit} calls not for "
                                   f"their program, {waiting} jobs waiting, {seconds:.0f} s"]))


def _rank(row: dict[str, Any]) -> float:
    ratio: float | None = row["ratio"]
    return ratio if ratio is not None else float(row["ours"]) / LIMIT[row["dtype"]]


def _machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    try:
        import triton

        triton_version = triton.__version__
    except ImportError:
        triton_version = None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "gpu": gpu, "torch": torch.__version__,
        "triton": triton_version, "python": platform.python_version(), "machine": platform.platform(),
        "cores": os.cpu_count(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
