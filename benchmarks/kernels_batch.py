"""Runs a batch of measurements: each in a process of its own, all compiling at once, timed one after the other.

Not here: what a process does (`kernels_measure`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from benchmarks.correctness_record import Done, Key

COMPILING, TIMING = 300.0, 90.0
"""Seconds after which a process that is compiling, or being timed, is given up."""


KERNELS = ("triton", "flash", "sdpa")
"""Whose kernels implementations run, by a word of their names."""


@dataclass(frozen=True)
class Asked:
    """A pattern at a size (the fields of `kernels_cases.Size`) on a device, by the implementations on these kernels."""

    pattern: str
    size: dict[str, int] = field(hash=False)
    device: str
    tune: bool = False
    kernels: tuple[str, ...] = KERNELS

    @property
    def key(self) -> Key:
        """What the record knows it by."""
        s = self.size
        return self.pattern, f"d{s['dim']}" if s else "", f"{s['batch']}x{s['length']}" if s else ""


class Process:
    """A running measurement, its answers, and what it wrote to the standard error."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.errors = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kernels_measure.py"))], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment(asked.device),
        )  # fmt: skip
        self.answers: Queue[dict[str, Any] | None] = Queue()
        Thread(target=self._read, daemon=True).start()
        self._say(json.dumps(asdict(asked)))

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if line.startswith("@"):
                self.answers.put(json.loads(line[1:]))
        self.answers.put(None)

    def _say(self, line: str) -> None:
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(f"{line}\n")
            self.child.stdin.flush()

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None if the process ended, or gave none in time."""
        try:
            return self.answers.get(timeout=max(0.1, seconds))
        except Empty:
            return None

    def time(self) -> dict[str, Any] | None:
        """Let it be timed: its last answer."""
        self._say("")
        return self.wait(TIMING)

    def end(self) -> str:
        """Ends the process; the last lines that it wrote to the standard error."""
        self.child.kill()
        self.child.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        self.errors.close()
        return " | ".join(lines[-3:])[-600:] or "no answer in time"


def run_batch(asked: list[Asked], deadline: float) -> Iterator[tuple[Key, Done]]:
    """What each measurement found, in order; a process that dies or hangs is broken, and the others go on."""
    started = time.monotonic()
    processes = [Process(a) for a in asked]
    end_of_compiling = min(started + COMPILING, deadline + TIMING)
    ready = [process.wait(end_of_compiling - time.monotonic()) for process in processes]
    for process, answer in zip(processes, ready, strict=True):
        if answer is None:  # what still compiles must not disturb what is timed
            yield process.asked.key, Done(broken=[process.end()], seconds=time.monotonic() - started)
    for process, answer in zip(processes, ready, strict=True):
        if answer is not None:
            yield process.asked.key, _timed(process, started)


def _timed(process: Process, started: float) -> Done:
    answer = process.time()
    told = process.end()
    if answer is None:
        return Done(broken=[told], seconds=time.monotonic() - started)
    return Done(answer["rows"], answer["broken"], answer["absent"], time.monotonic() - started)


def environment(device: str) -> dict[str, str]:
    """For a measuring process: no compile workers of its own, and no probing of the CPU's vector instructions."""
    settings = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    if device == "cuda":
        settings |= {"TORCHINDUCTOR_VEC_ISA_OK": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **settings}
