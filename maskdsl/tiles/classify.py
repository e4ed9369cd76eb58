"""The verdict of every tile of a mask, in NumPy, and what is true of it: what `explain --tiles` compares.

Not here: the tables that verdicts read (`arrays`), block lists (the backends).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from maskdsl.tiles.arrays import Shape, Tables, with_tile_tables
from maskdsl.tiles.evaluate import Array, evaluate, evaluate_all
from maskdsl.tiles.verdict import Verdict

NONE, SOME, ALL = 0, 1, 2

PAIRS_AT_ONCE = 1 << 18
"""Pairs evaluated in one go; bounds the memory at tens of MiB."""


def classify(verdict: Verdict, shape: Shape, tables: Tables, sizes: Mapping[str, int]) -> Array:
    """NONE, SOME or ALL for every tile: int8 [B or 1, H or 1, q tiles, k tiles].

    ALL and NONE are certain; a SOME may in truth be either. A tile that sticks out over a length is never ALL.
    """
    symbols = _all_tiles(verdict, shape)
    bound = with_tile_tables(verdict, shape, tables, sizes)
    certain, possible = evaluate_all((verdict.certain, verdict.possible), symbols, bound, sizes)
    inside = _inside(verdict, shape, symbols["q_tile"], symbols["k_tile"])
    found = np.where(certain & possible & inside, ALL, np.where(possible, SOME, NONE)).astype(np.int8)
    tiles = (-(-shape.q_len // verdict.q_block), -(-shape.kv_len // verdict.k_block))
    rows = (shape.b if verdict.reads_b else 1, shape.h if verdict.reads_h else 1)
    return np.broadcast_to(found, (*rows, *tiles)).copy()


def refine(verdict: Verdict, found: Array, shape: Shape, tables: Tables, sizes: Mapping[str, int]) -> Array:
    """What `classify` found with every SOME replaced by the truth, from the pairs of those tiles alone."""
    exact = found.copy()
    for places in parts_of(np.argwhere(found == SOME), verdict):
        b, h, row, column = places.T
        seen = evaluate(verdict.mask, pair_symbols(verdict, shape, places), tables, sizes)
        every, some = extremes(seen)
        every = every & _inside(verdict, shape, row, column)
        exact[b, h, row, column] = np.where(every, ALL, np.where(some, SOME, NONE))
    return exact


def extremes(pairs: Array) -> tuple[Array, Array]:
    """Whether all, and whether any, of the pairs of tiles [n, queries, keys] (or broadcastable to that) are true."""
    whole: Array = pairs.reshape((1,) * (3 - pairs.ndim) + pairs.shape)
    return np.asarray(whole.all((1, 2))), np.asarray(whole.any((1, 2)))


def parts_of(places: Array, verdict: Verdict) -> Iterator[Array]:
    """The rows of `places`, as many at a time as `PAIRS_AT_ONCE` allows."""
    step = max(1, PAIRS_AT_ONCE // (verdict.q_block * verdict.k_block))
    for begin in range(0, len(places), step):
        yield places[begin : begin + step]


def _inside(verdict: Verdict, shape: Shape, row: Array, column: Array) -> Array:
    return ((row + 1) * verdict.q_block <= shape.q_len) & ((column + 1) * verdict.k_block <= shape.kv_len)


def _all_tiles(verdict: Verdict, shape: Shape) -> dict[str, Array]:
    """The symbols of a verdict over all tiles, broadcastable to [B, H, q tiles, k tiles]."""
    b, h = (np.arange(n if reads else 1) for n, reads in ((shape.b, verdict.reads_b), (shape.h, verdict.reads_h)))
    rows, columns = -(-shape.q_len // verdict.q_block), -(-shape.kv_len // verdict.k_block)
    return tile_symbols(verdict, shape, np.ix_(b, h, np.arange(rows), np.arange(columns)))


def tile_symbols(verdict: Verdict, shape: Shape, places: tuple[Array, ...]) -> dict[str, Array]:
    """The symbols that a verdict reads, at tiles given by b, h, row and column."""
    b, h, row, column = places
    symbols = {"b": b, "h": h, "q_len": np.array(shape.q_len), "kv_len": np.array(shape.kv_len)}
    for side, tile, block, length in (
        ("q", row, verdict.q_block, shape.q_len),
        ("k", column, verdict.k_block, shape.kv_len),
    ):
        symbols[f"{side}_tile"] = tile
        symbols[f"{side}_low"] = tile * block
        symbols[f"{side}_high"] = np.minimum(tile * block + block, length) - 1
    return symbols


def pair_symbols(verdict: Verdict, shape: Shape, places: Array) -> dict[str, Array]:
    """The symbols that a mask reads, at all pairs of the tiles `places` [n, 4]: broadcastable to [n, queries, keys].

    In a tile that sticks out the last position within the length stands for those beyond.
    """
    b, h, row, column = (places[:, i, None, None] for i in range(4))
    q = row * verdict.q_block + np.arange(verdict.q_block)[:, None]
    k = column * verdict.k_block + np.arange(verdict.k_block)
    lengths = {"q_len": np.array(shape.q_len), "kv_len": np.array(shape.kv_len)}
    return {"b": b, "h": h, "q": np.minimum(q, shape.q_len - 1), "k": np.minimum(k, shape.kv_len - 1), **lengths}
