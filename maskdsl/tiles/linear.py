"""Sums of ints: what may wrap around in int32, or is no sum, is one term of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maskdsl.ir.algebra import build
from maskdsl.ir.nodes import Literal, Node, Op, literal
from maskdsl.ir.types import INT, Scalar
from maskdsl.ir.walk import fold
from maskdsl.tiles.limits import Limits, static_limits
from maskdsl.tiles.width import never_wraps

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


@dataclass(frozen=True, slots=True)
class Linear:
    """`sum(coefficient * node) + constant`; terms are keyed by node identity, in order of first occurrence."""

    terms: Mapping[int, tuple[Node, int]]
    constant: int

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """This sum plus `factor` times another; terms that cancel disappear."""
        terms = dict(self.terms)
        for key, (node, coefficient) in other.terms.items():
            total = terms[key][1] + factor * coefficient if key in terms else factor * coefficient
            terms[key] = (node, total)
        kept = {key: term for key, term in terms.items() if term[1]}
        return Linear(kept, self.constant + factor * other.constant)

    def where(self, keep: Callable[[Node], bool]) -> Linear:
        """The terms whose nodes are kept, without the constant."""
        return Linear({key: term for key, term in self.terms.items() if keep(term[0])}, 0)


def linear(root: Node, limits: Limits) -> Linear:
    """The int node as a sum of terms; what may wrap around, or is no sum, is one term."""
    return fold(root, lambda node, below: _linear_of(node, below, limits))


def _linear_of(node: Node, below: tuple[Linear, ...], limits: Limits) -> Linear:
    zero = Linear({}, 0)
    match node:
        case Literal(value=value, type=Scalar.INT):
            return Linear({}, int(value))
        case Op(name="add") if node.type is INT and never_wraps(node, limits):
            return below[0].plus(below[1])
        case Op(name="sub") if node.type is INT and never_wraps(node, limits):
            return below[0].plus(below[1], -1)
        case Op(name="neg") if node.type is INT and never_wraps(node, limits):
            return zero.plus(below[0], -1)
        case Op(name="mul", args=(_, Literal(value=factor))) if node.type is INT and never_wraps(node, limits):
            return zero.plus(below[0], int(factor))
        case Op(name="mul", args=(Literal(value=factor), _)) if node.type is INT and never_wraps(node, limits):
            return zero.plus(below[1], int(factor))
    return Linear({id(node): (node, 1)}, 0)


def expression(form: Linear, limits: Limits) -> Node | None:
    """The sum as a node; None where it, or a part of it, might wrap around."""
    sides = [sum_of(form, sign, limits) for sign in (1, -1)]
    if sides[0] is None or sides[1] is None:
        return None
    total = build("sub", sides[0], sides[1])
    return total if not isinstance(total, Op) or never_wraps(total, limits) else None


def sum_of(form: Linear, sign: int, limits: Limits) -> Node | None:
    """The terms of one sign, and the constant if it has that sign, as a node; None where it might wrap around."""
    parts: list[Node] = []
    for node, coefficient in form.terms.values():
        if coefficient * sign > 0:
            factor = abs(coefficient)
            parts.append(node if factor == 1 else build("mul", node, literal(factor)))
    constant = max(form.constant * sign, 0)
    if constant or not parts:
        parts.append(literal(constant))
    total = parts[0]
    for part in parts[1:]:
        total = build("add", total, part)
    return total if all(abs(v) < 2**31 for v in _ranges(form, sign, limits)) else None


def _ranges(form: Linear, sign: int, limits: Limits) -> list[int]:
    """The largest magnitudes that each partial sum of one side can reach."""
    reach = [abs(form.constant)]
    for node, coefficient in form.terms.values():
        if coefficient * sign > 0:
            least, most = static_limits(node, limits)
            reach.append(reach[-1] + abs(coefficient) * max(abs(least), abs(most)))
    return reach
