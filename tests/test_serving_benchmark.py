"""The serving benchmark without a GPU: a smoke run, what it compares with, what it does when jobs break, its targets."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

pytest.importorskip("torch")

from benchmarks import serving
from benchmarks.correctness_record import Done, Record
from benchmarks.serving_cases import FULL, KINDS, TINY, Batch, decode_lengths, make_batch, make_pool, relative_error
from benchmarks.serving_measure import Bench
from benchmarks.serving_report import report, targets
from benchmarks.serving_subjects import contiguous, packed, page_lists, physical_mask

ROOT = Path(__file__).parent.parent


def batch(kind: str = "mixed", page: int = 16) -> Batch:
    """Three requests."""
    return Bench(torch.device("cpu"), TINY).decode_batch(kind, page)


@pytest.mark.slow
@pytest.mark.compiled
def test_a_smoke_run(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "serving.py", "--device", "cpu", "--quick", "--out", tmp_path]
    done = subprocess.run([*command, "--only", "copy", "decode zipf", "plan"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "serving_cpu.json").read_text(encoding="utf-8"))
    assert {"gpu", "torch", "triton", "date", "machine"} <= found.keys()
    assert [job["key"][0] for job in found["jobs"]] == ["copy", "decode zipf", "plan"]
    rows = {row["who"]: row for job in found["jobs"] for row in job["rows"]}
    assert {"copy", "ours", "torch SDPA", "packed", "plan, prefill"} <= rows.keys()
    assert all(row["fine"] and row["ms"] > 0 for row in rows.values())


def test_the_jobs_of_a_full_run() -> None:
    full = serving.jobs(FULL, search=False)
    names = [f"{key[0]} {key[1]}" for key in full]
    assert {f"decode {kind} page {page}" for kind in KINDS for page in (16, 64, 128)} <= {*names}
    assert {f"prefill page {page}" for page in (16, 64, 128)} <= {*names}
    assert [key[0] for key in serving.choose(full, ["decode zipf", "prefill page 64"])] == ["decode zipf"] * 3 + ["prefill"]
    with pytest.raises(SystemExit, match="no job is called decoding"):
        serving.choose(full, ["decoding"])
    assert all(key[0].startswith("search") for key in serving.jobs(FULL, search=True))


def test_lengths() -> None:
    assert decode_lengths("uniform", FULL) == (8192,) * 64
    assert decode_lengths("zipf", FULL)[:3] == (8192, 4096, 2730) and min(decode_lengths("zipf", FULL)) == 128
    mixed = decode_lengths("mixed", FULL)
    assert 256 <= min(mixed) and max(mixed) <= 8192 and 3500 < sum(mixed) / 64 < 5000


def test_pages_are_nobody_elses_and_bytes_are_counted() -> None:
    made = batch()
    used = [int(p) for row, n in zip(made.table, made.lengths, strict=True) for p in row[: -(-n // made.page)]]
    assert len({*used}) == len(used)
    assert made.bytes == sum(made.lengths) * 2 * TINY.kv_heads * TINY.dim * 4


def test_the_packed_layout_lists_and_shows_what_is_visible() -> None:
    """Its lists hold every visible pair's page, its mask is the causal one of each request."""
    made = make_batch(TINY, 16, (50, 7, 33), (5, 1, 30), make_pool(TINY, 320, torch.device("cpu")))
    counts, indices = page_lists(made, 16)
    owner = [r for r, n in enumerate(made.news) for _ in range(n)]
    keys = {(r, int(made.table[r, k // 16]) * 16 + k % 16): k for r, n in enumerate(made.lengths) for k in range(n)}
    q, k = torch.arange(len(owner))[:, None], torch.arange(320)[None]
    seen = physical_mask(made)(torch.tensor(0), torch.tensor(0), q, k)
    for i, r in enumerate(owner):
        position = made.lengths[r] - made.news[r] + i - made.starts[r]
        visible = {place for (of, place), key in keys.items() if of == r and key <= position}
        assert {*seen[i].nonzero().flatten().tolist()} == visible
        listed = indices[0, 0, i // 16, : int(counts[0, 0, i // 16])].tolist()
        assert {place // 16 for place in visible} <= {*listed} and len({*listed}) == len(listed)


@pytest.mark.parametrize("make", [contiguous, packed])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_what_is_compared_with_is_right(make: object) -> None:
    for made in (batch("mixed"), batch("uniform"), Bench(torch.device("cpu"), TINY).prefill_batch(16)):
        assert relative_error(made, make(made)()) < 1e-5  # type: ignore[operator]


def test_an_error_is_seen() -> None:
    made = batch()
    right = contiguous(made)()
    wrong = right.clone()
    wrong[made.starts[max(range(3), key=lambda r: made.lengths[r])]] *= 1.1
    assert relative_error(made, right) < 1e-5 < 0.01 < relative_error(made, wrong)
    wrong[0, 0, 0] = torch.nan
    assert relative_error(made, wrong) == float("inf")


def test_what_breaks_is_written_down_and_the_next_job_runs(tmp_path: Path) -> None:
    record, bench = Record.open(tmp_path / "x.json", {"gpu": None}, False), Bench(torch.device("cpu"), TINY)

    def broken(bench: Bench, done: Done) -> None:
        done.rows.append({"who": "first", "ms": 1.0, "fine": True})
        raise ValueError("no\nway")

    assert serving.run_job(record, bench, ("one", "", ""), broken)
    assert serving.run_job(record, bench, ("two", "", ""), lambda bench, done: None)
    again = Record.open(tmp_path / "x.json", {"gpu": None}, True)
    assert again.jobs["one", "", ""].broken == ["one: ValueError in broken: no way"] and again.jobs["one", "", ""].rows
    assert report(again, [], full=False) == 1 and not again.finished(("one", "", ""))


@pytest.mark.parametrize(("ends", "told"), [([-11, 0], "ended with -11"), (["no answer in time", 0], "no answer")])
def test_a_process_that_dies_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[int | str], told: str
) -> None:
    options = Namespace(device="cpu", out=tmp_path, resume=False, minutes=1.0, only=[], quick=True)
    chosen = dict.fromkeys([("a", "", ""), ("b", "", "")])

    def child(options: Namespace, minutes: float) -> int | str:
        end = ends.pop(0)
        if end == 0:
            record = Record.open(tmp_path / "serving_cpu.json", serving.about("cpu"), True)
            record.add(("b", "", ""), Done([{"who": "x", "fine": True}]))
        return end

    monkeypatch.setattr(serving, "run_child", child)
    assert serving.watch(options, chosen, full=False) == 1  # type: ignore[arg-type]
    found = Record.open(tmp_path / "serving_cpu.json", serving.about("cpu"), True)
    assert told in found.jobs["a", "", ""].broken[0] and found.finished(("b", "", ""))


def test_what_broke_before_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the process that does the jobs too, so that a job that always hangs costs no other one its turn."""
    keys = [("a", "page 16", ""), ("b", "", ""), ("c", "", "")]
    record = Record.open(tmp_path / "serving_cpu.json", serving.about("cpu"), False)
    record.add(keys[0], Done(broken=["hung"]))
    record.add(keys[1], Done([{"who": "x", "fine": True}]))
    options = Namespace(device="cpu", out=tmp_path, resume=True, minutes=1.0, only=[], quick=True)
    begun, seen = dict.fromkeys(keys), []

    def child(options: Namespace, minutes: float) -> int | str:
        chosen = serving.choose(begun, options.only, options.last)  # type: ignore[arg-type]
        seen.append([key[0] for key in chosen])
        return f"no answer {len(seen)}"

    monkeypatch.setattr(serving, "run_child", child)
    assert serving.watch(options, begun, full=False) == 1  # type: ignore[arg-type]
    assert seen == [["b", "c", "a"]] * 2
    found = Record.open(tmp_path / "serving_cpu.json", serving.about("cpu"), True)
    assert [found.jobs[key].broken for key in keys] == [["no answer 2"], [], ["no answer 1"]]


def test_a_job_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds after the last one was written down."""
    script = tmp_path / "hangs.py"
    script.write_text("import pathlib, time\npathlib.Path('serving_cpu.json').write_text('{}')\ntime.sleep(60)\n")
    monkeypatch.setattr(serving, "__file__", str(script))
    monkeypatch.setattr(serving, "LONGEST", 2.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "serving_cpu.json").write_text("")
    options = Namespace(device="cpu", out=tmp_path, quick=True, only=["copy"], last=[])
    assert serving.run_child(options, 1.0) == "no answer in 2 seconds"
    script.write_text("raise SystemExit(3)")
    assert serving.run_child(options, 1.0) == serving.LOST


def test_targets(capsys: pytest.CaptureFixture[str]) -> None:
    """What is met, missed, wrong and not run."""
    record = Record(Path("unwritten"), {})

    def add(what: str, page: str, **numbers: float) -> None:
        rows = [{"who": who, "fine": True, **numbers} for who in ("ours", "copy")]
        record.jobs[what, page, ""] = Done([*rows, {"who": "packed", "ms": 1.0, "fine": True}])

    add("copy", "", tb_s=3.0)
    add("decode uniform", "page 128", tb_s=2.97, ms=0.72)
    add("decode zipf", "page 16", ms=0.1)
    add("decode mixed", "page 64", tb_s=2.9, ms=0.3)
    record.jobs["decode mixed", "page 64", ""].rows[0]["fine"] = False
    found = {name: (value, more) for name, _, value, more in targets(record)}
    assert found["uniform lengths, page 128: share of the copy"][0] == pytest.approx(0.99)
    assert found["zipf lengths, page 16: ms"] == (0.1, False)
    assert found["mixed lengths, page 64: TB/s"][0] is None
    assert found["decode zipf, page 16: times the packed layout"][0] == pytest.approx(10)
    assert report(record, [], full=True) == 1
    lines = {line.split(":")[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if "page" in line}
    assert lines["uniform lengths, page 128"] == "met" and lines["zipf lengths, page 16"] == "MISSED"
    assert lines["prefill, page 128"] == "run"


def test_what_a_search_tries() -> None:
    """Shapes that differ, and cuts with room for every item of a batch."""
    pytest.importorskip("triton")
    from benchmarks.serving_search import SHAPES, _cuts, _name
    from maskdsl.serving.plan_triton import Cut

    made, used = batch("mixed", 16), Cut(132, 4, 128, 256)
    cuts = list(_cuts(used, made))
    assert len({_name(s, c) for s in SHAPES for c in (used, *cuts)}) == len(SHAPES) * (1 + len(cuts)) and used not in cuts
    pages = [-(-n // 16) for n in made.lengths]
    assert all(sum(-(-p // c.most) for p in pages) <= c.spare + len(pages) for c in cuts)


def test_a_search_has_a_file_of_its_own(tmp_path: Path) -> None:
    options = Namespace(device="cuda", out=tmp_path, only=["search zipf page 16"])
    assert serving.file_of(options).name == "serving_search_cuda.json"
    assert serving.file_of(Namespace(device="cuda", out=tmp_path, only=["plan"])).name == "serving_cuda.json"
