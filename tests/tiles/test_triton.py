"""The GPU's kernels of block lists without a GPU: in Triton's interpreter, where they must list the tiles that NumPy
finds, in both directions; and compiled for an H100 that is not there, up to the launch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_structured import FACTS, HEADER, draw_tables

import maskdsl
from maskdsl.backends import block_mask_triton, tile_plan
from maskdsl.binding import tile_masks

pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia
from triton.runtime import driver
from triton.runtime.jit import JITFunction


def test_kernels_agree_with_numpy() -> None:
    program = [sys.executable, Path(__file__).with_name("interpreted.py")]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("masks agree")


# ---------------------------------------------------------------- up to the launch


class Driver:
    """An H100 that only counts: `loaded` are the names of binaries, `launches` grids and arguments."""

    def __init__(self) -> None:
        self.utils, self.launcher_cls = self, nvidia.CudaLauncher
        self.loaded: list[str] = []
        self.launches: list[tuple[tuple[int, ...], tuple[Any, ...]]] = []

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 227 * 1024}

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[int, ...]:
        assert kernel[:4] == b"\x7fELF"
        self.loaded.append(name)
        return 1, 2, 32, 0, 1024

    def build_signature_metadata(self, signature: Any) -> bytes:
        return b""

    def launch(self, *given: Any) -> None:
        self.launches.append((given[:3], given[-1]))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """CPU tensors go the way of CUDA tensors; what was compiled for this driver is forgotten."""
    found = Driver()
    block_mask_triton.compiled_by_triton.cache_clear()
    monkeypatch.setattr(driver, "_active", found)
    monkeypatch.setattr(nvidia, "PyKernelArg", lambda **_: None)
    monkeypatch.setattr(tile_plan, "_has_kernels", lambda call: True)
    monkeypatch.setattr(tile_masks, "is_read_at_once", lambda device: False)
    yield found
    block_mask_triton.compiled_by_triton.cache_clear()


def arguments(launch: tuple[Any, tuple[Any, ...]]) -> list[Any]:
    """The grid and the arguments, tensors as where they are and what they hold."""
    grid, given = launch
    return [*grid, *((x.data_ptr(), x.dtype, x.stride()) if isinstance(x, torch.Tensor) else x for x in given)]


FORMULA = "doc[b, q] == doc[b, k] and k <= q and q - k < reach[h] or flag[clamp(q - k, 0, size(position) - 1)]"


def bound(length: int, seed: int, formula: str = FORMULA) -> Any:
    """A mask with its tables."""
    program = maskdsl.compile(HEADER + formula + FACTS)
    tables = draw_tables(np.random.default_rng(seed), length)
    return program.bind(**{t.name: torch.from_numpy(tables[t.name]) for t in program.variant.tables})


def test_later_launches_are_like_the_first(gpu: Driver) -> None:
    """The first goes through Triton, which looks for the kernel; the others go to the kernel that it found."""
    mask = bound(500, 0)
    for _ in range(3):
        mask.block_mask(2, 2, 500, 500, device="cpu", block_size=16, fresh=True)
    first, *others = [arguments(launch) for launch in gpu.launches]
    assert len(gpu.launches) == 3 and first[0] == 2 * 2 * (32 + 32)
    pointers = slice(3, 11)  # lists are fresh
    for other in others:
        assert other[:3] + other[11:] == first[:3] + first[11:]
        assert [x[1:] for x in other[pointers]] == [x[1:] for x in first[pointers]]


@pytest.mark.parametrize("formula", [FORMULA, "k <= q"])
def test_filling_in_place_is_one_launch(gpu: Driver, monkeypatch: pytest.MonkeyPatch, formula: str) -> None:
    """As a CUDA graph must see it: into the mask's own lists, with no tensor read back and nothing compiled."""
    mine = bound(500, 1, formula)
    call: Any = {"B": 2, "H": 2, "q_len": 500, "kv_len": 500, "device": "cpu", "block_size": 16}
    mask = mine.block_mask(**call)
    loaded, direct = len(gpu.loaded), [arguments(launch) for launch in gpu.launches]
    for name in ("item", "tolist", "__bool__", "__int__", "__index__", "nonzero", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, lambda *args, **kwargs: pytest.fail("read back"))
    monkeypatch.setattr(JITFunction, "run", lambda *args, **kwargs: pytest.fail("looked for a kernel again"))
    gpu.launches.clear()
    assert mine.block_mask(**call, out=mask) is mask and len(gpu.loaded) == loaded
    again = [arguments(launch) for launch in gpu.launches]
    assert [x[:11] for x in again] == [x[:11] for x in direct] and len(again) == 1  # the grid and the lists


def test_nothing_is_compiled_again(gpu: Driver) -> None:
    """Other lengths, tables, values of `int[]`, strides and numbers of rows: one kernel serves all."""
    text = "q % 5 - k % 7 < reach[h] and (doc[b, q] == doc[b, k] or k < span)"
    for seed, length in enumerate((100, 129, 700, 16, 31, 1)):
        bound(length, seed, text).block_mask(2, 2, length, length, device="cpu")
    assert len(gpu.launches) == 6 and len(gpu.loaded) == 1
    bound(1100 * 16, 9, text).block_mask(2, 2, 1100 * 16, 1100 * 16, device="cpu", block_size=(128, 16))
    assert len(gpu.loaded) == 1 + 1  # other tiles, hence another text


def test_longer_rows_have_a_kernel_of_their_own(gpu: Driver) -> None:
    mask = maskdsl.compile("mask m = k <= q + 3").bind()
    for length, kernels in ((8 * 1024, 1), (8 * 1025, 2), (8 * 5000, 2)):
        mask.block_mask(1, 1, 64, length, device="cpu", block_size=8, transposed=False)
        assert len(gpu.loaded) == kernels


def test_offsets_have_64_bits(gpu: Driver) -> None:
    """Tables and lists may have more than 2**31 entries; within one row of a list 32 bits do."""
    mask = bound(500, 2)
    mask.block_mask(2, 2, 500, 500, device="cpu", block_size=16, transposed=False)
    ((_, ready),) = mask._ready.values.values()
    (caches,) = ready.builder.plan.kernels[False].function.device_caches.values()
    (compiled,) = caches[0].values()
    steps = re.findall(r"tt\.addptr .*?: .*?, (?:tensor<\d+x)?(i\d+)", compiled.asm["ttir"])
    assert steps.count("i64") > 8 and steps.count("i32") == 4  # the running counts and the places, of both lists
    assert not re.findall(r"%stride_\w+.* : (?:tensor<\d+x)?i32\b(?! to)", compiled.asm["ttir"].split("{", 1)[1])


LIBDEVICE = [
    "sin(0.1 * q) < cos(0.1 * k)",
    "exp(-0.01 * (q - k)) > 0.5 and log(1.0 + q) < sqrt(k + 1.0)",
    "tanh(0.5 * (q - k)) < 0.9 or floor(0.3 * q) == ceil(0.3 * k)",
]


@pytest.mark.parametrize("formula", LIBDEVICE)
def test_functions_of_libdevice_compile(gpu: Driver, formula: str) -> None:
    mask = maskdsl.compile(f"mask m = {formula}").bind()
    mask.block_mask(1, 1, 300, 300, device="cpu")
    assert len(gpu.loaded) == 1 and len(gpu.launches) == 1
