"""How a command ends: the exit codes, and diagnostics printed for people or for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any, TextIO

from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.render import render_text, to_json


class Exit(IntEnum):
    """What the process says when it ends."""

    CLEAN = 0
    DIAGNOSTICS = 1
    USAGE = 2
    FAULT = 3


class Format(StrEnum):
    """Who reads the output."""

    TEXT = "text"
    JSON = "json"


def wants_color(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours; NO_COLOR and FORCE_COLOR decide first."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def can_draw() -> bool:
    """Whether standard output is a terminal that shows blocks and shades."""
    return sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower()


def print_diagnostics(diagnostics: Iterable[Diagnostic], stream: TextIO | None = None) -> None:
    """Print each diagnostic and an empty line after it (to standard error if no stream is given; nowhere if closed)."""
    out = stream or sys.stderr
    for diagnostic in diagnostics if out is not None else ():
        print(render_text(diagnostic, color=wants_color(out)), end="\n\n", file=out)


def print_json(value: dict[str, Any] | list[Any]) -> None:
    """Print a value for machines, indented, to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def as_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """The diagnostics as plain values."""
    return [to_json(d) for d in diagnostics]


def count(number: int, noun: str) -> str:
    """Such as `1 file` or `3 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def fault(problem: BaseException) -> Diagnostic:
    """The diagnostic of an exception that should not have been."""
    said = f"{type(problem).__name__}: {problem}".strip().removesuffix(":")
    return Diagnostic(
        "E0001",
        "maskdsl itself failed; your files are not to blame",
        notes=(said[:2000],),
        help=("MASKDSL_DEBUG=1 shows where; please report it with the file that led here",),
    )


def fault_of_kernel(error: float, tolerance: float) -> Diagnostic:
    """The diagnostic of a kernel whose output is not the reference's."""
    return Diagnostic(
        "E0001",
        "the compiled kernel does not compute what the formula says",
        notes=(f"its error is {error:.2g} of the largest output, and {tolerance:.2g} is what rounding explains",),
        help=("please report it with the file, the command, and the versions in manifest.json",),
    )
