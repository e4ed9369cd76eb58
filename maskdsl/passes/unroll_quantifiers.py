"""Writes out every quantifier: one copy of its body for each number, joined by `or`, `and` or `+`.

    >>> from maskdsl.passes.shown import shown
    >>> program = "mask starts(start: int[n]) = any(q == start[i] for i in range(size(n)))"
    >>> print(shown(program, after="unroll_quantifiers", n=3))
    mask starts(start: int[n]) = q == start[0] or q == start[1] or q == start[2]

Law: a bounded quantifier is the join of its bodies; over no number at all `any` is false, `all` true and `sum` 0. The
join is a balanced tree, so that depth grows with the logarithm only; floats that are known are added in order, as the
reference adds them, for the order decides how they round. Only what reads the variable is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce

from maskdsl.ir.nodes import Literal, Node, Op, Quantified, Size, Symbol, Variant
from maskdsl.ir.ops import fold_literals, make
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.substitute import NODE_LIMIT, too_large
from maskdsl.ir.types import BOOL, FLOAT, INT
from maskdsl.ir.walk import children, topological, with_children
from maskdsl.meaning.growth import LONGEST_RANGE
from maskdsl.passes.context import Context
from maskdsl.passes.fold_constants import folded
from maskdsl.passes.roots import map_roots, rewrite_all
from maskdsl.source.diagnostic import Diagnostic, MaskError

_JOINS = {"any": "or", "all": "and", "sum": "add"}


def run(variant: Variant, context: Context) -> Variant:
    """The variant without quantifiers, but for those over an axis whose length `context.sizes` does not give.

    Raises MaskError E0403 for a range of more than 4,096 numbers, E0406 when the variant grows beyond 50,000 nodes.
    """
    unroller = _Unroller(context)
    return map_roots(variant, lambda roots: unroller.unroll_all(roots))


class _Unroller:
    """One run of the pass; `made` counts the nodes of all copies."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.made = 0

    def unroll_all(self, roots: Sequence[Node]) -> Sequence[Node]:
        """The roots with inner quantifiers unrolled first; once more for bounds that an outer variable has fixed."""
        before: Sequence[Node] = ()
        while list(map(id, before)) != list(map(id, roots)):
            before, roots = roots, rewrite_all(roots, self._unroll)
        return roots

    def _unroll(self, node: Node) -> Node | None:
        if not isinstance(node, Quantified):
            return None
        start, stop = self._number(node.start), self._number(node.stop)
        if start is None or stop is None:
            return None
        if stop - start > LONGEST_RANGE:
            raise _too_long(node, stop - start)
        copies = self._copies(node, range(start, stop))
        return _sum_of_literals(node, copies) or join(copies, partial(_pair, node)) or _of_nothing(node)

    def _number(self, bound: Node) -> int | None:
        """The value of a bound, if the sizes in it are known."""

        def rule(node: Node) -> Node | None:
            if isinstance(node, Size) and node.axis in self.context.sizes:
                return Literal(self.context.sizes[node.axis], INT, node.span)
            return folded(node)

        value = rewrite_all([bound], rule)[0]
        return int(value.value) if isinstance(value, Literal) else None

    def _copies(self, node: Quantified, numbers: range) -> list[Node]:
        reads = symbols_read(node.body)
        copied = [n for n in topological(node.body) if node.variable in reads[id(n)]]
        self.made += len(numbers) * (len(copied) + 1)
        if self.made > NODE_LIMIT:
            raise too_large(node.span, NODE_LIMIT)
        return [_copy(node, copied, number) for number in numbers]


def _copy(node: Quantified, copied: Sequence[Node], number: int) -> Node:
    """The body with the number for the variable; `copied` are the nodes that read it, children first."""
    made: dict[int, Node] = {}
    for old in copied:
        if isinstance(old, Symbol):
            made[id(old)] = Literal(number, INT, old.span)
        else:
            new = with_children(old, tuple(made.get(id(c), c) for c in children(old)))
            made[id(old)] = folded(new) or new
    return made.get(id(node.body), node.body)


def _pair(node: Quantified, x: Node, y: Node) -> Op:
    return make(_JOINS[node.kind], x, y, span=node.span)


def _sum_of_literals(node: Quantified, copies: Sequence[Node]) -> Literal | None:
    """The sum of floats that are all known, perhaps none; None for others."""
    known = [c for c in copies if isinstance(c, Literal)]
    if node.type is not FLOAT or len(known) < len(copies):
        return None
    zero = Literal(0.0, FLOAT, node.span)
    return reduce(lambda total, c: Literal(fold_literals("add", total, c), FLOAT, node.span), known, zero)


def join(nodes: Sequence[Node], pair: Callable[[Node, Node], Node]) -> Node | None:
    """The nodes joined two by two in a balanced tree, in order; None for none."""
    while len(nodes) > 1:
        rest = nodes[len(nodes) & ~1 :]
        nodes = [*(pair(x, y) for x, y in zip(nodes[::2], nodes[1::2], strict=False)), *rest]
    return nodes[0] if nodes else None


def _of_nothing(node: Quantified) -> Literal:
    if node.type is BOOL:
        return Literal(node.kind == "all", BOOL, node.span)
    return Literal(0, node.type, node.span)


def _too_long(node: Quantified, count: int) -> MaskError:
    message, label = f"`{node.kind}` runs over {count:,} numbers", f"at most {LONGEST_RANGE:,} can be written out"
    why = "quantifiers are unrolled when a kernel is made"
    return MaskError(Diagnostic("E0403", message, node.span, label, (), (why,), ("use a table, or a shorter range",)))
