"""How many tiles a row of tiles visits, where the formula alone tells: what kernel options depend on.

Not here: the lists of a call (the backends), shares of pairs and tiles for people (`report`).
"""

from __future__ import annotations

import numpy as np

from maskdsl.ir.nodes import Lookup, Size
from maskdsl.ir.walk import topological
from maskdsl.tiles.arrays import Shape
from maskdsl.tiles.classify import tile_symbols
from maskdsl.tiles.evaluate import evaluate
from maskdsl.tiles.verdict import Verdict

ROWS = 32
"""Rows that are looked at, at equal distances."""


def visited_tiles(verdict: Verdict, q_len: int, kv_len: int) -> float | None:
    """The key tiles that a row of queries visits, the mean of some rows of the first head; None where tables decide."""
    if any(isinstance(node, Lookup | Size) for node in topological([verdict.possible])):
        return None
    rows, columns = -(-q_len // verdict.q_block), -(-kv_len // verdict.k_block)
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).round().astype(int))
    first = np.zeros(1, int)
    symbols = tile_symbols(verdict, Shape(1, 1, q_len, kv_len), np.ix_(first, first, chosen, np.arange(columns)))
    possible = evaluate(verdict.possible, symbols, {}, {})
    return float(np.broadcast_to(possible, (1, 1, len(chosen), columns)).sum(-1).mean())
