"""`maskdsl compile`: what it refuses at once, and what it leaves behind."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from terminal import ROOT, run

import maskdsl
from maskdsl.binding.artifact import CallShape, Section
from maskdsl.cli.compile_report import spelt_time
from maskdsl.cli.measure import MOST_LANES, Shape, _slices


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("causal", 2, "--output"),
        ("causal -o {} --heads 3 --kv-heads 2", 2, "--kv-heads"),
        ("causal -o {} --dtype float8", 2, "float8"),
        ("variants/models/gemma2.mask -o {}", 1, "say which"),
        ("no_such_variant -o {}", 1, "E0211"),
        ("sliding_window --set window=0 -o {}", 1, "E0408"),
        ("packed -o {}", 1, "E0209"),
        ("causal -o /proc/nowhere", 1, "cannot be written"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_compiled(words: str, code: int, said: str, tmp_path: Path) -> None:
    done = run("compile", *words.format(tmp_path / "out").split())
    assert (done.code, said in done.err) == (code, True), done.err
    assert "compiling" not in done.err and "Traceback" not in done.err and "E0001" not in done.err


@pytest.mark.parametrize("words", [[""], ["", "causal:x"]])
def test_an_empty_name_is_not_the_folder_one_is_in(words: list[str], tmp_path: Path) -> None:
    done = run("compile", *words, "-o", str(tmp_path / "out"))
    assert done.code == 1 and "E0211" in done.err and not (tmp_path / "out").exists()


def test_a_gpu_that_is_not_there_is_told(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run("compile", "causal", "--device", "cuda", "-o", tmp_path)
    assert done.code == 1 and "error[E0701]" in done.err and "compiling" not in done.err


@pytest.mark.compiled
@pytest.mark.slow
def test_a_kernel_with_tables_is_compiled_tried_and_written(tmp_path: Path) -> None:
    words = "--set cap=20 --heads 4 --kv-heads 2 --head-dim 32 --q-len 70 --kv-len 70 --batch 2".split()
    file = tmp_path / "own.mask"
    file.write_text(
        "from document import document\nfrom softcap import softcap\n"
        "variant own(document_of: int[batch, position], slope: float[head], cap: float = 5.0) {\n"
        "    mask = document(document_of) and k <= q\n    score = near(slope) then softcap(cap)\n}\n"
        "score near(slope: float[head]) = score - slope[h] * (q - k)\n"
    )
    done = run("compile", file.with_suffix(".mask:own"), *words, "-o", tmp_path / "out")
    assert done.code == 0, done.out + done.err
    assert "float64 reference on all queries" in done.out and "with compilation" in done.out
    check_manifest(json.loads((tmp_path / "out" / "manifest.json").read_text()))
    check_mods(tmp_path / "out" / "mods.py")
    assert "#include" in (tmp_path / "out" / "kernel.cpp").read_text()
    assert (tmp_path / "out" / "picture.png").read_bytes().startswith(b"\x89PNG")


def check_manifest(manifest: dict) -> None:
    """What the manifest of the kernel above says."""
    assert manifest["definition"]["name"] == "own" and manifest["constants"] == {"cap": 20.0}
    assert manifest["tables"] == {
        "document_of": {"shape": [2, 70], "dtype": "int32"}, "slope": {"shape": [4], "dtype": "float32"}
    }  # fmt: skip
    assert manifest["shape"]["kv_heads"] == 2 and manifest["files"][2] == "kernel.cpp"
    assert 0 < manifest["error"]["relative"] < 1e-5 and manifest["error"]["queries_compared"] == 70
    assert 0 < manifest["seconds"]["call"] < manifest["seconds"]["first_call"]


def check_mods(path: Path) -> None:
    """That the file works without maskdsl, and computes the score by the formula."""
    import torch

    assert "maskdsl" not in "".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    spec = importlib.util.spec_from_file_location("mods", path)
    assert spec and spec.loader
    mods = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mods)
    score_mod = mods.make_score_mod(torch.tensor([0.5, 0.25]))
    at = [torch.tensor(n) for n in (0, 1, 9, 3)]
    assert math.isclose(score_mod(torch.tensor(2.0), *at).item(), 20 * math.tanh((2 - 0.25 * 6) / 20), rel_tol=1e-5)


@pytest.mark.compiled
@pytest.mark.slow
def test_machines_get_the_manifest(tmp_path: Path) -> None:
    done = run("compile", "prefix_lm", "--json", "--q-len", "33", "--kv-len", "33", "-o", tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((tmp_path / "manifest.json").read_text())
    assert done.err == ""


# ---------------------------------------------------------------- parts


def test_the_demo_of_the_makefile_names_a_file_that_exists() -> None:
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "maskdsl compile" in line)
    file, _, name = line.split()[2].partition(":")
    assert f"variant {name}(" in (ROOT / file).read_text()


@pytest.mark.parametrize(("rows", "slices"), [(100, [(0, 100)]), (100_000, [(0, 128), (99_872, 100_000)])])
def test_large_calls_are_compared_at_both_ends(rows: int, slices: list[tuple[int, int]]) -> None:
    found = _slices(Shape(1, MOST_LANES // 256 // 1024, 1, 64, rows, 1024))
    assert [(s.start, s.stop) for s in found] == slices


def test_a_wrong_kernel_is_a_fault_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskdsl.cli import compile_one, measure, program

    def compile_wrong(trial: object, shape: Shape, dtype: str, device: str, *_: object) -> measure.Measured:
        section = Section("package", {}, CallShape(1, 1, 1, 1, 1, 1), {}, None, (), "", {})
        return measure.Measured(shape, dtype, device, "", ("",), math.inf, math.inf, 1, 1.0, 1.0, section)

    monkeypatch.setattr(compile_one, "measure", compile_wrong)
    assert program.run(["compile", "causal", "-o", str(tmp_path)]) == 3
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["error"]["relative"] is None and manifest["artifact"] is None
    with pytest.raises(maskdsl.MaskError, match="E0711"):
        maskdsl.open(tmp_path)


TIMES = [(12.34, "12.3 s"), (0.0456, "45.6 ms"), (7.8e-5, "78 µs"), (2e-8, "0.02 µs")]


@pytest.mark.parametrize(("seconds", "text"), TIMES)
def test_times_have_a_unit(seconds: float, text: str) -> None:
    assert spelt_time(seconds) == text


def test_a_constant_that_is_not_finite_is_text_in_the_manifest(tmp_path: Path) -> None:
    from maskdsl.cli.artifact import describe
    from maskdsl.cli.measure import Measured
    from maskdsl.cli.trial import Wish, checked_definition, make_trial
    from maskdsl.library.registry import Registry

    (tmp_path / "a.mask").write_text("score s(low: float = -inf) = score if k <= q else low\n")
    registry = Registry()
    trial = make_trial(*checked_definition(registry.read(tmp_path / "a.mask"), "s", registry), Wish(lengths=(4, 4)))
    measured = Measured(Shape(1, 1, 1, 16, 4, 4), "float32", "cpu", "", (), 0.0, 0.0, 4, 1.0, 1.0)
    assert json.loads(json.dumps(describe(trial, measured, tmp_path), allow_nan=False))["constants"] == {"low": "-inf"}
    assert np.isneginf(trial.variant.constants == () and -np.inf)
