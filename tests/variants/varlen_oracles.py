"""Oracles of sequences packed apart: documents with their own numbers of queries and keys, gaps and slots of keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from oracle import Array, Oracle, Sizes
from pairs import Draw, Tables, whole


def blocks(
    sizes: Sizes, q_document: Array, keys: Callable[[int, int], Sequence[int]], sees: Callable[[int, int, int], bool]
) -> Array:
    """Dense [B, 1, Q, K], block by block; `sees` takes query and key within the block, and by how much it is wider."""
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    for row, numbers in enumerate(q_document):
        for d in np.unique(numbers):
            queries, mine = np.flatnonzero(numbers == d), keys(row, d)
            for i, q in enumerate(queries):
                for j, k in enumerate(mine):
                    if q < sizes.q and k < sizes.k:
                        seen[row, 0, q, k] = sees(i, j, len(mine) - len(queries))
    return seen


def varlen_rule(sees: Callable[..., bool]) -> Callable[..., Array]:
    def oracle(sizes: Sizes, q_document: Array, k_document: Array, window: int = 4096) -> Array:
        def keys(row: int, d: int) -> Sequence[int]:
            return np.flatnonzero(k_document[row] == d)  # type: ignore[return-value]

        return blocks(sizes, q_document, keys, _with_window(sees, window))

    return oracle


def gappy_rule(sees: Callable[..., bool]) -> Callable[..., Array]:
    def oracle(sizes: Sizes, q_document: Array, k_start: Array, k_end: Array) -> Array:
        return blocks(sizes, q_document, lambda row, d: range(k_start[row, d], k_end[row, d]), sees)

    return oracle


def padded_rule(sees: Callable[..., bool]) -> Callable[..., Array]:
    def oracle(
        sizes: Sizes, q_document: Array, k_length: Array, padding: int,
        window: int = 4096, left: int = 0, right: int = 0,
    ) -> Array:  # fmt: skip
        def keys(row: int, d: int) -> Sequence[int]:
            return range(d * padding, d * padding + k_length[row, d])

        return blocks(sizes, q_document, keys, _with_window(sees, window, left, right))

    return oracle


def _with_window(sees: Callable[..., bool], *sides: int) -> Callable[[int, int, int], bool]:
    """The rule with as many sides of a window as it takes after its three places."""
    wanted = sees.__code__.co_argcount - 3
    chosen = sides[:1] if wanted == 1 else sides[1:]
    return lambda i, j, wider: sees(i, j, wider, *chosen[:wanted])


def everything(i: int, j: int, wider: int) -> bool:
    return True


def top_left(i: int, j: int, wider: int) -> bool:
    return j <= i


def bottom_right(i: int, j: int, wider: int) -> bool:
    return j <= i + wider


def local_top_left(i: int, j: int, wider: int, window: int) -> bool:
    return j in range(i - window + 1, i + 1)


def local_bottom_right(i: int, j: int, wider: int, window: int) -> bool:
    return j in range(i + wider - window + 1, i + wider + 1)


def two_sided(i: int, j: int, wider: int, left: int, right: int) -> bool:
    return j in range(i + wider - left, i + wider + right + 1)


def ends(document: Array, n: int) -> Array:
    """One past the last token of each document, where an absent one ends with the document before it; int32 [b, n]."""
    return np.stack([np.searchsorted(row, np.arange(n), side="right") for row in document]).astype(np.int32)


def _varlen(*names: str) -> Draw:
    """Documents with their own numbers of queries and keys, some of them with none; gaps and slots for keys."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> Tables:
        length, n = max(sizes.q, sizes.k), 5
        q_document, k_document = np.sort(rng.integers(0, n, (2, sizes.b, length)), axis=-1).astype(np.int32)
        every = {"q_document": q_document, "k_document": k_document}
        for name, found in (("q", q_document), ("k", k_document)):
            every[f"{name}_end"] = ends(found, n)
            every[f"{name}_start"] = np.pad(every[f"{name}_end"][:, :-1], ((0, 0), (1, 0)))
        if "k_document" not in names:
            every["k_start"] += 1
            every["k_end"] = np.maximum(every["k_end"] - 1, every["k_start"])
        every["k_length"] = rng.integers(0, 4, (sizes.b, n)).astype(np.int32)
        return {name: every[name] for name in names}

    return draw


q_and_k = ("q_document", "k_document")
slots = ("q_document", "k_length")
windows: tuple[dict[str, int], ...] = ({}, {"window": 1}, {"window": 3})
paddings = ({"padding": 3}, {"padding": 8})

ORACLES: dict[str, Oracle] = {
    "varlen": Oracle(mask=whole(varlen_rule(everything)), inputs=_varlen(*q_and_k)),
    "varlen_causal": Oracle(mask=whole(varlen_rule(top_left)), inputs=_varlen(*q_and_k, "q_start", "k_start")),
    "varlen_causal_bottom_right": Oracle(
        mask=whole(varlen_rule(bottom_right)), inputs=_varlen(*q_and_k, "q_end", "k_end")
    ),
    "varlen_causal_local": Oracle(
        mask=whole(varlen_rule(local_top_left)),
        inputs=_varlen(*q_and_k, "q_start", "k_start"),
        constants=windows,
    ),
    "varlen_causal_local_bottom_right": Oracle(
        mask=whole(varlen_rule(local_bottom_right)),
        inputs=_varlen(*q_and_k, "q_end", "k_end"),
        constants=windows,
    ),
    "varlen_gappy_keys": Oracle(mask=whole(gappy_rule(everything)), inputs=_varlen("q_document", "k_start", "k_end")),
    "varlen_causal_gappy_keys": Oracle(
        mask=whole(gappy_rule(bottom_right)), inputs=_varlen("q_document", "q_end", "k_start", "k_end")
    ),
    "varlen_padded_keys": Oracle(mask=whole(padded_rule(everything)), inputs=_varlen(*slots), constants=paddings),
    "varlen_causal_padded_keys": Oracle(
        mask=whole(padded_rule(bottom_right)), inputs=_varlen(*slots, "q_end"), constants=paddings
    ),
    "varlen_local_padded_keys": Oracle(
        mask=whole(padded_rule(two_sided)),
        inputs=_varlen(*slots, "q_end"),
        constants=({"padding": 3, "left": 0, "right": 1}, {"padding": 5, "left": 2, "right": 0}),
    ),
    "varlen_causal_local_padded_keys": Oracle(
        mask=whole(padded_rule(local_bottom_right)),
        inputs=_varlen(*slots, "q_end"),
        constants=({"padding": 3}, {"padding": 4, "window": 2}),
    ),
}
