"""Makes equal values one node, so that each is computed once.

    >>> from maskdsl.passes.shown import shown
    >>> print(shown("mask near = (q - k) * (q - k) < 9 or q - k == bit_and(k, 4)", after="share"))
    mask near = t1 * t1 < 9 or t1 == bit_and(k, 4)
        where t1 = q - k

Law: the language is pure, so equal operations on equal values are equal. Operands are swapped only where that is
exact: sums and products, int minima, bits, `and`, `or`, equality, and `a < b` for `b > a`.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskdsl.ir.nodes import (
    Ascending,
    Call,
    Fill,
    Literal,
    Lookup,
    Moved,
    Node,
    Op,
    Quantified,
    Size,
    Symbol,
    Use,
    Variant,
)
from maskdsl.ir.types import FLOAT, Table
from maskdsl.ir.walk import children
from maskdsl.passes.context import Context
from maskdsl.passes.roots import map_roots, rewrite_all

_COMMUTATIVE = frozenset({"add", "mul", "and", "or", "eq", "ne", "bit_and", "bit_or", "bit_xor"})
_COMMUTATIVE_INTS = frozenset({"min", "max"})  # of floats, not for 0.0 and -0.0
_MIRRORED = {"gt": "lt", "ge": "le"}


def run(variant: Variant, context: Context) -> Variant:
    """The variant in which equal values, across all its fields, are the same node."""
    return map_roots(variant, unique)


def unique(roots: Sequence[Node]) -> list[Node]:
    """The same expressions over shared nodes."""
    return rewrite_all(roots, Pool().one)


class Pool:
    """Nodes by what they compute; holds them all, so that identities stay valid."""

    def __init__(self) -> None:
        self._nodes: dict[object, Node] = {}

    def one(self, node: Node) -> Node:
        """The first node given that computes the same; the children must come from this pool."""
        return self._nodes.setdefault(_key(node), node)


def _key(node: Node) -> object:
    """Equal for nodes that compute the same from the same children."""
    match node:
        case Op(name=name, args=args):
            return _operation(name, args)
        case Literal(value=value, type=kind):
            return (Literal, kind, repr(value))
        case Symbol(name=name):
            return (Symbol, name)
        case Size(axis=axis):
            return (Size, axis)
        case Use(constant=parameter) | Fill(hole=parameter):
            return parameter
        case Lookup(table=table, indices=indices):
            return (table, *map(id, indices))
        case Ascending(table=table, axis=number):
            return (Ascending, table, number)
    return _binder(node)


def _binder(node: Node) -> object:
    below = tuple(map(id, children(node)))
    match node:
        case Quantified(kind=kind, variable=variable):
            return (kind, variable, below)
        case Moved(moves=moves):
            return (Moved, tuple(name for name, _ in moves), below)
        case Call(target=target, arguments=arguments):
            return (id(target), tuple(a for _, a in arguments if isinstance(a, Table)), below)
    raise AssertionError(f"{type(node).__name__} has no children")


def _operation(name: str, args: tuple[Node, ...]) -> object:
    below = tuple(map(id, args))
    if name in _MIRRORED:
        return (_MIRRORED[name], *reversed(below))
    if name in _COMMUTATIVE or (name in _COMMUTATIVE_INTS and args[0].type is not FLOAT):
        return (name, *sorted(below))
    return (name, *below)
