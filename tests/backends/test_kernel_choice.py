"""Which kernel a call gets, and with which options: all of it decided without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import maskdsl
from maskdsl.backends import flex
from maskdsl.backends.kernel_choice import BACKENDS, KERNELS, Machine, Plan, Request, choose, flash_block
from maskdsl.backends.kernel_options import TABLE, candidates, options_of
from maskdsl.binding import choice
from maskdsl.binding.shapes import check_call
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import NOWHERE

H100 = Machine("cuda", (9, 0), "NVIDIA H100", 132, flash=True)
B200 = replace(H100, capability=(10, 0), name="NVIDIA B200", multiprocessors=148)
A100 = replace(H100, capability=(8, 0), name="NVIDIA A100", multiprocessors=108)
CPU = Machine("cpu")
PREFILL = Request(q_len=8192, kv_len=8192)


@pytest.mark.parametrize(("machine", "changes", "kernel"), [
    (H100, {}, "flash"),
    (B200, {}, "flash"),
    (H100, {"head_dim": 64, "v_head_dim": 64, "dtype": "float16"}, "flash"),
    (H100, {"gradients": True}, "flash"),
    (replace(H100, flash=False), {}, "triton"),
    (A100, {}, "triton"),
    (H100, {"dtype": "float32"}, "triton"),
    (H100, {"head_dim": 256, "v_head_dim": 256}, "triton"),
    (H100, {"v_head_dim": 64}, "triton"),
    (H100, {"head_dim": 20, "v_head_dim": 20}, "triton"),
    (H100, {"q_len": 1}, "triton"),
    (H100, {"block": (128, 16)}, "triton"),
    (H100, {"unwritable": ("`%` of floats has no form in CuteDSL",)}, "triton"),
    (H100, {"learned": ("bias",), "gradients": True}, "triton"),
    (H100, {"lse": True}, "flash"),
    (H100, {"lse": True, "gradients": True}, "triton"),
    (CPU, {}, "cpu"),
])  # fmt: skip
def test_auto(machine: Machine, changes: dict[str, object], kernel: str) -> None:
    request = replace(PREFILL, **changes)
    found = choose("auto", machine, request)
    assert found.kernel == kernel
    assert found.why_not.keys() == set(KERNELS) - {kernel}
    for better in KERNELS[: KERNELS.index(kernel)]:
        assert found.why_not[better], better
    assert choose(kernel, machine, request).kernel == kernel


def test_reasons_name_what_is_in_the_way() -> None:
    request = replace(PREFILL, head_dim=256, dtype="float32", learned=("bias",))
    told = "\n".join(choose("auto", replace(A100, flash=False), request).why_not["flash"])
    assert all(part in told for part in ("maskdsl[flash]", "8.0", "float32", "256", "`bias` requires a gradient"))


@pytest.mark.parametrize(("wanted", "machine"), [("flash", A100), ("flash", CPU), ("triton", CPU), ("cpu", H100)])
def test_a_backend_that_cannot_is_refused(wanted: str, machine: Machine) -> None:
    with pytest.raises(MaskError) as caught:
        choose(wanted, machine, PREFILL)
    (problem,) = caught.value.diagnostics
    assert problem.code == "E0703" and wanted in problem.message and problem.notes


def test_an_unknown_backend() -> None:
    with pytest.raises(MaskError) as caught:
        choose("tritom", H100, PREFILL)
    assert caught.value.diagnostics[0].help == ("did you mean `triton`?",)
    assert BACKENDS == ("auto", *KERNELS)


def test_blackwell_takes_256_queries_a_tile() -> None:
    assert flash_block(B200, (128, 128)) == (256, 128)
    assert flash_block(H100, (128, 128)) == (128, 128)


# ---------------------------------------------------------------- options


def test_options_of_the_calls_that_were_timed() -> None:
    decode = Request(q_len=1, kv_len=8192, block=(16, 16), group=4, rows=64 * 8, layout="paged")
    assert dict(options_of("decode", H100, decode)) == {"fwd_num_stages": 3}
    dense = replace(decode, layout="dense", block=(16, 128))
    assert dict(options_of("decode", H100, dense)) == {"fwd_num_stages": 3, "SPLIT_KV": 4}
    assert "SPLIT_KV" not in dict(options_of("decode", H100, replace(dense, rows=8)))
    assert dict(options_of("main", H100, PREFILL)) == {"fwd_USE_TMA": True}
    paged = dict(options_of("main", H100, replace(PREFILL, layout="paged")))
    assert paged == {"fwd_BLOCK_M": 128, "fwd_BLOCK_N": 128, "fwd_num_warps": 8}
    pairs = dict(options_of("main", H100, replace(PREFILL, layout="paged pairs")))
    assert (pairs["fwd_BLOCK_M"], pairs["fwd_BLOCK_N"], pairs["fwd_num_stages"]) == (64, 64, 2)


@pytest.mark.parametrize(("page", "columns"), [(16, 16), (32, 32), (48, 16), (64, 64), (192, 64)])
@pytest.mark.parametrize(("layout", "stages"), [("paged", 3), ("paged pairs", 2)])
def test_small_pages_have_tiles_of_128_queries(page: int, columns: int, layout: str, stages: int) -> None:
    """Eight warps share the queries of such a tile; as wide as it may be, whatever the table says."""
    found = options_of("main", H100, replace(PREFILL, layout=layout, q_len=128, block=(128, page)))
    wanted = {"fwd_BLOCK_M": 128, "fwd_num_warps": 8, "fwd_num_stages": stages}
    assert dict(found) == wanted
    q, k = torch.empty(2, 4, 128, 128, device="meta"), torch.empty(1, 2, 4 * page, 128, device="meta")
    mods, tall = flex.Mods("m", "", NOWHERE), Plan(options=found)
    told = dict(flex._kernel_of(mods, q, k, (128, page), tall, False)[1])
    assert {n: told[n] for n in (*wanted, "fwd_BLOCK_N")} == {**wanted, "fwd_BLOCK_N": columns}
    # A tile that does not come out even is not taken.
    assert dict(flex._kernel_of(mods, q, k, (64, page), tall, False)[1])["fwd_BLOCK_M"] == 64


def test_small_pages_of_other_calls_have_smaller_tiles() -> None:
    for change in ({"dtype": "float32"}, {"head_dim": 256}, {"block": (64, 16)}):
        request = replace(PREFILL, **{"layout": "paged", "block": (128, 16), **change})
        assert options_of("main", H100, request) == ()


@pytest.mark.parametrize(("machine", "changes"), [
    (A100, {}), (CPU, {}), (H100, {"dtype": "float32"}), (H100, {"q_len": 8191}), (H100, {"block": (128, 64)}),
    (H100, {"head_dim": 256}), (H100, {"head_dim": 96}), (H100, {"visits": (0, 64)}), (H100, {"visits": (8, 8)}),
])  # fmt: skip
def test_other_calls_have_torchs_own(machine: Machine, changes: dict[str, object]) -> None:
    assert options_of("main", machine, replace(PREFILL, **changes)) == ()


def test_every_row_holds_for_some_call_and_says_why() -> None:
    layouts = ("dense", "packed", "paged", "paged pairs")
    requests = [
        replace(PREFILL, layout=layout, q_len=q, rows=rows, head_dim=dim, block=(128, page), visits=visits)
        for layout in layouts for q in (1, 8192) for rows in (8, 512) for dim in (64, 128) for page in (64, 128)
        for visits in ((2, 4), (0, 64), (32, 32))
    ]  # fmt: skip
    for row in TABLE:
        assert any(row.holds(row.kernel, H100, r) for r in requests) and len(row.why) > 20


@pytest.mark.parametrize(("kernel", "machine"), [("main", H100), ("decode", H100), ("flash", H100), ("main", CPU)])
def test_candidates_are_few_and_differ(kernel: str, machine: Machine) -> None:
    found = candidates(kernel, machine, PREFILL)
    assert 1 <= len(found) <= 10
    assert len({c.told for c in found}) == len(found)
    assert found[0].block == PREFILL.block and not found[0].options and not found[0].plain


def test_tuning_tries_what_was_not_timed() -> None:
    found = [dict(c.options) for c in candidates("main", H100, replace(PREFILL, head_dim=64))]
    assert {"fwd_USE_TMA": True} in found and {} in found


def test_tall_tiles_of_flash_are_tried_for_narrow_heads() -> None:
    def blocks(machine: Machine, **changes: object) -> list[tuple[int, int]]:
        return [c.block for c in candidates("flash", machine, replace(PREFILL, **changes))]

    assert blocks(H100, head_dim=64) == [(128, 128), (192, 128)]
    assert blocks(H100) == blocks(B200, head_dim=64) == blocks(H100, head_dim=64, gradients=True) == [(128, 128)]


def test_candidates_have_tiles_that_divide_the_block() -> None:
    for candidate in candidates("main", H100, replace(PREFILL, block=(128, 64))):
        options = dict(candidate.options)
        assert 128 % options.get("fwd_BLOCK_M", 128) == 0 and 64 % options.get("fwd_BLOCK_N", 64) == 0


# ---------------------------------------------------------------- forms, and what happens when a kernel is not made


def test_precise_takes_the_textbook_forms_on_either_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def forms(machine: Machine, precise: bool) -> str:
        return choice.settle("auto", precise, machine, PREFILL).dialect.name

    assert [forms(H100, p) for p in (False, True)] == ["flash", "flash precise"]
    assert [forms(A100, p) for p in (False, True)] == ["inductor", "inductor precise"]
    # A torch whose writer of CuteDSL is not the one that is known gets no inline assembly.
    monkeypatch.setattr(choice, "teach_cutedsl", lambda: False)
    assert forms(H100, False) == "flash precise"


def test_a_sink_is_seen_in_the_request() -> None:
    q = torch.zeros(1, 2, 256, 64, dtype=torch.bfloat16)
    wish = choice.Wish("auto", False, (128, 128))
    for text, uses in (("mask = k <= q", False), ("sink = s[h]", True), ("normalize = false score = score", True)):
        lowered = maskdsl.compile(f"variant v(s: float[head]) {{ {text} }}").bind(s=[0.0, 1.0])._lowering.at({"head": 2})
        assert choice.request_of((q, q, q), wish, lowered).lse is uses


def test_scores_that_depend_on_places_are_seen_in_the_request() -> None:
    for text, placed in (
        ("score s = 50.0 * tanh(score / 50.0)", False), ("mask s = k <= q", False), ("score s = score + q", True),
        ("score s(t: float[]) = score * t", True), ("score s(t: float[head]) = score * t[h]", True),
        ("score s = score + float(q_len)", True),
    ):  # fmt: skip
        program = maskdsl.compile(text)
        bound = program.bind(**dict.fromkeys(program.tables, [1.0]))
        assert bound._lowering.at({"head": 1}).is_placed is placed, text


def test_flash_trains_no_scores_that_depend_on_places() -> None:
    """Its gradients are NaN; Triton's are right (ALiBi, in the benchmark of the kernels)."""
    assert choose("auto", H100, replace(PREFILL, placed=True)).kernel == "flash"
    assert choose("auto", H100, replace(PREFILL, gradients=True)).kernel == "flash"
    trained = choose("auto", H100, replace(PREFILL, placed=True, gradients=True))
    assert trained.kernel == "triton" and "NaN" in trained.why_not["flash"][0]


@pytest.mark.parametrize("what", ["placed", "lse"])
def test_narrow_heads_take_triton_first(what: str) -> None:
    narrow = replace(PREFILL, head_dim=64, v_head_dim=64, **{what: True})
    assert choose("auto", H100, narrow).kernel == "triton" and choose("flash", H100, narrow).kernel == "flash"
    assert choose("auto", H100, replace(narrow, **{what: False})).kernel == "flash"


@pytest.mark.parametrize(("text", "by_tma"), [
    ("k <= q", True), ("0 <= q - k < 1024", False), ("k <= q and q // 1024 == k // 1024", False),
    ("d[b, q] == d[b, k] and k <= q", False), ("k <= q or d[b, q] == 3", True),
    ("not (q < k and d[b, q] != 1)", True), ("not (q < k or d[b, q] != 1)", False),
])  # fmt: skip
def test_few_tiles_are_loaded_without_tma(text: str, by_tma: bool) -> None:
    """The fewest tiles that a row of queries visits are told by the formula; what tables decide may all be empty."""
    assert options_for(text, 128).get("fwd_USE_TMA", False) is by_tma


@pytest.mark.parametrize(("text", "calm"), [
    ("k <= q and q // 1024 == k // 1024", True), ("0 <= q - k < 1024", False), ("k <= q", False),
    ("0 <= q - k < 500 and d[b, q] == d[b, k]", True), ("d[b, q] == d[b, k] and k <= q", False),
])  # fmt: skip
def test_small_tiles_are_for_masks_that_are_known_to_visit_few(text: str, calm: bool) -> None:
    for head_dim in (64, 128):
        options = options_for(text, head_dim)
        assert (options.get("fwd_BLOCK_N") == 64 and options["fwd_num_warps"] == 4) is calm
        assert ("bwd_BLOCK_N1" in options) is (head_dim == 64)


def options_for(text: str, head_dim: int) -> dict[str, Any]:
    """The options of a call of 8192 tokens on an H100."""
    tables = "(d: int[batch, position])" if "d[" in text else ""
    bound = maskdsl.compile(f"mask m{tables} = {text}").bind(**({"d": torch.zeros(1, 8192).int()} if tables else {}))
    q = torch.zeros(1, 1, 8192, head_dim, dtype=torch.bfloat16)
    lengths = check_call(q, q, q, NOWHERE)
    return dict(bound.planned(lengths, (q, q, q), choice.Wish("triton", False, (128, 128)), H100)[2].plan.options)


@pytest.mark.parametrize(("lengths", "block", "guards"), [
    ((256, 384), (128, 128), False), ((256, 300), (128, 128), True), ((200, 384), (128, 128), True),
    ((384, 384), (256, 128), True), ((512, 384), (256, 128), False),
])  # fmt: skip
def test_lookups_are_guarded_unless_tiles_are_whole(
    lengths: tuple[int, int], block: tuple[int, int], guards: bool
) -> None:
    keep = torch.ones(1, max(lengths), dtype=torch.bool)
    bound = maskdsl.compile("mask m(keep: bool[batch, position]) = keep[b, k]").bind(keep=keep)
    q, k = (torch.zeros(1, 1, n, 64, dtype=torch.bfloat16) for n in lengths)
    for any_length in (False, True):
        wish = choice.Wish("triton", False, block, any_length=any_length)
        mods, *_ = bound.planned(check_call(q, k, k, NOWHERE), (q, k, k), wish, H100)
        assert ("keep[b, k]" not in mods.text) is (guards or any_length)


@pytest.mark.parametrize("made_before", [False, True])
def test_kernels_that_were_made_before_know_their_mods_by_the_text(
    monkeypatch: pytest.MonkeyPatch, made_before: bool
) -> None:
    """An artifact's kernel was made with guards, which whole tiles do without."""
    seen: list[str] = []
    monkeypatch.setattr("maskdsl.binding.bound.machine_of", lambda device: H100)
    monkeypatch.setattr(flex, "attention", lambda mods, *_, **__: seen.append(mods.text))
    bound = maskdsl.compile("mask m(keep: bool[batch, position]) = keep[b, k]").bind(keep=torch.ones(1, 256).bool())
    if made_before:
        bound._kernel = lambda *_: pytest.fail("it is not run here")
    q = torch.zeros(1, 1, 256, 64, dtype=torch.bfloat16)
    bound.attention(q, q, q, backend="triton")
    assert len(seen) == 1 and ("keep[b, k]" in seen[0]) is not made_before


def test_a_kernel_for_any_length_is_for_many_tiles() -> None:
    q = torch.zeros(1, 1, 384, 128, dtype=torch.bfloat16)
    bound, lengths = maskdsl.compile("mask m = k <= q").bind(), check_call(q, q, q, NOWHERE)
    for any_length in (False, True):
        wish = choice.Wish("triton", False, (128, 128), any_length=any_length)
        _, _, settled = bound.planned(lengths, (q, q, q), wish, H100)
        assert (("fwd_USE_TMA", True) in settled.plan.options) is any_length


def failing(first: str, choices: choice.Choices) -> tuple[list[str], Callable[[], torch.Tensor]]:
    """A call that `auto` gives to FLASH as long as it can, where making a kernel fails with a code."""
    runs: list[str] = []

    def run() -> torch.Tensor:
        request = replace(PREFILL, unwritable=choices.failed)
        choices.known["call"] = settled = choice.settle("auto", False, H100, request)
        runs.append(settled.choice.kernel)
        if settled.choice.kernel == "flash":
            raise MaskError(Diagnostic(first, "the kernel of `m` did not compile", notes=("torch says: no",)))
        return torch.ones(())

    return runs, run


def test_what_flash_cannot_compile_runs_on_triton_from_then_on() -> None:
    choices = choice.Choices(NOWHERE)
    runs, run = failing("E0705", choices)
    with pytest.warns(UserWarning, match="did not compile by FlashAttention-4, so that Triton runs it: torch says: no"):
        assert choices.or_by_triton("auto", run) == 1
    assert choices.or_by_triton("auto", run) == 1
    assert runs == ["flash", "triton", "triton"]


@pytest.mark.parametrize(("backend", "code"), [("flash", "E0705"), ("auto", "E0608")])
def test_other_problems_are_raised(backend: str, code: str) -> None:
    choices = choice.Choices(NOWHERE)
    runs, run = failing(code, choices)
    with pytest.raises(MaskError):
        choices.or_by_triton(backend, run)
    assert runs == ["flash"]


def test_flash_kernels_are_made_by_python() -> None:
    """What CuteDSL raises when it makes one is a kernel that did not compile; what CUDA raises is not."""
    from maskdsl.backends.flex import _compile_errors

    assert issubclass(AttributeError, _compile_errors(flash=True)) and not issubclass(AttributeError, _compile_errors())
    assert not issubclass(torch.OutOfMemoryError, _compile_errors(flash=True))
    assert not issubclass(RuntimeError, _compile_errors(flash=True))


@pytest.mark.parametrize(("text", "free"), [
    ("mask m = k <= q", True), ("mask m(t: int[position]) = t[q] == t[k]", False), ("mask m(n: int[]) = k < n", True),
])  # fmt: skip
def test_sizes_in_the_text_for_flash_are_numbers_of_the_kernel(text: str, free: bool) -> None:
    """torch 2.11 cannot write a free size into CuteDSL; where the text has none, lengths stay free."""
    q = torch.zeros(1, 2, 256, 64, dtype=torch.bfloat16)
    program = maskdsl.compile(text)
    sizes = {"position": 256}
    bound = program.bind(**{t.name: torch.zeros([sizes.get(str(a), 1) for a in t.axes] or [1], dtype=torch.int32)
                            for t in program.variant.tables})  # fmt: skip
    lengths = check_call(q, q, q, bound.variant.span)
    mods, blocks, settled = bound.planned(lengths, (q, q, q), choice.Wish("flash", False, (128, 128)), H100)
    signature, *_ = flex.cuda_call(mods, (q, q, q), blocks, settled.block, settled.plan, gradients=False)
    assert signature.dynamic is free
    assert (q.shape in signature.static[-1]) is not free
