"""`maskdsl fmt`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from terminal import run

UGLY = "mask   a=k<=q   # why\n"
NEAT = "mask a = k <= q  # why\n"


@pytest.fixture
def ugly(tmp_path: Path) -> Path:
    """A file that is not formatted."""
    (tmp_path / "a.mask").write_text(UGLY)
    return tmp_path / "a.mask"


def test_files_are_rewritten_once(ugly: Path) -> None:
    ugly.chmod(0o640)
    done = run("fmt", ugly.parent)
    assert done.code == 0 and "1 file, 1 changed" in done.err
    assert ugly.read_text() == NEAT
    assert stat.S_IMODE(ugly.stat().st_mode) == 0o640
    before = ugly.stat().st_mtime_ns
    assert "1 file, 0 changed" in run("fmt", ugly).err
    assert ugly.stat().st_mtime_ns == before
    assert [p.name for p in ugly.parent.iterdir()] == ["a.mask"]


def test_check_changes_nothing(ugly: Path) -> None:
    done = run("fmt", "--check", "a.mask", cwd=ugly.parent)
    assert done.code == 1 and "would format a.mask" in done.err
    assert ugly.read_text() == UGLY
    ugly.write_text(NEAT)
    assert run("fmt", "--check", ugly).code == 0


def test_standard_input_goes_to_standard_output() -> None:
    assert run("fmt", "-", stdin=UGLY).out == NEAT
    done = run("fmt", "--check", "-", stdin=UGLY)
    assert (done.code, done.out) == (1, "")


def test_a_file_that_does_not_parse_stays_as_it_is(ugly: Path) -> None:
    ugly.write_text("mask a = = k\n")
    other = ugly.with_name("b.mask")
    other.write_text(UGLY.replace(" a", " b"))
    done = run("fmt", ugly, other)
    assert done.code == 1 and "error[E01" in done.err
    assert ugly.read_text() == "mask a = = k\n"
    assert other.read_text() == NEAT.replace(" a", " b")


def test_the_shipped_library_is_formatted() -> None:
    assert run("fmt", "--check", "variants").code == 0
