"""`maskdsl fmt`: files in the one layout that there is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from maskdsl.cli.outcome import Exit, count, print_diagnostics
from maskdsl.cli.paths import STDIN, read_all
from maskdsl.library.files import writing
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files, folders, or - for standard input.")],
    check: Annotated[bool, typer.Option("--check", help="Only say which files would change.")] = False,
) -> None:
    """Format files in place."""
    from maskdsl.library.registry import shared

    sources, problems = read_all(files, shared())
    changed = 0
    for source in sources:
        try:
            changed += _format_one(source, check)
        except MaskError as problem:
            problems += problem.diagnostics
    print_diagnostics(problems)
    if STDIN not in files or check:
        _print_summary(len(sources), changed, check, problems)
    if problems or (check and changed):
        raise typer.Exit(Exit.DIAGNOSTICS)


def _format_one(source: Source, check: bool) -> bool:
    """Format one source, or with `check` only look; whether it was not formatted before."""
    from maskdsl.syntax.format import format_file

    text = format_file(source)
    if source.path is None and not check:
        sys.stdout.write(text)
    elif text != source.text:
        print(f"{'would format' if check else 'formatted'} {source.name}", file=sys.stderr)
        if source.path is not None and not check:
            write_whole(source.path, text)
    return text != source.text


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text at once, so that a crash leaves the old or the new. Raises MaskError E0107."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with writing(path):
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.chmod(path.stat().st_mode)
        beside.replace(path)


def _print_summary(total: int, changed: int, check: bool, problems: list[Diagnostic]) -> None:
    verb = "would change" if check else "changed"
    failed = f", {count(len(problems), 'error')}" if problems else ""
    print(f"{count(total, 'file')}, {changed} {verb}{failed}", file=sys.stderr)
