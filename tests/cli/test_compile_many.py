"""`maskdsl compile` of many definitions: what is compiled, what becomes of the bad ones, and the summary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import ROOT, run

from maskdsl.cli import compile_many
from maskdsl.cli.compile_many import Outcome, _fitting, _jobs, table
from maskdsl.cli.program import run as run_here

GOOD = "mask near(window: int = 8) = q - k < window and k <= q\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files with five definitions, two of them called alike, and one that does not parse."""
    place = tmp_path / "masks"
    place.mkdir()
    (place / "a.mask").write_text(GOOD + "mask other = k <= q\n")
    (place / "b.mask").write_text("mask near = k < q\nmask open(n: int) = k < n\nscore s = score * 2.0\n")
    (place / "c.mask").write_text("mask broken = k <=\n")
    return place


def test_every_definition_has_a_folder_of_its_own(folder: Path) -> None:
    jobs, problems = _jobs([str(folder), f"{folder}/a.mask:near", "causal"], Path("out"))
    assert [j.name for j in jobs] == ["a.near", "other", "b.near", "open", "s", "causal"]
    assert [j.folder for j in jobs] == [Path("out") / j.name for j in jobs]
    assert jobs[0].what == f"{folder}/a.mask:near" and jobs[-1].what.endswith("causal.mask:causal")
    assert [d.code for p in problems for d in p.diagnostics] == ["E0102"]


def test_one_that_fails_does_not_stop_the_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pretend(job: compile_many.Job, options: list[str], environment: dict[str, str]) -> Outcome:
        assert options[options.index("--heads") + 1] == "2" and "--set=window=3" in options
        if job.name == "open":
            return Outcome(job.name, str(job.folder), 0.5, problem="error[E0209]: `open` needs `n`", told="the whole story")
        return Outcome(job.name, str(job.folder), 12.34, "package", 2_500_000)

    monkeypatch.setattr(compile_many, "_run", pretend)
    words = ["compile", str(folder), "-o", str(folder / "out"), "--jobs", "3", "--heads", "2", "--set", "window=3"]
    assert run_here(words) == 1
    told = capsys.readouterr()
    assert "E0102" in told.err and "the whole story" in told.err
    rows = [line for line in told.err.splitlines() if line[1:3] == "/5"]
    assert [r[0] for r in rows] == ["1", "2", "3", "4", "5"]
    assert {r[4:] for r in rows} >= {"b.near    12.3 s  package, 2.5 MB", "open     0.5 s  error[E0209]: `open` needs `n`"}
    lines = told.out.splitlines()
    assert lines[:4] == [
        "a.near    12.3 s  package, 2.5 MB",
        "other     12.3 s  package, 2.5 MB",
        "b.near    12.3 s  package, 2.5 MB",
        "open       0.5 s  error[E0209]: `open` needs `n`",
    ]
    assert lines[-1].startswith("5 definitions: 4 compiled, 1 not, 1 not read; ") and lines[-1].endswith(" 3 at once")
    (folder / "c.mask").unlink()
    monkeypatch.setattr(compile_many, "_run", lambda job, *_: Outcome(job.name, str(job.folder), 1.0, "package", 5))
    assert run_here([*words, "--json"]) == 0
    assert [o["name"] for o in json.loads(capsys.readouterr().out)] == ["a.near", "other", "b.near", "open", "s"]


JOB = compile_many.Job("a", "a.mask:a", Path("out/a"))
ENDS = [
    (1, "error[E0209]: no\n --> a.mask", "error[E0209]: no", "error[E0209]: no\n --> a.mask", 1),
    (2, "", "its process ended with 2", "a: its process ended with 2", 1),
    (3, "error[E0001]: oh", "error[E0001]: oh", "error[E0001]: oh", 3),
    (-9, "compiling …", "its process was ended by SIGKILL, as when memory runs out: fewer `--jobs` take less",
     "a: its process was ended by SIGKILL, as when memory runs out: fewer `--jobs` take less\n\ncompiling …", 3),
    (-11, "", "its process was ended by SIGSEGV", "a: its process was ended by SIGSEGV", 3),
]  # fmt: skip


@pytest.mark.parametrize(("code", "said", "problem", "told", "exit"), ENDS)
def test_how_a_process_ended_is_told(
    code: int, said: str, problem: str, told: str, exit: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compile_many._failed(JOB, 1.0, code, said)
    assert (found.problem, found.told) == (problem, told)
    monkeypatch.setattr(compile_many, "_run", lambda *_: found)
    monkeypatch.setattr(compile_many, "_jobs", lambda *_: ([JOB], []))
    assert run_here(["compile", str(folder), "-o", "out"]) == exit


def test_long_reasons_are_cut() -> None:
    (row,) = table([Outcome("a", "out/a", 1.0, problem="x" * 99)])
    assert row == f"a     1.0 s  {'x' * 59}…"


def test_there_is_room_for_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_many, "MEMORY", 1 << 60)
    assert _fitting() == 1
    monkeypatch.setattr(compile_many, "MEMORY", 1)
    assert _fitting() >= 1


def test_words_that_mean_nothing_are_told(tmp_path: Path) -> None:
    done = run("compile", "no_such_variant", "causal_not", "-o", tmp_path)
    assert done.code == 1 and done.err.count("error[E0211]") == 2 and not done.out


@pytest.mark.slow
@pytest.mark.compiled
def test_folders_are_compiled_by_processes(folder: Path, tmp_path: Path) -> None:
    (folder / "b.mask").write_text("mask open(n: int) = k < n\n")
    (folder / "a.mask").write_text(
        "mask near(window: int) = q - k < window and k <= q\nexample near(window = 1)\n    | x .\n    | . x\n"
    )
    done = run("compile", folder, "-o", tmp_path / "out", "--jobs", "2", "--q-len", "33", cwd=ROOT)
    assert done.code == 1 and "E0102" in done.err and "error[E0209]: `open` needs `n`" in done.err
    assert "near" in done.out and "package, " in done.out
    assert "2 definitions: 1 compiled, 1 not, 1 not read; " in done.out and "2 at once" in done.out
    manifest = json.loads((tmp_path / "out" / "near" / "manifest.json").read_text())
    assert manifest["constants"] == {"window": 1} and manifest["seconds"]["start"] > 0
    assert not (tmp_path / "out" / "open" / "manifest.json").exists()
