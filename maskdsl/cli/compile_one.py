"""One definition compiled into a folder: for the machine at hand, or for a GPU that is not here.

Not here: compiling and measuring (`measure`), what is written (`artifact`) and printed (`compile_report`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from maskdsl.binding.artifact import CallShape, write_manifest
from maskdsl.binding.staged import staged
from maskdsl.cli.artifact import write_artifact
from maskdsl.cli.compile_report import print_report
from maskdsl.cli.fresh_start import start_told, time_start
from maskdsl.cli.measure import Measured, Offline, Shape, measure, require
from maskdsl.cli.outcome import Exit, fault_of_kernel, print_diagnostics, print_json
from maskdsl.cli.steps import Steps
from maskdsl.cli.target import find_target, parse_settings
from maskdsl.cli.trial import Trial, Wish, checked_definition, make_trial
from maskdsl.library.registry import shared
from maskdsl.library.sample_styles import cast
from maskdsl.source.diagnostic import MaskError

if TYPE_CHECKING:
    from maskdsl.backends.launch_plan import KernelPlan


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compiled: the words of `--set`, `cpu`, `cuda` or a target's name, a dtype and the sizes of a call.

    With `examples`, what is not set comes from the definition's example; `backward` asks for those kernels as well.
    """

    settings: tuple[str, ...]
    device: str
    dtype: str
    shape: Shape
    examples: bool = False
    backward: bool = False


def compile_one(what: str, folder: Path, wanted: Wanted, json: bool) -> None:
    """Compile a definition, try it, and write it. Raises MaskError, and Exit for a kernel that is wrong."""
    steps = Steps(quiet=json)
    with steps:
        steps.begin("checking")
        trial = trial_of(what, wanted)
        wanted = replace(wanted, shape=_shape(trial, wanted.shape))
        compiled = _measured if wanted.device in ("cpu", "cuda") else _offline
        with staged(folder) as made:
            found = compiled(trial, wanted, made, steps)
            steps.begin("writing")
            manifest = write_artifact(made, trial, found)
            write_manifest(made, manifest)
            if isinstance(found, Measured) and manifest["artifact"]:
                steps.begin("opening it in a new process")
                manifest["seconds"] |= start_told(time_start(made, trial, found))
                write_manifest(made, manifest)
    if json:
        print_json(manifest)
    else:
        print_report(trial, found, folder, manifest)
    if isinstance(found, Measured) and not found.is_right:
        print_diagnostics([fault_of_kernel(found.relative_error, found.tolerance)])
        raise typer.Exit(Exit.FAULT)


def _shape(trial: Trial, wanted: Shape) -> Shape:
    """The sizes of the call, which an example's tables may have changed."""
    sizes = trial.sizes
    return Shape(
        sizes["batch"], sizes["head"], sizes["kv_head"], wanted.head_dim, trial.q_len, trial.kv_len
    )


def trial_of(what: str, wanted: Wanted) -> Trial:
    """The definition with what was set, its defaults and random tables, at the sizes of the call.

    With examples allowed, arguments that are neither set nor have a default are an example's, and so are the lengths
    and heads where the definition is for no others. Raises MaskError as `make_trial` does.
    """
    target = find_target(what, shared())
    module, variant = checked_definition(target.source, target.name, shared())
    shape = wanted.shape
    lengths = (shape.q_len, shape.kv_len)
    wish = Wish(parse_settings(wanted.settings), lengths, shape.batch, shape.heads, shape.kv_heads, examples=False)
    shown = replace(wish, examples=True)
    other = replace(shown, lengths=None)
    ways = (wish, shown, replace(shown, kv_heads=None), other, replace(other, kv_heads=None))
    for way in ways if wanted.examples else ():
        with suppress(MaskError):
            return _typed(make_trial(module, variant, way))
    return _typed(make_trial(module, variant, shown if wanted.examples else wish))


def _typed(trial: Trial) -> Trial:
    """The trial with tables as kernels take them; an example's numbers are the reference's float64."""
    return replace(trial, tables={t: cast(array, t.type) for t, array in trial.tables.items()})


def _measured(trial: Trial, wanted: Wanted, folder: Path, steps: Steps) -> Measured | Offline:
    """The definition compiled for this machine, and run. Raises MaskError E0701 without a GPU that is asked for."""
    steps.begin("loading torch")
    require(wanted.device)
    return measure(trial, wanted.shape, wanted.dtype, wanted.device, steps.begin, folder)


def _offline(trial: Trial, wanted: Wanted, folder: Path, steps: Steps) -> Measured | Offline:
    """The definition compiled for a GPU that is not here. Raises MaskError E0714 where that cannot be done."""
    steps.begin("loading torch")
    require("cpu")
    from maskdsl.binding.made import write_backward, write_kernel
    from maskdsl.binding.standalone import standalone_mods

    shape = wanted.shape
    steps.begin(f"compiling the kernels for {wanted.device}")
    call = CallShape(**asdict(shape), dtype=wanted.dtype, device="cuda", sizes=trial.sizes, target=wanted.device)
    section = write_kernel(folder, trial.variant, call, trial.tables)
    backward: tuple[KernelPlan, ...] = ()
    if wanted.backward:
        steps.begin("compiling the backward pass")
        backward = write_backward(folder, trial.variant, call, trial.tables)
    mods = standalone_mods(trial.variant, {**trial.sizes, "q_len": shape.q_len, "kv_len": shape.kv_len})
    return Offline(shape, wanted.dtype, f"cuda:{wanted.device}", mods, section, backward)
