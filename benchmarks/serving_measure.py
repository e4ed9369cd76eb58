"""The measurements of the serving benchmark: each is a job that gives rows of numbers, and says what broke.

GPU times are those of the launches alone, from CUDA graphs of several calls: `ms` of calls one after the other,
`cold_ms` with the L2 cache overwritten before each. `eager_ms` is from call to call without a graph, `host_us` what a
call keeps the host. Not here: batches (`serving_cases`), who computes them (`serving_subjects`).
"""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.correctness_record import Done
from benchmarks.serving_cases import Batch, Size, decode_lengths, make_batch, make_pool, relative_error
from benchmarks.serving_subjects import SUBJECTS, attention_for

ERROR = {"bfloat16": 8e-3, "float16": 2e-3, "float32": 2e-4}
"""The largest relative error: about four roundings of an output."""

FLUSH = 256 << 20
"""Bytes that are overwritten to leave nothing in the L2 cache."""


@dataclass(slots=True)
class Bench:
    """The device, the size, and pools that jobs share."""

    device: torch.device
    size: Size
    pools: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def pool(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Random keys and values of so many tokens."""
        if tokens not in self.pools:
            self.pools.clear()
            self.pools[tokens] = make_pool(self.size, tokens, self.device)
        return self.pools[tokens]

    @property
    def on_gpu(self) -> bool:
        """Whether there are GPU times."""
        return bool(self.device.type == "cuda")

    def decode_batch(self, kind: str, page: int) -> Batch:
        """One new token for every request."""
        size = self.size
        lengths = decode_lengths(kind, size)
        tokens = -(-max(size.longest, sum(-(-n // page) * page for n in lengths) // size.requests) // page) * page
        return make_batch(size, page, lengths, (1,) * size.requests, self.pool(tokens * size.requests))

    def prefill_batch(self, page: int) -> Batch:
        """New tokens on cached ones."""
        size = self.size
        length = size.new + size.cached
        pool = self.pool(size.prefills * -(-length // page) * page)
        return make_batch(size, page, (length,) * size.prefills, (size.new,) * size.prefills, pool)


# ---------------------------------------------------------------- clocks


def gpu_ms(run: Callable[[], object], before: Callable[[], object] | None = None) -> float:
    """Milliseconds of one call out of a graph of several; `before` is called before each, and its time taken off."""
    once = _elapsed(_graph([run]))
    calls = max(2, min(50, int(20 / max(once, 1e-3))))
    if before is None:
        return _median(_graph([run] * calls)) / calls
    both = _median(_graph([before, run] * calls)) - _median(_graph([before] * calls))
    return both / calls


def _graph(calls: list[Callable[[], object]]) -> torch.cuda.CUDAGraph:
    for call in dict.fromkeys(calls):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def _median(graph: torch.cuda.CUDAGraph) -> float:
    _elapsed(graph)
    return statistics.median(_elapsed(graph) for _ in range(7))


def _elapsed(graph: torch.cuda.CUDAGraph) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def eager_ms(run: Callable[[], object], calls: int = 20) -> float:
    """Milliseconds from call to call without a graph."""
    run()
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / calls


def host_us(run: Callable[[], object], calls: int = 50) -> float:
    """Microseconds that a call keeps the host, the least of five rounds, nothing being waited for within one."""
    run()
    rounds = []
    for _ in range(5):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            run()
        rounds.append((time.perf_counter() - start) / calls * 1e6)
    return min(rounds)


def cpu_ms(run: Callable[[], object]) -> float:
    """Milliseconds of a call on the CPU, the median of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def launches(run: Callable[[], object]) -> int:
    """How many kernels, copies and fills a call launches."""
    run()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        run()
        torch.cuda.synchronize()
    return sum(e.device_type == torch.autograd.DeviceType.CUDA for e in profile.events())


# ---------------------------------------------------------------- jobs


def measure_copy(bench: Bench, done: Done) -> None:
    """What copies on the device reach, bytes read and written together: the best of a copy and of a kernel that writes
    what it reads, each timed three times after a second of them.
    """
    count = bench.size.requests * bench.size.longest * bench.size.key_bytes // 2
    source, target = (torch.zeros(count // 8, dtype=torch.int64, device=bench.device) for _ in range(2))
    calls = {"copy": lambda: target.copy_(source), "kernel": lambda: torch.bitwise_not(source, out=target)}
    times = {}
    for name, call in calls.items():
        if bench.on_gpu:
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                eager_ms(call)
        times[name] = min((eager_ms if bench.on_gpu else cpu_ms)(call) for _ in range(3))
    ms = min(times.values())
    rates = {f"{name}_tb_s": 2 * count / t / 1e9 for name, t in times.items()}
    done.rows.append({"who": "copy", "ms": ms, "tb_s": 2 * count / ms / 1e9, "fine": True, **rates})


def measure_decode(bench: Bench, done: Done, kind: str, page: int) -> None:
    """All subjects on decoding requests."""
    _measure_batch(bench, done, bench.decode_batch(kind, page), "tb_s")


def measure_prefill(bench: Bench, done: Done, page: int) -> None:
    """All subjects on new tokens over cached ones."""
    _measure_batch(bench, done, bench.prefill_batch(page), "tflops")


def _measure_batch(bench: Bench, done: Done, batch: Batch, rate: str) -> None:
    """Right first, then fast: a row for every subject."""
    work = batch.bytes / 1e9 if rate == "tb_s" else 4 * batch.pairs * batch.size.heads * batch.size.dim / 1e9
    for who, make in SUBJECTS.items():
        with attempt(done, who):
            run = make(batch)
            error = relative_error(batch, run())
            row: dict[str, Any] = {"who": who, "error": error, "fine": error <= ERROR[batch.size.dtype]}
            done.rows.append(row)
            row |= _times(bench, run)
            row[rate] = work / row["ms"]
        if bench.on_gpu:
            torch.cuda.empty_cache()


def _times(bench: Bench, run: Callable[[], object]) -> dict[str, float]:
    with torch.no_grad():
        if not bench.on_gpu:
            return {"ms": cpu_ms(run)}
        trash = torch.empty(FLUSH, dtype=torch.uint8, device=bench.device)
        return {"ms": gpu_ms(run), "cold_ms": gpu_ms(run, trash.zero_), "eager_ms": eager_ms(run)}


def measure_plans(bench: Bench, done: Done, page: int) -> None:
    """Plans of many decoding requests and of prefill: GPU time, launches, and that the host waits for nothing."""
    size = bench.size
    many = make_batch_of_shared_pages(bench, page)
    for who, batch in ((f"decode {size.planned}x{size.longest}", many), ("prefill", bench.prefill_batch(page))):
        with attempt(done, who):
            attention = attention_for(batch)

            def plan(attention: Any = attention, batch: Batch = batch) -> None:
                attention.plan(batch.table, batch.seq_lens, batch.query_start, **batch.told)

            plan()
            row: dict[str, Any] = {"who": f"plan, {who}", "fine": True, "host_us": host_us(plan)}
            done.rows.append(row)
            if bench.on_gpu:
                torch.cuda.synchronize()
                torch.cuda.set_sync_debug_mode("error")
                try:
                    plan()
                finally:
                    torch.cuda.set_sync_debug_mode("default")
                row["ms"] = gpu_ms(plan)
                row["launches"] = launches(plan)
            else:
                row["ms"] = cpu_ms(plan)


def make_batch_of_shared_pages(bench: Bench, page: int) -> Batch:
    """More requests than the pool would hold if they did not share: those behind a quarter of them begin as they do."""
    size, own = bench.size, max(1, bench.size.planned // 4)
    pool = bench.pool(own * -(-size.longest // page) * page)
    few = make_batch(size, page, (size.longest,) * own, (1,) * own, pool)
    table = few.table.repeat(-(-size.planned // own), 1)[: size.planned].contiguous()
    starts = torch.arange(size.planned + 1, dtype=torch.int32, device=bench.device)
    return Batch(
        size, page, (size.longest,) * size.planned, (1,) * size.planned, table,
        torch.full_like(starts[1:], size.longest), starts, few.q, few.k_cache, few.v_cache,
    )  # fmt: skip


def measure_host(bench: Bench, done: Done, page: int) -> None:
    """What a step of short requests keeps the host: plan, append, run, each for itself."""
    size = bench.size
    pool = bench.pool(size.requests * max(64, page))
    batch = make_batch(size, page, (64,) * size.requests, (1,) * size.requests, pool)
    with attempt(done, "host"):
        attention = attention_for(batch)
        new = torch.zeros(size.requests, size.kv_heads, size.dim, dtype=batch.q.dtype, device=batch.q.device)
        caches = batch.k_cache, batch.v_cache
        calls = {
            "plan": lambda: attention.plan(batch.table, batch.seq_lens, batch.query_start, **batch.told),
            "plan, nothing told": lambda: attention.plan(batch.table, batch.seq_lens, batch.query_start),
            "append": lambda: attention.append(new, new, *caches),
            "run": lambda: attention.run(batch.q, *caches),
        }
        for who, call in calls.items():
            done.rows.append({"who": who, "host_us": host_us(call), "fine": True})


class attempt:
    """Notes what goes wrong inside, and goes on behind it; a GPU that is lost ends the process."""

    def __init__(self, done: Done, who: str) -> None:
        self.done, self.who = done, who

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
        """Whether the problem is dealt with."""
        if not isinstance(problem, Exception):
            return False
        where = traceback.extract_tb(problem.__traceback__)[-1]
        told = " ".join(str(problem).split())[:500]
        self.done.broken.append(f"{self.who}: {type(problem).__name__} in {where.name}: {told}")
        return True
