"""The files that a command is to work on: those named, and those below the folders named."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from maskdsl.library.files import SUFFIX, find_files, read_text, reason
from maskdsl.library.registry import Registry
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source

STDIN = "-"


def read_all(names: Sequence[str], registry: Registry) -> tuple[list[Source], list[Diagnostic]]:
    """The sources of files, folders and standard input (`-`), and what could not be read."""
    sources: list[Source] = []
    problems: list[Diagnostic] = []
    for name in names:
        found = _expand(name)
        if not found:
            problems.append(Diagnostic("E0107", f"`{name}` holds no {SUFFIX} files"))
        for path in found:
            try:
                sources.append(read_one(path, registry))
            except MaskError as problem:
                problems += problem.diagnostics
    return list(dict.fromkeys(sources)), problems


def read_one(name: str | Path, registry: Registry) -> Source:
    """The source of a file, or of standard input for `-`. Raises MaskError E0107, E0104."""
    if str(name) == STDIN:
        return Source("<stdin>", _read_stdin())
    if not str(name):
        raise MaskError(Diagnostic("E0107", "`` cannot be read: it names no file"))
    return registry.read(Path(name))


def _expand(name: str) -> Sequence[str | Path]:
    return list(find_files(Path(name))) if name not in ("", STDIN) and os.path.isdir(name) else [name]


def _read_stdin() -> str:
    try:
        if sys.stdin is None:
            raise OSError("it is closed")
        return read_text(sys.stdin.buffer, "<stdin>")
    except OSError as problem:
        raise MaskError(Diagnostic("E0107", f"`<stdin>` cannot be read: {reason(problem)}")) from None
