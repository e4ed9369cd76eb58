"""How far a command is that makes many things: a bar on a terminal; elsewhere nothing, or a line for each.

Not here: the steps of making one thing (`steps`).
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


class Display:
    """One line of `columns` on standard error, if that is a terminal (`draws`), for as long as the context lasts."""

    def __init__(self, quiet: bool, *columns: ProgressColumn) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self.draws = self._console.is_terminal
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not self.draws)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Bar(Display):
    """A progress bar; a context manager. With `lines`, what is no terminal gets a line for each."""

    def __init__(self, quiet: bool = False, lines: bool = False) -> None:
        name = TextColumn("{task.description}", markup=False)
        super().__init__(quiet, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), name)
        self._lines = lines and not quiet and not self.draws

    def tell(self, done: int, total: int, name: str) -> None:
        """So many of `total` are done, and `name` is the last of them or the next."""
        if self._lines:
            print(f"{done}/{total} {name}", file=sys.stderr, flush=True)
        self._progress.update(self._task, completed=done, total=total, description=name)
