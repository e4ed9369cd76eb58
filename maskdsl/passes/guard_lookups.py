"""Keeps every lookup in its table wherever the program runs: in the padding of a tile, and in branches not taken.

    >>> from maskdsl.passes.shown import shown
    >>> program = "mask same(document: int[batch, position]) = document[b, q] == document[b, k]"
    >>> print(shown(program, after="guard_lookups", position=100))
    mask same(document: int[batch, position]) = document[b, min(q, 99)] == document[b, min(k, 99)]
    >>> program = "mask near(t: bool[reach]) = 0 <= i < size(reach) and t[i] where i = q - k"
    >>> print(shown(program, after="guard_lookups"))
    mask near(t: bool[reach]) = 0 <= i < size(reach) and t[clamp(i, 0, size(reach) - 1)]
        where i = q - k

Law: where a program is read, its indices are in range, its divisors are not 0 and its shift counts are 0 to 31
(`obligations`), so holding them there changes nothing. Kernels compute more than is read: all of `a and t[i]`, and
whole tiles, where q and k pass the lengths (`Context.padded`). What is proven even there, with q and k anything from 0
on, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from maskdsl.ir.nodes import Lookup, Node, Op, Size, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import Axis
from maskdsl.ir.walk import children, topological, with_children
from maskdsl.meaning.demands import demands, failure
from maskdsl.meaning.prove import Prover
from maskdsl.meaning.reading import Reader
from maskdsl.passes.context import Context
from maskdsl.passes.fold_constants import folded
from maskdsl.passes.roots import map_roots, rewrite_all


def run(variant: Variant, context: Context) -> Variant:
    """The variant with every index, int divisor and shift count held in range, unless it is so for all q, k >= 0."""
    nodes = topological([root for _, root in variant.roots])
    if not any(True for node in nodes for _ in demands(node)):
        return variant
    prover = Prover(variant.facts, fixed={("size", a): n for a, n in context.sizes.items()}, padded=context.padded)
    reader = prover.reader([root for _, root in variant.roots])
    guard = _Guard(prover, reader, context.sizes)
    return map_roots(variant, lambda roots: rewrite_all(roots, guard.guarded))


@dataclass(slots=True)
class _Guard:
    prover: Prover
    reader: Reader
    sizes: Mapping[str, int]
    held: dict[tuple[int, object, frozenset[str]], Node] = field(default_factory=dict)
    lasts: dict[Axis, Node] = field(default_factory=dict)

    def guarded(self, node: Node) -> Node | None:
        """The node over children that meet its demands (its children are guarded already)."""
        open_: dict[int, set[str]] = {}
        for demand in demands(node):
            if not self.prover.refutes(failure(demand, self.reader)):
                open_.setdefault(demand.place, set()).add(demand.kind)
        if not open_:
            return None
        below = list(children(node))
        for place, kinds in open_.items():
            axis = node.table.axes[place] if isinstance(node, Lookup) else 32
            below[place] = self._hold(below[place], axis, frozenset(kinds))
        return with_children(node, tuple(below))

    def _hold(self, value: Node, axis: Axis, kinds: frozenset[str]) -> Node:
        """The value held in range, the same node for the same value."""
        key = (id(value), axis, kinds)
        if key not in self.held:
            held = _held(value, self._last(axis), kinds)
            self.held[key] = folded(held) or held
        return self.held[key]

    def _last(self, axis: Axis) -> Node:
        """The last index of an axis."""
        if axis not in self.lasts:
            size = axis if isinstance(axis, int) else self.sizes.get(axis)
            self.lasts[axis] = make("sub", Size(str(axis)), literal(1)) if size is None else literal(size - 1)
        return self.lasts[axis]


def _held(value: Node, last: Node, kinds: frozenset[str]) -> Op:
    if "zero" in kinds:
        return make("choose", make("eq", value, literal(0)), literal(1), value, span=value.span)
    if kinds == {"low"}:
        return make("max", value, literal(0), span=value.span)
    if kinds == {"high"}:
        return make("min", value, last, span=value.span)
    return make("clamp", value, literal(0), last, span=value.span)
