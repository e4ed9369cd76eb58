"""The files that a command is to work on: those named, and those below the folders named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from maskdsl.library.files import find_files
from maskdsl.library.registry import Registry
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source

STDIN = "-"


def read_all(names: Sequence[str], registry: Registry) -> tuple[list[Source], list[Diagnostic]]:
    """The sources of files, folders and standard input (`-`), and what could not be read."""
    sources: list[Source] = []
    problems: list[Diagnostic] = []
    for name in names:
        for path in _expand(name):
            try:
                sources.append(read_one(path, registry))
            except MaskError as problem:
                problems += problem.diagnostics
    return list(dict.fromkeys(sources)), problems


def read_one(name: str | Path, registry: Registry) -> Source:
    """The source of a file, or of standard input for `-`. Raises MaskError E0107."""
    return Source("<stdin>", sys.stdin.read()) if str(name) == STDIN else registry.read(Path(name))


def _expand(name: str) -> Sequence[str | Path]:
    return list(find_files(Path(name))) if name != STDIN and Path(name).is_dir() else [name]
