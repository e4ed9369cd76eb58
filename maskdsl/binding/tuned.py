"""Tuning a call: what it is remembered under, and running its candidates.

Not here: timing and remembering (`backends.tuning`), what is tried (`backends.kernel_options`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from maskdsl.backends import flex, tuning
from maskdsl.backends.kernel_choice import Machine, Request
from maskdsl.backends.kernel_options import Candidate, candidates
from maskdsl.binding.choice import QKV, Settled, kernel_of, machine_of, with_candidate


def tuned_call(mods: flex.Mods, qkv: QKV, blocks: flex.Blocks, settled: Settled) -> Settled:
    """The fastest way to run a call, found by running it; on CUDA the forward pass alone is timed.

    Raises MaskError where no way works.
    """
    machine, request = machine_of(qkv[0].device), settled.request
    kernel = "flash" if settled.plan.flash else kernel_of(request)
    inputs = (qkv[0].detach(), qkv[1].detach(), qkv[2].detach())

    def run(candidate: Candidate) -> None:
        way = with_candidate(settled, candidate)
        with torch.no_grad():
            out = flex.attention(mods, inputs, blocks, block=way.block, plan=way.plan)
        if out.is_cuda:
            torch.cuda.synchronize(out.device)

    found = tuning.tuned(key_of(mods.text, machine, kernel, request), candidates(kernel, machine, request), run)
    return with_candidate(settled, found)


def key_of(text: str, machine: Machine, kernel: str, request: Request) -> tuning.Key:
    """What a tuned call is remembered under: the machine, torch's version, the mods, and the class of its sizes."""
    classed = replace(
        request, q_len=tuning.length_class(request.q_len), kv_len=tuning.length_class(request.kv_len), learned=(),
        unwritable=(),
    )
    name = machine.name or machine.device
    return (name, machine.capability, torch.__version__, hashlib.sha256(text.encode()).hexdigest(), kernel, classed)
