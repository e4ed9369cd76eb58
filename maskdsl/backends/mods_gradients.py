"""What flex's backward pass asks of a score's lookups, met by the emitted code.

Not here: a tensor of its own for every place where a float table is read (`mods`).
"""

from __future__ import annotations

from dataclasses import replace

from maskdsl.ir.nodes import Lookup, Node, Symbol, literal
from maskdsl.ir.ops import make
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.types import FLOAT, INT
from maskdsl.ir.walk import rewrite


def with_spread_indices(score: Node) -> Node:
    """The score, with indices of float tables that are constants, or computed of b and h, made to vary with q as well.

    The backward pass adds into the table at the index, broadcast to the tile; Triton does so from a plain coordinate or
    a tile, but not from the one-element tensor that Inductor makes of `h // 4`, or of `1` (torch 2.11: "rank
    mismatch"). A table of one value has no index, and needs none.
    """
    reads = symbols_read(score)

    def spread(node: Node) -> Node | None:
        if not (isinstance(node, Lookup) and node.type is FLOAT):
            return None
        if any(reads.get(id(i), frozenset()) & {"q", "k"} for i in node.indices):
            return None
        computed = [place for place, index in enumerate(node.indices) if not isinstance(index, Symbol)]
        if not computed:
            return None
        indices = list(node.indices)
        never = make("lt", Symbol("q", INT), literal(0))
        indices[computed[0]] = make("choose", never, literal(0), indices[computed[0]])
        return replace(node, indices=tuple(indices))

    return rewrite(score, spread)
