"""The GPU's kernels of serving steps: against torch in Triton's interpreter, and compiled for an H100 that is not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

HERE = Path(__file__).parent

SHIPPED = (
    "gemma2_local", "gpt_oss_local", "t5_bias", "random_eviction", "document", "kerple_log", "sandwich", "natten",
    "tree_bits", "sigmoid_attention",
)  # fmt: skip


def interpreted(program: str, *arguments: str) -> str:
    """What a program prints that runs in Triton's interpreter."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, HERE / f"{program}.py", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_plans_in_the_interpreter_are_those_of_torch() -> None:
    assert interpreted("interpreted").count("agrees") == 7


def test_attention_objects_in_the_interpreter_are_as_on_a_gpu() -> None:
    assert interpreted("interpreted_engine").count("agree") == 4


def test_decoding_in_the_interpreter_is_the_reference() -> None:
    assert interpreted("interpreted_decode").count("agrees") == 26


def test_decoding_of_shipped_definitions() -> None:
    """One of each kind of table and formula; `python tests/serving/interpreted_decode.py all` takes all of them."""
    assert interpreted("interpreted_decode", *SHIPPED).count("agrees") == len(SHIPPED)


def test_kernels_compile_for_an_h100() -> None:
    """Decoding without spilled registers, with keys and values that leave room for two programs on a multiprocessor;
    nothing is read number by number.
    """
    done = subprocess.run([sys.executable, HERE / "named_target.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 19
    for line in (x for x in lines if "decode" in x):
        assert int(found(line, "spilled")) == 0 and int(found(line, "shared")) < 232448 // 2 and int(found(line, "async"))
    assert all(int(found(line, "single")) == 0 for line in lines if "single" in line), lines


@pytest.mark.slow
def test_prefill_fits_an_h100() -> None:
    """The largest tiles, pages of 128 and heads of 128: a multiprocessor has 232,448 bytes for a program. And smaller
    pages, with as many queries in a tile.
    """
    command = [sys.executable, HERE / "offline_prefill.py", "128,64", "128", "mask m = k <= q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [x for x in done.stdout.splitlines() if "_tem_" in x]
    assert len(lines) == 2
    for line in lines:
        assert int(found(line, "spilled")) == 0 and int(found(line, "shared")) <= 232448
        assert "'fwd_BLOCK_M': 128" in line and "'fwd_num_warps': 8" in line


def found(line: str, name: str) -> str:
    """A number that the program tells of a kernel."""
    return line.split(f" {name}=")[1].split()[0]
