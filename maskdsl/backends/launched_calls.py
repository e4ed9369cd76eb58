"""Runs calls on CUDA by kernels that were compiled before: no Inductor, no Triton, no tracing.

An artifact's plan has several forms of one call, such as for lengths that are multiples of 128; a call takes the first
that fits it. Not here: making a plan (`launch_build`), launching one kernel (`launch_plan`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends.contract import QKV, Call, Contract, Mods, fitted, mismatch, refuse
from maskdsl.backends.flex_kernels import Signature
from maskdsl.backends.kernel_choice import WHOLE
from maskdsl.backends.launch_plan import Driver, KernelPlan, call_function, launcher_of
from maskdsl.backends.launched_lists import LaunchedLists, ListsPlan

PLAN, CALL, SOURCE = "launches.json", "call.py", "kernels.py"

ALIGNMENT = 16
"""Bytes at whose multiples the kernels expect their tensors."""


MOST = 2**31 - 1
"""The most elements of a tensor that 32-bit indices reach."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to run the call: its contract, what must hold of the sizes besides, and its kernels.

    `conditions` are Python expressions over `sizes`, each the size of an input (its number) along an axis. The files
    are in a folder of the form's name.
    """

    name: str
    contract: Contract
    whole: bool
    conditions: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]
    kernels: tuple[KernelPlan, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """What is read when the form is run."""
        return tuple(f"{self.name}/{file}" for file in (CALL, *(k.cubin for k in self.kernels)))

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Form:
        """The form that `asdict` gave."""
        return cls(
            plain["name"], Contract.of(plain["contract"]), plain["whole"], tuple(plain["conditions"]),
            {name: (place[0], place[1]) for name, place in plain["sizes"].items()},
            tuple(KernelPlan.of(k) for k in plain["kernels"]),
        )  # fmt: skip

    def why_not(self, call: Call, tensors: list[Tensor]) -> str:
        """Why a call is not run in this form, in words; empty if it can be."""
        lengths = (call.qkv[0].shape[2], call.qkv[1].shape[2])
        if self.whole and any(n % WHOLE for n in lengths):
            return f"its lengths are {lengths[0]} and {lengths[1]}, and the kernel's are multiples of {WHOLE}"
        return mismatch(self.contract, call, tensors) or self._broken(tensors)

    def _broken(self, tensors: list[Tensor]) -> str:
        sizes = {name: tensors[number].shape[axis] for name, (number, axis) in self.sizes.items()}
        broken = [text for text in self.conditions if not eval(_code(text), {}, sizes)]
        if broken:
            return f"its sizes are not those that the kernel counts with: {broken[0]} does not hold"
        q, v = tensors[0], tensors[2]
        most = max(q.numel() // q.shape[3] * v.shape[3], *(x.numel() for x in tensors))
        return f"it has a tensor of {most:,} numbers, and the kernel counts to {MOST:,}" if most > MOST else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All forms of a call, the kernels that list its tiles, and the CUDA toolkit that assembled them."""

    forms: tuple[Form, ...]
    lists: tuple[ListsPlan, ...]
    toolkit: str

    @property
    def files(self) -> tuple[str, ...]:
        """What is read when the plan is run."""
        lists = [k.cubin for x in self.lists for k in x.kernels]
        return (PLAN, *(f for form in self.forms for f in form.files), *lists)

    @property
    def sources(self) -> tuple[str, ...]:
        """What people read of it: Triton's source and PTX."""
        folders = dict.fromkeys(Path(f).parent.as_posix() for f in self.files if f.endswith(".cubin"))
        ptx = (f"{f.removesuffix('.cubin')}.ptx" for f in self.files if f.endswith(".cubin"))
        return (*(f"{folder}/{SOURCE}" for folder in folders), *ptx)

    @property
    def free(self) -> tuple[str, ...]:
        """The sizes that calls may choose in the form that serves most."""
        return self.forms[-1].contract.free

    def write(self, folder: Path) -> None:
        """Write the plan, whose other files are there."""
        (folder / PLAN).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan in a folder. Raises KeyError, TypeError or ValueError for what is none."""
        plain = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return cls(tuple(map(Form.of, plain["forms"])), tuple(map(ListsPlan.of, plain["lists"])), plain["toolkit"])


class LaunchedKernel:
    """Runs calls by the forms of a plan. Raises MaskError E0712 for a call that none is for."""

    def __init__(self, plan: Plan, folder: Path, driver: Driver) -> None:
        self._plan, self._folder, self._driver = plan, folder, driver
        self._placed: dict[tuple[str, torch.device], Callable[[list[Tensor]], Any]] = {}

    def place(self, device: torch.device) -> None:
        """Load every kernel onto a device; those of lists serve the whole process. Raises what the driver raises."""
        for form in self._plan.forms:
            self._of(form, device)
        for lists in self._plan.lists:
            LaunchedLists(lists, self._folder, self._driver).offer(device)

    def __call__(self, signature: Signature, qkv: QKV, mask: BlockMask, mods: Mods, sink: Tensor | None) -> Tensor:
        call, why = Call(signature, qkv, mask, mods, sink), ""
        wants = [x for x in call.tensors if x.requires_grad] if torch.is_grad_enabled() else []
        if wants:
            refuse("a gradient is asked for, and the kernels are for the forward pass", self._plan.forms[-1].contract)
        for form in self._plan.forms:
            tensors = fitted(call.tensors, form.contract.inputs)
            why = form.why_not(call, tensors)
            if not why:
                (out,) = self._of(form, qkv[0].device)([_placed(x) for x in tensors])
                return out
        refuse(why, self._plan.forms[-1].contract)

    def _of(self, form: Form, device: torch.device) -> Callable[[list[Tensor]], Any]:
        key = (form.name, device)
        if key not in self._placed:
            folder = self._folder / form.name
            kernels = {
                k.name: launcher_of(k, (folder / k.cubin).read_bytes(), self._driver, device) for k in form.kernels
            }
            self._placed[key] = call_function((folder / CALL).read_text(encoding="utf-8"), kernels, device)
        return self._placed[key]


@lru_cache(maxsize=256)
def _code(text: str) -> CodeType:
    return compile(text, "<condition>", "eval")


def _placed(x: Tensor) -> Tensor:
    """The tensor as the kernels read it: contiguous, and at a multiple of `ALIGNMENT`."""
    x = x.detach().contiguous()
    return x if x.data_ptr() % ALIGNMENT == 0 else x.clone()
