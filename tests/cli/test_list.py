"""`maskdsl list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import run

from maskdsl.cli.list import first_sentence


def test_documentation_sends_nothing_to_the_terminal(tmp_path: Path) -> None:
    text = "## Red \x1b[31mtext\x1b]0;title\x07 here.\nmask esc = k <= q\nexample esc | x\n"
    (tmp_path / "esc.mask").write_text(text)
    listed = run("list", MASKDSL_PATH=str(tmp_path)).out
    shown = run("show", "esc", MASKDSL_PATH=str(tmp_path)).out
    printed = run("show", "esc", "--after", "share", MASKDSL_PATH=str(tmp_path)).out
    for out in (listed, shown, printed):
        assert "\\x1b[31mtext" in out and "\x1b" not in out and "\x07" not in out


def test_people_see_name_parameters_and_one_sentence() -> None:
    done = run("list")
    assert done.code == 0
    line = next(line for line in done.out.splitlines() if " sliding_window(" in line)
    assert line.split()[0] == "mask" and "sliding_window(window: int = 4096)  A query sees" in line


def test_words_find_by_name_model_paper_and_library() -> None:
    def found(*words: str) -> set[str]:
        return {m["name"] for m in json.loads(run("list", *words, "--json").out)}

    assert found("sliding window") >= {"sliding_window", "mistral"} and "alibi" not in found("sliding window")
    assert found("GPT-OSS") >= {"gpt_oss_local", "gpt_oss_global", "learnable_sink"}
    assert found("press", "train") == {"alibi"}
    assert found("flashmask") >= {"flashmask_causal_1", "causal_blockwise"}
    assert found("deepseek v4") >= {"deepseek_v4_window", "deepseek_v4_hca"}
    assert len(run("list", "streamingllm").out.splitlines()) == 3


def test_words_that_nothing_tells_of() -> None:
    done = run("list", "sliding", "windw")
    assert done.code == 1 and done.out == ""
    assert "error[E0211]: no definition tells of `sliding windw`" in done.err
    assert "did you mean `sliding_window`?" in done.err


def test_machines_get_every_field() -> None:
    found = {m["path"]: m for m in json.loads(run("list", "--json").out)}
    window = found["local/sliding_window"]
    parameter = {"name": "window", "kind": "constant", "type": "int", "axes": None, "default": 4096}
    assert window["parameters"] == [parameter]
    assert window["facts"] == ["window >= 1"]


def test_the_layers_of_models_are_told() -> None:
    lines = run("list").out.splitlines()
    assert next(line for line in lines if " gemma3_local(" in line).endswith("  [layers: layer % 6 != 5]")
    found = {m["path"]: m for m in json.loads(run("list", "--json").out)}
    assert found["models/gemma3_image_global"]["layers"] == [{"kind": "image", "where": "layer % 6 == 5"}]
    assert found["local/sliding_window"]["layers"] == []


def test_other_libraries_are_listed_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "own.mask").write_text("mask own = true\n")
    done = run("list", MASKDSL_PATH=str(tmp_path))
    assert f"\n{tmp_path.name}\n  mask    own" in done.out


@pytest.mark.parametrize(
    ("doc", "sentence"),
    [
        ("One. Two.", "One."),
        ("By Press (et al. 2022), first: and so on. More.", "By Press (et al. 2022), first: and so on."),
        ("Two kinds: one, and another.", "Two kinds: one, and another."),
        ("Over\ntwo lines", "Over two lines"),
        ("", ""),
    ],
)
def test_the_first_sentence(doc: str, sentence: str) -> None:
    assert first_sentence(doc) == sentence
