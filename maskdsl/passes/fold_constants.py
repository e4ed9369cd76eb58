"""Computes what is known: operations on literals, and the lengths of axes that no table carries.

    >>> from maskdsl.passes.shown import shown
    >>> program = "score tilt(slope: float[kv_head], cap: float = 4.0) = score * (2.0 / cap) + slope[kv_h]"
    >>> print(shown(program, after="fold_constants", head=8, kv_head=2))
    score tilt(slope: float[kv_head]) = score * 0.5 + slope[h // 4]

Law: the value is the reference's own (int32 wraps, floats are float64). What may not have a value, such as `1 // 0`, is
kept. The length of a table's axis is kept too, for it may change from call to call; heads are as fixed as the kernel.
"""

from __future__ import annotations

from maskdsl.ir.nodes import Literal, Node, Op, Size, Variant
from maskdsl.ir.ops import fold_literals
from maskdsl.ir.types import INT
from maskdsl.passes.context import Context
from maskdsl.passes.roots import map_roots, rewrite_all

_FIXED = frozenset({"head", "kv_head"})


def run(variant: Variant, context: Context) -> Variant:
    """The variant with every operation on literals computed."""
    carried = {a for t in variant.tables for a in t.axes} - _FIXED

    def rule(node: Node) -> Node | None:
        if isinstance(node, Size) and node.axis not in carried and node.axis in context.sizes:
            return Literal(context.sizes[node.axis], INT, node.span)
        return folded(node)

    return map_roots(variant, lambda roots: rewrite_all(roots, rule))


def folded(node: Node) -> Literal | None:
    """The literal that an operation on literals amounts to; None for other nodes and where a fault is possible."""
    if not isinstance(node, Op):
        return None
    values = [a for a in node.args if isinstance(a, Literal)]
    if len(values) < len(node.args) or _may_fault(node.name, values):
        return None
    return Literal(fold_literals(node.name, *values), node.type, node.span)


def _may_fault(name: str, args: list[Literal]) -> bool:
    """Whether the operation on these literals is a fault: a divisor of 0, a shift or a power out of range."""
    last = args[-1]
    match name:
        case "floordiv" | "mod":
            return last.type is INT and last.value == 0
        case "shift_left" | "shift_right":
            return not 0 <= last.value <= 31
        case "pow":
            return last.type is INT and last.value < 0
    return False
