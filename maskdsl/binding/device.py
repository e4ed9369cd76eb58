"""Which device is meant where none was named."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from maskdsl.source.diagnostic import Diagnostic, MaskError


def build_device(device: torch.device | str | None, tables: Iterable[Tensor]) -> torch.device:
    """The device asked for, else that of the tables, else the accelerator, else the CPU; `cuda` with its number.

    Raises MaskError E0701 for a name that torch does not know.
    """
    if device is not None:
        return _numbered(_named(device))
    first = next(iter(tables), None)
    if first is not None:
        return first.device
    return _numbered(torch.accelerator.current_accelerator() or torch.device("cpu"))


def _named(device: torch.device | str) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError:
        advice = ("a device is `cpu`, `cuda`, or one of several such as `cuda:1`",)
        raise MaskError(Diagnostic("E0701", f"torch knows no device `{device}`", help=advice)) from None


def _numbered(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None and _has_cuda():
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _has_cuda() -> bool:
    # Asking for the devices takes microseconds, which every call would spend.
    return bool(torch.cuda.is_initialized() or torch.cuda.is_available())
