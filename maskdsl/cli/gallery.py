"""`maskdsl gallery`: a static site with a page for every registered definition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskdsl.cli.outcome import count
from maskdsl.library.files import writing


def run(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Write a site with a page for every definition."""
    from maskdsl.cli.gallery_pages import make_pages
    from maskdsl.cli.progress import Bar
    from maskdsl.gallery.site import write_site
    from maskdsl.library.registry import shared

    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    with Bar(quiet) as bar:
        pages = make_pages(shared(), bar.tell)
    with writing(output):
        written = write_site(pages, output)
    size = sum(path.stat().st_size for path in written)
    print(f"{count(len(pages), 'definition')}, {size / 1e6:.1f} MB: {output / 'index.html'}")
    for page in pages:
        if page.problem:
            print(f"  no picture of {page.manifest.path}: {page.problem}")
