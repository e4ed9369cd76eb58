"""The fenced blocks of a document, and what maskdsl says about them.

An info string is a language and tags: "mask wrong", "mask right", "mask file=other.mask" (a file that stands beside the
page's program), "python wrong", and for Python also "needs=cuda", "without=cuda" and "without=torch".
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from maskdsl.cli.check import check_source
from maskdsl.library.registry import Registry
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the words after the fence, the text, and the line of the document where the text begins."""

    language: str
    tags: frozenset[str]
    text: str
    line: int

    def tag(self, name: str) -> str | None:
        """The value of `name=value` among the tags."""
        return next((t.split("=", 1)[1] for t in self.tags if t.startswith(f"{name}=")), None)


@cache
def read_blocks(path: Path) -> tuple[Block, ...]:
    """The blocks of a Markdown file, in order; a fence that is not closed is an error."""
    blocks: list[Block] = []
    opened: tuple[int, list[str]] | None = None
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = (number, line[3:].split())
        else:
            start, words = opened
            text = "\n".join(lines[start : number - 1]) + "\n"
            blocks.append(Block(words[0] if words else "", frozenset(words[1:]), text, start + 1))
            opened = None
    assert opened is None, f"{path.name}:{opened}: the fence is not closed"
    return tuple(blocks)


def check_block(block: Block, beside: tuple[Block, ...], folder: Path) -> tuple[Diagnostic, ...]:
    """What `maskdsl check` says about a block as the file `page.mask`; `beside` are the blocks with a file name."""
    for other in beside:
        name = other.tag("file")
        assert name is not None
        (folder / name).write_text(other.text, encoding="utf-8")
    page = folder / "page.mask"
    page.write_text(block.text, encoding="utf-8")
    return check_source(Source(page.name, block.text, page), Registry()).diagnostics


def run_block(block: Block) -> tuple[Diagnostic, ...]:
    """The diagnostics of the MaskError that a ```python block raises; none if it runs to its end."""
    torch = pytest.importorskip("torch")
    gpu = torch.cuda.is_available()
    if (block.tag("needs") == "cuda" and not gpu) or (block.tag("without") == "cuda" and gpu):
        pytest.skip("another machine can show this")
    if block.tag("without") == "torch":
        return _run_without_torch(block.text)
    try:
        exec(compile(block.text, f"<line {block.line}>", "exec"), {"__name__": "page"})
    except MaskError as error:
        return error.diagnostics
    return ()


WITHOUT_TORCH = """
import pickle, sys
sys.modules["torch"] = None
from maskdsl.source.diagnostic import MaskError
found = ()
try:
    exec(sys.stdin.read(), {"__name__": "page"})
except MaskError as error:
    found = error.diagnostics
sys.stdout.buffer.write(pickle.dumps(found))
"""


def _run_without_torch(text: str) -> tuple[Diagnostic, ...]:
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, input=text.encode(), capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    found: tuple[Diagnostic, ...] = pickle.loads(done.stdout)
    return found
