"""Where libraries are: the shipped one, what MASKDSL_PATH names, and the entry points of `maskdsl.variants`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from maskdsl.library.files import SUFFIX, find_files, located

ENTRY_POINTS = "maskdsl.variants"
SHIPPED = "maskdsl"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source stands: `folders` from the library's root to the file, and the file's name without `.mask`."""

    library: str
    folders: tuple[str, ...]
    stem: str

    def answers_to(self, module: tuple[str, ...]) -> bool:
        """Whether an import may call the file `module`: the end of its path, the library's name in front of it."""
        return (self.library, *self.folders, self.stem)[-len(module):] == module

    def holds(self, folders: tuple[str, ...]) -> bool:
        """Whether a definition of the file may be called `folders/name`; the file's own name may be the last folder."""
        inside = (self.library, *self.folders)
        return not folders or inside[-len(folders):] == folders or self.answers_to(folders)


def find_registered_places() -> Iterator[tuple[Path, Place]]:
    """Every file of the shipped library, of MASKDSL_PATH and of the entry points, each with its place."""
    yield from _shipped()
    yield from _from_environment()
    yield from _from_entry_points()


def places_in(root: Path, library: str) -> Iterator[tuple[Path, Place]]:
    """The files of a library's folder, or the one file that it is, each with its place."""
    root = located(root)
    if os.path.isfile(root):
        yield root, Place(library, (), root.stem)
    for path in find_files(root):
        *folders, file = path.relative_to(root).parts
        yield path, Place(library, tuple(folders), file.removesuffix(SUFFIX))


def _shipped() -> Iterator[tuple[Path, Place]]:
    from maskdsl.source.shipped import variants_dir

    yield from places_in(variants_dir(), SHIPPED)


def _from_environment() -> Iterator[tuple[Path, Place]]:
    for part in filter(None, os.environ.get("MASKDSL_PATH", "").split(os.pathsep)):
        path = located(Path(os.path.expanduser(part)))
        yield from places_in(path, path.stem)


@cache
def _entry_point_folders() -> tuple[tuple[str, Path], ...]:
    """The name and folder of every installed entry point; one that fails is a warning, not an error."""
    from importlib.metadata import entry_points

    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found.append((point.name, _folder_of(point.load())))
        except Exception as problem:  # another package's code: whatever it raises, the rest must go on
            warnings.warn(f"the entry point {ENTRY_POINTS}:{point.name} was left out: {problem}", stacklevel=2)
    return tuple(found)


def _folder_of(loaded: object) -> Path:
    """The folder that an entry point means: a package, a path, or a function that returns one."""
    paths = getattr(loaded, "__path__", None)
    if paths is not None:
        return Path(next(iter(paths)))
    return Path(loaded() if callable(loaded) else loaded)  # type: ignore[arg-type]


def _from_entry_points() -> Iterator[tuple[Path, Place]]:
    for name, folder in _entry_point_folders():
        yield from places_in(folder, name)
