"""The program as a whole: its help, its exit codes, and how quickly it starts."""

from __future__ import annotations

from importlib import import_module

import pytest
from terminal import python, run

from maskdsl.cli.program import COMMANDS


def quickest(*arguments: str) -> float:
    """The least processor time of three runs, in seconds: what the work takes without the noise of the machine."""
    return min(python(*arguments).seconds for _ in range(3))


def test_the_help_names_every_command_and_says_what_it_does() -> None:
    done = run("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert (import_module(f"maskdsl.cli.{name}").run.__doc__ or "").split(".")[0] in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = run(name, "--help")
    assert done.code == 0 and f"maskdsl {name}" in done.out


def test_the_help_is_quick() -> None:
    assert quickest("-m", "maskdsl", "--help") <= 0.3


def test_importing_is_quick_and_leaves_torch_alone() -> None:
    assert quickest("-c", "import maskdsl") <= 0.2
    assert python("-c", "import sys, maskdsl; assert not {'torch', 'pydantic', 'numpy'} & set(sys.modules)").code == 0


def test_listing_is_quick() -> None:
    assert quickest("-m", "maskdsl", "list") <= 1.0


@pytest.mark.parametrize("command", ["check variants", "fmt --check variants", "list", "explain E0305"])
def test_what_needs_no_torch_does_not_import_it(command: str) -> None:
    words = command.split()
    code = f"import sys\nfrom maskdsl.cli.program import run\nrun({words!r})\nassert 'torch' not in sys.modules"
    done = python("-c", code)
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize("words", ["explian E0305", "check", "list --jsno", "show causal --set window"])
def test_wrong_usage_ends_with_2(words: str) -> None:
    done = run(*words.split())
    assert done.code == 2
    assert "Usage: maskdsl" in done.err and "Traceback" not in done.err


def test_the_version() -> None:
    assert run("--version").out.startswith("maskdsl 0.")


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_our_own_ends_with_3_and_shows_where_only_on_request(debug: str) -> None:
    code = (
        "import sys, maskdsl.cli.explain as e, maskdsl.cli.program as p\n"
        "def broken(topic): raise ZeroDivisionError('by hand')\n"
        "e.page_of = broken\nsys.exit(p.run(['explain', 'E0305']))"
    )
    done = python("-c", code, MASKDSL_DEBUG=debug)
    assert ("Traceback" in done.err) is bool(debug)
    assert "by hand" in done.err
    if not debug:
        assert done.code == 3
        assert done.err.startswith("error[E0001]")


def test_a_closed_pipe_is_no_fault() -> None:
    code = "import os, sys\nos.close(1)\nos.dup2(os.pipe()[1], 1)\nfrom maskdsl.cli.program import run\nrun(['list'])"
    assert "E0001" not in python("-c", code).err
