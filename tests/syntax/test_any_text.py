"""Whatever the text: a tree and diagnostics, never an exception, never more than two seconds."""

from __future__ import annotations

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from maskdsl.source.diagnostic import MaskError
from maskdsl.source.render import render_text, to_json
from maskdsl.source.text import Source
from maskdsl.syntax.expectations import SINGLE
from maskdsl.syntax.format import format_file
from maskdsl.syntax.parse import parse
from tests.syntax.random_trees import Program, programs

WORDS = """
language from import as mask score variant example where requires then at size if else or and not for in range any all
sum true false inf bool int float scale sink normalize q k t m 1 0 2.5 1e3 0x1 .5 == = <= < > >= != + - * / // ** % . ,
: ( ( ( ) ) ) [ ] { } & && | || ~ ! ^ << >> -> ; ? ?: ' " "x" $ @ # ## ### \\ ` lambda return def class elif q_idx
torch.where True False += := => === <> é ≤ \ufeff \x00 \ud800 𝕏
""".split()
BREAKS = ("", "\n", "\n", "\r\n", "\t", "\n\n", "\r", "\x0b", "\u2028", "\n| x . .\n", "\n## doc\n", "\nmask m = ")
SPACES = (*" " * 6, *BREAKS)


def verify(text: str) -> None:
    """Read, format and render the text, in time; every diagnostic has a place and leaks no terminal's name."""
    source = Source("test.mask", text)
    start = time.process_time()
    file, diagnostics = parse(source)
    assert time.process_time() - start < 2.0
    for diagnostic in diagnostics:
        assert diagnostic.span is not None and 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
        assert diagnostic.message and not any(f" {name} " in diagnostic.message for name in SINGLE)
        assert render_text(diagnostic) and to_json(diagnostic)
    try:
        formatted = format_file(source)
    except MaskError as error:
        assert error.diagnostics == diagnostics or diagnostics
    else:
        assert not diagnostics
        assert format_file(Source("test.mask", formatted)) == formatted


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1")), st.text(st.characters(), min_size=50)))
def test_any_characters(text: str) -> None:
    verify(text)
    verify(f"mask m = {text}")


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_any_words(seed: int, length: int) -> None:
    rng = random.Random(seed)
    verify("".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(length)))


def mutated(text: str, rng: random.Random) -> str:
    """The text with a few pieces dropped, doubled, exchanged or put in."""
    pieces = list(text) if rng.random() < 0.5 else text.split(" ")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(pieces) + 1)
        change = rng.randrange(4)
        if change == 0:
            del pieces[at : at + rng.randint(1, 3)]
        elif change == 1:
            pieces[at:at] = pieces[at : at + rng.randint(1, 5)]
        elif change == 2:
            pieces.insert(at, rng.choice(WORDS))
        else:
            pieces[at : at + 1] = [rng.choice(WORDS)]
    return ("" if len(max(pieces, key=len, default="")) <= 1 else " ").join(pieces)


@settings(max_examples=250, deadline=None)
@given(programs(), st.integers(0, 2**32))
def test_any_program_with_a_few_changes(program: Program, seed: int) -> None:
    verify(mutated(program.text, random.Random(seed)))
