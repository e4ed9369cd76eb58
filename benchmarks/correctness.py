"""How far compiled kernels are from the float64 reference, beside PyTorch's own attention in the same dtype.

    python benchmarks/correctness.py                        # one CUDA GPU: all programs, bf16 and fp32, both ways
    python benchmarks/correctness.py --device cpu --quick   # a smoke test without a GPU: forward only, a few programs

For every program and call: relative errors |x - reference| / |reference| (Euclidean norms) of the output and of the
gradients of q, k, v and the float tables, of ours and of torch's (`sdpa`: scaled_dot_product_attention with the mask
and scores as a dense bias; `dense`: step by step, where SDPA cannot say it). Ours may be at most twice torch's, where
both are at least the dtype's unit roundoff; what torch cannot compute has a fixed limit instead. Prints a table, writes
`correctness.json` under --out, and ends with 1 if anything is over.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

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


@dataclass(frozen=True)
class Job:
    """A program's number in the list, a dtype, and the calls to make."""

    number: int
    dtype: str
    calls: tuple[Call, ...]
    device: str
    gradients: bool


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
    """Run all jobs on as many processes as there are cores, print and write what came out."""
    options = _options()
    _environment(options.device)
    cases, calls = _cases(options), QUICK if options.quick else CALLS
    dtypes = ("float32",) if options.quick else ("bfloat16", "float32")
    gradients = options.device == "cuda"
    jobs = [Job(n, d, calls, options.device, gradients) for n in range(len(cases)) for d in dtypes]
    if not options.quick:
        toured = [n for n, case in enumerate(cases) if case.name in ("causal", "pairs")]
        jobs = [Job(n, d, TOUR, options.device, gradients) for n in toured for d in dtypes] + jobs
    started, rows, broken = time.time(), [], []
    for job, found, seconds in _run_all(jobs, options):
        name = cases[job.number].name
        print(f"{name:20} {job.dtype:9} {seconds:5.0f} s  {_worst(found)}", flush=True)
        rows += [r for r in found if isinstance(r, Row)]
        broken += [f"{name} {job.dtype}: {r}" for r in found if isinstance(r, str)]
    _report(rows, broken, time.time() - started, options)
    return int(bool(broken) or not all(r.is_fine for r in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="a few programs, one call, float32")
    parser.add_argument("--all", action="store_true", help="every registered definition, with random tables")
    parser.add_argument("--only", nargs="*", default=(), metavar="PROGRAM")
    parser.add_argument("--processes", type=int, default=min(12, os.cpu_count() or 1))
    parser.add_argument("--minutes", type=float, default=9.0, help="stop then, and report what is done")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def _environment(device: str) -> None:
    """Settings that torch reads when it is imported: one thread a process, no compile workers of its own."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    if device == "cuda":
        os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"
        os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"  # the workers share one GPU's memory


def _cases(options: argparse.Namespace) -> list[Any]:
    from benchmarks.correctness_cases import INLINE, registered, remaining

    if options.quick and not options.only:
        return [case for case in INLINE if case.name in ("rows", "twice", "scaled", "sigmoid_attention", "blind")]
    cases = (*INLINE, *registered())
    cases += remaining(cases) if options.all or options.only else ()
    return [case for case in cases if not options.only or case.name in options.only]


def _run_all(jobs: list[Job], options: argparse.Namespace) -> Iterator[tuple[Job, list[Row | str], float]]:
    """The jobs as they end; those that a dead worker or the deadline took end as broken."""
    pool = ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"))
    waiting = {pool.submit(_run, job, options): job for job in jobs}
    try:
        for done in as_completed(waiting, timeout=60 * options.minutes):
            job = waiting.pop(done)
            problem = done.exception()
            yield (job, [f"{type(problem).__name__}: {problem}"], 0.0) if problem else (job, *done.result())
    except TimeoutError:
        yield from ((job, [f"not done after {options.minutes} minutes"], 0.0) for job in waiting.values())
        for worker in multiprocessing.active_children():
            worker.terminate()
    pool.shutdown(wait=False, cancel_futures=True)


# ---------------------------------------------------------------- in a worker


def _run(job: Job, options: argparse.Namespace) -> tuple[list[Row | str], float]:
    """The rows of a job; a call that raises is a text instead."""
    import torch

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    case, started, found = _cases(options)[job.number], time.time(), []
    for call in job.calls:
        try:
            found += _compare(case, job, call)
        except Exception as problem:  # whatever it is, the other calls must go on
            found.append(f"{call}: {type(problem).__name__}: {str(problem)[:800]}")
    return found, time.time() - started


def _problem(case: Any, job: Job, call: Call) -> Any:
    import numpy as np
    import torch

    import maskdsl
    from benchmarks.correctness_cases import Sizes
    from benchmarks.correctness_reference import Problem

    given = dict(case.constants)
    program = maskdsl.compile(case.text, **given) if case.text else maskdsl.get(case.name, **given)
    sizes = Sizes(call.batch, call.heads, call.q_len, call.kv_len, call.kv_heads)
    tables = case.tables(np.random.default_rng(1), sizes)
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
    wanted = job.gradients
    ours = held.ours(problem, gradients=wanted)
    theirs, against = held.yardstick(known, gradients=wanted)
    right = held.truth(known, gradients=wanted)
    arrays = [x.double().cpu().numpy() for x in (problem.q, problem.k, problem.v)]
    meaning = torch.from_numpy(problem.program.reference(*arrays, **problem.tables)).to(job.device)
    assert float((right["out"] - meaning).norm()) <= 1e-9 * (1 + float(meaning.norm())), "the two references differ"

    def row(what: str, expected: Any, mine: Any, torchs: Any) -> Row:
        yardstick = None if torchs is None else _error(torchs, expected)
        return Row(case.name, job.dtype, str(call), what, _error(mine, expected), yardstick, against)

    rows = [row(what, right[what], ours[what], theirs[what]) for what in right]
    for what, (places, slopes) in (held.table_truth(problem) if wanted and call.tables else {}).items():
        there, expected = torch.from_numpy(places), torch.from_numpy(np.asarray(slopes))
        torchs = theirs[what].cpu().flatten()[there] if what in theirs else None
        rows.append(row(what, expected, ours[what].cpu().flatten()[there], torchs))
    return rows


def _error(found: Any, expected: Any) -> float:
    """The relative error; of an expectation of zeros, the norm itself."""
    size = float(expected.norm())
    return float((found.double() - expected).norm()) / (size or 1.0)


# ---------------------------------------------------------------- the report


def _worst(found: list[Row | str]) -> str:
    rows = [r for r in found if isinstance(r, Row)]
    texts = [r for r in found if isinstance(r, str)]
    over = [f"{r.call} {r.what} {r.ours:.2e} beside {r.torch}" for r in rows if not r.is_fine]
    ratios = [r.ratio for r in rows if r.ratio is not None]
    return f"{len(rows)} rows, ratio at most {max(ratios, default=0):.2f} {'; '.join(over + texts)}"


def _report(rows: list[Row], broken: list[str], seconds: float, options: argparse.Namespace) -> None:
    worst: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = (row.program, row.dtype, row.what)
        if key not in worst or _rank(row) > _rank(worst[key]):
            worst[key] = row
    print(f"\n{'program':20} {'dtype':9} {'what':14} {'ours':>9} {'torch':>9} {'ratio':>6}  worst call")
    for row in sorted(worst.values(), key=lambda r: (r.program, r.dtype, r.what)):
        torchs = f"{row.torch:9.2e} {row.ratio:6.2f}" if row.ratio is not None else f"{'-':>9} {'-':>6}"
        told = "" if row.is_fine else "OVER"
        print(f"{row.program:20} {row.dtype:9} {row.what:14} {row.ours:9.2e} {torchs}  {row.call} {told}")
    over = [r for r in rows if not r.is_fine]
    print("\n".join(["", *broken, f"{len(rows)} comparisons, {len(over)} over, {len(broken)} broken, {seconds:.0f} s"]))
    options.out.mkdir(parents=True, exist_ok=True)
    table = [{**vars(r), "ratio": r.ratio, "fine": r.is_fine} for r in rows]
    written = {**_machine(), "seconds": round(seconds), "over": len(over), "broken": broken, "rows": table}
    (options.out / "correctness.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def _rank(row: Row) -> float:
    return row.ratio if row.ratio is not None else row.ours / LIMIT[row.dtype]


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
