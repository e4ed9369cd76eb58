"""Short ways to check a text, for the tests of `maskdsl.meaning`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maskdsl.meaning.imports import Loader
from maskdsl.meaning.module import Module, check
from maskdsl.source.render import render_text
from maskdsl.source.text import Source

HERE = Path(__file__).parent


def loader(files: Mapping[str, str]) -> Loader:
    """A loader of texts by the module's dotted name; each text is one source."""
    sources = {name: Source(f"{name}.mask", text) for name, text in files.items()}
    return lambda module, local, importer: sources.get(".".join(module))


def checked(text: str, files: Mapping[str, str] | None = None) -> Module:
    """The module of a text, whatever is wrong with it."""
    return check(Source("test.mask", text), loader(files or {}))


def sound(text: str, files: Mapping[str, str] | None = None) -> Module:
    """The module of a text that has no diagnostics at all, but for those about constant masks."""
    module = checked(text, files)
    wrong = [d for d in module.diagnostics if d.code != "W0802"]
    assert not wrong, "\n\n".join(map(render_text, wrong))
    return module


def codes(text: str, files: Mapping[str, str] | None = None) -> list[str]:
    """The codes of all diagnostics of a text, in order."""
    return [d.code for d in checked(text, files).diagnostics]


def marked(text: str, files: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """The codes of all diagnostics of a text, each with the characters that it points to."""
    return [(d.code, d.span.text if d.span else "") for d in checked(text, files).diagnostics]
