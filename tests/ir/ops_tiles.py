"""Random tiles to hold bounds against: arrays of [low, high] per tile, values inside, evaluation at a chosen width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ops_oracle import FLOATS, INT_MAX, INT_MIN, INTS

from maskdsl.ir.interval import Interval
from maskdsl.ir.nodes import Literal, Node, Op, Symbol
from maskdsl.ir.ops import OPS
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar
from maskdsl.ir.walk import fold

Array = np.ndarray
INT_LIMITS = (
    (INT_MIN, INT_MAX), (0, 2**30 - 1), (-(2**30) + 1, 2**30 - 1), (0, 100), (-9, 9), (1, 40), (-70, -1), (0, 31),
    (INT_MIN + 1, INT_MAX), (0, INT_MAX), (INT_MIN, -1), (0, 2**20), (-(2**16), 2**16), (1, INT_MAX), (5, 5), (0, 0),
)  # fmt: skip
FLOAT_LIMITS = (
    (-np.inf, np.inf), (-100.0, 100.0), (0.0, 10.0), (0.25, 4.0), (-8.0, -0.5), (-(2.0**100), 2.0**100), (2.0, 2.0),
)  # fmt: skip


def dtype_of(scalar: Scalar, wide: bool) -> Any:
    """NumPy's dtype; floats are float64 when `wide`, else float32."""
    return {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64 if wide else np.float32}[scalar]


def value_of(root: Node, symbols: Mapping[str, Array], *, wide: bool) -> Array:
    """The value of a graph of rows, literals and symbols with float64 or float32 as its floats."""

    def value(node: Node, below: tuple[Array, ...]) -> Array:
        match node:
            case Literal(value=number):
                return np.asarray(number).astype(dtype_of(node.type, wide))
            case Symbol(name=name):
                return symbols[name].astype(dtype_of(node.type, wide))
            case Op(name=name):
                return OPS[name].reference(*below).astype(dtype_of(node.type, wide))
        raise AssertionError(node)

    with np.errstate(all="ignore"):
        return fold(root, value)


def random_values(rng: np.random.Generator, scalar: Scalar, limits: tuple[Any, Any], shape: tuple[int, ...]) -> Array:
    """Values within the limits: edges, small numbers, and anything."""
    if scalar is BOOL:
        return rng.random(shape) < 0.5
    low, high = limits
    if scalar is INT:
        edges = [i for i in (*INTS, low, high, low + 1, high - 1, (low + high) // 2) if low <= i <= high]
        near = np.clip(rng.choice(edges, shape) + rng.integers(-3, 4, shape), low, high)
        return np.where(rng.random(shape) < 0.7, near, rng.integers(low, high, shape, endpoint=True)).astype(np.int64)
    edges = [x for x in (*FLOATS, low, high) if low <= x <= high]
    spread = rng.uniform(max(low, -100.0), min(high, 100.0), shape)
    return np.where(rng.random(shape) < 0.5, rng.choice(edges, shape), spread).astype(np.float32).clip(low, high)


def random_tiles(
    rng: np.random.Generator, scalar: Scalar, limits: tuple[Any, Any], tiles: int, lanes: int
) -> tuple[Array, Array, Array]:
    """Lower ends [tiles, 1], upper ends [tiles, 1], values [tiles, lanes] between them, both ends among the values."""
    ends = random_values(rng, scalar, limits, (tiles, 2))
    low, high = ends.min(1, keepdims=True), ends.max(1, keepdims=True)
    if scalar is BOOL:
        return low, high, np.where(low == high, low, rng.random((tiles, lanes)) < 0.5)
    if scalar is INT:
        narrow = rng.random((tiles, 1)) < 0.6
        high = np.where(narrow, np.minimum(high, low + rng.integers(0, 9, (tiles, 1))), high)
        values = rng.integers(low, high, (tiles, lanes), endpoint=True)
        values = np.where(rng.random((tiles, lanes)) < 0.3, high, values)
        values = np.where(rng.random((tiles, lanes)) < 0.3, low, values)
        return low.astype(np.int32), high.astype(np.int32), values.astype(np.int32)
    share = rng.random((tiles, lanes))
    with np.errstate(all="ignore"):
        values = (low.astype(np.float64) * (1 - share) + high * share).astype(np.float32).clip(low, high)
    values = np.where(np.isnan(values) | (share < 0.2), low, np.where(share > 0.8, high, values))
    return low.astype(np.float32), high.astype(np.float32), values


def describe(found: Interval) -> str:
    """For messages."""
    return f"[{found.least}, {found.most}] nan={found.nan} whole={found.whole} number={found.number}"


def verify_inside(found: Interval, symbols: Mapping[str, Array], values: Array, counts: Array, about: str) -> None:
    """Every value that counts lies in the bounds, evaluated in float64 and in float32, and in the static limits."""
    for wide in (True, False):
        lo, hi = (np.broadcast_to(value_of(n, symbols, wide=wide), values.shape) for n in (found.lo, found.hi))
        if found.type is BOOL:
            outside = (lo & ~values) | (values & ~hi)
        elif found.type is INT:
            assert isinstance(found.least, int) and isinstance(found.most, int)
            outside = (values < lo) | (values > hi) | (values < found.least) | (values > found.most)
            stray = ((lo < found.least) | (hi > found.most)) & counts
            assert not stray.any(), f"{about}: a bound outside of {describe(found)}"
        else:
            unknown = np.isnan(lo) & np.isnan(hi)
            outside = (values < lo) | (values > hi) | (np.isnan(values) & ~unknown & (not found.nan))
            outside |= np.isnan(values) & found.number
            outside |= (values.astype(np.float64) < found.smallest) | (values.astype(np.float64) > found.largest)
            outside |= found.whole & np.isfinite(values) & (values != np.trunc(values))
        outside &= counts
        if outside.any():
            at = tuple(np.argwhere(outside)[0])
            shown = {n: np.broadcast_to(s, values.shape)[at] for n, s in symbols.items()}
            raise AssertionError(f"{about}: {values[at]} not in [{lo[at]}, {hi[at]}], {describe(found)}; {shown}")
