"""What `maskdsl compile` prints of a kernel: the picture, its error and times, or its registers and memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskdsl.cli.measure import Measured, Offline, Shape
from maskdsl.cli.outcome import can_draw
from maskdsl.cli.trial import Trial

PICTURE_COLUMNS, PLAIN_COLUMNS = 64, 32
"""How wide the picture in the terminal is, with blocks and with letters."""


def print_report(trial: Trial, found: Measured | Offline, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Print the definition's picture and what was found."""
    from maskdsl.cli.show import describe, drawing, mask_rows
    from maskdsl.cli.view import MOST_TOKENS, view

    longest = max(trial.q_len, trial.kv_len)
    whole = view(trial, step=-(-longest // MOST_TOKENS))
    shown = view(trial, step=-(-longest // (PICTURE_COLUMNS if can_draw() else PLAIN_COLUMNS)))
    print("\n".join(describe(trial, whole, shown.step)), end="\n\n")
    for row in mask_rows(shown, plain=not can_draw()) if shown.has_mask else drawing(shown, plain=not can_draw()):
        print(f"  {row}".rstrip())
    print()
    for name, text in _results(found, folder, manifest):
        print(f"{name:8}{text}")
    if manifest["kernels"]:
        print()
        print("\n".join(kernel_rows(manifest["kernels"])))


def kernel_rows(kernels: list[dict[str, Any]]) -> list[str]:
    """A table of what kernels need of a GPU, a line each, the widest numbers deciding its columns."""
    head = ("form", "kernel", "registers", "spilled", "shared", "warps")
    names = ("form", "name", "registers", "spilled_bytes", "shared_bytes", "warps")
    rows = [head, *(tuple(f"{k[n]:,}" if isinstance(k[n], int) else str(k[n]) for n in names) for k in kernels)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _results(found: Measured | Offline, folder: Path, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was compiled and run, how wrong and how quick it was, and what was written."""
    told = [("kernel", f"{found.device} {found.dtype}: {_spelt(found.shape)}")]
    if isinstance(found, Measured):
        told += _measured(found, manifest)
    elif manifest["artifact"]["free"]:
        told.append(("free", ", ".join(manifest["artifact"]["free"])))
    parts = (f.partition("/") for f in manifest["files"])
    written = dict.fromkeys(f"{part}/" if rest else part for part, _, rest in parts)
    return [*told, ("wrote", f"{folder}/: {' '.join(written)}")]


def _measured(found: Measured, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    s = found.shape
    rows = "all" if found.rows == s.q_len else f"{found.rows:,} of the {s.q_len:,}"
    errors = f"{found.absolute_error:.2g}, or {found.relative_error:.2g} of the largest output"
    told = [
        ("error", f"{errors}, against the float64 reference on {rows} queries"),
        ("time", f"{spelt_time(found.call)} a call; the first, with compilation, {spelt_time(found.first_call)}"),
    ]
    start = manifest["seconds"].get("start")
    opened = f"{spelt_time(start)} from `import torch` to the first output of a new process" if start else ""
    return [*told, ("opened", opened)] if opened else told


def _spelt(s: Shape) -> str:
    heads = f"{s.batch} × {s.heads} heads on {s.kv_heads} key/value heads of {s.head_dim}"
    return f"{heads}, {s.q_len:,} queries, {s.kv_len:,} keys"


def spelt_time(seconds: float) -> str:
    """Such as `3.2 s`, `41 ms` or `17 µs`."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1 or unit == "µs":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError(seconds)
