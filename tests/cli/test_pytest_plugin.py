"""The pytest plugin: `.mask` files as test files."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import Done, python

GOOD = "mask pair = 0 <= q - k < 2\nexample pair\n    | x .\n    | x x\nexample pair at (q = 1, k = 0) == true\n"


def run_pytest(folder: Path) -> Done:
    return python("-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is pytest's root."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_every_example_is_a_test(folder: Path) -> None:
    (folder / "good.mask").write_text(GOOD)
    done = run_pytest(folder)
    assert done.code == 0, done.out + done.err
    assert "3 passed" in done.out
    assert "good.mask::check" in done.out and "good.mask::5:pair at (q = 1, k = 0) == true" in done.out


def test_a_wrong_example_fails_with_its_diagnostic(folder: Path) -> None:
    (folder / "wrong.mask").write_text(GOOD.replace("| x x", "| . x"))
    done = run_pytest(folder)
    assert done.code == 1 and "1 failed, 2 passed" in done.out
    assert "error[E0501]" in done.out and "Traceback" not in done.out


def test_a_lint_is_no_failure(folder: Path) -> None:
    (folder / "strict.mask").write_text("mask earlier = k < q\nexample earlier\n    | . .\n    | x .\n")
    assert run_pytest(folder).code == 0


def test_a_broken_file_fails_with_its_diagnostics(folder: Path) -> None:
    (folder / "broken.mask").write_text("mask a = nope\nexample a | x\n")
    done = run_pytest(folder)
    assert done.code == 1 and "1 failed" in done.out and "error[E0201]" in done.out


def test_the_configuration_says_which_files(folder: Path) -> None:
    (folder / "pytest.ini").write_text("[pytest]\nmask_files = good/*\n")
    (folder / "good").mkdir()
    (folder / "good" / "a.mask").write_text(GOOD)
    (folder / "bad.mask").write_text("nonsense")
    done = run_pytest(folder)
    assert done.code == 0 and "3 passed" in done.out


def test_a_file_that_is_no_text_fails_with_its_diagnostic(folder: Path) -> None:
    (folder / "bytes.mask").write_bytes(b"mask \xff")
    (folder / "good.mask").write_text(GOOD)
    done = run_pytest(folder)
    assert done.code == 1 and "1 failed, 3 passed" in done.out and "error[E0107]" in done.out
    assert "pytest_plugin.py" not in done.out
