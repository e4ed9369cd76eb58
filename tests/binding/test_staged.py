"""Folders are replaced whole or not at all: by processes that fail, are killed, or write at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from maskdsl.binding.staged import MAKING, staged
from maskdsl.source.diagnostic import MaskError


def write(folder: Path, **files: str) -> None:
    """An artifact of these files, `/` in their names spelt `__`, and a manifest that lists them."""
    named = {name.replace("__", "/"): text for name, text in files.items()}
    with staged(folder) as made:
        for name, text in named.items():
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(text)
        (made / "manifest.json").write_text(json.dumps({"files": [*named, "manifest.json"]}))


def names(folder: Path) -> set[str]:
    """Every file and folder below it."""
    return {f.relative_to(folder).as_posix() for f in folder.rglob("*")}


def test_what_the_old_one_lists_goes_and_the_rest_stays(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    write(folder, decode__x="1", any__x="1")
    (folder / "mine").write_text("kept")
    (folder / "any" / "mine").write_text("kept")
    assert names(folder) == {"decode", "decode/x", "any", "any/x", "any/mine", "manifest.json", "mine"}
    write(folder, whole__x="2")
    assert names(folder) == {"whole", "whole/x", "any", "any/mine", "manifest.json", "mine"}
    assert json.loads((folder / "manifest.json").read_text())["files"] == ["whole/x", "manifest.json"]


def test_nothing_outside_of_the_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "a").mkdir()
    listed = ["../mine", str(tmp_path / "mine"), "b/../../mine", ".", 3]
    for files in (listed[:-1], listed, None):
        (tmp_path / "a" / "manifest.json").write_text(json.dumps({"files": files}))
        write(tmp_path / "a", x="1")
    assert names(tmp_path) == {"mine", "a", "a/x", "a/manifest.json"}


@pytest.mark.parametrize("ends", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_changes_nothing(tmp_path: Path, ends: type[BaseException]) -> None:
    folder = tmp_path / "a"
    with pytest.raises(ends), staged(folder) as made:
        (made / "x").write_text("half")
        raise ends
    assert not folder.exists()
    write(folder, x="whole")
    with pytest.raises(ends), staged(folder) as made:
        (made / "x").write_text("half")
        raise ends
    assert names(folder) == {"x", "manifest.json"} and (folder / "x").read_text() == "whole"


KILLED = """
import os, sys
from pathlib import Path
from maskdsl.binding.staged import staged
with staged(Path(sys.argv[1])) as made:
    (made / "x").write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(1)
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        write(tmp_path, x="first")
        (living,) = tmp_path.glob(f"{MAKING}*")
        assert (living / "x").read_text() == "half"
        process.kill()
    assert living.exists() and (tmp_path / "x").read_text() == "first"
    write(tmp_path, x="second")
    assert names(tmp_path) == {"x", "manifest.json"} and (tmp_path / "x").read_text() == "second"


def test_several_writers_leave_the_files_of_one(tmp_path: Path) -> None:
    def often(number: int) -> None:
        for _ in range(20):
            write(tmp_path, **{f"only{number}": "", **dict.fromkeys("abcdefgh", str(number))})

    threads = [Thread(target=often, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (last,) = {(tmp_path / name).read_text() for name in "abcdefgh"}
    assert names(tmp_path) == {*"abcdefgh", f"only{last}", "manifest.json"}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(MaskError, match="E0107.* cannot be written"), staged(folder):
            raise AssertionError
    (tmp_path / "x").mkdir()
    with pytest.raises(MaskError, match="E0107.* cannot be written"):
        write(tmp_path, x="is a folder there")
    assert names(tmp_path) == {"file", "x"}
