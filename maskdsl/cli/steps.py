"""What a long command is doing: a spinner with the time on a terminal, a line for each step elsewhere."""

from __future__ import annotations

from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from maskdsl.cli.progress import Display


class Steps(Display):
    """The steps of a command, one at a time; a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet, SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())

    def begin(self, step: str) -> None:
        """Say that a step begins; the one before it has ended."""
        if self.draws:
            self._progress.reset(self._task, description=step)
        else:
            self._console.print(f"{step} …")
