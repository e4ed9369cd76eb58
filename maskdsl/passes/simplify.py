"""Replaces expressions by smaller ones of the same value, by the laws of logic, of int32 and of IEEE floats.

    >>> from maskdsl.passes.shown import shown
    >>> print(shown("mask past = not q - k < 0 and (true or k == 0)", after="simplify"))
    mask past = q - k >= 0
    >>> print(shown("mask near = q + 1 - 3 <= k", after="simplify"))
    mask near = q - 2 <= k

Law: each rule below names its own. A rule about ints holds with wrapping; a rule about floats holds for infinities,
NaN and negative zero too, up to the rounding of a power. `0 <= a < b` stays as it is: the tile analysis reads it.
"""

from __future__ import annotations

from collections.abc import Callable

from maskdsl.ir.nodes import Node, Op, Variant
from maskdsl.ir.walk import children, with_children
from maskdsl.passes.context import Context
from maskdsl.passes.fold_constants import folded
from maskdsl.passes.roots import map_roots, rewrite_all
from maskdsl.passes.share import Pool
from maskdsl.passes.simplify_logic import LOGIC_RULES
from maskdsl.passes.simplify_numbers import NUMBER_RULES

Rule = Callable[[Op], Node | None]

RULES: dict[str, tuple[Rule, ...]] = {**LOGIC_RULES, **NUMBER_RULES}
"""The rules for each row of the table of functions, tried in order."""


def run(variant: Variant, context: Context) -> Variant:
    """The variant with every rule applied until none applies."""
    return map_roots(variant, lambda roots: rewrite_all(roots, _Simplifier().simplified))


class _Simplifier:
    """One run: the pool makes equal values identical, which is how rules see that they are equal."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.done: dict[int, Node] = {}

    def simplified(self, node: Node) -> Node:
        """The node after all rules; its children are simplified already."""
        node = self.pool.one(node)
        if id(node) not in self.done:
            smaller = _apply(node)
            self.done[id(node)] = node if smaller is None else self._rebuilt(smaller)
        return self.done[id(node)]

    def _rebuilt(self, node: Node) -> Node:
        """What a rule made, simplified in its turn: at most a few new nodes over old ones."""
        below = tuple(self._rebuilt(c) if id(c) not in self.done else self.done[id(c)] for c in children(node))
        return self.simplified(with_children(node, below))


def _apply(node: Node) -> Node | None:
    if not isinstance(node, Op):
        return None
    if (value := folded(node)) is not None:
        return value
    return next((made for rule in RULES.get(node.name, ()) if (made := rule(node)) is not None), None)
