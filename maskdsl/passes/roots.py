"""Changing all the expressions of a variant at once, so that what they share stays shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from maskdsl.ir.nodes import Node, Variant
from maskdsl.ir.walk import children, topological, with_children


def map_roots(variant: Variant, change: Callable[[Sequence[Node]], Sequence[Node]]) -> Variant:
    """The variant with its roots, in the order of `Variant.roots`, replaced by what `change` makes of them."""
    roots = variant.roots
    changed = dict(zip((name for name, _ in roots), change([node for _, node in roots]), strict=True))
    return replace(variant, **changed)  # type: ignore[arg-type]


def rewrite_all(roots: Sequence[Node], rule: Callable[[Node], Node | None]) -> list[Node]:
    """The expressions with `rule` applied to every node after its children, once per node that they share."""
    made: dict[int, Node] = {}
    for node in topological(roots):
        rebuilt = with_children(node, tuple(made[id(c)] for c in children(node)))
        made[id(node)] = rule(rebuilt) or rebuilt
    return [made[id(r)] for r in roots]
