"""Running the command line as a person does, in a process of its own, and as a function in this one."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended: its exit code, what it printed, and the processor time that it took in seconds."""

    code: int
    out: str
    err: str
    seconds: float


def run(*arguments: str | Path, cwd: Path = ROOT, stdin: str = "", **environment: str) -> Done:
    """Run `maskdsl` with arguments in a process of its own."""
    return python("-m", "maskdsl", *map(str, arguments), cwd=cwd, stdin=stdin, **environment)


def python(*arguments: str, cwd: Path = ROOT, stdin: str = "", **environment: str) -> Done:
    """Run this Python with arguments; the time is that of the process and what it started."""
    plain = {k: v for k, v in os.environ.items() if k not in ("MASKDSL_PATH", "MASKDSL_DEBUG", "FORCE_COLOR")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True,
        env={**plain, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environment},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Done(done.returncode, done.stdout, done.stderr, seconds)
