"""How a call is going to run: which kernel, in which form its mods are written, with which blocks and options.

Not here: what a kernel can do (`backends.kernel_choice`), the options themselves (`backends.kernel_options`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import lcm
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends import flex
from maskdsl.backends.flash_math import teach_cutedsl
from maskdsl.backends.flex_limits import decode_rows
from maskdsl.backends.kernel_choice import (
    MANY_VISITS,
    WHOLE,
    Choice,
    Machine,
    Plan,
    Request,
    choose,
    flash_block,
    flash_is_here,
)
from maskdsl.backends.kernel_options import Candidate, options_of
from maskdsl.backends.mods_text import FLASH, FLASH_PRECISE, INDUCTOR, INDUCTOR_PRECISE, TORCH, Dialect
from maskdsl.binding.lowered import Lowered
from maskdsl.binding.shapes import Lengths
from maskdsl.ir.types import Table
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Span

QKV = tuple[Tensor, Tensor, Tensor]

Visits = Callable[[], tuple[float, float]]
"""Tells how many key tiles a row of queries visits on average, at least and at most."""


def _many() -> tuple[float, float]:
    return MANY_VISITS


@dataclass(frozen=True, slots=True)
class Settled:
    """A call's kernel, the dialect of its mods, the sides of its blocks, and the plan that flex runs.

    `inside` says that the kernel never looks past the lengths.
    """

    request: Request
    choice: Choice
    dialect: Dialect
    block: tuple[int, int]
    plan: Plan
    inside: bool = False


@cache
def machine_of(device: torch.device) -> Machine:
    """The machine that a device is."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return Machine(device.type)
    found = torch.cuda.get_device_properties(device)
    return Machine("cuda", (found.major, found.minor), found.name, found.multi_processor_count, flash_is_here())


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller of an attention asked for: `learned` are the float tables that require gradients.

    With `any_length` the kernel is for calls of other lengths as well. With `guarded` lookups stay in bounds past the
    lengths even where tiles are whole: kernels that were compiled before know calls by the text of their mods.
    """

    backend: str
    precise: bool
    block: tuple[int, int]
    layout: str = "dense"
    learned: tuple[Table, ...] = ()
    any_length: bool = False
    guarded: bool = False


def request_of(qkv: QKV, wish: Wish, lowered: Lowered) -> Request:
    """What a call of a definition asks of its kernel."""
    q, k, v = qkv
    names = tuple(t.name for t in wish.learned) if torch.is_grad_enabled() else ()
    gradients = torch.is_grad_enabled() and (bool(names) or any(x.requires_grad for x in qkv))
    return Request(
        dtype=str(q.dtype).removeprefix("torch."), head_dim=q.shape[3], v_head_dim=v.shape[3],
        q_len=q.shape[2], kv_len=k.shape[2], block=wish.block, learned=names, group=q.shape[1] // k.shape[1],
        rows=q.shape[0] * k.shape[1], gradients=gradients, layout=wish.layout, **demands_of(lowered),
    )  # fmt: skip


def demands_of(lowered: Lowered) -> dict[str, Any]:
    """The fields of a request that a definition fills, whatever the call."""
    return {"unwritable": lowered.unwritable(FLASH), "lse": lowered.needs_lse, "placed": lowered.is_placed}


def settle(
    wanted: str, precise: bool, machine: Machine, request: Request, span: Span | None = None,
    visits: Visits = _many, guarded: bool = False,
) -> Settled:  # fmt: skip
    """How a call runs. Raises MaskError E0703 for a backend that is unknown or cannot do it.

    Mods are written in the GPU's fast forms for kernels in half precision, unless they shall be `precise`. `visits`
    gives the field of that name where the options may depend on it; `guarded` is as in a Wish.
    """
    choice, inside = choose(wanted, machine, request, span), False
    if choice.kernel == "triton" and kernel_of(request) == "main":
        request, inside = replace(request, visits=visits()), is_whole(request) and not guarded
    if choice.kernel == "flash":
        dialect = FLASH_PRECISE if precise or not teach_cutedsl() else FLASH
        return Settled(request, choice, dialect, flash_block(machine, request.block), Plan(flash=True))
    fast = not precise and request.dtype in ("bfloat16", "float16")
    dialect = TORCH if choice.kernel == "cpu" else INDUCTOR if fast else INDUCTOR_PRECISE
    options = options_of(kernel_of(request), machine, request)
    return Settled(request, choice, dialect, request.block, Plan(options=options), inside)


def is_whole(request: Request) -> bool:
    """Whether blocks and the tiles of Triton's main kernel divide the lengths."""
    lengths = (request.q_len, request.kv_len)
    return not any(n % lcm(WHOLE, side) for n, side in zip(lengths, request.block, strict=True))


def with_candidate(settled: Settled, candidate: Candidate) -> Settled:
    """The same with a candidate of tuning in place of the table's options."""
    table = {} if candidate.plain else dict(settled.plan.options)
    options = tuple({**table, **dict(candidate.options)}.items())
    return replace(settled, block=candidate.block, plan=Plan(settled.plan.flash, options))


def kernel_of(request: Request) -> str:
    """Which of Triton's kernels a call gets: "decode" or "main"."""
    rows = decode_rows(request.q_len, request.group, request.block[0], gradients=request.gradients)
    return "decode" if rows else "main"


@dataclass(slots=True)
class Choices:
    """How the calls of one bound definition run; settled once for calls that differ in no way that matters.

    `failed` is why FlashAttention-4 is not tried any more: its kernel did not compile.
    """

    span: Span
    known: dict[Any, Settled] = field(default_factory=dict)
    failed: tuple[str, ...] = ()

    def settled(
        self, lengths: Lengths, qkv: QKV, wish: Wish, lowered: Lowered, machine: Machine,
        visits: Visits = _many,
    ) -> Settled:  # fmt: skip
        """How a call runs on a machine; `visits` as for `settle`. Raises MaskError E0703."""
        q, k, v = qkv
        wants = (torch.is_grad_enabled(), q.requires_grad, k.requires_grad, v.requires_grad)
        key = (lengths, wish, wants, q.dtype, q.device, machine, q.shape[3], v.shape[3], k.shape[0])
        if key not in self.known:
            request = request_of(qkv, wish, lowered)
            if wish.backend == "auto":
                request = replace(request, unwritable=request.unwritable + self.failed)
            told = _many if wish.any_length else visits
            guarded = wish.guarded or wish.any_length
            self.known[key] = settle(wish.backend, wish.precise, machine, request, self.span, told, guarded)
        return self.known[key]

    def or_by_triton(self, backend: str, run: Callable[[], Tensor]) -> Tensor:
        """What `run` gives; where `auto` took FlashAttention-4 and its kernel did not compile, with another kernel.

        Raises MaskError as `run` does.
        """
        try:
            return run()
        except MaskError as problem:
            flash = any(settled.plan.flash for settled in self.known.values())
            told = problem.diagnostics[0]
            if backend != "auto" or self.failed or not flash or told.code != "E0705":
                raise
            why = " ".join(told.notes)
            self.failed = (f"its kernel did not compile: {why[:200]}",)
            warnings.warn(f"{told.message} by FlashAttention-4, so that Triton runs it: {why}", stacklevel=2)
        self.known.clear()
        return run()

    def tuned(self, mods: flex.Mods, qkv: QKV, blocks: flex.Blocks, settled: Settled) -> Settled:
        """The call with the block sizes and options that are the fastest here. Raises MaskError where none works."""
        from maskdsl.binding.tuned import tuned_call

        return tuned_call(mods, qkv, blocks, settled)
