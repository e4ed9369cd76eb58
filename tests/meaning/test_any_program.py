"""Whatever a file says, checking it ends soon, without an exception, in diagnostics that point into it."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from maskdsl.library.examples import run_examples
from maskdsl.library.registry import Registry
from maskdsl.meaning.module import check
from maskdsl.source.codes import CODES
from maskdsl.source.render import render_text
from maskdsl.source.text import Source

ROOT = Path(__file__).parent.parent.parent
FILES = [*sorted((ROOT / "variants").rglob("*.mask")), *sorted((ROOT / "tests").rglob("*.mask"))]
TEXTS = [text for p in FILES if (text := p.read_text(encoding="utf-8")).strip()]
PIECES = re.compile(r"(\s+|\w+|[-+*/%<>=!]+|[()\[\],:|{}])")
WORDS = sorted({w for text in TEXTS for w in re.findall(r"[A-Za-z_]\w*|\d+\.?\d*|[-+*/%<>=!]+|[()\[\],:|{}]", text)})
REGISTRY = Registry()


def mutated(source: random.Random) -> str:
    """A program with a few of its words replaced, dropped, doubled or moved."""
    pieces = PIECES.split(source.choice(TEXTS))
    for _ in range(source.choice((1, 1, 2, 4))):
        places = [i for i, piece in enumerate(pieces) if piece.strip()] or [0]
        here, there = source.choice(places), source.choice(places)
        pieces[here] = source.choice((
            source.choice(WORDS), pieces[there], "", f"{pieces[here]} {source.choice(WORDS)}",
            f"{pieces[here]} {source.choice(('and', '+', 'at (q = q - 1)', 'then', '**'))} {pieces[there]}",
        ))  # fmt: skip
    return "".join(pieces)


@pytest.mark.parametrize("seed", range(12))
def test_mutated_programs(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(20):
        text = mutated(source)
        start = time.process_time()
        module = check(Source("m.mask", text, ROOT / "variants/base/m.mask"), REGISTRY.load)
        for diagnostic in (*module.diagnostics, *run_examples(module)):
            assert diagnostic.span is None or diagnostic.span.end <= len(diagnostic.span.source.text)
            assert render_text(diagnostic)
        assert time.process_time() - start < 2, text


LARGE = {
    "sum": "mask m = q" + " + k" * 150 + " > 0",
    "powers": "mask m = x60 > 0 where x0 = q, " + ", ".join(f"x{i} = x{i - 1} * x{i - 1}" for i in range(1, 61)),
    "lookups": "mask m(t: int[position]) = x40 > 0 where x0 = q, "
    + ", ".join(f"x{i} = t[clamp(x{i - 1} + x{i - 1}, 0, size(position) - 1)]" for i in range(1, 41)),
    "calls": "\n".join(["mask a0(n: int) = k < q + n"]
                       + [f"mask a{i}(n: int) = a{i - 1}(n) or a{i - 1}(n + 1)" for i in range(1, 40)]),
    "doubling": "\n".join(["mask a0 = k < q"] + [f"mask a{i} = a{i - 1} or not a{i - 1}" for i in range(1, 300)]),
    "moves": "\n".join(["mask a0 = k < q"]
                       + [f"mask a{i} = a{i - 1} at (q = q + k) or a{i - 1} at (k = k + q)" for i in range(1, 40)]),
    "quantifiers": "mask m = " + "any(" * 60 + "k == q" + " for i in range(2))" * 60,
    "masks": "mask on(inner: mask) = inner at (q = q + 1)\nmask m = " + "on(" * 60 + "k < q" + ")" * 60,
    "unknown": "\n".join(f"mask a{i} = zork{i}" for i in range(400)),
    "facts": "mask m(t: int[batch]) = k < t[b] requires " + ", ".join(f"t[b] > {i}" for i in range(300)),
    "list": "mask a(t: int[n]) = k < t[q % size(n)]\nexample a(t = [" + ", ".join("1" * 4000) + "]) | x",
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large_programs(name: str) -> None:
    start = time.process_time()
    module = check(Source(name, LARGE[name]), lambda *_: None)
    assert {d.code for d in module.diagnostics} <= {"E0201", "E0402", "E0406", "W0802"}, name
    assert time.process_time() - start < 4


def test_every_code_of_this_folder_is_raised_by_a_test() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "maskdsl" / "meaning").glob("*.py"))
    sources += (ROOT / "maskdsl" / "library" / "examples.py").read_text(encoding="utf-8")
    reported = {code for code in CODES if f'"{code}"' in sources}
    tests = "".join(p.read_text(encoding="utf-8") for folder in ("meaning", "library") for p in (ROOT / "tests" / folder).glob("test_*.py"))
    assert reported - {code for code in CODES if f'"{code}' in tests} == set()
