"""Reading files: line ends, marks, limits, and what is told of what is no text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskdsl.library.files import MOST_BYTES, find_files, located, read_source, shown_path
from maskdsl.source.diagnostic import MaskError


def refused(path: Path) -> tuple[str, str]:
    """The code and the message that reading a path gives."""
    with pytest.raises(MaskError) as caught:
        read_source(path, "a.mask")
    (one,) = caught.value.diagnostics
    return one.code, one.message


def test_line_ends_and_a_byte_order_mark_are_made_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.mask"
    path.write_bytes(b"\xef\xbb\xbfmask a =\r\n  true\r\n")
    assert read_source(path).text == "mask a =\n  true\n"


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"mask \xff")
    assert refused(tmp_path / "b") == ("E0107", "`a.mask` cannot be read: byte 5 is not UTF-8 text")
    assert refused(tmp_path) == ("E0107", "`a.mask` cannot be read: is a directory")
    assert refused(tmp_path / "none") == ("E0107", "`a.mask` cannot be read: no such file or directory")


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * (MOST_BYTES + 1))
    assert refused(tmp_path / "large")[0] == "E0104"
    if Path("/dev/zero").exists():
        assert refused(Path("/dev/zero"))[0] == "E0104"
    (tmp_path / "fits").write_bytes(b"#" * MOST_BYTES)
    assert len(read_source(tmp_path / "fits").text) == MOST_BYTES


def test_folders_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.mask", "a.mask", ".c.mask", "sub/d.mask", ".git/e.mask", "f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in find_files(tmp_path)] == ["a.mask", "b.mask", "sub/d.mask"]


def test_paths_are_shown_as_a_person_here_types_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(Path.cwd() / "sub" / "a.mask") == "sub/a.mask"
    assert shown_path(Path("/elsewhere/a.mask")) == "/elsewhere/a.mask"


def test_paths_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert refused(tmp_path / "loop")[1].endswith("too many levels of symbolic links")
    assert refused(tmp_path / ("a" * 300))[1].endswith("file name too long")
    assert refused(Path("a\0b"))[1].endswith("embedded null byte")
    for path in (tmp_path / "loop", tmp_path / ("a" * 300), Path("a\0b")):
        assert located(path).name == path.name


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mask")
    (tmp_path / "nowhere.mask").symlink_to("none")
    assert [p.name for p in find_files(tmp_path)] == ["nowhere.mask"]
