"""What a build takes: seconds on the GPU, on the host and from call to finish, bytes at its highest point."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Build = Callable[[], Any]

NOT_WORK = ("Torch-Compiled Region", "## Call")
"""What a profile names beside the work of a GPU: spans of the program."""


def once(build: Build, cuda: bool) -> float:
    """Seconds from call to finish."""
    start = time.perf_counter()
    build()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def finish_seconds(build: Build, cuda: bool, repeats: int = 7) -> float:
    """Seconds from call to finish, median, after one call to warm up."""
    once(build, cuda)
    return statistics.median(once(build, cuda) for _ in range(repeats))


def graph_seconds(build: Build, builds: int) -> float:
    """Seconds on the GPU of one build, with the pauses between its launches: of a CUDA graph of several, divided."""
    build()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(builds):
            build()
    times = []
    for _ in range(7):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / builds / 1e3)
    return statistics.median(times)


def kernel_seconds(build: Build, builds: int = 5) -> float | None:
    """Seconds on the GPU of one build, without the pauses between its launches; None where no profile can be had."""
    build()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(builds):
            build()
        torch.cuda.synchronize()
    work = (e for e in _events(profile) if "CUDA" in str(e.device_type()) and not e.name().startswith(NOT_WORK))
    total = sum(e.duration_ns() for e in work)
    return total / builds / 1e9 if total else None


def host_seconds(build: Build, builds: int) -> float:
    """Seconds that one call keeps the host, mean over calls without waiting in between, best of five."""
    build()
    found = []
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(builds):
            build()
        found.append((time.perf_counter() - start) / builds)
    torch.cuda.synchronize()
    return min(found)


def peak_bytes(build: Build, device: torch.device) -> int:
    """Bytes allocated on the device at the highest point of one build, above those before it."""
    if device.type != "cuda":
        return _peak_on_cpu(build)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    build()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _peak_on_cpu(build: Build) -> int:
    """The same on the CPU, where torch's profiler counts: tensors alone."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = build()
    events = [e for e in _events(profile) if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    del kept
    return most


def _events(profile: Any) -> list[Any]:
    return list(profile.profiler.kineto_results.events())
