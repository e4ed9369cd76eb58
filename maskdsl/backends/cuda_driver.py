"""CUDA's driver through its C interface: loads cubins and launches their kernels. No compiler, no Triton.

Kernels run in the device's primary context, which is torch's. Not here: what is launched (`launch_plan`).
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Array, byref, c_char_p, c_int, c_uint, c_void_p
from functools import cache
from typing import Any

LIBRARY = "libcuda.so.1"

MAX_DYNAMIC_SHARED_SIZE_BYTES, PREFER_SHARED = 8, 1
"""CUfunction_attribute and CUfunc_cache of `cuda.h`."""

STATIC_LIMIT = 48 << 10
"""Bytes of shared memory that a kernel gets without asking."""


class DriverError(RuntimeError):
    """The driver refused something; the text says what and why."""


class CudaDriver:
    """The driver of this machine. Raises DriverError without one, and for whatever it refuses."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as problem:
            raise DriverError(f"{LIBRARY} cannot be loaded: {problem}") from None
        self._contexts: dict[int, c_void_p] = {}
        self._call("cuInit", c_uint(0))

    def version(self) -> tuple[int, int]:
        """The newest CUDA whose binaries it runs, such as (13, 0)."""
        found = c_int()
        self._call("cuDriverGetVersion", byref(found))
        return found.value // 1000, found.value % 1000 // 10

    def load(self, image: bytes, entry: str, shared: int, device: int) -> tuple[c_void_p, c_void_p]:
        """The function of a cubin, and the context that it was loaded into; they live as long as the process."""
        context = self._context(device)
        module, function = c_void_p(), c_void_p()
        with _current(self, context):
            self._call("cuModuleLoadData", byref(module), c_char_p(image))
            self._call("cuModuleGetFunction", byref(function), module, c_char_p(entry.encode()))
            if shared > STATIC_LIMIT:
                self._call("cuFuncSetCacheConfig", function, c_int(PREFER_SHARED))
                self._call("cuFuncSetAttribute", function, c_int(MAX_DYNAMIC_SHARED_SIZE_BYTES), c_int(shared))
        return function, context

    def launch(
        self, function: tuple[c_void_p, c_void_p], grid: tuple[int, int, int], threads: int, shared: int, stream: int,
        values: Array[c_void_p],
    ) -> None:  # fmt: skip
        """Launch what `load` gave on a stream of its device."""
        handle, context = function
        with _current(self, context):
            sizes = (*map(c_uint, grid), c_uint(threads), c_uint(1), c_uint(1), c_uint(shared))
            self._call("cuLaunchKernel", handle, *sizes, c_void_p(stream), values, c_void_p(0))

    def _context(self, device: int) -> c_void_p:
        """The device's primary context, which is retained once."""
        if device not in self._contexts:
            number, context = c_int(), c_void_p()
            self._call("cuDeviceGet", byref(number), c_int(device))
            self._call("cuDevicePrimaryCtxRetain", byref(context), number)
            self._contexts[device] = context
        return self._contexts[device]

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise DriverError(f"{name}: {self._told(code)}")

    def _told(self, code: int) -> str:
        text = c_char_p()
        self._library.cuGetErrorName.argtypes = [c_int, POINTER(c_char_p)]
        failed = self._library.cuGetErrorName(code, byref(text))
        return f"error {code}" if failed or text.value is None else text.value.decode()


class _current:
    """Within the block, a context is the thread's current one."""

    def __init__(self, driver: CudaDriver, context: c_void_p) -> None:
        self._driver, self._context, self._pushed = driver, context, False

    def __enter__(self) -> None:
        found = c_void_p()
        self._driver._call("cuCtxGetCurrent", byref(found))
        self._pushed = found.value != self._context.value
        if self._pushed:
            self._driver._call("cuCtxPushCurrent_v2", self._context)

    def __exit__(self, *problem: object) -> None:
        if self._pushed:
            self._driver._call("cuCtxPopCurrent_v2", byref(c_void_p()))


@cache
def driver() -> CudaDriver:
    """The driver of this machine. Raises DriverError without one."""
    return CudaDriver()
