"""Attention objects whose kernels are the plain rendering of `lists_kernel`, and programs to serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lists_kernel
import pytest

from maskdsl.serving.kernels import Phase


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Within it, no kernel is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Phase, "attend", lists_kernel.attend)
        yield
