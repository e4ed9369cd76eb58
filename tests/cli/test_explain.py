"""`maskdsl explain`."""

from __future__ import annotations

import pytest
from terminal import run

from maskdsl.cli.explain import FORMS, page_of
from maskdsl.ir.ops import TABLE
from maskdsl.source.codes import CODES
from maskdsl.source.diagnostic import MaskError


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_page(code: str) -> None:
    assert page_of(code) == page_of(code.lower())
    assert page_of(code).startswith(f"# {code}: {CODES[code]}")


@pytest.mark.parametrize("word", [w for f in TABLE for w in (f.call, f.symbol) if w] + list(FORMS))
def test_every_function_and_form_is_explained(word: str) -> None:
    assert page_of(word).startswith(f"# {word}\n")


def test_a_function_shows_types_and_meaning() -> None:
    page = page_of("max")
    assert "max(int, int) -> int" in page and "two or more" in page
    assert "int // int -> int" in page_of("//")
    assert "- int -> int" in page_of("-") and "int - int -> int" in page_of("-")


@pytest.mark.parametrize(("word", "meant"), [("tan", "tanh"), ("E0350", "E0305"), ("sigmiod", "sigmoid")])
def test_a_misspelt_word_is_recognised(word: str, meant: str) -> None:
    with pytest.raises(MaskError, match=f"did you mean `{meant}`"):
        page_of(word)


def test_a_definition_is_shown_instead() -> None:
    with pytest.raises(MaskError, match="`maskdsl show local/sliding_window` draws it"):
        page_of("sliding_window")
    with pytest.raises(MaskError, match="a topic is a function"):
        page_of("zzzzzzz")


def test_the_words_of_places_are_explained() -> None:
    from maskdsl.meaning.scope import PLACE_NAMES

    assert {*PLACE_NAMES} <= {*FORMS}


def test_the_command() -> None:
    assert "an index of the wrong axis" in run("explain", "e0305").out
    assert run("explain", "nonsense").code == 1
