"""Files: the sources of a folder, and what is said where the system refuses to read or write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source

SUFFIX = ".mask"

MOST_BYTES = 4 * 256 * 1024
"""No larger file is read: the parser refuses more than 256 Ki characters, and one has at most four bytes."""


def read_source(path: Path, name: str | None = None) -> Source:
    """The text of a file, named `name` in diagnostics (the path as given if None).

    Raises MaskError E0107 when it cannot be read or is no UTF-8 text, E0104 when it is too large.
    """
    shown = name if name is not None else str(path)
    try:
        with path.open("rb") as file:
            return Source(shown, read_text(file, shown), path)
    except (OSError, ValueError) as problem:
        raise MaskError(_unreadable(shown, reason(problem))) from None


def read_text(stream: BinaryIO, shown: str) -> str:
    """All the text of a stream that is named `shown` in diagnostics. Raises MaskError as `read_source`, OSError."""
    content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise MaskError(Diagnostic("E0104", f"`{shown}` is too large: more than {MOST_BYTES:,} bytes"))
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        raise MaskError(_unreadable(shown, f"byte {problem.start} is not UTF-8 text")) from None


def reason(problem: OSError | ValueError) -> str:
    """Why the system refused a file, in its own words: an OSError, or a ValueError for what is no name of a file."""
    return ((problem.strerror if isinstance(problem, OSError) else None) or str(problem)).lower()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes to a path: what the system refuses becomes MaskError E0107."""
    try:
        yield
    except OSError as problem:
        raise MaskError(Diagnostic("E0107", f"`{path}` cannot be written: {reason(problem)}")) from None


def located(path: Path) -> Path:
    """The absolute path without links; the path as it is where there is none."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # no working folder, or no name of a file
        return path


def find_files(folder: Path) -> Iterator[Path]:
    """The `.mask` files below a folder, sorted; folders and files whose names begin with a dot are left out."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found = (Path(here, f) for f in sorted(files) if f.endswith(SUFFIX) and not f.startswith("."))
        # Nobody writes to a pipe that only happens to be there; a link that leads nowhere is for the reader to tell.
        yield from (p for p in found if os.path.isfile(p) or not os.path.exists(p))


def shown_path(path: Path) -> str:
    """The path as a person here would type it: relative to the working folder when below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _unreadable(shown: str, why: str) -> Diagnostic:
    return Diagnostic("E0107", f"`{shown}` cannot be read: {why}")
