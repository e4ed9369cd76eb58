"""Ways to fill a table with plausible values: document numbers, lengths, offsets, permutations, noise.

Not here: which of them satisfy a definition's facts (`sample`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskdsl.ir.types import BOOL, INT, Scalar, Table

Values = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Scene:
    """What all tables of one draw agree on: the sequence's length, and how each batch row is cut into documents."""

    random: np.random.Generator
    position: int
    rows: int
    largest: int
    """A number that every fresh axis exceeds, so that values below it are indices of any of them."""

    @cached_property
    def cuts(self) -> list[NDArray[np.int64]]:
        """The first position of every document, a row each; the first is 0."""
        return [self._cut() for _ in range(max(1, self.rows))]

    def _cut(self) -> NDArray[np.int64]:
        inner = max(0, min(self.largest, self.position, 5) - 1)
        starts = self.random.choice(np.arange(1, max(2, self.position)), size=inner, replace=False)
        return np.concatenate([[0], np.sort(starts)]).astype(np.int64)


Style = Callable[[Scene, tuple[int, ...]], Values]


def styles_of(table: Table) -> Sequence[Style]:
    """The styles for a table's type, the most telling first."""
    if table.type is BOOL:
        return BOOL_STYLES
    if table.type is INT:
        return INT_STYLES if "position" in table.axes else (*SHORT_STYLES, *INT_STYLES)
    return FLOAT_STYLES


def cast(values: Values, scalar: Scalar) -> Values:
    """The values in the dtype that tables of the type have here: bool, int32 or float32."""
    return values.astype({"bool": np.bool_, "int": np.int32, "float": np.float32}[scalar.value])


def _each_row(scene: Scene, shape: tuple[int, ...], row: Callable[[NDArray[np.int64], int], Values]) -> Values:
    """A table whose last axis is made from the cuts of the batch row that its first axis counts."""
    flat = [row(scene.cuts[n % len(scene.cuts)], shape[-1]) for n in range(int(np.prod(shape[:-1], dtype=int)))]
    return np.stack(flat).reshape(shape)


def _document_numbers(scene: Scene, shape: tuple[int, ...]) -> Values:
    return _each_row(scene, shape, lambda cuts, n: np.searchsorted(cuts, np.arange(n), side="right") - 1)


def _padded(values: NDArray[np.int64], length: int, filler: int) -> NDArray[np.int64]:
    return np.concatenate([values, np.full(max(0, length - len(values)), filler, np.int64)])[:length]


def _starts(scene: Scene, shape: tuple[int, ...]) -> Values:
    return _each_row(scene, shape, lambda cuts, n: _padded(cuts, n, max(0, scene.position - 1)))


def _ends(scene: Scene, shape: tuple[int, ...]) -> Values:
    return _each_row(scene, shape, lambda cuts, n: _padded(cuts[1:], n, scene.position))


def _offsets(scene: Scene, shape: tuple[int, ...]) -> Values:
    return _each_row(scene, shape, lambda cuts, n: _padded(cuts, n, scene.position))


def _lengths(scene: Scene, shape: tuple[int, ...]) -> Values:
    return _each_row(scene, shape, lambda cuts, n: _padded(np.diff(np.append(cuts, scene.position)), n, 0))


def _positions(scene: Scene, shape: tuple[int, ...]) -> Values:
    return scene.random.integers(0, max(1, scene.position), shape)


def _indices(scene: Scene, shape: tuple[int, ...]) -> Values:
    return scene.random.integers(0, max(1, scene.largest), shape)


def _sorted_positions(scene: Scene, shape: tuple[int, ...]) -> Values:
    return np.sort(_positions(scene, shape), axis=-1)


def _sorted_indices(scene: Scene, shape: tuple[int, ...]) -> Values:
    return np.sort(_indices(scene, shape), axis=-1)


def _counting(scene: Scene, shape: tuple[int, ...]) -> Values:
    return np.broadcast_to(np.arange(shape[-1] if shape else 1), shape).copy()


def _tree_parents(scene: Scene, shape: tuple[int, ...]) -> Values:
    nodes = np.arange(shape[-1] if shape else 1)
    return np.maximum(0, scene.random.integers(0, np.maximum(1, nodes), shape))


def _full(value: int) -> Style:
    return lambda scene, shape: np.full(shape, value)


SHORT_STYLES: tuple[Style, ...] = (
    lambda scene, shape: _starts(scene, shape) if len(shape) > 1 else _positions(scene, shape),
    _positions, _ends, _offsets, _lengths,
)  # fmt: skip
INT_STYLES: tuple[Style, ...] = (
    _document_numbers, _indices, _positions, _sorted_indices, _sorted_positions, _counting, _tree_parents,
    _full(0), _full(1), _full(-1),
)  # fmt: skip
BOOL_STYLES: tuple[Style, ...] = (
    lambda scene, shape: scene.random.random(shape) < 0.5, _full(1), _full(0),
)  # fmt: skip
FLOAT_STYLES: tuple[Style, ...] = (
    lambda scene, shape: scene.random.standard_normal(shape),
    lambda scene, shape: scene.random.random(shape),
    lambda scene, shape: -scene.random.random(shape),
    lambda scene, shape: np.sort(scene.random.random(shape), axis=-1) if shape else scene.random.random(shape),
    _full(0), _full(1),
)  # fmt: skip
