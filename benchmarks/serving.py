"""Speed of serving steps on one GPU: ours beside torch's SDPA on contiguous keys, a packed layout, and a plain copy.

    python benchmarks/serving.py [--only NAME…] [--resume] [--minutes N] [--out DIR]
    python benchmarks/serving.py --only search               # other kernel shapes and cuts, for who tunes
    python benchmarks/serving.py --device cpu --quick        # a smoke test without a GPU

Jobs: `copy`; `plan` of 256 requests x 8192 and of prefill; `host` time of a step; `decode uniform`, `decode mixed` and
`decode zipf` of 64 requests, up to 8192 keys each, 32/8 heads, head_dim 128, bfloat16, at pages of 128, 16 and 64;
`prefill` of 4 x 2048 new tokens on 6144 cached ones. --only takes a job's name, such as `decode zipf`, or a part of it
with the page, such as `prefill page 128`. Outputs are held against float64 first. `serving_DEVICE.json` under --out
(`serving_search_DEVICE.json` of a search) is written after every job, and --resume goes on from it, with what broke
before at the end. A job that breaks is written down, and the next one runs, in a process of its own if the GPU is lost
or does not answer. Ends with 1 if anything is broken, wrong or waiting.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks import serving_measure as measure
from benchmarks.correctness_record import Done, Key, Record
from benchmarks.kernels_batch import environment
from benchmarks.kernels_report import about
from benchmarks.serving_cases import FULL, KINDS, QUICK, TINY, Size
from benchmarks.serving_report import PAGES, lines_of, report

LOST = 3
"""How a process ends whose GPU answers no more."""

LONGEST = 120.0
"""Seconds after which a job is given up: the first one compiles for longest."""

Job = Callable[[measure.Bench, Done], None]


def jobs(size: Size, search: bool) -> dict[Key, Job]:
    """Every job in the order in which it is run."""
    pages = PAGES if size is FULL else PAGES[1:2]
    made: dict[Key, Job] = {("copy", "", str(size)): measure.measure_copy}

    def add(what: str, page: int, job: Callable[..., None], *arguments: object) -> None:
        made[what, f"page {page}", str(size)] = lambda bench, done: job(bench, done, *arguments, page)

    for page in pages:
        for kind in KINDS:
            add(f"decode {kind}", page, measure.measure_decode, kind)
        if page == 128 or size is not FULL:
            add("prefill", page, measure.measure_prefill)
        if page != 64:
            add("plan", page, measure.measure_plans)
        if page == pages[0]:
            add("host", 16, measure.measure_host)
    for page in pages[1:]:
        add("prefill", page, measure.measure_prefill)
    if search:
        made.clear()
        from benchmarks.serving_search import search as search_job

        for page in pages[:2]:
            for kind in KINDS:
                add(f"search {kind}", page, search_job, kind)
    return made


def main() -> int:
    """Run what is not done yet, print and write what came out."""
    options = read_options()
    size = {"cuda": QUICK if options.quick else FULL, "cpu": TINY}[options.device]
    chosen = choose(jobs(size, searches(options)), options.only, options.last)
    if not options.child:
        return watch(options, chosen, full=size is FULL and not searches(options))
    record = Record.open(file_of(options), about(options.device), options.resume)
    deadline = time.monotonic() + 60 * options.minutes
    bench = measure.Bench(torch.device(options.device), size)
    for key, job in chosen.items():
        if time.monotonic() > deadline:
            break
        if key not in record.jobs and not run_job(record, bench, key, job):
            return LOST
    return 0


def searches(options: argparse.Namespace) -> bool:
    """Whether shapes are to be searched, and nothing else."""
    return any(name.startswith("search") for name in options.only)


def file_of(options: argparse.Namespace) -> Path:
    """The file of the record."""
    kind = "serving_search" if searches(options) else "serving"
    return Path(options.out / f"{kind}_{options.device}.json")


def run_job(record: Record, bench: measure.Bench, key: Key, job: Job) -> bool:
    """Runs a job and writes it down; False if the GPU answers no more."""
    started, done = time.perf_counter(), Done()
    with measure.attempt(done, key[0]):
        job(bench, done)
    done.seconds = time.perf_counter() - started
    record.add(key, done)
    print("\n".join(lines_of(key, done)), flush=True)
    try:
        if bench.on_gpu:
            torch.cuda.synchronize()
    except Exception:
        return False
    return True


def watch(options: argparse.Namespace, chosen: dict[Key, Job], *, full: bool) -> int:
    """Lets a process do the jobs, and another one those behind the job that the first did not survive."""
    path, versions = file_of(options), about(options.device)
    record = Record.open(path, versions, options.resume)
    options.last = [name_of(key) for key in record.jobs if not record.finished(key)]
    chosen = last_ones(chosen, options.last)
    record.jobs = {key: done for key, done in record.jobs.items() if record.finished(key)}
    record.save()
    deadline = time.monotonic() + 60 * options.minutes
    while True:
        left = [key for key in chosen if key not in record.jobs]
        minutes = (deadline - time.monotonic()) / 60
        if not left or minutes <= 0:
            break
        ended = run_child(options, minutes)
        record = Record.open(path, versions, True)
        first = next((key for key in chosen if key not in record.jobs), None)
        if ended == 0 or first is None:
            break
        if ended != LOST:
            told = f"the process ended with {ended}" if isinstance(ended, int) else ended
            record.add(first, Done(broken=[told]))
            print("\n".join(lines_of(first, record.jobs[first])), flush=True)
    left = [key for key in chosen if key not in record.jobs]
    record.save(left)
    return report(record, left, full=full)


def run_child(options: argparse.Namespace, minutes: float) -> int | str:
    """How a process ended that did the jobs, or that one of them went on for too long."""
    command = [sys.executable, __file__, "--child", "--resume", "--device", options.device, "--out", str(options.out)]
    command += [*(["--quick"] if options.quick else []), *(["--only", *options.only] if options.only else [])]
    command += ["--minutes", str(minutes), *(["--last", *options.last] if options.last else [])]
    child = subprocess.Popen(command, env=environment(options.device))
    path, written, since = file_of(options), 0, time.monotonic()
    while True:
        try:
            return child.wait(1.0)
        except subprocess.TimeoutExpired:
            now = path.stat().st_mtime_ns
            written, since = now, time.monotonic() if now != written else since
        if time.monotonic() - since > LONGEST:
            child.kill()
            child.wait()
            return f"no answer in {LONGEST:.0f} seconds"


def name_of(key: Key) -> str:
    """What --only calls a job."""
    return f"{key[0]} {key[1]}".strip()


def last_ones(made: dict[Key, Job], names: Sequence[str]) -> dict[Key, Job]:
    """The jobs, those of these names at the end."""
    return {key: made[key] for key in sorted(made, key=lambda key: name_of(key) in names)}


def choose(made: dict[Key, Job], only: Sequence[str], last: Sequence[str] = ()) -> dict[Key, Job]:
    """The jobs that were asked for. Raises SystemExit for a name that no job has."""
    names = {key: name_of(key) for key in made}
    for wanted in only:
        if not any(name.startswith(wanted) for name in names.values()):
            raise SystemExit(f"no job is called {wanted}: {', '.join(names.values())}")
    chosen = {key: job for key, job in made.items() if not only or any(names[key].startswith(w) for w in only)}
    return last_ones(chosen, last)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", nargs="+", default=[], help="these jobs alone")
    parser.add_argument("--quick", action="store_true", help="small batches, pages of 16 alone")
    parser.add_argument("--resume", action="store_true", help="go on from the file of an earlier run")
    parser.add_argument("--minutes", type=float, default=9.0, help="begin no job after so many")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--last", nargs="+", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
