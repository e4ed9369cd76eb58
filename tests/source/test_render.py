"""Rendering: each case is a diagnostic over a small text, its picture the file `render/NAME.txt`.

In the texts of the cases `«…»` marks the main span and `‹…›` a second one, so that no offset is counted by hand.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskdsl.source.diagnostic import Diagnostic, Label, MaskError
from maskdsl.source.render import render_text, to_json
from maskdsl.source.text import NOWHERE, Source, Span

HERE = Path(__file__).parent
MARKS = re.compile("[«»‹›]")


def diagnose(marked: str, label: str = "here", also: tuple[str, ...] = (), **more: object) -> Diagnostic:
    """A diagnostic for the marked text; `also` labels the second spans in order."""
    text, opened, spans = "", [], {"«": [], "‹": []}
    for piece in re.split("([«»‹›])", marked):
        if piece and piece in "«‹":
            opened.append((piece, len(text)))
        elif piece and piece in "»›":
            kind, start = opened.pop()
            spans[kind].append((start, len(text)))
        else:
            text += piece
    source = Source(str(more.pop("name", "case.mask")), text)
    main = Span(source, *spans["«"][0])
    labels = tuple(Label(Span(source, *s), t) for s, t in zip(spans["‹"], also, strict=True))
    more = {"code": "E0101", "message": "something is wrong", **more}
    return Diagnostic(span=main, label=label, also=labels, **more)  # type: ignore[arg-type]


def _two_files() -> Diagnostic:
    other = Source("base/causal.mask", "## The usual.\nmask causal = k <= q\n")
    user = diagnose("from causal import «casual»\n", "not in that file", code="E0205", message="no such name")
    also = (Label(Span(other, 19, 25), "this is what it defines"),)
    return replace(user, also=also, help=("did you mean `causal`?",))


LONG = "mask m = " + " or ".join(f"q == {i}" for i in range(100))

CASES: dict[str, Diagnostic] = {
    "house": diagnose(
        "## ALiBi.\n\nscore alibi(slope: float[‹head›]) =\n    score - slope[«q»] * (q - k)\n", "a position",
        ("this axis is head",), name="alibi.mask", code="E0305",
        message="`slope` is indexed by head, but `q` is a position", help=("index it with `h`",),
    ),
    "warning": diagnose("mask m(«unused»: int) = true\n", "", code="W0801", message="`unused` is never read"),
    "notes-and-help": diagnose(
        "mask m = «score» > 0.0", "", notes=("a mask says which keys are seen", "two\nlines"),
        help=("write a `score`", "or:\nmask m = true"),
    ),
    "same-line": diagnose("mask m = ‹a› or «b» or ‹c›", "second", ("first", "third")),
    "same-line-hanging-overlap": diagnose("mask m = ‹abs(«q» - k)›", "inner", ("outer",)),
    "same-start": diagnose("mask m = ‹«q» - k›", "short", ("long",)),
    "unlabelled": diagnose("mask m = ‹a› or «b»", "", ("",)),
    "next-line": diagnose("mask m =\n    ‹a› or\n    «b»", "second", ("first",)),
    "one-line-between": diagnose("‹a›\nbetween\n«b»", "second", ("first",)),
    "lines-left-out": diagnose("‹a›\n1\n2\n3\n4\n5\n6\n7\n8\n«b»", "second", ("first",)),
    "two-lines": diagnose("mask m = «q +\n    k» < 3", "an int"),
    "many-lines": diagnose("mask m = «q +\n1 +\n2 +\n3 +\n    k» < 3", "an int"),
    "to-the-newline": diagnose("mask m = «q\n»mask n = k", "the rest of the line"),
    "the-newline": diagnose("mask m = q«\n»mask n = k", "the end of the line"),
    "end-of-text": diagnose("mask m = q <«»", "an expression is missing"),
    "end-of-last-line": diagnose("mask m = q <\n«»", "the text ends here"),
    "empty-text": diagnose("«»", "nothing at all"),
    "empty-span": diagnose("mask m = q «» k", "an operator is missing"),
    "carriage-returns": diagnose("mask a = q\r\nmask b = «k»\r\n", "here"),
    "tabs": diagnose("\tmask\tm = «q»\t‹k›", "after tabs", ("and here",)),
    "tab-span": diagnose("mask m =«\t»q", "a tab"),
    "wide": diagnose("# 注意力 mask\nmask 掩码 = «漢字» or ‹q›", "wide", ("narrow",)),
    "combining": diagnose("mask e\u0301e\u0301 = «n\u0303» + ‹q›", "one cell", ("next",)),
    "combining-alone": diagnose("mask m = n«\u0303» + q", "on the letter before"),
    "controls": diagnose("mask m = \x1b[31m«\u202eq\x00» or \x07k", "escapes", name="a\x1b[0m.mask", message="an \x1b"),
    "surrogate": diagnose("mask m = «\ud800»", "half a character"),
    "emoji": diagnose("mask «🙂» = true", "no letter"),
    "long-line": diagnose(LONG.replace("q == 50", "q == «50»"), "far right"),
    "long-line-start": diagnose(LONG.replace("mask m", "mask «m»"), "far left"),
    "long-line-end": diagnose(LONG + "«»", "the end"),
    "long-span": diagnose("mask m = «" + LONG[9:] + "»", "all of it"),
    "long-two": diagnose(LONG.replace("q == 20", "q == ‹20›").replace("q == 80", "q == «80»"), "second", ("first",)),
    "wide-gutter": diagnose("\n" * 98 + "‹a›\n«b»", "line 100", ("line 99",)),
    "no-place": Diagnostic("E0211", "no variant is called `casual`", help=("did you mean `causal`?",)),
    "nowhere": Diagnostic("E0001", "a fault", NOWHERE, "hidden", (Label(NOWHERE, "hidden too"),)),
    "two-files": _two_files(),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_picture(name: str, snapshot: Callable[[Path, str], None]) -> None:
    text = render_text(CASES[name])
    snapshot(HERE / "render" / f"{name}.txt", text + "\n")


def test_no_picture_without_a_case() -> None:
    assert {p.stem for p in (HERE / "render").iterdir()} == set(CASES)


ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", CASES)
def test_colour_adds_nothing_but_colour(name: str) -> None:
    coloured = render_text(CASES[name], color=True)
    assert ANSI.sub("", coloured) == render_text(CASES[name])
    assert coloured.startswith("\x1b[1;33mwarning" if name == "warning" else "\x1b[1;31merror")


def test_the_whole_of_one_diagnostic() -> None:
    assert render_text(CASES["house"]) == """\
error[E0305]: `slope` is indexed by head, but `q` is a position
 --> alibi.mask:4:19
  |
3 | score alibi(slope: float[head]) =
  |                          ---- this axis is head
4 |     score - slope[q] * (q - k)
  |                   ^ a position
  |
  = help: index it with `h`
  = `maskdsl explain E0305` tells more"""


@pytest.mark.parametrize("name", CASES)
def test_every_line_can_be_printed_and_is_short(name: str) -> None:
    for line in render_text(CASES[name]).splitlines():
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in line)
        assert len(line) < 260


def test_a_huge_line_is_quick_and_short() -> None:
    text = "x" * 10_000_000
    shown = render_text(Diagnostic("E0104", "the file is too large", Span(Source("big.mask", text), 0, len(text))))
    assert max(map(len, shown.splitlines())) < 200


@given(st.text(max_size=40), st.tuples(*[st.integers(-2, 45)] * 4))
def test_any_text_and_any_span_render(text: str, places: tuple[int, ...]) -> None:
    source = Source("any.mask", text)
    spans = [Span(source, *sorted(places[:2])), Span(source, *sorted(places[2:]))]
    shown = render_text(Diagnostic("E0101", text, spans[0], text, (Label(spans[1], text),), (text,), (text,)))
    assert shown.startswith("error[E0101]: ") and shown.endswith("`maskdsl explain E0101` tells more")


# ---------------------------------------------------------------- JSON


def test_json_has_everything() -> None:
    assert to_json(CASES["house"]) == {
        "code": "E0305",
        "severity": "error",
        "message": "`slope` is indexed by head, but `q` is a position",
        "file": "alibi.mask",
        "start": {"line": 4, "column": 19, "offset": 63},
        "end": {"line": 4, "column": 20, "offset": 64},
        "label": "a position",
        "also": [
            {
                "file": "alibi.mask",
                "start": {"line": 3, "column": 26, "offset": 36},
                "end": {"line": 3, "column": 30, "offset": 40},
                "label": "this axis is head",
            }
        ],
        "notes": [],
        "help": ["index it with `h`"],
    }


@pytest.mark.parametrize("name", CASES)
def test_json_is_json_and_points_at_the_span(name: str) -> None:
    diagnostic, value = CASES[name], json.loads(json.dumps(to_json(CASES[name])))
    if diagnostic.span is None or diagnostic.span.source is NOWHERE.source:
        assert value["file"] is value["start"] is value["end"] is None
    else:
        text = diagnostic.span.source.text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
        assert text[value["start"]["offset"] : value["end"]["offset"]] == diagnostic.span.text


def test_the_exception_prints_every_diagnostic() -> None:
    both = MaskError([CASES["house"], CASES["warning"]])
    assert str(both) == f"{render_text(CASES['house'])}\n\n{render_text(CASES['warning'])}"
