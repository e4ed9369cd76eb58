"""The GPU's kernels of serving steps: against torch in Triton's interpreter, and compiled for an H100 that is not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

HERE = Path(__file__).parent


@pytest.mark.parametrize("program", ["interpreted", "interpreted_kernels"])
def test_kernels_in_the_interpreter_do_what_torch_does(program: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, HERE / f"{program}.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "agree" in done.stdout


def test_kernels_compile_for_an_h100() -> None:
    done = subprocess.run([sys.executable, HERE / "named_target.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("cubin") == 14
