"""CUDA's driver through ctypes, against a library in C that stands for it: what arrives there is what was meant."""

from __future__ import annotations

import shutil
import subprocess
import threading
from ctypes import c_void_p
from pathlib import Path
from typing import Any

import pytest
import torch

from maskdsl.backends import cuda_driver
from maskdsl.backends.cuda_driver import CudaDriver, DriverError
from maskdsl.backends.launch_plan import KernelPlan, launcher_of

IMAGE = b"\x7fELF\x00cubin and more"
SIGNATURE = (("p", "*fp32"), ("n", "i32"), ("m", "i64"), ("x", "fp32"))
PLAN = KernelPlan(
    "kernel", "kernel.cubin", "entry", ("p", "n", "m", "one", "x"), SIGNATURE,
    "def grid(p, n, m, one, x):\n    rows = -(n // -4)\n    return rows, 2, 1\n", 4, 50_000, 0,
)  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub, compiled."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    made = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", made, Path(__file__).with_name("libcuda.c")], check=True)
    return made


@pytest.fixture
def log(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stub was asked for."""
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(library))
    monkeypatch.setenv("CUDA_STUB_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_a_launch_arrives_as_it_was_meant(log: Path) -> None:
    launcher = launcher_of(PLAN, IMAGE, CudaDriver(), torch.device("cpu"))
    p = torch.zeros(4)
    launcher.run(p, 9, -(2**40), 1, 0.5, stream=0x700000007)
    told = log.read_text().splitlines()
    assert told[:4] == ["retain", "push", "attribute 8 50000", "pop"]
    assert told[4:] == [
        "push",
        f"launch 0x800000002 (3 2 1) (128 1 1) 50000 0x700000007: {p.data_ptr():x} 9 {-(2**40)} 0.5 0 0",
        "pop",
    ]


def test_threads_without_a_context_get_one(log: Path) -> None:
    launcher = launcher_of(PLAN, IMAGE, CudaDriver(), torch.device("cpu"))
    threads = [threading.Thread(target=launcher.run, args=(torch.zeros(1), 4, 0, 1, 0.0), kwargs={"stream": 0})]
    for thread in threads:
        thread.start()
        thread.join()
    assert "nowhere" not in log.read_text() and log.read_text().count("launch") == 1


def test_no_programs_are_no_launch(log: Path) -> None:
    launcher = launcher_of(PLAN, IMAGE, CudaDriver(), torch.device("cpu"))
    launcher.run(torch.zeros(0), 0, 0, 1, 0.0, stream=0)
    assert "launch" not in log.read_text()


def test_what_the_driver_refuses_is_said(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = CudaDriver()
    assert driver.version() == (12, 8)
    with pytest.raises(DriverError, match="cuModuleLoadData: CUDA_ERROR_INVALID_IMAGE"):
        driver.load(b"something else", "entry", 0, 0)
    with pytest.raises(DriverError, match="cuModuleGetFunction: error 1"):
        driver.load(IMAGE, "another", 0, 0)
    with pytest.raises(DriverError, match="cuDeviceGet: error 101"):
        driver.load(IMAGE, "entry", 0, 7)
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libnothing.so.1")
    with pytest.raises(DriverError, match=r"libnothing.so.1 cannot be loaded"):
        CudaDriver()


def test_scratch_memory_is_there_for_every_program() -> None:
    seen: list[Any] = []

    class Recorder:
        def load(self, *arguments: Any) -> str:
            return "function"

        def launch(self, function: str, grid: Any, threads: int, shared: int, stream: int, values: Any) -> None:
            seen.extend(c_void_p.from_address(v).value for v in values[-2:])

    plan = KernelPlan("k", "", "k", ("n",), (("n", "i32"),), "def grid(n):\n    return n, 1, 1\n", 1, 0, 384)
    launcher_of(plan, b"", Recorder(), torch.device("cpu")).run(5, stream=0)
    assert seen[0] and seen[0] % 64 == 0 and not seen[1]
