"""Many definitions compiled at once, each by a process of its own: what one does wrong does not stop the others.

Not here: what such a process does (`compile_one`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from maskdsl.backends.package_patches import REPAIRED
from maskdsl.cli.outcome import Exit, count, print_diagnostics, print_json
from maskdsl.cli.progress import Bar
from maskdsl.cli.target import Target, find_targets
from maskdsl.library.files import find_files
from maskdsl.library.registry import shared
from maskdsl.source.diagnostic import MaskError

MEMORY = 2 << 30
"""Bytes that a process is given: torch's compiler with the C++ compiler that it starts."""

SHORTEST = 60
"""How much of a diagnostic a row shows."""


@dataclass(frozen=True, slots=True)
class Job:
    """A definition to compile: what `maskdsl compile` is told to compile, and the folder that it writes into."""

    name: str
    what: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: nothing in `problem`, or a diagnostic's first line; the size is that of its folder.

    `fault` says that the problem is maskdsl's own, or that something ended the process.
    """

    name: str
    folder: str
    seconds: float
    kind: str = ""
    bytes: int = 0
    problem: str = ""
    told: str = ""
    fault: bool = False

    def plain(self) -> dict[str, Any]:
        """The outcome for machines."""
        return asdict(self)


def compile_many(words: Sequence[str], output: Path, options: Sequence[str], jobs: int | None, as_json: bool) -> None:
    """Compile every definition of the files, folders and names, and print what became of each.

    Raises Exit where a definition was not compiled, or a file not read; 3 for a fault of our own.
    """
    found, unread = _jobs(words, output)
    at_once = max(1, min(jobs or _fitting(), len(found)))
    begun, outcomes = time.perf_counter(), list[Outcome]()
    with Bar(quiet=as_json, lines=True) as bar:
        for outcome in _run_all(found, options, at_once):
            outcomes.append(outcome)
            bar.tell(len(outcomes), len(found), outcome.name if bar.draws else _row(outcome))
    order = {job.folder: number for number, job in enumerate(found)}
    outcomes.sort(key=lambda o: order[Path(o.folder)])
    for problem in unread:
        print_diagnostics(problem.diagnostics)
    if as_json:
        print_json([o.plain() for o in outcomes])
    elif outcomes:
        for told in (o.told for o in outcomes if o.told):
            print(told, end="\n\n", file=sys.stderr)
        print("\n".join(table(outcomes)), end="\n\n")
        print(_summary(outcomes, len(unread), time.perf_counter() - begun, at_once))
    if any(o.fault for o in outcomes):
        raise typer.Exit(Exit.FAULT)
    if unread or any(o.problem for o in outcomes):
        raise typer.Exit(Exit.DIAGNOSTICS)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each: its name, its time, and its size or why there is none."""
    width = max((len(o.name) for o in outcomes), default=0)
    return [_row(o, width) for o in outcomes]


def _row(outcome: Outcome, width: int = 0) -> str:
    return f"{outcome.name:{width}}  {outcome.seconds:6.1f} s  {_result(outcome)}"


def _result(outcome: Outcome) -> str:
    if not outcome.problem:
        return f"{outcome.kind}, {outcome.bytes / 1e6:.1f} MB"
    return outcome.problem if len(outcome.problem) <= SHORTEST else f"{outcome.problem[: SHORTEST - 1]}…"


def _summary(outcomes: Sequence[Outcome], unread: int, seconds: float, at_once: int) -> str:
    spent = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    failed = sum(bool(o.problem) for o in outcomes)
    rest = (f", {failed} not" if failed else "") + (f", {unread} not read" if unread else "")
    return f"{count(len(outcomes), 'definition')}: {len(outcomes) - failed} compiled{rest}; {spent}, {at_once} at once"


def _jobs(words: Sequence[str], output: Path) -> tuple[list[Job], list[MaskError]]:
    """The definitions that words mean, each once, and what could not be read.

    A folder is called like its definition; if several are called so, like file and definition.
    """
    targets: dict[tuple[str, str], Target] = {}
    problems: list[MaskError] = []
    for word in words:
        for target in _targets(word, problems):
            targets.setdefault((str(target.source.path or target.source.name), target.name), target)
    named = Counter(t.name for t in targets.values())
    found = []
    for (path, name), target in targets.items():
        called = name if named[name] == 1 else f"{Path(path).stem}.{name}"
        what = f"{path}:{name}" if target.source.path is not None else name
        found.append(Job(called, what, output / called))
    return found, problems


def _targets(word: str, problems: list[MaskError]) -> Iterator[Target]:
    for name in map(str, find_files(Path(word))) if os.path.isdir(word) else (word,):
        try:
            yield from find_targets(name, shared())
        except MaskError as problem:
            problems.append(problem)


def _fitting() -> int:
    """How many processes the processors and the free memory have room for."""
    try:
        cores = len(os.sched_getaffinity(0))
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # another system than Linux
        return os.cpu_count() or 1
    return max(1, min(cores, free // MEMORY))


def _run_all(jobs: Sequence[Job], options: Sequence[str], at_once: int) -> Iterator[Outcome]:
    """The outcomes as they come."""
    environment = _environment(at_once)
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(_run, job, options, environment) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()


def _environment(at_once: int) -> dict[str, str]:
    """That of a job: one compiler, and its part of the processors."""
    from importlib.metadata import version  # torch itself is not imported here

    own = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "NO_COLOR": "1"}
    if version("torch").startswith(REPAIRED):  # elsewhere the number of threads becomes a part of the kernel
        own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // at_once))
    return {**os.environ, **own}


def _run(job: Job, options: Sequence[str], environment: dict[str, str]) -> Outcome:
    begun = time.perf_counter()
    words = [sys.executable, "-m", "maskdsl", "compile", job.what, "-o", str(job.folder), "--examples", "--json"]
    done = subprocess.run([*words, *options], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        return _failed(job, seconds, done.returncode, done.stderr.strip())
    kind = json.loads(done.stdout)["artifact"]["kind"]
    return Outcome(job.name, str(job.folder), seconds, kind, _size(job.folder))


def _failed(job: Job, seconds: float, code: int, said: str) -> Outcome:
    """The outcome of a process that ended with a code, below 0 for a signal, and said this on standard error."""
    how = f"its process was ended by {_signal(-code)}" if code < 0 else f"its process ended with {code}"
    first = next((line for line in said.splitlines() if line.startswith("error")), "")
    told = f"{job.name}: {how}\n\n{said}".strip() if code < 0 else said or f"{job.name}: {how}"
    fault = code not in (Exit.DIAGNOSTICS, Exit.USAGE)
    return Outcome(job.name, str(job.folder), seconds, problem=first or how, told=told, fault=fault)


def _signal(number: int) -> str:
    """A signal's name; the system ends those with SIGKILL that take more memory than there is."""
    named = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
    return f"{named}, as when memory runs out: fewer `--jobs` take less" if named == "SIGKILL" else named


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
