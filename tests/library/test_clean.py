"""Clean files are remembered, and forgotten as soon as anything that they depend on differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskdsl.cli.check import Report, check_files
from maskdsl.library import clean
from maskdsl.library.registry import Registry

LEAF = "## All.\nmask leaf = k <= q\nexample leaf | x\n"
MIDDLE = "from leaf import leaf\n## Twice.\nmask middle = leaf\nexample middle | x\n"
TOP = "from middle import middle\n## Thrice.\nmask top = middle\nexample top | x\n"

Check = Callable[[], tuple[Report, int]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three files, of which each imports the one before, and a store of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, text in (("leaf", LEAF), ("middle", MIDDLE), ("top", TOP)):
        write(tmp_path / "masks" / f"{name}.mask", text)
    return tmp_path / "masks"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Checks the folder as a new process would; the report, and how many files were really checked."""
    checked: list[object] = []
    plain = Registry.check
    monkeypatch.setattr(Registry, "check", lambda self, source: checked.append(source) or plain(self, source))

    def run(fresh: bool = False) -> tuple[Report, int]:
        checked.clear()
        return check_files([str(folder)], Registry(), fresh), len(checked)

    return run


def test_what_is_clean_is_not_checked_again(check: Check) -> None:
    first, number = check()
    assert number == 3 and not first.diagnostics
    assert check() == (first, 0)
    assert check(fresh=True) == (first, 3)  # type: ignore[call-arg]


def test_a_changed_file_is_checked_with_all_that_import_it(check: Check, folder: Path) -> None:
    check()
    write(folder / "middle.mask", MIDDLE.replace("= leaf", "= leaf or k == 0"))
    assert check()[1] == 2
    write(folder / "leaf.mask", LEAF.replace("k <= q", "q < 0"))
    report, number = check()
    assert number == 3 and {d.code for d in report.diagnostics} >= {"E0501"}
    assert check()[1] > 0, "what has diagnostics is checked every time"
    write(folder / "leaf.mask", LEAF)
    assert not check()[0].diagnostics


def test_another_file_that_answers_the_import_counts(check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = folder.parent / "library"
    write(library / "leaf.mask", LEAF)
    (folder / "leaf.mask").unlink()
    monkeypatch.setenv("MASKDSL_PATH", str(library))
    check()
    assert check()[1] == 0
    write(folder / "leaf.mask", LEAF)
    assert check()[1] == 3
    (folder / "leaf.mask").unlink()
    (library / "leaf.mask").unlink()
    assert "E0204" in {d.code for d in check()[0].diagnostics}


def test_another_maskdsl_checks_everything(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    monkeypatch.setattr(clean, "program", lambda: "another")
    assert check()[1] == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"program": 1}', '{"program": "%s", "files": {"a": {}}}', "\ud800"])
def test_a_damaged_store_is_an_empty_one(check: Check, folder: Path, damage: str) -> None:
    check()
    store = folder.parent / "cache" / "maskdsl" / "clean.json"
    content = damage % clean.program() if "%s" in damage else damage
    store.write_bytes(content.encode("utf-8", "surrogatepass"))
    assert check()[1] == 3
    assert check()[1] == 0


def test_a_store_that_cannot_be_written_is_no_error(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert check()[1] == 3
    assert check()[1] == 3
