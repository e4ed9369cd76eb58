"""Trying a few ways to run a call once, and remembering the fastest on disk.

`$XDG_CACHE_HOME/maskdsl/tuned` (by default `~/.cache/maskdsl/tuned`) has a JSON file for every key. Not here: what is
tried (`kernel_options`), running a call (`flex`).
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from maskdsl.backends.kernel_options import Candidate
from maskdsl.source.diagnostic import MaskError
from maskdsl.syntax.grammar import cache_dir

CALLS = 7
"""How often each candidate is timed after a first call that compiles it; the median counts."""

MARGIN = 0.02
"""By how much a candidate must be faster than the one before it to be taken: noise is not remembered."""

Key = tuple[Any, ...]

_known: dict[str, Candidate] = {}


def tuned(key: Key, candidates: Sequence[Candidate], run: Callable[[Candidate], object]) -> Candidate:
    """The fastest candidate for a key, from memory or disk, else by timing each; one that cannot run is left out.

    `run` runs a call to its end. Raises MaskError where no candidate can run.
    """
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
    found = _known.get(name) or _read(_file(name), candidates)
    if found is None:
        times = _times(candidates, run)
        found = _fastest(times)
        _write(_file(name), key, found, times)
    _known[name] = found
    return found


def time_call(run: Callable[[], object]) -> float:
    """The median time of a call in seconds, after one that is not timed."""
    run()
    found: list[float] = []
    for _ in range(CALLS):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def length_class(length: int) -> int:
    """Lengths that are tuned together: up to the same power of two."""
    return 1 << max(0, length - 1).bit_length()


def _times(candidates: Sequence[Candidate], run: Callable[[Candidate], object]) -> dict[Candidate, float]:
    times: dict[Candidate, float] = {}
    problem: MaskError | None = None
    for candidate in candidates:
        try:
            times[candidate] = time_call(lambda c=candidate: run(c))  # type: ignore[misc]
        except MaskError as error:
            problem = problem or error
    if not times and problem is not None:
        raise problem
    return times


def _fastest(times: dict[Candidate, float]) -> Candidate:
    best, *others = times
    for candidate in others:
        if times[candidate] < times[best] * (1 - MARGIN):
            best = candidate
    return best


def _file(name: str) -> Path:
    return cache_dir() / "tuned" / f"{name}.json"


def _read(file: Path, candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate that a file names; None where there is no file, or it names none of these."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))["fastest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return next((c for c in candidates if c.told == told), None)


def _write(file: Path, key: Key, fastest: Candidate, times: dict[Candidate, float]) -> None:
    """Beside first, then renamed, so that nobody reads half a file; a folder that forbids it costs the memory alone."""
    content = {
        "key": [str(part) for part in key],
        "fastest": fastest.told,
        "milliseconds": {c.told: round(t * 1e3, 6) for c, t in times.items()},
    }
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(beside, file)
    except OSError:
        return
