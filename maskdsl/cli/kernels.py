"""`maskdsl explain --backend`: which kernel runs a definition on a device, why not the others, and with which options.

Not here: the choice itself (`backends.kernel_choice`), the options (`backends.kernel_options`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskdsl.source.diagnostic import Diagnostic, MaskError

if TYPE_CHECKING:
    from maskdsl.backends.kernel_choice import Machine
    from maskdsl.binding.choice import Settled
    from maskdsl.cli.trial import Trial

DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True, slots=True)
class Call:
    """The call that is asked about: lengths and block as queries and keys, heads, head_dim, dtype by name."""

    lengths: tuple[int, int]
    heads: int
    block: tuple[int, int]
    head_dim: int
    dtype: str
    device: str


@dataclass(frozen=True, slots=True)
class Explained:
    """The answer: how the call runs on the machine."""

    name: str
    call: Call
    machine: Machine
    settled: Settled


def explain_kernel(trial: Trial, call: Call) -> Explained:
    """How a definition with its arguments runs. Raises MaskError E0703 for a device or dtype that there is not."""
    from maskdsl.backends.kernel_choice import Request
    from maskdsl.binding.choice import demands_of, settle
    from maskdsl.binding.lowered import Lowering
    from maskdsl.tiles.limits import Limits
    from maskdsl.tiles.verdict import verdict_of
    from maskdsl.tiles.visits import visited_tiles

    if call.dtype not in DTYPES:
        raise MaskError(Diagnostic("E0703", f"no kernel takes {call.dtype}", help=(f"use one of {', '.join(DTYPES)}",)))
    machine = machine_named(call.device)
    sizes = {**trial.sizes, "q_len": call.lengths[0], "kv_len": call.lengths[1]}
    lowering = Lowering(trial.variant)

    def visits() -> tuple[float, float]:
        return visited_tiles(verdict_of(lowering.tile_mask_at(sizes), *call.block, Limits()), *call.lengths)

    request = Request(
        dtype=call.dtype, head_dim=call.head_dim, v_head_dim=call.head_dim, q_len=call.lengths[0],
        kv_len=call.lengths[1], block=call.block, rows=trial.sizes["batch"] * trial.sizes["kv_head"],
        group=trial.sizes["head"] // trial.sizes["kv_head"], **demands_of(lowering.at(sizes)),
    )  # fmt: skip
    settled = settle("auto", False, machine, request, trial.variant.span, visits)
    return Explained(trial.variant.name, call, machine, settled)


def machine_named(device: str) -> Machine:
    """This machine for "", its CPU or GPU for "cpu" and "cuda", and another for "cuda:sm_90" and the like."""
    import torch

    from maskdsl.backends.flex_limits import require_device
    from maskdsl.backends.kernel_choice import Machine, flash_is_here
    from maskdsl.binding.choice import machine_of

    if named := re.fullmatch(r"cuda:sm_(\d+)(\d)a?", device):
        return Machine("cuda", (int(named[1]), int(named[2])), device.removeprefix("cuda:"), flash=flash_is_here())
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", where):
        help = ("use `cpu`, `cuda`, or a target such as `cuda:sm_90`",)
        raise MaskError(Diagnostic("E0703", f"there is no device `{where}`", help=help))
    require_device(torch.device(where), None)
    return machine_of(torch.device(where))


def as_values(found: Explained) -> dict[str, Any]:
    """The answer for machines."""
    settled, call = found.settled, found.call
    return {
        "name": found.name,
        "device": found.machine.device,
        "machine": found.machine.name,
        "capability": found.machine.capability,
        "dtype": call.dtype,
        "head_dim": call.head_dim,
        "lengths": call.lengths,
        "kernel": settled.choice.kernel,
        "forms": settled.dialect.name,
        "block": settled.block,
        "options": dict(settled.plan.options),
        "why_not": {name: list(reasons) for name, reasons in settled.choice.why_not.items()},
    }


def text_lines(found: Explained) -> list[str]:
    """The answer for people."""
    settled, call = found.settled, found.call
    where = found.machine.name or found.machine.device
    size = f"{call.lengths[0]} x {call.lengths[1]} tokens, head_dim {call.head_dim}, {call.dtype}"
    options = ", ".join(f"{name}={value}" for name, value in settled.plan.options) or "torch's own"
    lines = [f"{found.name} on {where}: {size}", "", f"  {'kernel':8} {settled.choice.kernel}"]
    for name, reasons in settled.choice.why_not.items():
        told = reasons or (f"`backend=\"{name}\"` takes it; `{settled.choice.kernel}` is tried first",)
        lines += [f"  {'not' if i == 0 else '':8} {f'{name}:' if i == 0 else '':8}{r}" for i, r in enumerate(told)]
    block = f"{settled.block[0]} x {settled.block[1]}"
    rest = {"forms": FORMS[settled.dialect.name], "blocks": block, "options": options}
    return [*lines, *(f"  {name:8} {told}" for name, told in rest.items())]


FORMS = {
    "torch": "the textbook's",
    "inductor precise": "the textbook's, with fast ones of ints",
    "inductor": "the GPU's fast ones; `precise=True` takes the textbook's",
    "flash": "CuteDSL's, with the GPU's fast ones; `precise=True` takes the textbook's",
    "flash precise": "CuteDSL's",
}
"""The dialects of mods in words."""
