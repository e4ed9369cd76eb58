"""The NumPy column of the table of functions: what each row means, on arrays.

Ints arrive as int32 arrays and wrap, floats as float64, bools as bool; results keep those dtypes. No warning escapes.
Not here: the rows themselves (`ops`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Reference = Callable[..., Array]

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def quiet(function: Callable[..., Any]) -> Reference:
    """The function with NumPy's floating-point and overflow warnings off."""

    def call(*args: Array) -> Array:
        with np.errstate(all="ignore"):
            result: Array = np.asarray(function(*args))
            return result

    return call


def convert_to_int(x: Array) -> Any:
    """0 or 1 of a bool; a float is cut towards zero and kept within int32; NaN is 0."""
    if x.dtype.kind != "f":
        return x.astype(np.int32)
    return np.clip(np.trunc(np.nan_to_num(x.astype(np.float64))), INT_MIN, INT_MAX).astype(np.int32)


def convert_to_float(x: Array) -> Any:
    """The float64 of equal value."""
    return x.astype(np.float64)


def sign(x: Array) -> Any:
    """-1, 0 or 1 of x's own type; 0 of NaN."""
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)


def clamp(x: Array, low: Array, high: Array) -> Any:
    """`min(max(x, low), high)`."""
    return np.minimum(np.maximum(x, low), high)


def reciprocal_root(x: Array) -> Any:
    """`1 / sqrt(x)`."""
    return 1.0 / np.sqrt(x)


def sigmoid(x: Array) -> Any:
    """`1 / (1 + exp(-x))`."""
    return 1.0 / (1.0 + np.exp(-x))


def log_sigmoid(x: Array) -> Any:
    """`log(sigmoid(x))` without overflow for any x."""
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))


def count_bits(x: Array) -> Any:
    """Bits of abs(x), Python's `int.bit_length`; the smallest int has 32."""
    _, exponent = np.frexp(np.abs(x.astype(np.float64)))
    return exponent.astype(np.int32)
