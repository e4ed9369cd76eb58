"""`maskdsl explain --tiles`, and the tiles that `maskdsl show` tells of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from terminal import run

import maskdsl
from maskdsl.cli.tiles import make_tile_trial
from maskdsl.library.manifest import Manifest

IMAGES = "mask images(image: int[position]) = k <= q or (image[q] % 3 == image[k] % 3 and image[q] >= 0)\n"


def test_counts_of_a_window() -> None:
    done = run("explain", "--tiles", "sliding_window", "--set", "window=300", "--length", "1024")
    assert done.code == 0, done.err
    assert "sliding_window(window = 300)" in done.out and "tiles of 128 × 128" in done.out
    assert re.search(r"by the formula +7 +19 +38 +59.4%", done.out)
    assert "every tile is decided" in done.out


@pytest.mark.parametrize("one", [m for m in maskdsl.list() if m.kind != "score"], ids=lambda m: m.name)
def test_every_shipped_mask_has_arguments_of_a_real_size(one: Manifest) -> None:
    """Windows of a few tokens refuse longer sequences; all else takes them, with nothing set."""
    try:
        trial = make_tile_trial(one.name, [], (256, 256), 2)
    except maskdsl.MaskError as problem:
        assert one.name in ("swin", "swin_shifted", "swin_v2"), problem
    else:
        assert trial.constants.keys() == {p.name for p in one.constants}


def test_machines_get_the_same() -> None:
    words = ("explain", "--tiles", "causal", "--length", "96x160", "--block", "32x64", "--format", "json")
    found = json.loads(run(*words).out)
    assert (found["q_len"], found["kv_len"], found["block"]) == (96, 160, [32, 64])
    assert found["found"] == found["exact"] == {"full": 1, "partial": 3, "empty": 5, "sparsity": 5 / 9}
    assert found["undecided"] == 0 and found["losses"] == []


def test_what_lost_precision_is_shown_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "images.mask"
    path.write_text(IMAGES)
    table = [1 if i // 8 % 2 else i % 2 * 2 for i in range(64)]  # tiles of 0 and 2 among tiles of 1
    words = ("explain", "--tiles", path, "--set", f"image={table}", "--length", "64", "--block", "8")
    done = run(*words)
    assert done.code == 0, done.err
    assert "could not be decided" in done.out and "images.mask:1:" in done.out
    assert re.search(r"\^{10,}", done.out)
    found = json.loads(run(*words, "--format", "json").out)
    assert sum(loss["tiles"] for loss in found["losses"]) == found["undecided"] > 0
    assert all(loss["text"] in IMAGES for loss in found["losses"])
    assert found["visited_ratio"] >= 1 >= found["full_ratio"]


def test_show_names_what_leaves_tiles_open(tmp_path: Path) -> None:
    path = tmp_path / "images.mask"
    path.write_text(IMAGES)
    table = [1 if i // 8 % 2 else i % 2 * 2 for i in range(64)]
    done = run("show", path, "--set", f"image={table}", "--size", "64", "--tile", "8")
    assert re.search(r"of the partial ones undecided\n  left open by `image\[q\].*` at .*images.mask:1:\d+", done.out), done.out
    assert "left open" not in run("show", "causal", "--size", "64").out


def test_a_mask_that_sees_nothing_has_no_ratio(tmp_path: Path) -> None:
    path = tmp_path / "a.mask"
    path.write_text("mask a = k > q and k < q\n")
    words = ("explain", "--tiles", path, "--length", "512")
    assert "visits tiles where it need not visit any\n" in run(*words).out
    assert json.loads(run(*words, "--format", "json").out)["visited_ratio"] is None


def test_heads_are_counted_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mask"
    path.write_text("mask a(window: int[head]) = 0 <= q - k < window[h]\n")
    done = run("explain", "--tiles", path, "--set", "window=[1, 512]", "--heads", "2", "--length", "512")
    assert re.search(r"head 0 +0 +4 +12", done.out) and re.search(r"head 1 +6 +4 +6", done.out)


def test_defaults_come_before_examples_and_examples_before_nothing() -> None:
    assert "window = 4096" in run("explain", "--tiles", "sliding_window").out
    assert run("explain", "--tiles", "packed").code == 0  # its mask parameter has no default


def test_a_definition_without_a_mask_has_full_tiles() -> None:
    assert re.search(r"by the formula +256 +0 +0", run("explain", "--tiles", "alibi").out)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("explain --tiles sliding_windw", 1, "did you mean `sliding_window`?"),
        ("explain --tiles causal --length 0", 2, "--length"),
        ("explain --tiles causal --block 8x8x8", 2, "--block"),
        ("explain --tiles sliding_window --set window=0", 1, "E0408"),
        ("explain --tiles sliding_window --set windw=3", 1, "did you mean `window`?"),
    ],
)
def test_what_is_wrong_is_told(words: str, code: int, said: str) -> None:
    done = run(*words.split())
    assert (done.code, said in done.err) == (code, True), done.err


def test_a_page_for_machines() -> None:
    found = json.loads(run("explain", "E0305", "--format", "json").out)
    assert found["topic"] == "E0305" and found["page"].startswith("# E0305")


def test_show_counts_tiles_too() -> None:
    done = run("show", "sliding_window", "--set", "window=3", "--size", "16", "--tile", "4")
    assert "tiles of 4 × 4: 0 full, 7 partial, 9 empty (56.2% skipped)" in done.out
    assert "tiles of" not in run("show", "softcap").out
