"""The benchmarks without a kernel: tables fit the calls, what was done is kept, targets are told apart from figures."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import maskdsl

pytest.importorskip("torch")

from benchmarks import block_mask
from benchmarks.block_mask_targets import seconds, targets
from benchmarks.block_mask_timers import once
from benchmarks.correctness import CALLS, SHIPPED, Job, _chosen, _longest_first
from benchmarks.correctness_cases import Case, Sizes, Unfit, cost, fitting_tables
from benchmarks.correctness_record import Done, Record

ABOUT = {"gpu": "a GPU", "torch": "2", "triton": "3"}
ROW = {"program": "causal", "dtype": "float32", "fine": True, "ratio": 1.0}
KEYS = (("causal", "float32", "1x1"), ("alibi", "float32", "1x1"), ("bloom", "float32", "1x1"))


def case(name: str) -> Case:
    (found,) = [c for c in _chosen(False, False, True, ()) if c.name == name]
    assert isinstance(found, Case)
    return found


def sizes(call: Any) -> Sizes:
    return Sizes(call.batch, call.heads, call.q_len, call.kv_len, call.kv_heads)


@pytest.mark.parametrize("name", ["variable_block_sparse", "flashmask_causal_1", "mla_rope", "blockbert", "dense_mask"])
def test_tables_fit_every_call(name: str) -> None:
    chosen = case(name)
    program = maskdsl.get(name, **chosen.constants)
    for call in CALLS:
        bound = program.bind(**fitting_tables(program, chosen, sizes(call)))
        assert bound.block_mask(call.batch, call.heads, call.q_len, call.kv_len, kv_heads=call.kv_heads)


def test_a_program_of_one_length_is_called_at_it() -> None:
    chosen = case("swin_bias")
    program = maskdsl.get("swin_bias", **chosen.constants)
    with pytest.raises(Unfit):
        fitting_tables(program, chosen, sizes(CALLS[0]))
    assert fitting_tables(program, chosen, sizes(SHIPPED[0]))


def test_names_and_paths_are_found_and_others_refused() -> None:
    assert _chosen(False, False, False, ("base/causal",)) == (case("causal"),)
    with pytest.raises(SystemExit, match="no program is called cuasal"):
        _chosen(False, False, False, ("cuasal",))


def test_a_run_goes_on_where_another_one_stopped(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "correctness.json"
    first = Record.open(file, ABOUT, resume=True)
    first.add(KEYS[0], Done([ROW], seconds=3.0))
    first.add(KEYS[1], Done(broken=["no memory"], seconds=2.0))
    first.save(waiting=[KEYS[2]])
    second = Record.open(file, ABOUT, resume=True)
    assert [second.finished(k) for k in KEYS] == [True, False, False]
    assert second.jobs[KEYS[0]] == Done([ROW], seconds=3.0)
    second.add(KEYS[1], Done([ROW]))
    assert Record.open(file, ABOUT, resume=True).finished(KEYS[1])
    assert not Record.open(file, ABOUT, resume=False).jobs


def test_figures_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    Record.open(tmp_path / "x.json", ABOUT, resume=False).save()
    with pytest.raises(SystemExit, match="another machine"):
        Record.open(tmp_path / "x.json", {**ABOUT, "gpu": "another"}, resume=True)


def test_the_longest_jobs_start_first(tmp_path: Path) -> None:
    options = Namespace(quick=False, all=False, shipped=False, only=("causal", "alibi", "bloom"))
    chosen = _chosen(False, False, False, options.only)
    jobs = [Job(n, c.name, "float32", CALLS, "cpu", False) for n, c in enumerate(chosen)]
    record = Record.open(tmp_path / "x.json", ABOUT, resume=False)
    by_formula = _longest_first(jobs, record, options)
    assert [cost(chosen[j.number]) for j in by_formula] == sorted((cost(c) for c in chosen), reverse=True)
    record.add(by_formula[-1].key, Done(broken=["slow"], seconds=60.0))
    assert _longest_first(jobs, record, options)[0] is by_formula[-1]


GPU = {"gpu_s": 2e-6, "gpu_all_s": 4e-6, "host_s": 50e-6, "peak_bytes": 100, "list_bytes": 100, "counts": [1, 2]}
TOLD = [
    ({"mask": "causal", "length": 32768}, ["met"] * 3),
    ({"mask": "causal", "length": 32768, "gpu_s": 11e-6}, ["MISSED", "met", "met"]),
    ({"mask": "causal", "length": 131072, "gpu_s": 24e-6, "host_s": 101e-6}, ["met", "MISSED", "met"]),
    ({"mask": "causal", "length": 1048576, "gpu_s": 0.6e-3}, ["MISSED", "met", "met"]),
    ({"mask": "dilated", "length": 32768, "gpu_s": 11e-6}, ["met"]),
    ({"mask": "dilated", "length": 32768, "compiled_gpu_s": 300e-6}, ["met", "MISSED", "met"]),
    ({"mask": "dilated", "length": 131072, "compiled_gpu_s": 3e-3}, ["met", "met", "met"]),
    ({"mask": "dilated", "length": 8192, "peak_bytes": 106}, ["MISSED"]),
    ({"mask": "dilated", "length": 8192, "eager_counts": [1, 2], "compiled_counts": [2, 1]}, ["met", "met", "MISSED"]),
]


@pytest.mark.parametrize(("row", "told"), TOLD)
def test_targets_are_met_or_missed(row: dict[str, Any], told: list[str]) -> None:
    assert [str(t).split()[0] for t in targets([{**GPU, **row}])] == told


def test_the_target_of_a_cpu_is_beside_eager_torch() -> None:
    row = {"mask": "causal", "length": 16384, "cpu_s": 4e-4, "eager_s": 0.5, "peak_bytes": 1, "list_bytes": 1}
    assert [str(t) for t in targets([row])][0] == (
        "met     causal at 16,384, beside eager torch: 1,250 × (≥ 1,000 ×)"
    )


def test_seconds_in_the_unit_that_suits_them() -> None:
    assert [seconds(x) for x in (None, 1.94e-6, 0.5e-3, 0.0123, 12.34)] == ["–", "1.9 µs", "500.0 µs", "12.30 ms", "12.3 s"]


def test_block_masks_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(block_mask, "finish_seconds", lambda build, cuda, repeats: once(build, cuda))
    monkeypatch.setattr("sys.argv", ["x", "--device", "cpu", "--quick", "--out", str(tmp_path), "--only", "packed causal"])
    block_mask.main()
    printed = capsys.readouterr().out
    assert printed.count("packed causal") == 4 and "MISSED" not in printed  # two rows, two targets
    assert (tmp_path / "block_mask_cpu.json").exists()
