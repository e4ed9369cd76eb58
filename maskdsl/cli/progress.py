"""How far a command is that makes many things: a bar on a terminal; elsewhere nothing, or a line for each."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """A progress bar on standard error; a context manager. With `lines`, what is no terminal gets a line for each.

    `draws` says that it is a terminal.
    """

    def __init__(self, quiet: bool = False, lines: bool = False) -> None:
        console = Console(stderr=True, quiet=quiet)
        self.draws = console.is_terminal
        self._lines = lines and not quiet and not self.draws
        self._progress = Progress(
            BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False),
            console=console, transient=True, disable=not self.draws,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, done: int, total: int, name: str) -> None:
        """So many of `total` are done, and `name` is the last of them or the next."""
        if self._lines:
            print(f"{done}/{total} {name}", file=sys.stderr, flush=True)
        self._progress.update(self._task, completed=done, total=total, description=name)
