"""One pattern at one size, in a process of its own: compiles all implementations, holds them against the reference,
then waits for its turn to be timed, so that nothing else uses the GPU meanwhile.

Talks to `kernels` by lines of JSON: a request comes in, `{"ready": …}` goes out, an empty line comes in, and the rows
go out. Not here: which sizes there are, and the tables that are printed.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor

import maskdsl
from benchmarks import kernels_reference as reference
from benchmarks.kernels_batch import KERNELS
from benchmarks.kernels_cases import BY_NAME, ByHand, Pattern, Size, flops, on, qkv, visible_pairs
from maskdsl.source.diagnostic import MaskError

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

REPEATS = (12, 40)
"""The fewest and the most timings of one implementation."""

BUDGET = 1.0
"""Seconds of timing that one pass of all implementations may take, where `REPEATS` allows."""

BREATH = 3_000_000
"""Cycles for which the GPU waits before a timed call, so that the host has given it all of the call's kernels."""


@dataclass
class Subject:
    """An implementation that runs, its errors, and its times in milliseconds."""

    name: str
    attend: Attend
    backward: bool
    errors: dict[str, float] = field(default_factory=dict)
    fine: bool = True
    compile_s: float = 0.0
    times: dict[str, list[float]] = field(default_factory=dict)
    host: list[float] = field(default_factory=list)


@dataclass
class Job:
    """What is compiled and timed, and the texts of what did not run."""

    pattern: Pattern
    size: Size
    device: torch.device
    backward: bool
    tables: dict[str, Tensor]
    hand: ByHand
    inputs: tuple[Tensor, Tensor, Tensor, Tensor]
    tune: bool = False
    kernels: tuple[str, ...] = KERNELS
    subjects: list[Subject] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    auto: dict[str, str] = field(default_factory=dict)

    def failed(self, name: str, problem: Exception) -> None:
        """Notes what did not run: ours is broken, unless it was refused; others are absent."""
        refused = isinstance(problem, MaskError) and problem.diagnostics[0].code == "E0703"
        told = f"{name}: {type(problem).__name__}: {' '.join(str(problem).split())[:600]}"
        (self.broken if name.startswith("ours") and not refused else self.absent).append(told)


def main() -> None:
    """Serve one request."""
    warnings.simplefilter("ignore")
    job = _job(json.loads(sys.stdin.readline()))
    _compile_all(job)
    _tell({"ready": len(job.subjects)})
    sys.stdin.readline()
    _time_all(job, backward=False)
    if job.backward:
        _time_all(job, backward=True)
    _tell({"rows": _rows(job), "broken": job.broken, "absent": job.absent})


def _tell(message: dict[str, Any]) -> None:
    print(f"@{json.dumps(message)}", flush=True)


def _job(asked: dict[str, Any]) -> Job:
    pattern, size, device = BY_NAME[asked["pattern"]], Size(**asked["size"]), torch.device(asked["device"])
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    tables = on(pattern.tables(size), device)
    hand = pattern.by_hand(tables, size)
    inputs = qkv(size, dtype, device)
    known = {name: asked[name] for name in ("tune", "kernels") if name in asked}
    return Job(pattern, size, device, device.type == "cuda", tables, hand, inputs, **known)


# ---------------------------------------------------------------- implementations


def _compile_all(job: Job) -> None:
    """Makes and checks every implementation; what fails is noted, and the others go on."""
    rows = reference.sampled_rows(job.size.length, job.device)
    right = reference.expected(job.hand, job.size, job.inputs, rows, job.backward)
    for name, make in _makers(job).items():
        if job.device.type == "cuda" and not any(kernel in name for kernel in job.kernels):
            continue
        started = time.perf_counter()
        try:
            subject = Subject(name, make(), job.backward)
            _check(job, subject, right)
        except Exception as problem:  # whatever it is, the others must go on
            job.failed(name, problem)
            continue
        subject.compile_s = time.perf_counter() - started
        job.subjects.append(subject)
    _compare_fast_forms(job)


def _compare_fast_forms(job: Job) -> None:
    """What the GPU's fast forms add to the error is limited, whatever the error is."""
    known = {subject.name: subject for subject in job.subjects}
    for kernel in ("triton", "flash"):
        fast, precise = known.get(f"ours {kernel}"), known.get(f"ours {kernel} precise")
        if fast is not None and precise is not None:
            fast.fine &= fast.errors["out"] <= precise.errors["out"] + reference.APPROXIMATE


def _makers(job: Job) -> dict[str, Callable[[], Attend]]:
    """The implementations by name, in the order in which they are printed."""
    bound = maskdsl.compile(job.pattern.text).bind(**job.tables)
    if job.device.type == "cpu":
        return {"ours": lambda: bound.attention, "by hand": lambda: _by_hand(job, None)}
    from maskdsl.backends.kernel_choice import flash_is_here

    def ours(**how: Any) -> Callable[[], Attend]:
        return lambda: lambda q, k, v: bound.attention(q, k, v, **how)

    found = {"ours triton": ours(backend="triton"), "by hand triton": lambda: _by_hand(job, "TRITON")}
    if job.pattern.approximates:
        found["ours triton precise"] = ours(backend="triton", precise=True)
    if job.tune:
        found["ours triton tuned"] = ours(backend="triton", tune=True)
    if flash_is_here():
        found |= {"ours flash": ours(backend="flash"), "by hand flash": lambda: _by_hand(job, "FLASH")}
        if job.pattern.approximates:
            found["ours flash precise"] = ours(backend="flash", precise=True)
    else:
        job.absent.append("flash: `flash_attn.cute` cannot be imported")
    if job.pattern.sdpa:
        found |= {"sdpa cudnn": lambda: _sdpa("CUDNN_ATTENTION"), "sdpa flash": lambda: _sdpa("FLASH_ATTENTION")}
        found["ours triton, second length"] = lambda: _second_length(job, "triton")
        if flash_is_here():
            found["ours flash, second length"] = lambda: _second_length(job, "flash")
    job.auto = {what: _auto(bound, job, what == "backward") for what in ("forward", "backward")}
    return found


def _second_length(job: Job, backend: str) -> Attend:
    """Ours after a call of another length: its lengths are free then."""
    bound = maskdsl.compile(job.pattern.text).bind(**job.tables)
    for gradients in (False, True):
        q, k, v = (x[:, :, :-128].detach().contiguous().requires_grad_(gradients) for x in job.inputs[:3])
        bound.attention(q, k, v, backend=backend)
    return lambda q, k, v: bound.attention(q, k, v, backend=backend)


def _auto(bound: Any, job: Job, gradients: bool) -> str:
    """The kernel that `backend="auto"` takes."""
    from maskdsl.binding.choice import Wish, machine_of
    from maskdsl.binding.shapes import check_call

    q, k, v = (x.detach().requires_grad_(gradients) for x in job.inputs[:3])
    lengths = check_call(q, k, v, bound.variant.span)
    *_, settled = bound.planned(lengths, (q, k, v), Wish("auto", False, (128, 128)), machine_of(q.device))
    return str(settled.choice.kernel)


def _by_hand(job: Job, backend: str | None) -> Attend:
    """`flex_attention` compiled as its examples do, over a BlockMask of every pair, made beforehand."""
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention

    hand, size, device = job.hand, job.size, job.device
    batch = size.batch if any(table.dim() and table.shape[0] == size.batch > 1 for table in job.tables.values()) else 1
    mask = maskdsl.block_mask(hand.mask_mod, batch, None, size.length, size.length, device=device)
    options: Any = {"BACKEND": backend} if backend else None

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if hand.sink is None:
            return flex_attention(q, k, v, hand.score_mod, mask, enable_gqa=True, kernel_options=options)
        out, aux = flex_attention(
            q, k, v, hand.score_mod, mask, enable_gqa=True, kernel_options=options, return_aux=AuxRequest(lse=True)
        )
        return (out * torch.sigmoid(aux.lse - hand.sink[:, None])[..., None]).to(out.dtype)

    return torch.compile(attend, fullgraph=True, dynamic=False)


def _sdpa(name: str) -> Attend:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(getattr(SDPBackend, name)):
            return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    return attend


# ---------------------------------------------------------------- errors


def _check(job: Job, subject: Subject, right: reference.Expected) -> None:
    """Runs an implementation once each way and notes its errors; without a backward pass it has only a forward one."""
    limits = reference.LIMITS[str(job.inputs[0].dtype)[6:]]
    with torch.no_grad():
        out = subject.attend(*job.inputs[:3])
    subject.errors["out"] = reference.relative_error(out[:, :, right.rows], right.out)
    subject.fine = subject.errors["out"] <= limits["out"]
    if right.grads is None:
        return
    try:
        found = _gradients(job, subject, reference.only_rows(job.inputs[3], right.rows))
    except Exception as problem:  # the forward pass is timed all the same
        job.failed(f"{subject.name}, backward", problem)
        subject.backward = False
        return
    found = (found[0][:, :, right.rows], *found[1:])
    for what, mine, theirs in zip(("dq", "dk", "dv"), found, right.grads, strict=True):
        subject.errors[what] = reference.relative_error(mine, theirs)
    subject.fine &= max(subject.errors[what] for what in ("dq", "dk", "dv")) <= limits["gradient"]


def _gradients(job: Job, subject: Subject, grad: Tensor) -> tuple[Tensor, ...]:
    wanted = [x.detach().requires_grad_() for x in job.inputs[:3]]
    return torch.autograd.grad(subject.attend(*wanted), wanted, grad)


# ---------------------------------------------------------------- times


def _time_all(job: Job, backward: bool) -> None:
    """Times the implementations in turns, so that a GPU that slows down slows all of them down.

    The order changes: what is timed after a call that heats the GPU finds lower clocks.
    """
    what = "backward" if backward else "forward"
    subjects = [s for s in job.subjects if s.backward or not backward]
    once = _once_backward if backward else _once_forward
    first = sum(once(job, s) for s in subjects) / 1e3
    repeats = min(REPEATS[1], max(REPEATS[0], int(BUDGET / max(first, 1e-6))))
    order = random.Random(0)
    for _ in range(repeats):
        for subject in order.sample(subjects, len(subjects)):
            subject.times.setdefault(what, []).append(once(job, subject))


def _once_forward(job: Job, subject: Subject) -> float:
    with torch.no_grad():
        return _milliseconds(job, subject, lambda: subject.attend(*job.inputs[:3]), keeps_host=True)


def _once_backward(job: Job, subject: Subject) -> float:
    wanted = [x.detach().requires_grad_() for x in job.inputs[:3]]
    out = subject.attend(*wanted)
    return _milliseconds(job, subject, lambda: torch.autograd.grad(out, wanted, job.inputs[3]))


def _milliseconds(job: Job, subject: Subject, run: Callable[[], object], keeps_host: bool = False) -> float:
    """The time of one call with a cold L2 cache; on a GPU that of its kernels, however long the host takes."""
    if job.device.type == "cpu":
        started = time.perf_counter()
        run()
        return (time.perf_counter() - started) * 1e3
    torch.empty(64 << 20, dtype=torch.int32, device=job.device).zero_()
    torch.cuda._sleep(BREATH)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    started = time.perf_counter()
    run()
    if keeps_host:
        subject.host.append((time.perf_counter() - started) * 1e6)
    end.record()
    torch.cuda.synchronize(job.device)
    return start.elapsed_time(end)


def _rows(job: Job) -> list[dict[str, Any]]:
    """One row for every implementation and pass."""
    pairs = visible_pairs(job.hand, job.size, job.device)
    rows = []
    for subject in job.subjects:
        for what, times in subject.times.items():
            ms = statistics.median(times)
            rows.append({
                "pattern": job.pattern.name, **asdict(job.size), "implementation": subject.name, "pass": what,
                "ms": ms, "fastest_ms": min(times), "timings": len(times),
                "tflops": flops(pairs, job.size, what == "backward") / ms / 1e9,
                "host_us": statistics.median(subject.host) if subject.host and what == "forward" else None,
                "compile_s": round(subject.compile_s, 1), "errors": subject.errors, "fine": subject.fine,
                "auto": job.auto.get(what, ""),
            })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
