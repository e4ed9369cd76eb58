"""The correctness benchmark without a kernel: its tables fit its calls, and what it has done is kept."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import maskdsl

pytest.importorskip("torch")

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
