"""`maskdsl explain --backend`: the kernel of a definition on this machine and on named ones."""

from __future__ import annotations

import json

import pytest

from maskdsl.backends import kernel_choice
from maskdsl.cli.program import run


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    told = explained(capsys, "gemma2_local", "--backend", "--device", "cuda:sm_80")
    first, _, *lines = told.splitlines()
    assert first == "gemma2_local on sm_80: 2048 x 2048 tokens, head_dim 128, bfloat16"
    assert lines[0].split() == ["kernel", "triton"]
    assert any("flash:" in line for line in lines) and "this one's is 8.0" in told
    assert any(line.split()[0] == "forms" and "precise=True" in line for line in lines)


@pytest.mark.parametrize(("name", "device", "kernel"), [
    ("causal", "cuda:sm_90", "flash"), ("causal", "cuda:sm_100", "flash"), ("causal", "cuda:sm_120", "triton"),
    ("causal", "cpu", "cpu"),
])  # fmt: skip
def test_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, device: str, kernel: str
) -> None:
    monkeypatch.setattr(kernel_choice, "flash_is_here", lambda: True)
    values = json.loads(explained(capsys, name, "--backend", "--device", device, "--format", "json"))
    assert values["kernel"] == kernel and values["why_not"].keys() == {"flash", "triton", "cpu"} - {kernel}
    assert values["block"] == ([256, 128] if device == "cuda:sm_100" else [128, 128])


def test_float32_and_wide_heads_keep_flash_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_choice, "flash_is_here", lambda: True)
    arguments = ("causal", "--backend", "--device", "cuda:sm_90", "--dtype", "float32", "--head-dim", "256")
    values = json.loads(explained(capsys, *arguments, "--format", "json"))
    assert values["kernel"] == "triton" and values["forms"] == "inductor precise" and len(values["why_not"]["flash"]) == 2


@pytest.mark.parametrize("arguments", [("--device", "tpu"), ("--dtype", "int8", "--device", "cpu")])
def test_what_there_is_not(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert run(["explain", "causal", "--backend", *arguments]) == 1
    assert "E0703" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "length", "by_tma"), [
    ("causal", "8192", True), ("gpt_oss_local", "8192", False), ("document", "8192", False), ("causal", "1024", False),
])  # fmt: skip
def test_options_are_those_of_a_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, length: str, by_tma: bool
) -> None:
    """A call takes TMA where the formula tells that it visits many tiles, whatever tables hold."""
    monkeypatch.setattr(kernel_choice, "flash_is_here", lambda: False)
    arguments = (name, "--backend", "--device", "cuda:sm_90", "--length", length)
    values = json.loads(explained(capsys, *arguments, "--format", "json"))
    assert ("fwd_USE_TMA" in values["options"]) is by_tma
