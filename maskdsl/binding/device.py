"""Which device is meant where none was named."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def build_device(device: torch.device | str | None, tables: Iterable[Tensor]) -> torch.device:
    """The device asked for, else that of the tables, else the accelerator, else the CPU; `cuda` with its number."""
    if device is not None:
        return _numbered(torch.device(device))
    first = next(iter(tables), None)
    if first is not None:
        return first.device
    return _numbered(torch.accelerator.current_accelerator() or torch.device("cpu"))


def _numbered(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None and _has_cuda():
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _has_cuda() -> bool:
    # Asking for the devices takes microseconds, which every call would spend.
    return bool(torch.cuda.is_initialized() or torch.cuda.is_available())
