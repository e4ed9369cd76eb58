"""What the README shows is what happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fenced import Block, read_blocks

ROOT = Path(__file__).parent.parent
BLOCKS = read_blocks(ROOT / "README.md")


def block(language: str) -> Block:
    """The only block of a language."""
    (found,) = [b for b in BLOCKS if b.language == language]
    return found


def test_the_file_of_the_tour_is_shown() -> None:
    assert block("mask").text == (ROOT / "examples" / "tour.mask").read_text(encoding="utf-8")


def test_the_commands_print_what_is_shown() -> None:
    shown = ""
    for line in block("console").text.splitlines(keepends=True):
        if line.startswith("$ maskdsl "):
            words = line.split()[2:]
            env = {**os.environ, "NO_COLOR": "1"}
            done = subprocess.run(
                [sys.executable, "-m", "maskdsl", *words], cwd=ROOT, capture_output=True, text=True, env=env
            )
            shown += line + done.stdout.rstrip() + "\n"
    assert block("console").text == shown


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize(("number", "printed"), [(0, "def make_score_mod(slope):"), (1, "")], ids=["tour", "serving"])
def test_the_python_runs(number: int, printed: str) -> None:
    text = [b.text for b in BLOCKS if b.language == "python"][number]
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


def test_every_command_is_in_the_table() -> None:
    from maskdsl.cli.program import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"| `maskdsl {name} " in text for name in COMMANDS)


def test_examples_are_formatted_and_sound() -> None:
    for command in ("check", "fmt --check"):
        done = subprocess.run([sys.executable, "-m", "maskdsl", *command.split(), "examples"], cwd=ROOT)
        assert done.returncode == 0
