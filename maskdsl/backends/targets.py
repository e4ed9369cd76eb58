"""The GPUs that a kernel can be compiled for by name, such as `cuda:sm_90`, whether or not there is one here.

Not here: compiling (`offline`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean

NAMED = re.compile(r"cuda:(sm_\w+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A compute capability, with the figures of one card that has it.

    They decide how many parts a decode kernel is split into and which tiles fit: a kernel is right on every card of the
    capability. `shared` is the shared memory that a block may ask for, in bytes; `threads` is for a multiprocessor.
    """

    arch: int
    card: str
    multiprocessors: int
    shared: int
    threads: int = 2048

    @property
    def name(self) -> str:
        """Such as `sm_90`."""
        return f"sm_{self.arch}"

    @property
    def capability(self) -> tuple[int, int]:
        """Such as (9, 0)."""
        return divmod(self.arch, 10)


# Table "Technical Specifications per Compute Capability" of the CUDA C++ Programming Guide, and the cards' data sheets.
TARGETS = {
    target.name: target
    for target in (
        Target(80, "A100", 108, 166912),
        Target(86, "RTX 3090", 82, 101376, 1536),
        Target(89, "L40S", 142, 101376, 1536),
        Target(90, "H100 SXM", 132, 232448),
        Target(100, "B200", 148, 232448),
        Target(120, "RTX 5090", 170, 101376, 1536),
    )
}
"""The targets by name."""


def target_named(device: str) -> Target | None:
    """The target that a device such as `cuda:sm_90` names; None for a device that names none.

    Raises MaskError E0713 for one that is not known here.
    """
    found = NAMED.fullmatch(device)
    if not found:
        return None
    name = found[1].removesuffix("a")
    if name not in TARGETS:
        raise MaskError(_unknown(found[1]))
    return TARGETS[name]


def target_here() -> Target:
    """The target that the current CUDA device is."""
    import torch

    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    known = TARGETS.get(f"sm_{found.major}{found.minor}")
    shared = getattr(found, "shared_memory_per_block_optin", known.shared if known else 101376)
    return Target(
        found.major * 10 + found.minor, found.name, found.multi_processor_count, shared,
        found.max_threads_per_multi_processor,
    )  # fmt: skip


def _unknown(name: str) -> Diagnostic:
    known = ", ".join(f"`{n}` ({t.card})" for n, t in TARGETS.items())
    return Diagnostic(
        "E0713", f"there is no target `{name}`", notes=(f"known are {known}",),
        help=did_you_mean(name, list(TARGETS)) or ("`--device cuda:sm_90` compiles for Hopper",),
    )  # fmt: skip
