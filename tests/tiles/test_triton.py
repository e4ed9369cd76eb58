"""The GPU's kernels of block lists, in Triton's interpreter: the same tiles as NumPy's, in both directions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_kernels_agree_with_numpy() -> None:
    pytest.importorskip("triton")
    program = [sys.executable, Path(__file__).with_name("interpreted.py")]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("masks agree")
