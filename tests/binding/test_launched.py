"""An artifact for an H100, made without one: what it holds, that its launches are right, and when it is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import maskdsl
from maskdsl.backends import block_mask_triton, cuda_driver, flex_limits, offline
from maskdsl.backends.exported import exported
from maskdsl.backends.launched_calls import Form, Plan
from maskdsl.backends.launched_lists import LaunchedLists, ListsPlan
from maskdsl.backends.targets import TARGETS
from maskdsl.binding import launched, machine, made
from maskdsl.binding.artifact import MANIFEST, CallShape
from maskdsl.binding.lowered import Lowering

pytest.importorskip("triton")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHAPE = "--dtype float32 --batch 2 --heads 4 --kv-heads 2 --head-dim 32 --q-len 1 --kv-len 300".split()
TEXT = """
## Documents, a penalty on distance, and a sink.
variant own(document: int[batch, position], slope: float[head], logit: float[head]) {
    mask = document[b, q] == document[b, k] and k <= q and k != 3
    score = near(slope)
    sink = logit[h]
}
score near(slope: float[head]) = score - slope[h] * (q - k)
"""

pytestmark = [pytest.mark.slow, pytest.mark.compiled]


def python(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """This Python in the project's folder."""
    own = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environment}
    return subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env=own, capture_output=True, text=True)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made by the command line: no test process shall believe in a GPU."""
    place = tmp_path_factory.mktemp("launches")
    (place / "own.mask").write_text(TEXT)
    done = python("-m", "maskdsl", "compile", place / "own.mask:own", "--device", "cuda:sm_90", *SHAPE, "-o", place / "own")
    assert done.returncode == 0, done.stderr
    (place / "told").write_text(done.stdout)
    return place / "own"


def test_it_tells_what_kernels_need(artifact: Path) -> None:
    manifest = json.loads((artifact / MANIFEST).read_text())
    rows = {(k["form"], k["name"].split("_")[1]): k for k in manifest["kernels"]}
    assert {form for form, _ in rows} == {"decode", "whole", "any", "lists"}
    assert all(16 <= k["registers"] <= 255 and k["shared_bytes"] <= 232448 for k in rows.values())
    assert rows["whole", "tem"]["shared_bytes"] > 32768 and rows["whole", "tem"]["warps"] in (4, 8)
    told = (artifact.parent / "told").read_text()
    line = next(line for line in told.splitlines() if line.startswith("decode  triton_tem"))
    assert line.split()[2:] == [f"{rows['decode', 'tem'][n]:,}" for n in ("registers", "spilled_bytes", "shared_bytes", "warps")]
    assert manifest["device"] == {"kind": "cuda:sm_90", "name": "H100 SXM"} and manifest["error"] is None
    assert set(manifest["files"]) == {f.relative_to(artifact).as_posix() for f in artifact.rglob("*") if f.is_file()}


def test_its_code_is_for_the_target(artifact: Path) -> None:
    plan = Plan.read(artifact)
    for form in plan.forms:
        for kernel in form.kernels:
            ptx = (artifact / form.name / f"{kernel.name}.ptx").read_text()
            assert ".target sm_90a" in ptx
            declared = re.findall(r"\.param\s+\.(\w+)", ptx.partition(".entry")[2].partition(")")[0])
            assert len(declared) == len(kernel.signature) + 2
            assert (artifact / form.name / kernel.cubin).read_bytes().startswith(b"\x7fELF")
    assert [f.contract.free for f in plan.forms] == [
        ("kv_len", "size(position)"), *[("batch", "q_len", "kv_len", "size(position)")] * 2
    ]  # fmt: skip


def test_every_form_computes_what_the_definition_says(artifact: Path) -> None:
    """The launches as CUDA's driver would get them, run by Triton's interpreter."""
    calls = {"2x1x300": "decode", "2x1x77": "decode", "1x128x256": "whole", "3x2x130": "any", "1x1x1": "any", "1x129x70": "any"}
    copy = shutil.copytree(artifact, artifact.parent / "interpreted")
    done = python(HERE / "launched_interpreted.py", copy, *calls, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    for line, (sizes, form) in zip(done.stdout.splitlines(), calls.items(), strict=True):
        words = line.split()
        assert "x".join(words[:3]) == sizes and float(words[3]) < 2e-6, line
        assert words[4].startswith("lists") and words[5].startswith(form), line


@pytest.mark.parametrize("text", [
    "score s(bias: float[queries, keys]) = score + bias[clamp(q, 0, size(queries) - 1), clamp(k, 0, size(keys) - 1)]",
    "mask m(seen: bool[batch, n, n]) = seen[b, clamp(q, 0, size(n) - 1), clamp(k, 0, size(n) - 1)]",
    "mask m(bits: int[batch, n, words]) = bits[b, clamp(q, 0, size(n) - 1), clamp(k, 0, size(words) - 1)] == 1",
])  # fmt: skip
def test_tables_of_several_free_sizes_are_traced(text: str) -> None:
    lowering = Lowering(maskdsl.compile(text).variant)
    call = CallShape(2, 4, 4, 32, 128, 128, dtype="bfloat16", device="cuda", target="sm_90")
    *_, last = launched.variations(call, made.free_sizes(lowering))
    tables = partial(made._bound_tables, lowering, tables=None, dtypes={})
    wanted = launched._Made.of(lowering, last, tables, TARGETS["sm_90"]).wanted(last)
    with offline.any_device():
        options = (*wanted.options, ("FORCE_USE_FLEX_ATTENTION", True))
        program = exported(wanted.contract, wanted.mods, torch.device("cpu"), options)
        _, inputs = offline.exported_graph(program)
    assert len(inputs) == len(wanted.contract.inputs)
    assert sum(not isinstance(n, int) for n in inputs[-1].shape) >= 2


def test_facts_about_lengths_leave_one_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels for every length would be for calls that the definition forbids."""
    lowering = Lowering(maskdsl.compile("mask m(n: int[batch]) = k < n[b] and k <= q\n    requires q < 64, k < 64").variant)
    asked: list[launched.Variation] = []

    def form(wanted: Any, target: object, folder: Path) -> Form:
        (folder / wanted.name).mkdir()
        return Form(wanted.name, wanted.contract, wanted.whole, (), {}, ())

    def lists(kernel: Any, read: object, target: object, folder: Path) -> ListsPlan:
        return ListsPlan(kernel.source, (), ())

    built = launched._Made.of
    monkeypatch.setattr(launched, "build_form", form)
    monkeypatch.setattr(launched, "build_lists", lists)
    monkeypatch.setattr(launched._Made, "of", lambda low, v, *rest: (asked.append(v), built(low, v, *rest))[1])
    call = CallShape(2, 4, 4, 32, 5, 60, dtype="bfloat16", device="cuda", target="sm_90")
    tables = partial(made._bound_tables, lowering, tables=None, dtypes={})
    plan = launched.build_plan(lowering, call, made.free_sizes(lowering), tables, tmp_path)
    assert [f.name for f in plan.forms] == ["exact"] and plan.free == ("batch",)
    assert {*(v.name for v in asked)} > {"exact"} and asked[-1].call.q_len == 5
    assert [f.name for f in tmp_path.iterdir() if f.is_dir()] == ["exact"]


# ---------------------------------------------------------------- opening


class Loading:
    """A driver that loads everything and launches nothing."""

    def __init__(self, newest: tuple[int, int] = (13, 0), refuses: str = "") -> None:
        self.newest, self.refuses = newest, refuses
        self.loaded: list[str] = []

    def version(self) -> tuple[int, int]:
        return self.newest

    def load(self, image: bytes, entry: str, shared: int, device: int) -> str:
        if self.refuses:
            raise cuda_driver.DriverError(self.refuses)
        self.loaded.append(entry)
        return entry


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Loading:
    """A GPU of capability 9.0 that is not there."""
    driver = Loading()
    monkeypatch.setattr(flex_limits, "require_device", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(cuda_driver, "driver", lambda: driver)
    monkeypatch.setattr(block_mask_triton, "PRECOMPILED", {})
    return driver


def test_without_a_gpu_it_is_not_opened(artifact: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(maskdsl.MaskError, match="E0701"):
        maskdsl.open(artifact)


def test_opening_loads_every_kernel(artifact: Path, gpu: Loading) -> None:
    opened = maskdsl.open(artifact)
    assert sorted(gpu.loaded) == sorted(
        [k.entry for f in Plan.read(artifact).forms for k in f.kernels] + ["build_lists"] * 2
    )
    assert "launches for cuda" in repr(opened) and opened.free == ("batch", "q_len", "kv_len", "size(position)")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"capability": (9, 1)}, "made with capability sm_90, and this is sm_91"),
        ({"capability": (8, 0)}, "made with capability sm_90, and this is sm_80"),
        ({"torch": "2.99.0+cu130"}, r"made with torch 2\.\d+\.\d+, and this is 2.99.0"),
        ({"driver": Loading((11, 8))}, r"made with CUDA 1\d.\d, and this driver runs CUDA up to 11.8"),
        ({"driver": Loading(refuses="cuModuleLoadData: no")}, "the driver refuses its kernels: cuModuleLoadData: no"),
    ],
)
def test_elsewhere_it_is_refused(
    artifact: Path, gpu: Loading, there: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "capability" in there:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: there["capability"])
    if "torch" in there:
        monkeypatch.setattr(torch, "__version__", there["torch"])
    if "driver" in there:
        monkeypatch.setattr(cuda_driver, "driver", lambda: there["driver"])
    with pytest.raises(maskdsl.MaskError, match=rf"E0710(.|\n)*{said}"):
        maskdsl.open(artifact)


@pytest.mark.parametrize("file", ["launches.json", "any/call.py", "whole/triton_tem_fused_flex_attention_0.cubin", "lists/1_warps.cubin"])
def test_damage_is_found_before_anything_is_loaded(artifact: Path, gpu: Loading, file: str, tmp_path: Path) -> None:
    folder = shutil.copytree(artifact, tmp_path / "own")
    harmed = bytearray((folder / file).read_bytes())
    harmed[len(harmed) // 2] ^= 1
    (folder / file).write_bytes(harmed)
    with pytest.raises(maskdsl.MaskError, match="E0711"):
        maskdsl.open(folder)
    assert not gpu.loaded


def test_another_build_of_the_same_torch_opens_it(
    artifact: Path, gpu: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", machine._release() + "+cu130")
    assert maskdsl.open(artifact).name == "own"


# ---------------------------------------------------------------- lists of tiles


def test_lists_of_the_artifact_take_the_place_of_tritons(artifact: Path, gpu: Loading) -> None:
    (lists,) = Plan.read(artifact).lists
    maskdsl.open(artifact)
    made = block_mask_triton.PRECOMPILED[lists.source]
    assert isinstance(made, LaunchedLists)
    assert {(d.type, w) for d, w in made.placed} == {("cuda", 1), ("cuda", 2)}


def test_lists_for_what_they_are_not_compiled_for_are_tritons(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plan,) = Plan.read(artifact).lists
    asked: list[str] = []

    class Triton:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *arguments, **named: asked.append("triton")

    class Recorder(Loading):
        def launch(self, *arguments: Any) -> None:
            asked.append("own")

    monkeypatch.setattr("maskdsl.backends.launched_lists.compiled_by_triton", lambda source: Triton())
    monkeypatch.setattr(block_mask_triton, "PRECOMPILED", {})
    lists = LaunchedLists(plan, artifact, Recorder())
    lists.offer(torch.device("cpu"))
    buffers = [torch.zeros(1, dtype=torch.int32)] * 4
    tables = [torch.zeros(1, dtype=getattr(torch, name)) for name in plan.tables]
    numbers = [1] * (len(plan.kernels[0].signature) - 4 - len(tables))
    cases = ((tables, numbers, 2), (tables, [2**31, *numbers[1:]], 2), ([t.double() for t in tables], numbers, 2), (tables, numbers, 4))
    for given, sizes, warps in cases:
        lists[(3, 1, 1)](*buffers, *given, *sizes, VECTOR=256, num_warps=warps)
    assert asked == ["own", "triton", "triton", "triton"]
