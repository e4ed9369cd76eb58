"""`maskdsl list`: every definition of every library, or those that tell of something."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskdsl.cli.outcome import print_json
from maskdsl.source.excerpt import printable

if TYPE_CHECKING:
    from rich.console import Console

    from maskdsl.library.manifest import Manifest


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD…", help="Only those that tell of all these words: a model, a paper, a library."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifests as JSON.")] = False,
) -> None:
    """List the registered variants."""
    from maskdsl.library.registry import shared

    manifests = find_manifests(words or [], shared().manifests())
    if json:
        print_json([m.model_dump(mode="json") for m in manifests])
    else:
        _print_table(manifests)


def find_manifests(words: list[str], manifests: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """The manifests whose path, file, text or documentation have all the words, whatever their case, hyphens and
    underscores. Raises MaskError E0211 when none has.
    """
    from maskdsl.source.diagnostic import Diagnostic, MaskError
    from maskdsl.source.suggest import did_you_mean

    found = tuple(m for m in manifests if all(_plain(word) in _text_of(m) for word in words))
    if not found:
        told = " ".join(words)
        help = did_you_mean(told.replace(" ", "_"), [m.name for m in manifests])
        raise MaskError(Diagnostic("E0211", f"no definition tells of `{told}`", help=help))
    return found


def _text_of(manifest: Manifest) -> str:
    parts = (manifest.path, Path(manifest.file or "").stem, manifest.source, manifest.doc)
    return _plain(" ".join(" ".join(parts).split()))


def _plain(text: str) -> str:
    return text.lower().replace("-", " ").replace("_", " ")


def _print_table(manifests: tuple[Manifest, ...]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    width = console.width if console.is_terminal else 10_000
    for (library, family), group in groupby(manifests, key=lambda m: (m.library, m.path.rpartition("/")[0])):
        title = family if library == "maskdsl" else f"{library}/{family}".rstrip("/")
        console.print(title or "maskdsl", style="bold", markup=False)
        for manifest in group:
            _print_row(console, manifest, width)
        console.print()


def _print_row(console: Console, manifest: Manifest, width: int) -> None:
    from rich.text import Text

    row = Text(f"  {manifest.kind:8}", style="dim")
    row.append(manifest.signature, style="cyan")
    row.append("  " + printable(first_sentence(manifest.doc)))
    for line in manifest.layers:
        row.append(f"  [{line.text}]", style="dim")
    row.truncate(width, overflow="ellipsis")
    console.print(row)


def first_sentence(doc: str) -> str:
    """The documentation up to its first full stop outside brackets."""
    text = " ".join(doc.split())
    for stop in re.finditer(r"\.(?= )", text):
        sentence = text[: stop.end()]
        if sentence.count("(") == sentence.count(")"):
            return sentence
    return text
