"""The program: its commands, loaded when they are needed, and the handler of everything that goes wrong."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from maskdsl.cli.outcome import Exit, fault, print_diagnostics
from maskdsl.source.diagnostic import MaskError

COMMANDS = ("check", "fmt", "list", "show", "explain", "compile", "gallery")
"""The commands in the order of the help; `maskdsl.cli.NAME` has a function `run` and says what it does."""


class Commands(TyperGroup):
    """The group of all commands; a command's module is imported when it is called, or for the help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(import_module(f"maskdsl.cli.{cmd_name}").run)
        return typer.main.get_command(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"maskdsl {version('maskdsl')}")
        raise typer.Exit


def program() -> Any:
    """The whole program as one callable group."""
    app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

    @app.callback()
    def about(
        version: bool = typer.Option(
            False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ) -> None:
        """Attention masks and scores as formulas: check them, look at them, compile them."""

    return typer.main.get_command(app)


def run(arguments: list[str] | None = None) -> int:
    """Run the program on the arguments (those of the process if None) and return its exit code."""
    try:
        program()(arguments, prog_name="maskdsl")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.USAGE
    except MaskError as problem:
        print_diagnostics(problem.diagnostics)
        return Exit.DIAGNOSTICS
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.CLEAN
    except Exception as problem:  # the last handler: no traceback reaches the user unless asked for
        if os.environ.get("MASKDSL_DEBUG", "0") not in ("", "0"):
            raise
        print_diagnostics([fault(problem)])
        return Exit.FAULT
    return Exit.CLEAN
