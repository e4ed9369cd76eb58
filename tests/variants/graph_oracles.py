"""Oracles of the graph family: neighbors, biases for pairs of nodes, and windows over atoms and residues."""

from __future__ import annotations

import numpy as np
from oracle import Array, Oracle, Sizes


def _pairs(sizes: Sizes) -> tuple[int, int, int]:
    length = max(sizes.q, sizes.k)
    return sizes.b, length, length


def _adjacency(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"adjacency": rng.random(_pairs(sizes)) < 0.2}


def graph_attention(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, adjacency: Array) -> Array:
    """Edge by edge."""
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    seen[:, 0] = np.eye(sizes.q, sizes.k)
    for row, i, j in np.argwhere(adjacency[:, : sizes.q, : sizes.k]):
        seen[row, 0, i, j] = True
    return seen


def virtual_node(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, adjacency: Array) -> Array:
    seen = graph_attention(b, h, q, k, sizes, adjacency)
    seen[:, :, 0] = True
    seen[..., 0] = True
    return seen


def _neighbors(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    _, length, _ = _pairs(sizes)
    return {"neighbor": rng.integers(-1, length, (sizes.b, length, 5)).astype(np.int32)}


def neighbor_list(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, neighbor: Array) -> Array:
    seen = np.zeros((sizes.b, 1, sizes.q, max(sizes.q, sizes.k) + 1), bool)
    for row, i in np.ndindex(sizes.b, sizes.q):
        seen[row, 0, i, neighbor[row, i]] = True
    return seen[..., : sizes.k]


def _distances(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {
        "bias": rng.standard_normal((sizes.h, 6)).astype(np.float32),
        "distance": rng.integers(0, 6, _pairs(sizes)).astype(np.int32),
    }


def graphormer_spatial(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, distance: Array
) -> Array:
    """As an embedding: a one-hot vector of the distance times the table."""
    one_hot = np.eye(bias.shape[1])[distance[:, : sizes.q, : sizes.k]]
    return score + np.einsum("bqkd,hd->bhqk", one_hot, bias.astype(float))


def _paths(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {
        "weight": rng.standard_normal((sizes.h, 4, 3)).astype(np.float32),
        "edge": rng.integers(0, 3, (*_pairs(sizes), 4)).astype(np.int32),
        "length": rng.integers(0, 7, _pairs(sizes)).astype(np.int32),
    }


def graphormer_edge(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, weight: Array, edge: Array, length: Array
) -> Array:
    """As an embedding of each edge, those past the path's end set to zero, divided by the path's length."""
    one_hot = np.eye(3)[edge[:, : sizes.q, : sizes.k]]
    edges = length[:, : sizes.q, : sizes.k]
    one_hot[np.arange(4) >= edges[..., None]] = 0.0
    total = np.einsum("bqknt,hnt->bhqk", one_hot, weight.astype(float))
    return score + total / np.where(edges == 0, 1, edges)[:, None]


def _bias(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    _, length, _ = _pairs(sizes)
    return {"bias": rng.standard_normal((sizes.b, sizes.h, length, length)).astype(np.float32)}


def pair_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    return score + bias.astype(float)[:, :, : sizes.q, : sizes.k]


def shared_pair_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, rows: int
) -> Array:
    repeated = np.repeat(bias.astype(float), rows, axis=0)
    return score + repeated[: sizes.b, :, : sizes.q, : sizes.k]


def sequence_local_atoms(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, queries: int = 32, keys: int = 128
) -> Array:
    """AlphaFold 3's algorithm 7, with the centers of the blocks as fractions."""
    seen = np.zeros((sizes.q, sizes.k), bool)
    for center in np.arange((queries - 1) / 2, sizes.q + queries, queries):
        inside = np.abs(np.arange(sizes.q) - center) < queries / 2
        near = np.abs(np.arange(sizes.k) - center) < keys / 2
        seen |= inside[:, None] & near
    return seen[q, k]


def total_width_window(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int) -> Array:
    seen = np.zeros((sizes.q, sizes.k), bool)
    for i in range(sizes.q):
        seen[i, max(0, i - width // 2) : i + width // 2 + 1] = True
    return seen[q, k]


ORACLES: dict[str, Oracle] = {
    "graph_attention": Oracle(mask=graph_attention, inputs=_adjacency),
    "virtual_node": Oracle(mask=virtual_node, inputs=_adjacency),
    "neighbor_list": Oracle(mask=neighbor_list, inputs=_neighbors),
    "graphormer_spatial": Oracle(score=graphormer_spatial, inputs=_distances),
    "graphormer_edge": Oracle(score=graphormer_edge, inputs=_paths),
    "pair_bias": Oracle(score=pair_bias, inputs=_bias),
    "shared_pair_bias": Oracle(score=shared_pair_bias, inputs=_bias, constants=({"rows": 1}, {"rows": 2}, {"rows": 5})),
    "sequence_local_atoms": Oracle(
        mask=sequence_local_atoms, constants=({}, {"queries": 4, "keys": 9}, {"queries": 5, "keys": 8})
    ),
    "total_width_window": Oracle(mask=total_width_window, constants=({"width": 0}, {"width": 7}, {"width": 8})),
}
