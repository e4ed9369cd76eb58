"""What a correctness run has found so far, in a file that is written after every job, so that another run can go on.

Not here: what is measured (`correctness`), the programs (`correctness_cases`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str, str, str]
"""A job: its program, its dtype, and its calls as a text."""


@dataclass(slots=True)
class Done:
    """What one job found: rows of numbers, calls that raised, calls whose sizes are not for the program."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Record:
    """The jobs that have ended, by key, in the JSON file at `path`; `about` describes the machine."""

    path: Path
    about: Mapping[str, Any]
    jobs: dict[Key, Done] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], resume: bool) -> Record:
        """The record at `path`: with `resume` that of earlier runs on such a machine, if there is one, else a new one.

        Raises SystemExit where the earlier run was on another kind of machine: their figures must not be mixed.
        """
        record = cls(path, about)
        if not resume or not path.exists():
            return record
        content = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name in ("gpu", "torch", "triton") if content.get(name) != about.get(name)]
        if other:
            raise SystemExit(f"{path} is of another machine ({', '.join(other)} differ): run without --resume")
        record.jobs = {(*job.pop("key"),): Done(**job) for job in content["jobs"]}
        return record

    def finished(self, key: Key) -> bool:
        """Whether a job has ended with nothing broken."""
        return key in self.jobs and not self.jobs[key].broken

    def add(self, key: Key, done: Done) -> None:
        """Note a job, and write the file."""
        self.jobs[key] = done
        self.save()

    def save(self, waiting: Iterable[Key] = ()) -> None:
        """Write the file; `waiting` are the jobs that were not done."""
        rows = [r for done in self.jobs.values() for r in done.rows]
        written = {
            **self.about, "comparisons": len(rows), "over": sum(not r["fine"] for r in rows),
            "broken": sum(len(done.broken) for done in self.jobs.values()), "waiting": [list(key) for key in waiting],
            "jobs": [{"key": list(key), **_plain(done)} for key, done in self.jobs.items()],
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self.path)


def _plain(done: Done) -> dict[str, Any]:
    return {"rows": done.rows, "broken": done.broken, "unfit": done.unfit, "seconds": round(done.seconds, 1)}
