"""IR nodes as the prover reads them: ints as polynomials, bools as what follows from them, the rest as names.

Equal text gets equal keys, so that two spellings of one value are one unknown.

Not here: what atoms mean (`terms`), what can be concluded (`refute`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from maskdsl.ir.nodes import Ascending, Fill, Literal, Lookup, Node, Op, Quantified, Size, Symbol, Use
from maskdsl.ir.types import BOOL, INT
from maskdsl.ir.walk import children
from maskdsl.meaning.integer_functions import BINARY, COMPARISONS, EXACT, UNARY, choose, clamp, indicator
from maskdsl.meaning.polynomials import FALSE, TRUE, Formula, Poly, all_of, at_least, number, one_of
from maskdsl.meaning.terms import INT32, Terms, product_range


@dataclass(frozen=True, slots=True)
class Reading:
    """A node as the prover sees it.

    `key` is the same for nodes that surely have the same value. An int has `exact`, equal to it modulo 2**32. A bool
    has `when`: what follows if it is true, and what follows if it is false.
    """

    key: int
    exact: Poly | None = None
    when: tuple[Formula, Formula] = (TRUE, TRUE)


class Reader:
    """Reads nodes into one `Terms`; `names` says what some symbols stand for. Every node is read once."""

    def __init__(self, terms: Terms, names: Mapping[str, Poly] | None = None) -> None:
        self.terms = terms
        self.names = {} if names is None else names
        self.readings: dict[int, Reading] = {}
        self.nodes: list[Node] = []

    def read(self, root: Node) -> Reading:
        """The reading of a node; iterative, and nothing is read twice."""
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [c for c in children(node) if id(c) not in self.readings]
            if id(node) in self.readings or not missing:
                stack.pop()
                if id(node) not in self.readings:
                    self.readings[id(node)] = self._reading(node)
                    self.nodes.append(node)  # kept alive: readings go by identity
            else:
                stack.extend(missing)
        return self.readings[id(root)]

    def value(self, node: Node) -> Poly:
        """The int32 value of an int node."""
        exact = self.read(node).exact
        assert exact is not None, f"{node.type} where an int is read"
        return self.terms.settle(exact)

    def when(self, node: Node, truth: bool = True) -> Formula:
        """What follows from a bool node being true (or false)."""
        return self.read(node).when[0 if truth else 1]

    def _reading(self, node: Node) -> Reading:
        if node.type is INT:
            exact = self._exact(node)
            return Reading(self._key("int", exact), exact)
        key = self._name(node)
        if node.type is BOOL:
            return Reading(key, None, self._when(node, key))
        return Reading(key)

    def _key(self, *parts: Hashable) -> int:
        numbers = self.terms.keys
        return numbers.setdefault(parts, len(numbers))

    def _name(self, node: Node) -> int:
        """The key of a node that is no int."""
        below = tuple(self.readings[id(c)].key for c in children(node))
        match node:
            case Literal(value=value, type=kind):
                return self._key(kind, repr(value))
            case Symbol(name=name):
                return self._key(Symbol, name)
            case Use(constant=constant):
                return self._key(Use, constant)
            case Fill(hole=hole):
                return self._key(Fill, hole)
            case Op(name=name):
                return self._key(Op, name, node.type, below)
            case Lookup(table=table):
                return self._key(Lookup, table, below)
            case Quantified(kind=kind, variable=variable):
                return self._key(Quantified, kind, variable, below)
            case Ascending(table=table, axis=axis):
                return self._key(Ascending, table, axis)
        return self._key(self, node)

    # ------------------------------------------------------------ ints

    def _exact(self, node: Node) -> Poly:
        """The polynomial of an int node, its children read."""
        match node:
            case Literal(value=value):
                return number(int(value))
            case Symbol(name=name):
                return self.names[name] if name in self.names else self.terms.symbol(name)
            case Size(axis=axis):
                return self.terms.size(axis)
            case Use(constant=constant):
                return self.terms.limited(("use", constant), *INT32)
            case Lookup(table=table, indices=indices):
                return self.terms.lookup(table, tuple(map(self.value, indices)))
            case Quantified(kind="sum"):
                return self._sum(node)
            case Op():
                return self._operation(node)
        return self.terms.unknown((self, node))

    def _operation(self, node: Op) -> Poly:
        readings = [self.readings[id(a)] for a in node.args]
        if node.name == "choose":
            condition, x, y = node.args
            return choose(self.terms, readings[0].key, readings[0].when, self.value(x), self.value(y))
        if node.name == "to_int" and node.args[0].type is BOOL:
            return indicator(self.terms, readings[0].key, readings[0].when)
        if any(r.exact is None for r in readings):
            return self.terms.unknown(("float", node.name, tuple(r.key for r in readings)))
        return self._function(node, [r.exact for r in readings if r.exact is not None])

    def _function(self, node: Op, exact: list[Poly]) -> Poly:
        """A function of ints alone."""
        if node.name in EXACT:
            return EXACT[node.name](self.terms, *exact)
        if node.name in ("neg", "to_int"):
            return -exact[0] if node.name == "neg" else exact[0]
        values = [self.terms.settle(e) for e in exact]
        if node.name in BINARY:
            return BINARY[node.name](self.terms, *values)
        if node.name in UNARY:
            return UNARY[node.name](self.terms, *values)
        if node.name == "clamp":
            return clamp(self.terms, *values)
        return self.terms.unknown((node.name, tuple(values)))

    def _sum(self, node: Quantified) -> Poly:
        """The sum over a range: as many times something between the body's least and greatest value."""
        low, high = self.terms.range(self.value(node.body))
        count = self.value(node.stop) - self.value(node.start)
        most = max(self.terms.range(count)[1], 0)
        least, greatest = product_range([(min(low, 0), max(high, 0)), (0, most)])
        if least < INT32[0] or greatest > INT32[1]:
            return self.terms.unknown(("sum", self._name(node)))

        def define(it: Poly) -> tuple[Formula, ...]:
            some = (at_least(count), at_least(count * high - it), at_least(it - count * low))
            return (one_of((all_of(some), all_of((at_least(-count), at_least(it), at_least(-it))))),)

        return self.terms.atom(("sum", self._name(node)), least, greatest, define)

    # ------------------------------------------------------------ bools

    def _when(self, node: Node, key: int) -> tuple[Formula, Formula]:
        """What follows from a bool node and from its opposite, its children read."""
        match node:
            case Literal(value=value):
                return (TRUE, FALSE) if value else (FALSE, TRUE)
            case Op(args=args) if node.name in COMPARISONS and args[0].type is INT:
                return COMPARISONS[node.name](self.value(args[0]), self.value(args[1]))
            case Op(args=args) if all(a.type is BOOL for a in args):
                connective = _connect(node.name, [self.readings[id(a)].when for a in args])
                if connective:
                    return connective
        truth = self.terms.atom(("truth", key), 0, 1)
        return at_least(truth - 1), at_least(-truth)


def _connect(name: str, when: list[tuple[Formula, Formula]]) -> tuple[Formula, Formula] | None:
    """What follows from a connective and from its opposite; None when the name is none."""
    match name, when:
        case "not", [(yes, no)]:
            return no, yes
        case "and", [(a, not_a), (b, not_b)]:
            return all_of((a, b)), one_of((not_a, not_b))
        case "or", [(a, not_a), (b, not_b)]:
            return one_of((a, b)), all_of((not_a, not_b))
        case "choose", [(c, not_c), (a, not_a), (b, not_b)]:
            return _either(c, a, not_c, b), _either(c, not_a, not_c, not_b)
        case "eq" | "ne", [(a, not_a), (b, not_b)]:
            same, other = _either(a, b, not_a, not_b), _either(a, not_b, not_a, b)
            return (same, other) if name == "eq" else (other, same)
    return None


def _either(a: Formula, b: Formula, c: Formula, d: Formula) -> Formula:
    """`(a and b) or (c and d)`."""
    return one_of((all_of((a, b)), all_of((c, d))))
