"""How wide the bounds of an int can be, whatever the tile: what decides how a lookup that reads q and k is bounded.

Speaks of the bounds, not of the values: a value may vary less than its bounds tell, and the bounds of one that may wrap
around in int32 are all of int32.
"""

from __future__ import annotations

from collections.abc import Mapping

from maskdsl.ir.interval import Interval
from maskdsl.ir.nodes import Literal, Node, Op, Symbol
from maskdsl.ir.types import INT
from maskdsl.ir.walk import children, topological
from maskdsl.tiles.limits import INT32, Limits, static_limits


def bounds_width(
    root: Node, intervals: Mapping[int, Interval], limits: Limits, blocks: Mapping[str, int]
) -> int | None:
    """An upper bound of `hi - lo` of an int node's interval over tiles with these sides ("q", "k"); None: unbounded."""

    def is_point(node: Node) -> bool:
        return isinstance(node, Literal) or (id(node) in intervals and intervals[id(node)].is_point)

    def is_leaf(node: Node) -> bool:
        return is_point(node) or node.type is not INT or any(id(c) not in intervals for c in children(node))

    widths: dict[int, int | None] = {}
    for node in topological(root, stop=is_leaf):
        if is_point(node):
            widths[id(node)] = 0
        elif isinstance(node, Symbol) and node.name in blocks:
            widths[id(node)] = blocks[node.name] - 1
        elif isinstance(node, Op) and not is_leaf(node):
            widths[id(node)] = _width_of(node, [widths[id(c)] for c in node.args], limits)
        else:
            widths[id(node)] = None
    return widths[id(root)]


def _width_of(node: Op, below: list[int | None], limits: Limits) -> int | None:
    """The width of an operation whose bounds are as exact as those of its operands."""
    match node.name, node.args:
        case "mod", (_, Literal(value=divisor)) if int(divisor) > 0:
            return int(divisor) - 1
        case "clamp", (_, Literal(value=low), Literal(value=high)) if below[0] is None:
            return max(int(high) - int(low), 0)
    widths = [w for w in below if w is not None]
    if len(widths) < len(below) or not never_wraps(node, limits):
        return None
    match node.name, node.args:
        case (("add" | "sub" | "neg"), _):
            return sum(widths)
        case (("min" | "max" | "clamp"), _):
            return max(widths)
        case "mul", (_, Literal(value=factor)) | (Literal(value=factor), _):
            return sum(widths) * abs(int(factor))
        case "floordiv", (_, Literal(value=divisor)) if int(divisor) > 0:
            return -(-widths[0] // int(divisor))
        case "shift_right", (_, Literal(value=count)) if 0 <= int(count) <= 31:
            return -(-widths[0] // (1 << int(count)))
    return None


def never_wraps(node: Op, limits: Limits) -> bool:
    """Whether a sum, difference, negation or product of ints stays within int32; true for other operations."""
    match node.name, [static_limits(a, limits) for a in node.args if a.type is INT]:
        case "add", [x, y]:
            least, most = x[0] + y[0], x[1] + y[1]
        case "sub", [x, y]:
            least, most = x[0] - y[1], x[1] - y[0]
        case "neg", [x]:
            least, most = -x[1], -x[0]
        case "mul", [x, y]:
            corners = [a * b for a in x for b in y]
            least, most = min(corners), max(corners)
        case _:
            return True
    return INT32[0] <= least and most <= INT32[1]
