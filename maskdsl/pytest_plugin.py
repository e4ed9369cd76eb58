"""The pytest plugin: a `.mask` file is a test file; that it checks is one test, each of its examples another.

`mask_files` in pytest's configuration says which files, as globs over the path from the root (all of them by default).
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from maskdsl.meaning.examples import Example
    from maskdsl.source.diagnostic import Diagnostic


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `mask_files`."""
    parser.addini("mask_files", "globs of the .mask files whose examples are tests", type="args", default=["*.mask"])


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A collector for a `.mask` file that the configuration names."""
    if file_path.suffix != ".mask":
        return None
    root = parent.config.rootpath
    name = file_path.relative_to(root).as_posix() if file_path.is_relative_to(root) else file_path.as_posix()
    if not any(fnmatch(name, glob) for glob in parent.config.getini("mask_files")):
        return None
    return MaskFile.from_parent(parent, path=file_path)


class MaskFailed(Exception):
    """What is wrong with a file or an example, as diagnostics."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        from maskdsl.source.render import render_text

        return "\n\n".join(map(render_text, self.diagnostics))


class MaskFile(pytest.File):
    """A `.mask` file."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for the file's errors, and one for each example when there are none."""
        from maskdsl.library.registry import shared
        from maskdsl.source.diagnostic import MaskError

        try:
            module = shared().check(shared().read(self.path))
        except MaskError as unreadable:
            yield CheckItem.from_parent(self, name="check", problems=unreadable.diagnostics)
            return
        yield CheckItem.from_parent(self, name="check", problems=module.errors)
        if not module.errors:
            for example in module.examples:
                yield ExampleItem.from_parent(self, name=_name_of(example), example=example)


class _MaskItem(pytest.Item):
    """What both kinds of items share: how a failure looks and where it is."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> str:
        """The diagnostics, or pytest's own text for any other exception."""
        if isinstance(excinfo.value, MaskFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The file and the item's name."""
        return self.path, None, self.name


class CheckItem(_MaskItem):
    """That a file has no errors."""

    def __init__(self, *, problems: tuple[Diagnostic, ...], **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.problems = problems

    def runtest(self) -> None:
        """Fail with the file's errors."""
        if self.problems:
            raise MaskFailed(self.problems)


class ExampleItem(_MaskItem):
    """That an example shows what its definition gives."""

    def __init__(self, *, example: Example, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.example = example

    def runtest(self) -> None:
        """Fail with what the example shows wrongly."""
        from maskdsl.library.examples import run_example

        if wrong := [d for d in run_example(self.example) if d.severity == "error"]:
            raise MaskFailed(tuple(wrong))


def _name_of(example: Example) -> str:
    """Such as `12:sliding_window(window = 2)`: the line, then the call."""
    line, _ = example.span.source.position(example.span.start)
    return f"{line}:{' '.join(example.span.text.split('|')[0].split()).removeprefix('example ')}"
