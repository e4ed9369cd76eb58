"""Oracles of the image part of the vision family: squares, grids, rows and columns, and other orders of the tokens."""

from __future__ import annotations

import itertools

import numpy as np
from oracle import Array, Oracle, Sizes


def _places(sizes: Sizes, width: int) -> list[tuple[int, int]]:
    """(row, column) of every token in row-major order."""
    height = -(-max(sizes.q, sizes.k) // width)
    return list(itertools.product(range(height), range(width)))


def _around(places: list[tuple[int, int]], sizes: Sizes, step: list[tuple[int, int]]) -> Array:
    """[q, k]: from each query's place, the places that are one of the steps away."""
    number = {place: i for i, place in enumerate(places)}
    seen = np.zeros((len(places), len(places)), bool)
    for i, (y, x) in enumerate(places):
        for dy, dx in step:
            if (y + dy, x + dx) in number:
                seen[i, number[y + dy, x + dx]] = True
    return seen[: sizes.q, : sizes.k]


def local_2d(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int, radius: int = 3) -> Array:
    steps = list(itertools.product(range(-radius, radius + 1), repeat=2))
    return _around(_places(sizes, width), sizes, steps)[q, k]


def local_2d_distance(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int, distance: int = 2, p: int = 2
) -> Array:
    steps = [
        s for s in itertools.product(range(-distance, distance + 1), repeat=2) if np.linalg.norm(s, p) < distance - 1e-9
    ]
    return _around(_places(sizes, width), sizes, steps)[q, k]


def _neighbors(i: int, length: int, kernel: int) -> range:
    """The window of `i`, moved inside."""
    first = min(max(i - kernel // 2, 0), length - kernel)
    return range(first, first + kernel)


def _natten(places: list[tuple[int, int]], sizes: Sizes, height: int, width: int, rows: int, columns: int) -> Array:
    number = {place: i for i, place in enumerate(places)}
    seen = np.zeros((len(places), len(places)), bool)
    for i, (y, x) in enumerate(places):
        for place in itertools.product(_neighbors(y, height, rows), _neighbors(x, width, columns)):
            if place in number:
                seen[i, number[place]] = True
    return seen[: sizes.q, : sizes.k]


def tiled_natten(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, height: int, width: int,
    kernel_height: int = 7, kernel_width: int = 7, tile_height: int = 8, tile_width: int = 8,
) -> Array:  # fmt: skip
    """Places by walking the tiles, each from its corner."""
    below = max(height, -(-max(sizes.q, sizes.k) // width // tile_height * tile_height) + tile_height)
    corners = itertools.product(range(0, below, tile_height), range(0, width, tile_width))
    tile = list(itertools.product(range(tile_height), range(tile_width)))
    places = [(y + dy, x + dx) for y, x in corners for dy, dx in tile]
    return _natten(places, sizes, height, width, kernel_height, kernel_width)[q, k]


def morton_natten(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    height: int, width: int, kernel_height: int = 7, kernel_width: int = 7,
) -> Array:  # fmt: skip
    """Places by quarters: a square of side 2n is its four squares of side n, by rows."""
    places = [(0, 0)]
    side = 1
    while len(places) < max(sizes.q, sizes.k):
        places = [(y + dy, x + dx) for dy in (0, side) for dx in (0, side) for y, x in places]
        side *= 2
    return _natten(places, sizes, height, width, kernel_height, kernel_width)[q, k]


def _grid(sizes: Sizes, width: int, down: int, right: int) -> Array:
    """[q, k]: pairs whose places are congruent, from the matrix of each axis."""
    height = -(-max(sizes.q, sizes.k) // width)
    rows = np.tile(np.eye(down), (-(-height // down),) * 2)[:height, :height]
    columns = np.tile(np.eye(right), (-(-width // right),) * 2)[:width, :width]
    return np.kron(rows, columns)[: sizes.q, : sizes.k] > 0


def dilated_2d(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int, dilation: int = 2) -> Array:
    return _grid(sizes, width, dilation, dilation)[q, k]


def maxvit_grid(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, height: int, width: int, grid: int = 7) -> Array:
    """MaxViT: the image reshaped to [grid, height / grid, grid, width / grid]; tokens attend along the grid's axes."""
    rows, columns = (np.arange(n).reshape(grid, -1) % (n // grid) for n in (height, width))
    number = (rows.ravel()[:, None] * width + columns.ravel()).ravel()
    return number[q] == number[k]


def axial_2d(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int) -> Array:
    height = -(-max(sizes.q, sizes.k) // width)
    row = np.kron(np.eye(height), np.ones((width, width)))
    column = np.kron(np.ones((height, height)), np.eye(width))
    return (row + column)[q, k] > 0


def halo(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int, block: int = 8, halo: int = 3) -> Array:
    """Each block's queries at once: the keys of its rectangle, made larger on all sides."""
    places = _places(sizes, width)
    seen = np.zeros((len(places), len(places)), bool)
    image = np.arange(len(places)).reshape(-1, width)
    for top, left in itertools.product(range(0, len(image), block), range(0, width, block)):
        queries = image[top : top + block, left : left + block].ravel()
        keys = image[max(0, top - halo) : top + block + halo, max(0, left - halo) : left + block + halo].ravel()
        seen[np.ix_(queries, keys)] = True
    return seen[q, k]


ORACLES: dict[str, Oracle] = {
    "local_2d": Oracle(mask=local_2d, constants=({"width": 14}, {"width": 5, "radius": 1}, {"width": 9, "radius": 0})),
    "local_2d_distance": Oracle(
        mask=local_2d_distance,
        constants=({"width": 12}, {"width": 7, "distance": 5}, {"width": 9, "distance": 4, "p": 1}),
    ),
    "tiled_natten": Oracle(
        mask=tiled_natten,
        constants=(
            {"height": 16, "width": 16},
            {"height": 6, "width": 12, "kernel_height": 3, "kernel_width": 5, "tile_height": 2, "tile_width": 4},
        ),
    ),
    "morton_natten": Oracle(
        mask=morton_natten,
        constants=(
            {"height": 16, "width": 16},
            {"height": 8, "width": 16, "kernel_height": 3, "kernel_width": 5},
        ),
    ),
    "dilated_2d": Oracle(mask=dilated_2d, constants=({"width": 14}, {"width": 10, "dilation": 3})),
    "maxvit_grid": Oracle(
        mask=maxvit_grid, constants=({"height": 14, "width": 14}, {"height": 12, "width": 16, "grid": 4})
    ),
    "axial_2d": Oracle(mask=axial_2d, constants=({"width": 14}, {"width": 1}, {"width": 9})),
    "halo": Oracle(
        mask=halo, constants=({"width": 14}, {"width": 9, "block": 3, "halo": 2}, {"width": 8, "block": 4, "halo": 0})
    ),
}
