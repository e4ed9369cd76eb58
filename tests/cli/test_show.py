"""`maskdsl show`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from terminal import ROOT, run

import maskdsl
from maskdsl.library.picture import half_block_rows, letter_rows, number_rows, shade_rows, square_rows
from maskdsl.passes.pipeline import PASSES


def picture(text: str) -> list[str]:
    """The rows of x and . in an output."""
    return [line.strip() for line in text.splitlines() if re.fullmatch(r"\s*[x.]( [x.])*", line)]


# ---------------------------------------------------------------- in the terminal


def test_a_model_is_shown_with_its_layers() -> None:
    done = run("show", "gemma4", "--size", "4")
    assert done.code == 0 and done.out.count("4 × 4 queries and keys") == 3
    assert "  layers: layer % 6 != 5 and layer != layers - 1\n" in done.out
    assert "  layers (image): layer % 6 == 5 or layer == layers - 1\n" in done.out
    assert "say which: `gemma4_local`" in run("show", "gemma4", "-o", "x.png").err


def test_a_constant_is_set() -> None:
    done = run("show", "sliding_window", "--set", "window=2", "--size", "4")
    assert done.code == 0
    assert picture(done.out) == ["x . . .", "x x . .", ". x x .", ". . x x"]
    assert "sliding_window(window = 2)" in done.out and "7 of 16 pairs visible" in done.out


def test_the_documentation_is_told_in_lines_of_the_terminals_width() -> None:
    doc = maskdsl.get("sliding_window", window=4).manifest.doc
    lines = run("show", "sliding_window", COLUMNS="50").out.splitlines()
    told = lines[1 : next(i for i, line in enumerate(lines) if "queries and keys" in line)]
    assert all(line.startswith("  ") and len(line) <= 50 for line in told)
    assert " ".join(line.strip() for line in told) == " ".join(doc.split())


def test_without_arguments_the_example_is_shown() -> None:
    done = run("show", "prefix_lm")
    assert "arguments of the example at variants/prefix/prefix_lm.mask:" in done.out
    first = (ROOT / "variants" / "prefix" / "prefix_lm.mask").read_text().split("example")[1]
    assert picture(done.out) == [row.strip(" |") for row in first.splitlines() if row.strip().startswith("|")]


def test_larger_tables_are_drawn_such_that_the_facts_hold() -> None:
    done = run("show", "packed_causal", "--size", "20")
    assert "random `document` such that the facts hold" in done.out
    rows = picture(done.out)
    assert len(rows) == 20 and all(row[2 * i] == "x" for i, row in enumerate(rows))


def test_tables_and_masks_can_be_given() -> None:
    done = run("show", "packed", "--set", "inner=k <= q + 1", "--set", "document=[[0,0,1]]", "--set", "start=[[0,2]]")
    assert picture(done.out) == ["x x .", "x x .", ". . x"]
    assert picture(run("show", "packed", "--set", "inner=full", "--set", "document=[[0,0,1]]").out) == [
        "x x .", "x x .", ". . x"
    ]  # fmt: skip


def test_queries_and_keys_may_differ_in_number() -> None:
    assert picture(run("show", "causal_bottom_right", "--size", "2x4").out) == ["x x x .", "x x x x"]


def test_scores_are_numbers_or_shades() -> None:
    done = run("show", "alibi", "--set", "slope=[1.0,0.5]", "--head", "1", "--size", "2", "--plain")
    assert "     0   0.5\n  -0.5     0" in done.out and "at h = 1" in done.out
    assert "scores from -0.5 to 0.5" in done.out


def test_a_score_that_is_the_same_everywhere_is_a_list() -> None:
    done = run("show", "softcap", "--set", "cap=2")
    assert "softcap(cap = 2.0)" in done.out and re.search(r"100\s+2\n", done.out)


def test_a_file_with_several_definitions_shows_all() -> None:
    done = run("show", "variants/models/gemma2.mask")
    assert "gemma2_local(" in done.out and "gemma2_global(" in done.out
    assert "scale = " in done.out
    assert "gemma2_global(" not in run("show", "variants/models/gemma2.mask:gemma2_local").out


@pytest.mark.parametrize("name", [p.name for p in PASSES])
def test_the_program_after_every_pass(name: str) -> None:
    done = run("show", "gemma2_local", "--set", "window=3", "--after", name)
    assert done.code == 0 and done.out.startswith("##") and "variant gemma2_local" in done.out
    assert ("q - k < 3" in done.out) is (name not in ("inline_calls",)) or name == "inline_calls"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("sliding_windw", 1, "did you mean `sliding_window`?"),
        ("missing.mask", 1, "cannot be read"),
        ("variants/base/causal.mask:cuasal", 1, "did you mean `causal`?"),
        ("sliding_window --set windw=3", 1, "did you mean `window`?"),
        ("sliding_window --set window=0", 1, "E0408"),
        ("sliding_window --set window=2.5", 1, "E0302"),
        ("packed --set document=[[0,2,1]] --set start=[[0,2]]", 1, "E0605"),
        ("packed --set document=[[0,0],[0]]", 1, "E0602"),
        ("packed --set document=[[0,0]] --size 5", 1, "E0607"),
        ("alibi --set slope=[true]", 1, "E0603"),
        ("packed --set inner=softcap", 1, "E0303"),
        ("causal --size 0", 2, "--size"),
        ("causal --size 99999", 2, "--size"),
        ("causal --after nothing", 2, "the passes are"),
        ("alibi --set slope=[1.0] --head 1", 2, "--head"),
        ("variants/models/gemma2.mask -o /nowhere/x.png", 1, "say which"),
        ("causal -o picture.txt", 2, ".png"),
    ],
)
def test_what_is_wrong_is_told(words: str, code: int, said: str) -> None:
    done = run("show", *words.split(" "))
    assert (done.code, said in done.err) == (code, True), done.err
    assert "Traceback" not in done.err and "E0001" not in done.err


# ---------------------------------------------------------------- pictures as text


def test_pictures_of_a_mask() -> None:
    mask = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]], bool)
    assert letter_rows(mask) == ["x . .", "x x .", ". x x"]
    assert square_rows(mask) == ["■ · ·", "■ ■ ·", "· ■ ■"]
    assert half_block_rows(mask) == ["█▄ ", " ▀▀"]


def test_shades_run_from_the_least_to_the_greatest_that_is_visible() -> None:
    score = np.array([[0.0, 10.0], [5.0, 1e9]])
    visible = np.array([[True, True], [True, False]])
    assert shade_rows(score, visible) == ["░░██", "▓▓  "]
    assert shade_rows(np.zeros((1, 1)), np.ones((1, 1), bool)) == ["░░"]
    assert number_rows(score, visible) == [" 0  10", " 5   ."]


def test_infinite_scores_have_no_shade() -> None:
    score = np.array([[-np.inf, 1.0, 2.0]])
    assert shade_rows(score, np.ones((1, 3), bool)) == ["  ░░██"]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["gemma2_local", "alibi", "packed", "softcap"])
def test_a_picture_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    done = run("show", name, "--size", "40", "-o", path)
    assert done.code == 0, done.err
    from PIL import Image

    with Image.open(path) as image:
        assert min(image.size) > 400
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20


def test_accept_redraws_pictures_and_touches_nothing_else(tmp_path: Path) -> None:
    text = """# a comment | x . stays
mask pair = 0 <= q - k < 2   # odd   spacing stays

example pair
    | . .
    |   x   x      # as does this
example pair at (b = 0)
  | x . .
  |. . .
     | . x x
mask other = k <= q
example other at (q = 1, k = 0) == true
"""
    path = tmp_path / "a.mask"
    path.write_text(text)
    done = run("show", path, "--accept")
    assert done.code == 0 and "2 pictures redrawn" in done.out
    assert path.read_text() == text.replace("    | . .\n", "    | x .\n").replace("  |. . .", "  |x x .")
    assert "0 pictures redrawn" in run("show", path, "--accept").out
    assert run("check", path).code == 0


def test_accept_leaves_a_broken_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mask"
    path.write_text("mask a = nope\nexample a | x\n")
    assert run("show", path, "--accept").code == 1
    assert "nope" in path.read_text()
