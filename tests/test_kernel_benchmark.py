"""The kernel benchmark without a GPU: what is written by hand means the same, errors are seen, failures are recorded."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskdsl

pytest.importorskip("torch")

import torch

from benchmarks import kernels, kernels_batch, kernels_measure, kernels_reference, kernels_report
from benchmarks.correctness_record import Done, Record
from benchmarks.kernels_batch import Asked
from benchmarks.kernels_cases import BY_NAME, PATTERNS, Pattern, Size, flops, qkv, visible_pairs

CPU = torch.device("cpu")
SMALL = Size(dim=16, length=48, batch=2, heads=4, kv_heads=2)


def options(**changes: Any) -> Namespace:
    given = {"device": "cuda", "quick": False, "only": (), "processes": 14, "tune": False}
    return Namespace(**{**given, "kernels": kernels.KERNELS, "dims": (64, 128), **changes})


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.name)
def test_by_hand_and_in_the_language_are_the_same(pattern: Pattern) -> None:
    """The float64 reference by hand gives what the definition's own reference does, at every sampled query."""
    # Long enough that windows and chunks matter.
    size = replace(SMALL, length=1100 if "1024" in pattern.name else 200)
    tables = pattern.tables(size)
    hand = pattern.by_hand(tables, size)
    inputs = qkv(size, torch.float64, CPU)
    rows = kernels_reference.sampled_rows(size.length, CPU)
    found = kernels_reference.expected(hand, size, inputs, rows, gradients=False)
    program = maskdsl.compile(pattern.text)
    arrays = {n: t.numpy() for n, t in tables.items()}
    right = program.reference(*(x.numpy() for x in inputs[:3]), **arrays)
    np.testing.assert_allclose(found.out.numpy(), right[:, :, rows.numpy()], rtol=1e-6, atol=1e-7)


def test_some_kernels_are_measured_again() -> None:
    """The others keep their times; what did not run is that of the new run for these kernels."""

    def row(name: str, tflops: float, auto: str) -> dict[str, Any]:
        return {"implementation": name, "pass": "forward", "tflops": tflops, "auto": auto}

    before = Done([row("ours triton", 1.0, "flash"), row("ours flash", 2.0, "flash")], ["gone"], ["by hand flash: x", "by hand triton: y"])
    again = Done([row("ours triton", 3.0, "triton")], [], ["by hand triton: z"])
    found = kernels.with_others(again, before, ("triton",))
    assert found.rows == [row("ours triton", 3.0, "flash"), row("ours flash", 2.0, "flash")]
    assert (found.broken, found.unfit) == ([], ["by hand triton: z", "by hand flash: x"])
    assert kernels.with_others(again, None, ("triton",)) is again
    sizes = [a.size["dim"] for a in kernels.wanted(options(dims=(64,), kernels=("triton",)))]
    assert sizes and set(sizes) == {64} and all(a.kernels == ("triton",) for a in kernels.wanted(options(kernels=("triton",))))


def test_gradients_of_the_reference_are_those_of_all_queries() -> None:
    """With a gradient of the output that is zero elsewhere, sampled queries decide every gradient."""
    hand = BY_NAME["causal, softcap 50"].by_hand({}, SMALL)
    q, k, v, grad = qkv(SMALL, torch.float64, CPU)
    rows = kernels_reference.sampled_rows(SMALL.length, CPU)
    found = kernels_reference.expected(hand, SMALL, (q, k, v, grad), rows, gradients=True)
    everything = kernels_reference.expected(
        hand, SMALL, (q, k, v, kernels_reference.only_rows(grad, rows)), torch.arange(SMALL.length), gradients=True
    )
    assert found.grads is not None and everything.grads is not None
    # The first query sees one key, whatever its score is.
    assert float(everything.grads[0].abs().sum(dim=(0, 1, 3)).count_nonzero()) == len(rows) - 1
    torch.testing.assert_close(found.grads[0], everything.grads[0][:, :, rows])
    for mine, all_of_them in zip(found.grads[1:], everything.grads[1:], strict=True):
        torch.testing.assert_close(mine, all_of_them)


def test_pairs_and_operations() -> None:
    size = Size(dim=64, length=48, batch=2)
    assert visible_pairs(BY_NAME["causal"].by_hand({}, size), size, CPU) == 2 * 48 * 49 // 2
    assert flops(10, size, backward=False) == 10 * 32 * 64 * 4 and flops(1, size, True) == 2.5 * flops(1, size, False)


def test_a_wrong_kernel_is_over_the_limit() -> None:
    inputs = qkv(SMALL, torch.float32, CPU)
    hand = BY_NAME["causal"].by_hand({}, SMALL)
    job = kernels_measure.Job(BY_NAME["causal"], SMALL, CPU, False, {}, hand, inputs)
    rows = kernels_reference.sampled_rows(SMALL.length, CPU)
    right = kernels_reference.expected(hand, SMALL, inputs, rows, gradients=False)

    def attend(causal: bool) -> Any:
        sdpa = torch.nn.functional.scaled_dot_product_attention
        return lambda q, k, v: sdpa(q, k, v, is_causal=causal, enable_gqa=True)

    for causal in (True, False):
        subject = kernels_measure.Subject("x", attend(causal), False)
        kernels_measure._check(job, subject, right)
        assert subject.fine is causal


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.name)
def test_implementations_on_a_gpu(pattern: Pattern, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which there are, and what `auto` would take of them; none is run."""
    from maskdsl.backends import kernel_choice
    from maskdsl.binding import choice

    machine = kernel_choice.Machine("cuda", (9, 0), "H100", 132, flash=True)
    monkeypatch.setattr(choice, "machine_of", lambda device: machine)
    monkeypatch.setattr(kernel_choice, "flash_is_here", lambda: True)
    size = replace(SMALL, length=128, dim=64)
    tables = pattern.tables(size)
    inputs = qkv(size, torch.bfloat16, CPU)
    hand = pattern.by_hand(tables, size)
    job = kernels_measure.Job(pattern, size, torch.device("cuda"), True, tables, hand, inputs, tune=True)
    names = [*kernels_measure._makers(job)]
    assert {"ours triton", "by hand triton", "ours triton tuned", "ours flash", "by hand flash"} <= {*names}
    assert {n for n in names if n not in kernels_report.SHORT} == set() and not job.absent
    slower = pattern.name == "ALiBi" or hand.sink is not None
    by_triton = {"forward": slower, "backward": slower}
    assert job.auto == {what: "triton" if so else "flash" for what, so in by_triton.items()}


def test_the_order_and_the_batches() -> None:
    asked = kernels.wanted(options())
    assert [a.pattern for a in asked[:5]] == [*kernels.FIRST, "first calls"]
    assert all(a.size["length"] == 8192 and a.size["dim"] == 128 for a in asked[:4])
    assert {(a.size["dim"], a.size["length"]) for a in asked if a.size} == {
        (d, n) for d in (64, 128) for n in (2048, 8192, 32768)
    }  # fmt: skip
    found = [*kernels.batches(asked, 14)]
    assert sorted(a.key for batch in found for a in batch) == sorted(a.key for a in asked)
    assert len({a.key for a in asked}) == len(asked)
    assert [a.pattern for a in found[1]] == ["first calls"] and all(len(b) <= 14 for b in found)
    assert {a.pattern for a in kernels.wanted(options(only=("ALiBi",)))} == {"ALiBi"}
    with pytest.raises(SystemExit, match="no pattern is called alibi"):
        kernels.wanted(options(only=("alibi",)))


def row(who: str, tflops: float, what: str = "forward", name: str = "causal, softcap 50") -> dict[str, Any]:
    size = asdict(Size())
    return {"pattern": name, **size, "implementation": who, "pass": what, "ms": 1.0, "tflops": tflops,
            "errors": {"out": 1e-3}, "fine": True, "auto": "flash"}  # fmt: skip


def test_targets_and_ratios_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record.open(tmp_path / "x.json", {}, resume=False)
    key = ("causal, softcap 50", "d128", "1x8192")
    rows = [row("ours triton", 350.0), row("by hand triton", 190.0), row("ours flash", 440.0)]
    record.add(key, Done([*rows, row("ours triton", 90.0, "backward"), row("by hand triton", 100.0, "backward")]))
    assert kernels_report.report(record, []) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "softcap 50, ours triton 340 350 met" in told
    assert "softcap 50, ours flash 450 440 MISSED" in told and "not run" in told
    assert "backward: triton 0.900" in told and "forward: triton" not in told
    record.add(key, Done(rows))
    assert kernels_report.report(record, []) == 0
    assert "none" in capsys.readouterr().out
    assert "triton 350 (error 1.0e-03), hand 190" in "\n".join(kernels_report.lines_of(key, record.jobs[key]))


def test_what_fails_is_recorded_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that dies, one that says nothing in time, and one that answers."""
    script = tmp_path / "kernels_measure.py"
    script.write_text(
        "import json, sys, time\n"
        "asked = json.loads(sys.stdin.readline())\n"
        "if asked['pattern'] == 'dies': raise SystemError('no such kernel')\n"
        "if asked['pattern'] == 'hangs': time.sleep(60)\n"
        "print('@' + json.dumps({'ready': 1}), flush=True)\n"
        "sys.stdin.readline()\n"
        "print('noise')\n"
        "print('@' + json.dumps({'rows': [{'fine': True}], 'broken': [], 'absent': ['flash']}), flush=True)\n"
    )
    monkeypatch.setattr(kernels_batch, "__file__", str(tmp_path / "kernels_batch.py"))
    monkeypatch.setattr(kernels_batch, "COMPILING", 3.0)
    size = asdict(SMALL)
    asked = [Asked(name, size, "cpu") for name in ("dies", "hangs", "answers")]
    found = {key[0]: done for key, done in kernels_batch.run_batch(asked, deadline=1e12)}
    assert "no such kernel" in found["dies"].broken[0] and found["hangs"].broken == ["no answer in time"]
    assert found["answers"].rows == [{"fine": True}] and found["answers"].unfit == ["flash"]


@pytest.mark.compiled
def test_a_smoke_run_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kernels.py", "--device", "cpu", "--quick", "--out", str(tmp_path)])
    assert kernels.main() == 0
    content = json.loads((tmp_path / "kernels_cpu.json").read_text())
    rows = content["jobs"][0]["rows"]
    assert [r["implementation"] for r in rows] == ["ours", "by hand"] and all(r["fine"] for r in rows)
    assert content["torch"] == torch.__version__ and content["date"]
