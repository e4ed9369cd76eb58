"""Runs the compiled kernel of a definition once on random inputs: its code, its error against the reference, its time.

Not here: what is written about it (`artifact`), the arguments (`trial`).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskdsl.backends.reference_attention import attention
from maskdsl.binding.artifact import PACKAGE, CallShape, Section
from maskdsl.binding.opened import kernel_in
from maskdsl.binding.program import Program
from maskdsl.binding.standalone import standalone_mods
from maskdsl.cli.trial import Trial
from maskdsl.ir.types import BUILT_IN_AXES
from maskdsl.source.diagnostic import Diagnostic, MaskError

if TYPE_CHECKING:
    from torch import Tensor

    from maskdsl.backends.launch_plan import KernelPlan
    from maskdsl.binding.bound import Bound

TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 4e-3}
"""The largest error that a right kernel makes, relative to the largest output."""

MOST_LANES = 1 << 25
"""Pairs of queries and keys, of all heads and batch rows, that the reference is asked for."""

MOST_CALLS, MOST_SECONDS = 20, 1.0
"""How often, and for how long, calls are timed after the first."""

QKV = tuple["Tensor", "Tensor", "Tensor"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a call: query [batch, heads, q_len, head_dim], key and value [batch, kv_heads, kv_len, head_dim]."""

    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    q_len: int
    kv_len: int


    def options(self) -> dict[str, str]:
        """The options of `maskdsl compile` that ask for this shape."""
        return {f"--{name.replace('_', '-')}": str(size) for name, size in asdict(self).items()}


@dataclass(frozen=True, slots=True, eq=False)
class Offline:
    """Kernels that were compiled for a GPU that is not here: as `Measured`, but for what running them tells.

    `backward` are those of the backward pass, if they were asked for.
    """

    shape: Shape
    dtype: str
    device: str
    mods: str
    section: Section
    backward: tuple[KernelPlan, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a trial run found.

    `mods` is the text of the mods, `kernels` the texts that Inductor generated. Errors are those of the output against
    the float64 reference on the same inputs, over `rows` queries of every head: absolute, and relative to the largest
    output. Times are in seconds: the first call with its compilation, and the median of the calls after it. `section`
    tells what was written for `maskdsl.open`.
    """

    shape: Shape
    dtype: str
    device: str
    mods: str
    kernels: tuple[str, ...]
    absolute_error: float
    relative_error: float
    rows: int
    first_call: float
    call: float
    section: Section | None = None

    @property
    def tolerance(self) -> float:
        """The relative error that a right kernel stays below."""
        return TOLERANCES[self.dtype]

    @property
    def is_right(self) -> bool:
        """Whether the output is the reference's, up to rounding."""
        return self.relative_error <= self.tolerance


def require(device: str) -> None:
    """Raise MaskError E0704 without torch, E0701 without a GPU for `cuda`."""
    try:
        import torch
    except ImportError:
        help = ("`pip install torch` installs it",)
        raise MaskError(Diagnostic("E0704", "torch is not installed", help=help)) from None
    from maskdsl.backends.flex_limits import require_device

    require_device(torch.device(device), None)


def measure(
    trial: Trial, shape: Shape, dtype: str, device: str, begin: Callable[[str], None], folder: Path
) -> Measured:
    """Compile the definition's kernel into a folder and try it on random inputs; `begin` is told what begins.

    Raises MaskError E0703 and E0705 for what the kernel cannot do.
    """
    import torch

    from maskdsl.binding.made import write_kernel

    qkv = _random_inputs(shape, dtype, device)
    begin("compiling the kernel")
    with torch.no_grad():
        started = time.perf_counter()
        call = CallShape(**asdict(shape), dtype=dtype, device=device, sizes=trial.sizes)
        section = write_kernel(folder, trial.variant, call, trial.tables)
        bound = _bind(trial, device, section, folder)
        out, kernels = _first_output(bound, qkv, section, folder)
        first_call = time.perf_counter() - started
        begin("timing the kernel")
        seconds = _time_calls(bound, qkv)
    begin("running the reference")
    absolute, relative, rows = _compare(trial, shape, qkv, out)
    mods = standalone_mods(trial.variant, {**trial.sizes, "q_len": shape.q_len, "kv_len": shape.kv_len})
    return Measured(shape, dtype, device, mods, kernels, absolute, relative, rows, first_call, seconds, section)


def _first_output(bound: Bound, qkv: QKV, section: Section, folder: Path) -> tuple[Tensor, tuple[str, ...]]:
    """The output of a first call, and the texts of its kernels."""
    if section.kind == "package":
        from maskdsl.backends.package import source_of_package

        return _finished(bound, qkv), (source_of_package(folder / PACKAGE),)
    if section.kind == "launches":
        return _finished(bound, qkv), ()
    import torch
    from torch._inductor.utils import run_and_get_code

    torch.compiler.reset()  # Inductor tells the text of a kernel only when Dynamo asks for it
    out, kernels = run_and_get_code(lambda: _finished(bound, qkv))
    return out, tuple(kernels)


def _bind(trial: Trial, device: str, section: Section, folder: Path) -> Bound:
    """The definition over the trial's tables, run by the kernel in the folder if that is a package."""
    import torch

    kernel = None if section.kind == "caches" else kernel_in(folder, section)
    tensors = {t.name: torch.from_numpy(np.array(array)).to(device) for t, array in trial.tables.items()}
    lengths = {"q_len": trial.q_len, "kv_len": trial.kv_len}
    built_in = {axis: trial.sizes[axis] for axis in BUILT_IN_AXES}
    program = Program(trial.variant, lambda: trial.manifest, kernel=kernel)
    return program.bind(**tensors, sizes={**built_in, **lengths})


def _random_inputs(shape: Shape, dtype: str, device: str) -> QKV:
    import torch

    generator = torch.Generator().manual_seed(0)
    query = (shape.batch, shape.heads, shape.q_len, shape.head_dim)
    key = (shape.batch, shape.kv_heads, shape.kv_len, shape.head_dim)
    made = (torch.randn(s, generator=generator).to(device, getattr(torch, dtype)) for s in (query, key, key))
    q, k, v = made
    return q, k, v


def _finished(bound: Bound, qkv: QKV) -> Tensor:
    """The output of a call that has ended: on a GPU, calls return before they do."""
    import torch

    out = bound.attention(*qkv)
    if out.is_cuda:
        torch.cuda.synchronize()
    return out


def _time_calls(bound: Bound, qkv: QKV) -> float:
    """The median time of a call in seconds, as the host sees it."""
    times: list[float] = []
    while len(times) < MOST_CALLS and sum(times) < MOST_SECONDS:
        started = time.perf_counter()
        _finished(bound, qkv)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:] or times)


def _compare(trial: Trial, shape: Shape, qkv: QKV, out: Tensor) -> tuple[float, float, int]:
    """The absolute and the relative error, and over how many queries of every head."""
    q, k, v = (x.detach().float().cpu().numpy() for x in qkv)
    found = out.detach().float().cpu().numpy()
    worst = largest = 0.0
    slices = _slices(shape)
    for rows in slices:
        wanted, _ = attention(
            trial.variant, q[:, :, rows], k, v, tables=trial.tables, sizes=trial.sizes, q_offset=rows.start,
            q_len=shape.q_len, kv_len=shape.kv_len,
        )  # fmt: skip
        worst = max(worst, float(np.max(np.abs(found[:, :, rows] - wanted), initial=0.0)))
        largest = max(largest, float(np.max(np.abs(wanted), initial=0.0)))
    worst = math.inf if not np.isfinite(found).all() else worst
    return worst, worst / largest if largest else worst, sum(s.stop - s.start for s in slices)


def _slices(shape: Shape) -> list[slice]:
    """The queries to compare: all, or as many at both ends as the reference manages."""
    most = max(2, MOST_LANES // (shape.batch * shape.heads * shape.kv_len))
    if most >= shape.q_len:
        return [slice(0, shape.q_len)]
    half = most // 2
    return [slice(0, half), slice(shape.q_len - half, shape.q_len)]
