"""The program: its commands, loaded when they are needed, and the handler of everything that goes wrong."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from maskdsl.cli.outcome import Exit, fault, print_diagnostics
from maskdsl.library.files import reason
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.version import VERSION

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
            close = " ".join(did_you_mean(cmd_name, COMMANDS))
            return ctx.fail(f"No such command '{cmd_name}'{f': {close}' if close else '.'}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(import_module(f"maskdsl.cli.{cmd_name}").run)
        return typer.main.get_command(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"maskdsl {VERSION}")
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
    _never_stop_at_a_character()
    try:
        code = _run(arguments)
    except OSError:  # nor can it be said what went wrong
        code = Exit.DIAGNOSTICS
    _drop_what_cannot_be_written()
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        return _ended(arguments)
    except MaskError as problem:
        print_diagnostics(problem.diagnostics)
        return Exit.DIAGNOSTICS
    except BrokenPipeError:
        return _nobody_reads()
    except Exception as problem:  # the last handler: no traceback reaches the user unless asked for
        if os.environ.get("MASKDSL_DEBUG", "0") not in ("", "0"):
            raise
        print_diagnostics([_refused(problem) if isinstance(problem, OSError) else fault(problem)])
        return Exit.DIAGNOSTICS if isinstance(problem, OSError) else Exit.FAULT


def _ended(arguments: list[str] | None) -> int:
    """The exit code of a run that typer ends, once all that it printed is written."""
    try:
        program()(arguments, prog_name="maskdsl")
        code: object = Exit.CLEAN
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer makes an exit of it
            return _nobody_reads()
        code = ended.code
    if sys.stdout is not None:
        sys.stdout.flush()
    return code if isinstance(code, int) else Exit.USAGE


def _never_stop_at_a_character() -> None:
    """What the terminal's encoding lacks is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _nobody_reads() -> int:
    """The reader of a pipe has seen enough."""
    _write_no_more()
    return Exit.CLEAN


def _drop_what_cannot_be_written() -> None:
    """What a full disk did not take is not tried again at the end of Python, whose exit code would be 120."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _write_no_more(number)


def _write_no_more(number: int = 1) -> None:
    """Nothing more reaches standard output (1) or standard error (2), not even at the end of Python."""
    stream = sys.__stdout__ if number == 1 else sys.__stderr__
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno() if stream is not None else number)


def _refused(problem: OSError) -> Diagnostic:
    """The diagnostic of what the system refused."""
    what = f"`{problem.filename}`" if problem.filename else "a file or the output"
    return Diagnostic("E0107", f"{what} cannot be read or written: {reason(problem)}")
