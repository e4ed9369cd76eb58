"""Triton source, PTX and cubins of a definition's CUDA kernel, made on a machine without a GPU.

Not here: the private interfaces of torch and Triton that this takes (`offline_torch`).
"""

from __future__ import annotations

import re

from maskdsl.source.diagnostic import Diagnostic, MaskError

TARGET = re.compile(r"cuda:sm_(\d{2,3})")


def parse_target(device: str) -> int:
    """The capability that `cuda:sm_90` names, 90. Raises MaskError E0713 for what names none."""
    found = TARGET.fullmatch(device)
    if found is None:
        raise MaskError(Diagnostic(
            "E0713", f"`{device}` names no GPU to compile for", help=("say `cuda:sm_90`, or another capability",),
        ))  # fmt: skip
    return int(found[1])
