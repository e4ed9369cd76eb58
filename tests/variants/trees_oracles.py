"""Oracles of the trees family: a tree of drafted tokens in five notations, a window over it, lookahead decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle import Array, Oracle, Sizes
from pairs import Draw, Tables, pairs, per_row, whole

NODES = 40


def _after_context(sizes: Sizes, context: Array, trees: Array) -> Array:
    """Rows of nodes: ones for the context, then the tree's dense matrix, and nothing beside or below it."""
    seen = np.zeros((sizes.b, 1, max(sizes.q, NODES), sizes.k + NODES), bool)
    for b, n in enumerate(context):
        seen[b, 0, :, :n] = True
        seen[b, 0, :NODES, n : n + NODES] = trees[b]
    return seen[:, :, : sizes.q, : sizes.k]


def tree_ancestors(sizes: Sizes, context: Array, ancestor: Array) -> Array:
    return _after_context(sizes, context, ancestor)


def tree_ancestors_in_sequence(sizes: Sizes, context: Array, ancestor: Array) -> Array:
    """Prefill and verification put together from two dense masks."""
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    rows = _after_context(Sizes(sizes.b, 1, sizes.q, sizes.k), context, ancestor)
    for b, n in enumerate(context):
        seen[b, 0, :n] = np.tril(np.ones((sizes.q, sizes.k), bool))[:n]
        seen[b, 0, n:] = rows[b, 0, : max(sizes.q - n, 0)]
    return seen


def tree_parents(sizes: Sizes, context: Array, parent: Array) -> Array:
    """EAGLE's: a node's row is its parent's row and itself."""
    trees = np.tile(np.eye(NODES, dtype=bool), (sizes.b, 1, 1))
    for b, i in np.ndindex(*parent.shape):
        if parent[b, i] >= 0:
            trees[b, i] |= trees[b, parent[b, i]]
    return _after_context(sizes, context, trees)


def tree_paths(sizes: Sizes, context: Array, path: Array) -> Array:
    trees = np.zeros((sizes.b, NODES, NODES), bool)
    for b, i in np.ndindex(sizes.b, NODES):
        trees[b, i, path[b, i][path[b, i] >= 0]] = True
    return _after_context(sizes, context, trees)


def tree_intervals(sizes: Sizes, context: Array, enter: Array, leave: Array) -> Array:
    """Subtrees as sets of entries: an ancestor's holds its descendants'."""
    rows = range(sizes.b)
    subtrees = [[set(range(*ends)) for ends in zip(enter[b], leave[b], strict=True)] for b in rows]
    trees = [[[lower <= upper for upper in row] for lower in row] for row in subtrees]
    return _after_context(sizes, context, np.array(trees))


def tree_bits(sizes: Sizes, context: Array, word: Array) -> Array:
    octets = np.ascontiguousarray(word.astype("<i4")).view(np.uint8)
    return _after_context(sizes, context, np.unpackbits(octets, axis=2, bitorder="little")[:, :, :NODES].astype(bool))


def tree_window(sizes: Sizes, context: Array, ancestor: Array, depth: Array, window: int = 4096) -> Array:
    """Takes from the tree's mask what is too far; rows past the tree keep the last node's position."""
    seen = _after_context(sizes, context, ancestor)
    for b, n in enumerate(context):
        places = [*range(n), *(n + depth[b])]
        for q, k in zip(*np.nonzero(seen[b, 0]), strict=True):
            near = n + depth[b, min(q, NODES - 1)] - places[k] < window
            seen[b, 0, q, k] = near
    return seen


def lookahead_decoding(sizes: Sizes, context: Array, window: int = 7, ngram: int = 5) -> Array:
    """Upstream's dense mask over the new tokens, filled level by level, for equal levels and nothing copied."""
    levels = guess = ngram - 1
    guesses = 1 + window * levels
    n = guesses + guess * (-(-max(sizes.q, sizes.k) // guess) + 1)
    new = np.zeros((n, n), bool)
    new[:, 0] = True
    for level in range(levels):
        rows = slice(1 + window * level, 1 + window * (level + 1))
        new[rows, 1 : 1 + window] |= np.tril(np.ones((window, window), bool))
        for earlier in range(1, level + 1):
            new[rows, 1 + window * earlier : 1 + window * (earlier + 1)] |= np.eye(window, dtype=bool)
    for first in range(guesses, n, guess):
        new[first : first + guess, first : first + guess] = np.tril(np.ones((guess, guess), bool))
    return pairs(sizes, lambda b, q, k: k < context[b] or bool(new[q, k - context[b]]))


def _tree(rng: np.random.Generator) -> list[int]:
    """Parents of random trees of at most nine levels, most of them deep; parents come before children, -1 is a root's."""
    parents, depths = [-1], [0]
    while len(parents) < NODES:
        open_nodes = [i for i, depth in enumerate(depths) if depth < 8]
        parent = int(rng.choice([-1, open_nodes[-1], rng.choice(open_nodes)], p=[0.1, 0.6, 0.3]))
        parents.append(parent)
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    return parents


def _lines(parents: list[int]) -> list[list[int]]:
    """Every node's way to the root, itself first."""
    lines: list[list[int]] = []
    for node, parent in enumerate(parents):
        lines.append([node, *(lines[parent] if parent >= 0 else [])])
    return lines


def _depth_first(parents: list[int]) -> tuple[list[int], list[int]]:
    """When each node is entered and left; children are walked in their order."""
    sizes = [1] * (NODES + 1)  # the last entry, also at -1, stands above the roots
    for node in reversed(range(NODES)):
        sizes[parents[node]] += sizes[node]
    enter, free = [0] * NODES, [0] * (NODES + 1)
    for node in range(NODES):
        enter[node] = free[parents[node]]
        free[parents[node]] += sizes[node]
        free[node] = enter[node] + 1
    return enter, [first + size for first, size in zip(enter, sizes[:NODES], strict=True)]


def _notations(parents: list[int]) -> Tables:
    """One tree in every notation."""
    lines = _lines(parents)
    ancestor = np.array([[j in line for j in range(NODES)] for line in lines])
    bits = np.packbits(np.pad(ancestor, ((0, 0), (0, 64 - NODES))), axis=1, bitorder="little")
    enter, leave = _depth_first(parents)
    found = {
        "parent": parents,
        "path": [line + [-1] * (9 - len(line)) for line in lines],
        "enter": enter,
        "leave": leave,
        "depth": [len(line) - 1 for line in lines],
        "word": bits.view("<i4"),
    }
    return {"ancestor": ancestor, **{name: np.array(table, np.int32) for name, table in found.items()}}


def _trees(*names: str) -> Draw:
    def draw(rng: np.random.Generator, sizes: Sizes) -> Tables:
        rows = [_notations(_tree(rng)) for _ in range(sizes.b)]
        return {**_context(rng, sizes), **{name: np.stack([row[name] for row in rows]) for name in names}}

    return draw


def _context(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"context": per_row(lambda s: s.k)(rng, sizes)}


def _oracle(mask: Callable[..., Array], *names: str) -> Oracle:
    return Oracle(mask=whole(mask), inputs=_trees(*names))


ORACLES: dict[str, Oracle] = {
    "tree_ancestors": _oracle(tree_ancestors, "ancestor"),
    "tree_ancestors_in_sequence": _oracle(tree_ancestors_in_sequence, "ancestor"),
    "tree_parents": _oracle(tree_parents, "parent"),
    "tree_paths": _oracle(tree_paths, "path"),
    "tree_intervals": _oracle(tree_intervals, "enter", "leave"),
    "tree_bits": _oracle(tree_bits, "word"),
    "tree_window": Oracle(
        mask=whole(tree_window),
        inputs=_trees("ancestor", "depth"),
        constants=({}, {"window": 1}, {"window": 4}, {"window": 20}),
    ),
    "lookahead_decoding": Oracle(
        mask=whole(lookahead_decoding),
        inputs=_context,
        constants=({}, {"window": 3, "ngram": 3}, {"window": 1, "ngram": 2}, {"window": 5, "ngram": 4}),
    ),
}
