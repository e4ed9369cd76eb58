"""How large a program becomes when its quantifiers are unrolled, as far as their bounds are known."""

from __future__ import annotations

from collections.abc import Mapping

from maskdsl.ir.nodes import Node, Quantified, Symbol, Value
from maskdsl.ir.types import Constant
from maskdsl.ir.walk import children, topological
from maskdsl.meaning.constants import constant_value

LONGEST_RANGE = 4096
"""How many numbers one quantifier may run over."""


def unrolled_size(root: Node, constants: Mapping[Constant, Value] | None = None) -> int:
    """The number of operations after unrolling; a quantifier of unknown bounds counts as one step, a call as one."""
    order = list(topological(root))
    reads = _variables_read(order)
    weights = {id(n): 1 for n in order}
    counted: set[int] = set()
    for node in order:
        if isinstance(node, Quantified):
            inner = [n for n in topological(node.body) if node.variable in reads[id(n)] and id(n) not in counted]
            counted.update(id(n) for n in inner)
            weights[id(node)] = 1 + steps_of(node, constants) * sum(weights[id(n)] for n in inner)
    return sum(weights[id(n)] for n in order if id(n) not in counted)


def _variables_read(order: list[Node]) -> dict[int, frozenset[str]]:
    reads: dict[int, frozenset[str]] = {}
    for node in order:
        below = frozenset[str]().union(*(reads[id(c)] for c in children(node)))
        if isinstance(node, Symbol):
            below = frozenset({node.name})
        reads[id(node)] = below - {node.variable} if isinstance(node, Quantified) else below
    return reads


def steps_of(node: Quantified, constants: Mapping[Constant, Value] | None = None) -> int:
    """How many numbers a quantifier runs over; 1 where its bounds are not known."""
    start, stop = constant_value(node.start, constants), constant_value(node.stop, constants)
    return 1 if start is None or stop is None else max(int(stop) - int(start), 0)
