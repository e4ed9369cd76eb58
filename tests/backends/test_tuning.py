"""Tuning: the fastest by the clock is taken once, remembered in the process and on disk, and found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import maskdsl
from maskdsl.backends import flex, tuning
from maskdsl.backends.kernel_options import Candidate
from maskdsl.source.diagnostic import Diagnostic, MaskError

SMALL, LARGE, BROKEN = Candidate((64, 64)), Candidate((256, 256)), Candidate((128, 128), (("fwd_num_stages", 9),))
SECONDS = {SMALL: 2e-3, LARGE: 1e-3}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tuning._known.clear()
    yield
    tuning._known.clear()


class Clock:
    """Runs candidates and tells what `SECONDS` says of the one that ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[Any, float]) -> None:
        self.runs: list[Candidate] = []
        self.seconds = seconds
        monkeypatch.setattr(tuning, "time_call", self.time)

    def run(self, candidate: Candidate) -> None:
        if candidate is BROKEN:
            raise MaskError(Diagnostic("E0705", "no kernel"))
        self.runs.append(candidate)

    def time(self, run: Any) -> float:
        run()
        return self.seconds[self.runs[-1]]


def forget() -> None:
    """As a new process begins."""
    tuning._known.clear()


def test_the_fastest_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock(monkeypatch, SECONDS)
    assert tuning.tuned(("a", 1), (SMALL, LARGE), clock.run) is LARGE
    assert clock.runs == [SMALL, LARGE]
    assert tuning.tuned(("a", 1), (SMALL, LARGE), clock.run) is LARGE
    forget()
    assert tuning.tuned(("a", 1), (SMALL, LARGE), clock.run) is LARGE
    assert len(clock.runs) == 2
    assert tuning.tuned(("a", 2), (SMALL, LARGE), clock.run) is LARGE
    assert len(clock.runs) == 4
    files = [*(tmp_path / "maskdsl" / "tuned").iterdir()]
    content = json.loads(files[0].read_text())
    assert len(files) == 2 and content["milliseconds"] == {SMALL.told: 2.0, LARGE.told: 1.0}


def test_what_cannot_run_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, SECONDS)
    assert tuning.tuned(("b",), (BROKEN, SMALL), clock.run) is SMALL
    with pytest.raises(MaskError):
        tuning.tuned(("c",), (BROKEN,), clock.run)


def test_noise_is_not_taken_for_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {SMALL: 1e-3, LARGE: 0.99e-3})
    assert tuning.tuned(("d",), (SMALL, LARGE), clock.run) is SMALL


@pytest.mark.parametrize("content", ["", "[]", '{"fastest": "something else"}'])
def test_a_damaged_file_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    clock = Clock(monkeypatch, SECONDS)
    tuning.tuned(("e",), (SMALL, LARGE), clock.run)
    (file,) = (tmp_path / "maskdsl" / "tuned").iterdir()
    file.write_text(content)
    forget()
    assert tuning.tuned(("e",), (SMALL, LARGE), clock.run) is LARGE
    assert len(clock.runs) == 4


def test_a_folder_that_nobody_may_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "maskdsl").write_text("a file where the folder should be")
    assert tuning.tuned(("f",), (SMALL, LARGE), Clock(monkeypatch, SECONDS).run) is LARGE


def test_length_classes() -> None:
    assert [tuning.length_class(n) for n in (1, 2, 3, 128, 129, 1000)] == [1, 2, 4, 128, 256, 1024]


def test_attention_is_tuned_over_blocks_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate runs through `flex.attention`, and the call itself with the fastest one's blocks."""
    blocks: list[int] = []

    def recorded(mods: Any, qkv: Any, lists: Any, *, block: tuple[int, int], plan: Any) -> torch.Tensor:
        blocks.append(block[0])
        return qkv[0]

    def timed(run: Any) -> float:
        run()
        return {32: 4.0, 64: 1.0, 128: 2.0, 256: 3.0}[blocks[-1]]

    monkeypatch.setattr(flex, "attention", recorded)
    monkeypatch.setattr(tuning, "time_call", timed)
    q = torch.zeros(1, 2, 40, 16)
    program = maskdsl.get("causal")
    program.attention(q, q, q, tune=True)
    assert sorted(blocks[:4]) == [32, 64, 128, 256] and blocks[4:] == [64]
    program.attention(q, q, q, tune=True)
    assert blocks[5:] == [64]
    longer = torch.zeros(1, 2, 70, 16)
    program.attention(longer, longer, longer, tune=True)
    assert len(blocks) == 11, "another class of lengths is tuned by itself"


def test_the_clock_is_a_median_after_a_warm_call() -> None:
    calls: list[int] = []
    assert 0 <= tuning.time_call(lambda: calls.append(1)) < 1
    assert len(calls) == tuning.CALLS + 1
