"""The whole site, built once by the command in a process of its own, whatever number of workers the tests run in."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from built import ROOT, Site

LONGEST = 600
"""Seconds that a worker waits for the one that builds."""


@dataclass(frozen=True)
class Built:
    """How the command ended, and the processor seconds that it took."""

    code: int
    out: str
    err: str
    seconds: float


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """`maskdsl gallery -o DIR`."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "gallery"
    told = shared / "built.json"
    try:
        shared.mkdir()
    except FileExistsError:
        wait_for(told)
    else:
        (shared / "building").write_text(json.dumps(asdict(build(shared / "site"))))
        (shared / "building").rename(told)
    built = Built(**json.loads(told.read_text()))
    assert built.code == 0, built.out + built.err
    assert built.err == "", "no terminal, no bar"
    return Site(shared / "site", built.out, built.seconds)


def wait_for(path: Path) -> None:
    """Return when the file is there."""
    end = time.monotonic() + LONGEST
    while not path.exists():
        assert time.monotonic() < end, "the site was never built"
        time.sleep(0.2)


def build(folder: Path) -> Built:
    """Run the command."""
    env = {k: v for k, v in os.environ.items() if k not in ("MASKDSL_PATH", "MASKDSL_DEBUG")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "maskdsl", "gallery", "-o", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Built(done.returncode, done.stdout, done.stderr, seconds)
