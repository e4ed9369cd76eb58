"""How many tiles a row of tiles visits, at least and at most, whatever tables hold: what kernel options depend on.

Not here: the lists of a call (the backends), shares of pairs and tiles for people (`report`).
"""

from __future__ import annotations

import numpy as np

from maskdsl.ir.algebra import FALSE, TRUE, build
from maskdsl.ir.nodes import Lookup, Node, Op, Size
from maskdsl.ir.types import BOOL
from maskdsl.ir.walk import topological
from maskdsl.tiles.arrays import Shape
from maskdsl.tiles.classify import tile_symbols
from maskdsl.tiles.evaluate import evaluate_all
from maskdsl.tiles.verdict import Verdict

ROWS = 32
"""Rows that are looked at, at equal distances."""


def visited_tiles(verdict: Verdict, q_len: int, kv_len: int) -> tuple[float, float]:
    """The key tiles that a row of queries visits at least and at most, means of some rows of the first head.

    They are the same where no table or size decides a tile.
    """
    rows, columns = -(-q_len // verdict.q_block), -(-kv_len // verdict.k_block)
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).round().astype(int))
    first = np.zeros(1, int)
    symbols = tile_symbols(verdict, Shape(1, 1, q_len, kv_len), np.ix_(first, first, chosen, np.arange(columns)))
    found = evaluate_all(_without_tables(verdict.possible), symbols, {}, {})
    least, most = (float(np.broadcast_to(x, (1, 1, len(chosen), columns)).sum(-1).mean()) for x in found)
    return least, most


def _without_tables(root: Node) -> tuple[Node, Node]:
    """What implies a bool, and what it implies, neither of which reads a table or a size."""
    reads: set[int] = set()
    least, most = dict[int, Node](), dict[int, Node]()
    for node in topological([root]):
        below = node.args if isinstance(node, Op) else ()
        if isinstance(node, Lookup | Size) or any(id(a) in reads for a in below):
            reads.add(id(node))
        if node.type is not BOOL:
            continue
        least[id(node)], most[id(node)] = (FALSE, TRUE) if id(node) in reads else (node, node)
        if id(node) in reads and isinstance(node, Op) and node.name in ("and", "or", "not"):
            down, up = [least[id(a)] for a in below], [most[id(a)] for a in below]
            if node.name == "not":
                down, up = up, down
            least[id(node)], most[id(node)] = build(node.name, *down), build(node.name, *up)
    return least[id(root)], most[id(root)]
