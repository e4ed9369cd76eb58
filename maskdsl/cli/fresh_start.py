"""How long a new process takes from `import torch` to the first output of an artifact.

Not here: the artifact (`artifact`), the same for many definitions and beside a compilation (`benchmarks/artifacts.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskdsl.cli.measure import Measured, Shape
from maskdsl.cli.trial import Trial

PROGRAM = """
import json, sys, time
import torch
begun, used = time.perf_counter(), time.process_time()
import maskdsl
import numpy as np
folder, tables, call = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
opened = maskdsl.open(folder)
device, dtype = call["device"], getattr(torch, call["dtype"])
query = [call[n] for n in ("batch", "heads", "q_len", "head_dim")]
key = [call[n] for n in ("batch", "kv_heads", "kv_len", "head_dim")]
q, k, v = (torch.zeros(s, dtype=dtype, device=device) for s in (query, key, key))
given = {n: torch.from_numpy(x).to(device) for n, x in np.load(tables).items()}
bound = opened.bind(**given, **({"sizes": call["sizes"]} if call["sizes"] else {}))
out = bound.attention(q, k, v)
out.flatten()[:1].cpu()
print(json.dumps([time.perf_counter() - begun, time.process_time() - used]))
"""


class Start(NamedTuple):
    """Seconds from `import torch` to the first output: those that passed, and those that the processor worked."""

    seconds: float
    worked: float


def time_start(folder: Path, trial: Trial, found: Measured) -> Start | None:
    """How long a process that opens the folder takes to an output that is there; None if it fails."""
    tables = {t.name: x for t, x in trial.tables.items()}
    return seconds_to_start(folder, tables, found.shape, found.dtype, found.device)


def start_told(start: Start | None) -> dict[str, float | None]:
    """What a manifest says of a start, of which there is none where the new process failed."""
    return {"start": start.seconds, "start_worked": start.worked} if start else {"start": None, "start_worked": None}


def seconds_to_start(
    folder: Path, tables: dict[str, Any], shape: Shape, dtype: str, device: str,
    environment: dict[str, str] | None = None,
) -> Start | None:  # fmt: skip
    """The same for tables and a call of this shape, in an environment that may differ from this process's."""
    call = {**asdict(shape), "dtype": dtype, "device": device, "sizes": {}}
    with tempfile.TemporaryDirectory() as place:
        np.savez(Path(place) / "tables.npz", **tables)
        words = [sys.executable, "-c", PROGRAM, str(folder), f"{place}/tables.npz", json.dumps(call)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
    return Start(*json.loads(done.stdout)) if done.returncode == 0 else None
