"""What a node depends on: coordinates, tables, and floats that round."""

from __future__ import annotations

from maskdsl.ir.interval import is_rounded
from maskdsl.ir.nodes import Literal, Node, Op, Symbol
from maskdsl.ir.types import FLOAT
from maskdsl.ir.walk import children, topological


def symbols_read(root: Node) -> dict[int, frozenset[str]]:
    """For every node below `root`, by identity: the names of the symbols that its value depends on."""
    found: dict[int, frozenset[str]] = {}
    for node in topological(root):
        own = frozenset({node.name}) if isinstance(node, Symbol) else frozenset[str]()
        found[id(node)] = own.union(*(found[id(c)] for c in children(node)))
    return found


def rounds_below(root: Node) -> dict[int, bool]:
    """For every node below `root`, by identity: whether its value comes out of float arithmetic, which rounds, or out
    of a literal that float32 rounds.

    Such values differ between the reference, the kernels and the tile analysis, so only widened bounds hold for all.
    """
    found: dict[int, bool] = {}
    for node in topological(root):
        own = node.type is FLOAT and (isinstance(node, Op) or (isinstance(node, Literal) and is_rounded(node.value)))
        found[id(node)] = own or any(found[id(c)] for c in children(node))
    return found
