"""`maskdsl check`: types, proofs and examples of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from maskdsl.cli.outcome import Exit, Format, as_json, count, print_diagnostics, print_json
from maskdsl.cli.paths import read_all
from maskdsl.library.clean import CleanFiles
from maskdsl.library.registry import Registry, shared
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.text import Source


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found: how many files, definitions and examples, and every diagnostic in order."""

    files: int
    definitions: int
    examples: int
    diagnostics: tuple[Diagnostic, ...]

    def number(self, severity: str) -> int:
        """How many diagnostics are of a severity."""
        return sum(d.severity == severity for d in self.diagnostics)


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Files, folders, or - for standard input.")],
    format: Annotated[Format, typer.Option(help="For people or for machines.")] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail the check, too.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Check again what was clean and has not changed.")] = False,
) -> None:
    """Check files: types, proofs and examples."""
    report = check_files(files, shared(), fresh)
    if format is Format.JSON:
        _print_for_machines(report)
    else:
        _print_for_people(report)
    if report.number("error") or (strict and report.diagnostics):
        raise typer.Exit(Exit.DIAGNOSTICS)


def check_files(names: Sequence[str], registry: Registry, fresh: bool = False) -> Report:
    """Check the files, and the files below the folders, that the names mean.

    Unless `fresh`, what was clean in an earlier run, and would be checked the same again, is not.
    """
    sources, problems = read_all(names, registry)
    clean = CleanFiles(registry)
    definitions = examples = 0
    for source in sources:
        found = _remembered(source, clean) if not fresh else None
        found = found or _check_and_remember(source, registry, clean)
        definitions += found.definitions
        examples += found.examples
        problems += found.diagnostics
    clean.save()
    return Report(len(sources), definitions, examples, tuple(dict.fromkeys(problems)))


def _remembered(source: Source, clean: CleanFiles) -> Report | None:
    known = clean.find(source)
    return None if known is None else Report(1, known.definitions, known.examples, ())


def _check_and_remember(source: Source, registry: Registry, clean: CleanFiles) -> Report:
    found = check_source(source, registry)
    if not found.diagnostics:
        clean.add(source, found.definitions, found.examples)
    return found


def check_source(source: Source, registry: Registry) -> Report:
    """Check one source: its sound examples run; its tiles and layers are looked at when nothing else is wrong."""
    from maskdsl.library.examples import run_examples
    from maskdsl.library.layers import check_layers
    from maskdsl.meaning.allowances import settle
    from maskdsl.tiles.outlook import lint_module

    module = registry.check(source)
    shown = run_examples(module)
    if module.errors:
        shown = [d for d in shown if d.severity == "error"]
    found = (*module.diagnostics, *shown)
    if not module.errors:
        layers = () if module.file is None or "## Layers" not in source.text else check_layers(module.file, registry)
        found = (*found, *lint_module(module), *layers)
        if module.file is not None and all(d.severity != "error" for d in found):
            found = settle(module.file, found)
    return Report(1, len(module.definitions), len(module.examples), tuple(found))


def _print_for_machines(report: Report) -> None:
    print_json({
        "files": report.files,
        "definitions": report.definitions,
        "examples": report.examples,
        "errors": report.number("error"),
        "warnings": report.number("warning"),
        "diagnostics": as_json(report.diagnostics),
    })


def _print_for_people(report: Report) -> None:
    import sys

    print_diagnostics(report.diagnostics, sys.stdout)
    print(summary(report))


def summary(report: Report) -> str:
    """Such as `18 files, 24 definitions, 40 examples: no problems`."""
    seen = (count(report.files, "file"), count(report.definitions, "definition"), count(report.examples, "example"))
    found = [count(n, s) for s in ("error", "warning") if (n := report.number(s))]
    return f"{', '.join(seen)}: {' and '.join(found) or 'no problems'}"
