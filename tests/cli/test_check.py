"""`maskdsl check`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import ROOT, run

GOOD = """## A query sees itself and the one before it.
mask pair = 0 <= q - k < 2

example pair
    | x .
    | x x
"""
BROKEN = "mask one = q + \n\nmask two(t: int[head]) = t[q] == k\n\nmask three = k <= p\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good file, a broken one, one whose picture is wrong, and a file that is not text."""
    (tmp_path / "good.mask").write_text(GOOD)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "broken.mask").write_text(BROKEN)
    (tmp_path / "wrong.mask").write_text(GOOD.replace("| x x", "| . x"))
    (tmp_path / "bytes.mask").write_bytes(b"\xff\xfe\x00")
    (tmp_path / ".hidden.mask").write_text("nonsense")
    return tmp_path


def test_a_good_file_is_clean() -> None:
    done = run("check", "variants/base/causal.mask")
    assert (done.code, done.err) == (0, "")
    assert done.out == "1 file, 2 definitions, 2 examples: no problems\n"


def test_the_shipped_library_is_clean_and_quick(tmp_path: Path) -> None:
    runs = [run("check", "variants", XDG_CACHE_HOME=str(tmp_path)) for _ in range(3)]
    assert all(done.code == 0 for done in runs), runs[0].out
    assert runs[0].out == runs[1].out
    assert re.fullmatch(r"\d+ files, \d+ definitions, \d+ examples: no problems\n", runs[0].out), runs[0].out
    assert runs[0].seconds <= 10.0
    assert min(done.seconds for done in runs) <= 2.0


def test_every_mistake_of_every_file_is_told(folder: Path) -> None:
    done = run("check", ".", cwd=folder)
    assert done.code == 1
    for expected in ("error[E0107]", "error[E0305]", "error[E0501]", "broken.mask:1:", "broken.mask:5:", "wrong.mask"):
        assert expected in done.out, done.out
    assert done.out.rstrip().splitlines()[-1].startswith("3 files, ")
    assert "hidden" not in done.out and "Traceback" not in done.out + done.err


def test_examples_of_sound_definitions_run_beside_broken_ones(tmp_path: Path) -> None:
    blind = "## C.\nmask earlier = k < q\n# allow W0806: meant\nexample earlier\n    | .\n"
    (tmp_path / "both.mask").write_text(f"## B.\nmask broken = k <= qq\n\n{GOOD.replace('| x x', '| . x')}\n{blind}")
    done = run("check", "both.mask", cwd=tmp_path)
    assert done.code == 1 and re.findall(r"\w+\[(\w+)\]", done.out) == ["W0805", "E0201", "E0501"]


def test_machines_read_json(folder: Path) -> None:
    done = run("check", "--format", "json", "good.mask", "sub/broken.mask", cwd=folder)
    assert done.code == 1
    found = json.loads(done.out)
    assert found["files"] == 2 and found["errors"] == 3
    assert found["errors"] + found["warnings"] == len(found["diagnostics"])
    first = found["diagnostics"][0]
    assert first["file"] == "sub/broken.mask" and first["start"]["line"] == 1 and first["code"].startswith("E01")


def test_a_missing_file_is_told_and_the_others_are_checked(folder: Path) -> None:
    done = run("check", "missing.mask", "good.mask", cwd=folder)
    assert done.code == 1
    assert "`missing.mask` cannot be read: no such file or directory" in done.out
    assert "1 file, 1 definition, 1 example: 1 error" in done.out


def test_standard_input_is_a_file() -> None:
    assert run("check", "-", stdin=GOOD).code == 0
    done = run("check", "-", stdin="mask bad = nope\n")
    assert done.code == 1 and "--> <stdin>:1:12" in done.out


@pytest.mark.parametrize("stdin, told", [(b"mask \xff", "byte 5 is not UTF-8 text"), (b"#" * 1_100_000, "too large")])
def test_standard_input_that_is_no_program(stdin: bytes, told: str) -> None:
    command = [sys.executable, "-m", "maskdsl", "check", "-"]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=ROOT)
    assert done.returncode == 1 and told in done.stdout.decode()


def test_names_without_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("check", "empty", "", cwd=tmp_path)
    assert done.code == 1
    assert "`empty` holds no .mask files" in done.out and "`` cannot be read: it names no file" in done.out


def test_warnings_fail_only_when_strict(folder: Path) -> None:
    (folder / "bare.mask").write_text("mask bare = k <= q\n")
    done = run("check", "bare.mask", cwd=folder)
    assert done.code == 0 and "warning[W0804]" in done.out and "warnings" in done.out
    assert run("check", "--strict", "bare.mask", cwd=folder).code == 1


def test_an_import_is_reported_once(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.mask").write_text(f"from .sub.broken import three\nmask {name} = three\n")
    done = run("check", "a.mask", "b.mask", "sub/broken.mask", cwd=folder)
    assert done.out.count("error[E0305]") == 1


def test_a_program_in_a_file_is_never_python(tmp_path: Path) -> None:
    (tmp_path / "evil.mask").write_text("mask evil = __import__('os').system('touch pwned')\n")
    done = run("check", "evil.mask", cwd=tmp_path)
    assert done.code == 1 and not (tmp_path / "pwned").exists()
