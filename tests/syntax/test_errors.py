"""Every text in `errors/` beside the diagnostics that it gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.render import render_text
from maskdsl.source.text import Source
from maskdsl.syntax.parse import parse

FOLDER = Path(__file__).parent / "errors"
FILES = sorted(FOLDER.glob("*.mask"))


def report(path: Path) -> str:
    """The diagnostics of a file as a terminal shows them, without the line that names the page."""
    text = path.read_bytes().decode("utf-8")
    file, diagnostics = parse(Source(path.name, text))
    read = ", ".join(getattr(d, "name", None).text if hasattr(d, "name") else "example" for d in file.definitions)
    return "\n\n".join([*map(_shown, diagnostics), f"read all the same: {read or 'nothing'}"]) + "\n"


def _shown(diagnostic: Diagnostic) -> str:
    return "\n".join(line for line in render_text(diagnostic).split("\n") if "maskdsl explain" not in line)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_diagnostics_of_a_text(path: Path, snapshot: Callable[[Path, str], None]) -> None:
    snapshot(path.with_suffix(".txt"), report(path))


def test_every_expected_text_has_its_program() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}
