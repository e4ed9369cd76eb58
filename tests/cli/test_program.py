"""The program as a whole: its help, its exit codes, and how quickly it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from terminal import ROOT, python, run

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


@pytest.mark.parametrize("words", ["explian E0305", "check", "list --jsno", "show causal --set window", "show :a", "show a.mask:",
                                   "show causal --size ²", "show causal --set a=1 --set a=2",
                                   f"show causal --batch {10 ** 30}", f"show causal --heads {10 ** 30}",
                                   f"show causal --tile {10 ** 11}", f"explain --tiles causal --heads {10 ** 30}",
                                   f"compile causal -o x --q-len {10 ** 12}"])
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
    code = (
        "import os, sys\nread, write = os.pipe()\nos.dup2(write, 1)\nos.close(read)\nos.close(write)\n"
        "from maskdsl.cli.program import run\nsys.exit(run([{}]))"
    )
    for words in ("'list'", "'explain', 'clamp'", "'check', 'examples'"):
        done = python("-c", code.format(words))
        assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told_and_is_no_fault() -> None:
    for words in ("list", "explain clamp"):
        script = f"{sys.executable} -m maskdsl {words} > /dev/full"
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1 and "written: no space left on device" in done.stderr
        assert subprocess.run(["bash", "-c", f"{script} 2>&1"], cwd=ROOT).returncode == 1
        assert subprocess.run(["bash", "-c", f"{script} 2>&-"], cwd=ROOT).returncode == 1


def test_characters_that_the_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    done = run("show", "causal", "--size", "3", PYTHONIOENCODING="ascii")
    assert done.code == 0 and "3 \\xd7 3 queries" in done.out
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mask"))).write_text("mask m = nothing\n")
    done = run("check", ".", cwd=tmp_path)
    assert done.code == 1 and "error[E0201]" in done.out


@pytest.mark.parametrize("words", ["check {}", "show {}", "fmt {}", "check loop.mask", "show loop.mask", "check import.mask"])
def test_paths_that_lead_nowhere_are_no_fault(words: str, tmp_path: Path) -> None:
    (tmp_path / "loop.mask").symlink_to("loop.mask")
    (tmp_path / "import.mask").write_text(f"from {'a' * 300} import x\n")
    done = run(*words.format("a" * 300).split(), cwd=tmp_path)
    assert done.code == 1 and "E0001" not in done.out + done.err


def test_a_command_that_is_misspelt_is_told() -> None:
    done = run("chek", "examples")
    assert done.code == 2 and "No such command 'chek': did you mean `check`?" in done.err
