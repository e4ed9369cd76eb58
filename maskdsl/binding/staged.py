"""Puts an artifact into its folder as a whole: it is made beside the files that are there, and then takes their place.

Until it is done, what was there is there, whoever ends the process; then the old manifest goes first and the new one
comes last, so that what can be opened was made by one process. Several that write into one folder take turns at that.
Not here: what the files are (`artifact`, `made`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath

from maskdsl.binding.artifact import MANIFEST
from maskdsl.library.files import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAKING = ".making-"
"""What the names of folders begin with in which an artifact is being made."""


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """An empty folder, whose files take the place of those that the artifact in `folder` lists when the block is done.

    A block that raises changes nothing. Raises MaskError E0107 where the folder cannot be written.
    """
    was_there = folder.exists()
    with ExitStack() as held:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(folder):  # or what is not locked yet might be taken for abandoned
                _remove_abandoned(folder)
                made = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))
                held.enter_context(_lock(made))
        try:
            yield made
            with writing(folder), _lock(folder):
                _replace(folder, made)
        finally:
            shutil.rmtree(made, ignore_errors=True)
            if not was_there:
                with suppress(OSError):  # there is something in it
                    folder.rmdir()


def _replace(folder: Path, made: Path) -> None:
    """Move the files of `made` into the folder, the manifest last, and remove what the old one lists beside them."""
    new = sorted((f.relative_to(made).as_posix() for f in made.rglob("*") if f.is_file()), key=MANIFEST.__eq__)
    old = _listed(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in old - {*new}:
        if (folder / name).is_file():
            (folder / name).unlink()
    for place in sorted({(folder / name).parent for name in old}, reverse=True):
        with suppress(OSError):  # it is not empty
            place.rmdir()
    for name in new:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(folder / name)


def _listed(folder: Path) -> set[str]:
    """The files below the folder that the manifest in it lists; none where there is no manifest."""
    try:
        plain = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = [PurePosixPath(name) for name in plain["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {str(n) for n in names if not n.is_absolute() and ".." not in n.parts}


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes left behind that were killed while they made an artifact."""
    for place in folder.glob(f"{MAKING}*"):
        with suppress(OSError), _lock(place, wait=False):
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _lock(folder: Path, wait: bool = True) -> Iterator[None]:
    """Within the block no other process is in one for this folder, where the system has such locks.

    One that does not wait raises OSError where another is, or there are none.
    """
    if fcntl is None:
        if not wait:
            raise OSError
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError) if wait else nullcontext():  # some network drives have no locks
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile would keep it
        os.close(handle)
