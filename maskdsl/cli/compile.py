"""`maskdsl compile`: a definition as a compiled kernel, tried once against the reference, and written to a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskdsl.cli.outcome import Exit, can_draw, fault_of_kernel, print_diagnostics, print_json
from maskdsl.cli.target import find_target, parse_settings

if TYPE_CHECKING:
    from maskdsl.cli.measure import Measured, Shape
    from maskdsl.cli.trial import Trial

PICTURE_COLUMNS, PLAIN_COLUMNS = 64, 32
"""How wide the picture in the terminal is, with blocks and with letters."""


class Device(StrEnum):
    """Where the kernel runs."""

    CPU = "cpu"
    CUDA = "cuda"


class Dtype(StrEnum):
    """The type of query, key and value."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def run(
    what: Annotated[str, typer.Argument(metavar="FILE[:NAME]|NAME", help="A file, or a registered name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write into.")],
    set: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value.")] = None,
    device: Annotated[Device, typer.Option(help="Where the kernel runs.")] = Device.CPU,
    dtype: Annotated[Dtype, typer.Option(help="The type of query, key and value.")] = Dtype.FLOAT32,
    batch: Annotated[int, typer.Option(min=1, help="Batch rows.")] = 1,
    heads: Annotated[int, typer.Option(min=1, help="Query heads.")] = 4,
    kv_heads: Annotated[int | None, typer.Option(min=1, help="Key/value heads; as many as query heads.")] = None,
    head_dim: Annotated[int, typer.Option(min=1, help="The length of a head's vectors.")] = 64,
    q_len: Annotated[int, typer.Option(min=1, help="Queries.")] = 128,
    kv_len: Annotated[int | None, typer.Option(min=1, help="Keys; as many as queries.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Compile a kernel, try it, and write it to a folder."""
    from maskdsl.cli.artifact import make_folder, write_artifact
    from maskdsl.cli.measure import Shape, measure, require
    from maskdsl.cli.steps import Steps

    shape = Shape(batch, heads, kv_heads or heads, head_dim, q_len, kv_len or q_len)
    if shape.heads % shape.kv_heads:
        raise typer.BadParameter(f"{heads} query heads cannot share {shape.kv_heads} evenly", param_hint="--kv-heads")
    steps = Steps(quiet=json)
    with steps:
        steps.begin("checking")
        trial = _make_trial(what, set or [], shape)
        make_folder(output)
        steps.begin("loading torch")
        require(device.value)
        measured = measure(trial, shape, dtype.value, device.value, steps.begin, output)
        steps.begin("writing")
        manifest = write_artifact(output, trial, measured)
    files = [str(f) for f in manifest["files"]]
    if json:
        print_json(manifest)
    else:
        _print_report(trial, measured, output, files)
    if not measured.is_right:
        print_diagnostics([fault_of_kernel(measured.relative_error, measured.tolerance)])
        raise typer.Exit(Exit.FAULT)


def _make_trial(what: str, settings: list[str], shape: Shape) -> Trial:
    """The definition with what was set, its defaults and random tables, at the sizes of the call."""
    from maskdsl.cli.trial import Wish, checked_definition, make_trial
    from maskdsl.library.registry import shared

    target = find_target(what, shared())
    module, variant = checked_definition(target.source, target.name, shared())
    lengths = (shape.q_len, shape.kv_len)
    wish = Wish(parse_settings(settings), lengths, shape.batch, shape.heads, shape.kv_heads, examples=False)
    return make_trial(module, variant, wish)


def _print_report(trial: Trial, measured: Measured, folder: Path, files: list[str]) -> None:
    from maskdsl.cli.show import describe, drawing, mask_rows
    from maskdsl.cli.view import MOST_TOKENS, view

    longest = max(trial.q_len, trial.kv_len)
    whole = view(trial, step=-(-longest // MOST_TOKENS))
    shown = view(trial, step=-(-longest // (PICTURE_COLUMNS if can_draw() else PLAIN_COLUMNS)))
    print("\n".join(describe(trial, whole, shown.step)), end="\n\n")
    for row in mask_rows(shown, plain=not can_draw()) if shown.has_mask else drawing(shown, plain=not can_draw()):
        print(f"  {row}".rstrip())
    print()
    for name, text in _results(measured, folder, files):
        print(f"{name:8}{text}")


def _results(measured: Measured, folder: Path, files: list[str]) -> list[tuple[str, str]]:
    """What was run, how wrong and how quick it was, and what was written."""
    s = measured.shape
    rows = "all" if measured.rows == s.q_len else f"{measured.rows:,} of the {s.q_len:,}"
    heads = f"{s.batch} × {s.heads} heads on {s.kv_heads} key/value heads of {s.head_dim}"
    errors = f"{measured.absolute_error:.2g}, or {measured.relative_error:.2g} of the largest output"
    return [
        ("kernel", f"{measured.device} {measured.dtype}: {heads}, {s.q_len:,} queries, {s.kv_len:,} keys"),
        ("error", f"{errors}, against the float64 reference on {rows} queries"),
        ("time", f"{_time(measured.call)} a call; the first, with compilation, {_time(measured.first_call)}"),
        ("wrote", f"{folder}/: {' '.join(files)}"),
    ]


def _time(seconds: float) -> str:
    """Such as `3.2 s`, `41 ms` or `17 µs`."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1 or unit == "µs":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError(seconds)
