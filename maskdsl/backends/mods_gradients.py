"""What flex's backward pass asks of a score's lookups, met by the emitted code.

Not here: a tensor of its own for every place where a float table is read (`mods`).
"""

from __future__ import annotations

from dataclasses import replace

from maskdsl.ir.nodes import Lookup, Node, Op, Symbol, literal
from maskdsl.ir.ops import make
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.types import FLOAT, INT
from maskdsl.ir.walk import rewrite


def with_spread_indices(score: Node) -> Node:
    """The score, with indices of float tables that are computed from b and h alone made to vary with q as well.

    The backward pass adds into the table at the index, broadcast to the tile; Triton does so from a plain coordinate or
    a tile, but not from the one-element tensor that Inductor makes of `h // 4` (torch 2.11: "rank mismatch").
    """
    reads = symbols_read(score)

    def spread(node: Node) -> Node | None:
        if not (isinstance(node, Lookup) and node.type is FLOAT):
            return None
        if any(reads.get(id(i), frozenset()) & {"q", "k"} for i in node.indices):
            return None
        computed = [place for place, index in enumerate(node.indices) if isinstance(index, Op)]
        if not computed:
            return None
        indices = list(node.indices)
        before = make("lt", Symbol("q", INT), literal(0))
        indices[computed[0]] = make("choose", before, literal(0), indices[computed[0]])
        return replace(node, indices=tuple(indices))

    return rewrite(score, spread)
