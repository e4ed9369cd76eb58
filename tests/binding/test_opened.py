"""Artifacts: a process that opens one compiles nothing and is right at every length; what does not fit is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends.closures import made, recipe_of, tensors_of
from maskdsl.binding import artifact
from maskdsl.binding.artifact import CACHES, MANIFEST, PACKAGE, PROGRAM, CallShape
from maskdsl.binding.machine import differences, this_machine
from maskdsl.binding.made import write_kernel
from maskdsl.binding.opened import _described

TEXT = """
variant own(document: int[batch, position], slope: float[head], logit: float[head]) {
    mask = document[b, q] == document[b, k] and k <= q and k != 3
    score = near(slope)
    sink = logit[h]
}
score near(slope: float[head]) = score - slope[h] * (q - k)
"""

FRESH = """
import os, sys, time
import torch
started = time.perf_counter()
import maskdsl
opened = maskdsl.open(sys.argv[1])
saved = torch.load(sys.argv[2], weights_only=True)
out = opened.attention(*saved["qkv"], **saved["tables"])
seconds = time.perf_counter() - started
lazy = "torch._dynamo" not in sys.modules and "torch._inductor" not in sys.modules
written = os.path.exists(os.environ["TORCHINDUCTOR_CACHE_DIR"])
import torch._dynamo.utils
counters = torch._dynamo.utils.counters
torch.save({"out": out, "lazy": lazy, "seconds": seconds, "frames": sum(counters["frames"].values()),
            "hits": counters["inductor"]["fxgraph_cache_hit"], "misses": counters["inductor"]["fxgraph_cache_miss"],
            "written": written}, sys.argv[3])
"""


def write_artifact(folder: Path, program: maskdsl.Program, call: CallShape) -> Path:
    """An artifact without what people read of it."""
    folder.mkdir()
    section = write_kernel(folder, program.variant, call)
    whole = {"definition": program.manifest.model_dump(mode="json"), "constants": {}, "artifact": section.plain()}
    (folder / MANIFEST).write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a definition with tables, a score, a sink, groups of heads and rows that see nothing."""
    folder = tmp_path_factory.mktemp("artifacts") / "own"
    return write_artifact(folder, maskdsl.compile(TEXT, "own"), CallShape(1, 4, 2, 32, 64, 64))


def call_of(batch: int, q_len: int, kv_len: int, positions: int) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Random query, key and value, and tables."""
    random = torch.Generator().manual_seed(q_len)
    q = torch.randn(batch, 4, q_len, 32, generator=random)
    k, v = (torch.randn(batch, 2, kv_len, 32, generator=random) for _ in "kv")
    document = torch.randint(0, 3, (batch, positions), generator=random)
    tables = {"document": document, "slope": torch.tensor([0.5, 0.1, 0.3, 0.0]), "logit": torch.tensor([0.0, 1, -9, 9])}
    return (q, k, v), tables


def in_a_fresh_process(folder: Path, call: tuple[Any, dict[str, Any]], where: Path) -> dict[str, Any]:
    """What a process that opens the artifact for one call finds out; its cache folder is new.

    `compiled` is how often it ran the C++ compiler on a file.
    """
    compiler = where / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {where}/compiled\nexec {shutil.which("g++")} "$@"\n')
    compiler.chmod(0o755)
    torch.save({"qkv": call[0], "tables": call[1]}, where / "call.pt")
    own = {"TORCHINDUCTOR_CACHE_DIR": str(where / "cache"), "PATH": f"{compiler.parent}:{os.environ['PATH']}"}
    words = [sys.executable, "-c", FRESH, str(folder), str(where / "call.pt"), str(where / "told.pt")]
    done = subprocess.run(words, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = where / "compiled"
    lines = log.read_text().splitlines() if log.exists() else []
    told: dict[str, Any] = torch.load(where / "told.pt", weights_only=True)
    return {**told, "compiled": [line for line in lines if ".cpp" in line]}


def error(out: torch.Tensor, program: maskdsl.Program, call: tuple[Any, dict[str, Any]]) -> float:
    """The largest difference from the reference."""
    return float(np.abs(out.numpy() - program.reference(*call[0], **call[1])).max())


@pytest.mark.compiled
@pytest.mark.slow
class TestPackage:
    def test_a_fresh_process_compiles_nothing(self, package: Path, tmp_path: Path) -> None:
        call = call_of(2, 130, 130, 130)
        told = in_a_fresh_process(package, call, tmp_path)
        assert told["lazy"] and not told["written"] and not told["compiled"]
        assert (told["frames"], told["hits"], told["misses"]) == (0, 0, 0)
        assert error(told["out"], maskdsl.compile(TEXT, "own"), call) < 1e-5

    @pytest.mark.parametrize(
        ("batch", "q_len", "kv_len", "positions"),
        [(1, 1, 1, 1), (1, 1, 700, 701), (3, 129, 129, 200), (2, 300, 64, 300), (5, 2, 5, 5), (2, 0, 7, 7)],
    )
    def test_one_package_is_right_at_every_length(
        self, package: Path, batch: int, q_len: int, kv_len: int, positions: int
    ) -> None:
        opened = maskdsl.open(package)
        call = call_of(batch, q_len, kv_len, positions)
        out = opened.attention(*call[0], **call[1])
        assert out.shape == call[0][0].shape
        assert q_len == 0 or error(out, opened.program, call) < 1e-5

    def test_keys_of_one_row_serve_several(self, package: Path) -> None:
        opened = maskdsl.open(package)
        (q, k, v), tables = call_of(3, 40, 40, 40)
        call = (q, k[:1], v[:1]), tables
        assert error(opened.attention(*call[0], **tables), opened.program, call) < 1e-5

    def test_more_threads_than_it_was_compiled_with(self, package: Path) -> None:
        """torch's own kernel would write past its scratch memory."""
        opened, before = maskdsl.open(package), torch.get_num_threads()
        call = call_of(2, 500, 500, 500)
        try:
            torch.set_num_threads(before + 3)
            assert error(opened.attention(*call[0], **call[1]), opened.program, call) < 1e-5
        finally:
            torch.set_num_threads(before)

    def test_tables_are_checked_when_they_change(self, package: Path) -> None:
        opened = maskdsl.open(package)
        (q, k, v), tables = call_of(1, 9, 9, 9)
        first = opened.attention(q, k, v, **tables)
        tables["document"][:] = torch.arange(9)
        assert not torch.equal(first, opened.attention(q, k, v, **tables))
        with pytest.raises(maskdsl.MaskError, match="E0601"):
            opened.attention(q, k, v)

    def test_calls_that_do_not_fit_are_refused(self, package: Path) -> None:
        opened = maskdsl.open(package)
        (q, k, v), tables = call_of(1, 9, 9, 9)
        with pytest.raises(maskdsl.MaskError, match=r"E0712(.|\n)*`q` is bfloat16"):
            opened.attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), **tables)
        with pytest.raises(maskdsl.MaskError, match="E0712"):
            opened.bind(**tables).attention(q, k, v, block_size=64)
        with pytest.raises(maskdsl.MaskError, match="E0607"):
            opened.attention(q[:, :2], k, v, **tables)

    def test_what_it_says_of_itself(self, package: Path) -> None:
        opened = maskdsl.open(package)
        assert opened.free == ("batch", "q_len", "kv_len", "size(position)")
        assert (opened.name, opened.tables) == ("own", ("document", "slope", "logit"))
        assert opened.program.manifest.name == "own" and "package" in repr(opened)

    @pytest.mark.parametrize("file", [MANIFEST, PROGRAM, PACKAGE])
    def test_damage_is_found_before_anything_runs(self, package: Path, file: str, tmp_path: Path) -> None:
        folder = shutil.copytree(package, tmp_path / "own")
        harmed = bytearray((folder / file).read_bytes())
        harmed[len(harmed) // 2] ^= 1
        (folder / file).write_bytes(harmed)
        with pytest.raises(maskdsl.MaskError, match="E0711"):
            maskdsl.open(folder)
        (folder / file).unlink()
        with pytest.raises(maskdsl.MaskError, match="E0107" if file == MANIFEST else "E0711"):
            maskdsl.open(folder)

    def test_another_version_is_refused_or_compiled_again(
        self, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = shutil.copytree(package, tmp_path / "own")
        here = this_machine("cpu")
        monkeypatch.setattr(artifact, "this_machine", lambda device: {**here, "torch": "2.99.0"})
        with pytest.raises(maskdsl.MaskError, match=r"E0710(.|\n)*made with torch .* and this is 2.99.0"):
            maskdsl.open(folder)
        asked: list[CallShape] = []
        monkeypatch.setattr("maskdsl.binding.made.write_kernel", rewriting(folder, asked))
        before = (folder / PACKAGE).stat().st_ino
        with pytest.raises(maskdsl.MaskError, match="E0710"):
            maskdsl.open(folder, recompile=True)
        assert asked == [CallShape(1, 4, 2, 32, 64, 64)]
        assert (folder / PACKAGE).stat().st_ino != before
        told = json.loads((folder / MANIFEST).read_text())
        assert sorted(told["files"]) == sorted(f.name for f in folder.iterdir())
        assert "#include" in (folder / "kernel.cpp").read_text() and "def make_mask_mod" in (folder / "mods.py").read_text()
        assert told["versions"]["torch"] == torch.__version__ and (told["seconds"], told["error"]) == ({}, None)


def rewriting(folder: Path, asked: list[CallShape]) -> Callable[..., artifact.Section]:
    """A `write_kernel` that compiles nothing: it gives what is in the folder."""
    section = artifact.read_section(folder, artifact.read_manifest(folder))
    there = {name: (folder / name).read_bytes() for name in section.files}

    def write(made: Path, variant: object, call: CallShape, dtypes: dict[str, str]) -> artifact.Section:
        asked.append(call)
        for name, content in there.items():
            (made / name).write_bytes(content)
        return section

    return write


@pytest.mark.compiled
@pytest.mark.slow
def test_caches_serve_where_no_package_can_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("no package today")

    monkeypatch.setattr("maskdsl.binding.made.build_package", refuse)
    # What a package that was begun before leaves behind in this process.
    monkeypatch.setitem(torch._inductor.config.aot_inductor.metadata, "AOTI_DEVICE_KEY", "cpu")
    program = maskdsl.compile("mask m(d: int[batch]) = k <= q + d[b]")
    folder = write_artifact(tmp_path / "m", program, CallShape(2, 2, 2, 16, 33, 33))
    assert (folder / CACHES).exists() and not (folder / PACKAGE).exists()
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 33, 16, generator=random) for _ in "qkv")
    call = (q, k, v), {"d": torch.tensor([0, -3], dtype=torch.int32)}
    told = in_a_fresh_process(folder, call, tmp_path)
    # Inductor still asks the compiler which vector instructions there are; a kernel's file would be a `.main.cpp`.
    assert (told["hits"], told["misses"]) == (1, 0)
    assert not [line for line in told["compiled"] if ".main.cpp" in line]
    assert error(told["out"], program, call) < 1e-5


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("text", ["", "NaN", "[1]", "{}", "[" * 100_000, '{"artifact": null}', '{"artifact": "x"}', "\udcff"])
def test_a_manifest_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text, errors="surrogateescape")
    with pytest.raises(maskdsl.MaskError, match="E0711"):
        maskdsl.open(tmp_path)


def test_a_folder_of_artifacts_names_one(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text("{}")
    with pytest.raises(maskdsl.MaskError, match=r"E0107(.|\n)*such as `.*/a`"):
        maskdsl.open(tmp_path)


def test_a_description_that_was_edited_is_told(tmp_path: Path) -> None:
    for definition in ({}, {"definition": "x"}, {"definition": {"name": "m"}}):
        with pytest.raises(maskdsl.MaskError, match="E0711"):
            _described(tmp_path, definition)


def test_what_makes_two_machines_differ() -> None:
    made = {"maskdsl": "0.1.0", "torch": "2.13.0", "platform": "Linux x86_64", "cpu": "AVX2", "instructions": ["avx2", "fma"], "python": "3.11"}
    assert differences(made, made, traced=True) == []
    assert differences(made, {**made, "instructions": ["avx2", "fma", "sse"]}, traced=False) == []
    assert differences(made, {**made, "python": "3.12"}, traced=False) == []
    assert len(differences(made, {**made, "python": "3.12"}, traced=True)) == 1
    assert "fma" in differences(made, {**made, "instructions": ["avx2"]}, traced=False)[0]
    assert len(differences(made, {**made, "cpu": "AVX512", "torch": "2.14"}, traced=False)) == 2
    assert this_machine("cpu")["torch"] == torch.__version__


def test_a_closure_is_made_again_over_other_tensors() -> None:
    def outer(scale: torch.Tensor, inner: Callable[..., torch.Tensor], none: None) -> Callable[..., torch.Tensor]:
        return lambda x: inner(x) * scale if none is None else x

    def shifted(by: torch.Tensor) -> Callable[..., torch.Tensor]:
        return lambda x: x + by

    function = outer(torch.tensor(2.0), shifted(torch.tensor(3.0)), None)
    assert [t.item() for t in tensors_of(function)] == [3.0, 2.0]
    again = made(recipe_of(function), [torch.tensor(x) for x in (3.0, 2.0)][::-1])  # type: ignore[arg-type]
    other = made(recipe_of(function), [torch.tensor(x) for x in (1.0, 5.0)][::-1])  # type: ignore[arg-type]
    assert (again(torch.tensor(1.0)), other(torch.tensor(1.0))) == (8.0, 10.0)
