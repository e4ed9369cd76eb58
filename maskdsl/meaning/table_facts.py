"""Facts about tables hold for every value of the coordinates in them; here they are brought to the lookups of a proof.

`0 <= document[b, q] < size(n)` says something of every entry of `document`; `start[b, document[b, q]] <= q` is said
again of `start[b, document[b, k]]` when that occurs. An instance whose coordinate is not surely in range is guarded:
outside its table a lookup has no meaning, so nothing may follow from it.

Not here: which facts a definition has (`known_facts`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from maskdsl.ir.nodes import COORDINATES, Ascending, Literal, Lookup, Node, Op, Quantified, Size, Symbol, Use
from maskdsl.ir.types import INT, Axis, Table
from maskdsl.ir.walk import children, topological
from maskdsl.meaning.linear import Range
from maskdsl.meaning.polynomials import Formula, Poly, at_least, atoms_of, different, equal, number, one_of, variable
from maskdsl.meaning.reading import Reader
from maskdsl.meaning.terms import AXES, INT32, Terms

NODE_LIMIT, FACT_LIMIT = 400, 100
"""A fact of more nodes, and facts beyond this number, are not used."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A statement and its variables: each counts over the half-open range of the two nodes, or over an axis.

    `total` tells that every variable is only ever an index along its own axis: then no index can make the statement
    wrong, because an entry outside of the table may be taken for the nearest one inside.
    """

    statement: Node
    variables: tuple[tuple[str, Axis | tuple[Node, Node]], ...]
    lookups: tuple[Lookup, ...]
    total: bool


def patterns(facts: Iterable[Node]) -> tuple[Pattern, ...]:
    """The facts, one conjunct a pattern, without the outer `all` (its variable becomes a coordinate)."""
    found: list[Pattern] = []
    stack: list[tuple[Node, tuple[Quantified, ...]]] = []
    stack.extend((fact, ()) for fact in reversed(list(facts)))
    while stack and len(found) < FACT_LIMIT:
        node, outer = stack.pop()
        match node:
            case Op(name="and", args=(left, right)):
                stack += [(right, outer), (left, outer)]
            case Quantified(kind="all", body=body):
                stack.append((body, (*outer, node)))
            case _:
                new = _pattern(node, outer)
                found += [new] if new else []
    return tuple(found)


def _pattern(statement: Node, outer: tuple[Quantified, ...]) -> Pattern | None:
    nodes = []
    for node in topological(statement):
        nodes.append(node)
        if len(nodes) > NODE_LIMIT:
            return None
    names = {n.name for n in nodes if isinstance(n, Symbol)}
    variables: list[tuple[str, Axis | tuple[Node, Node]]] = [(c, AXES[c]) for c in COORDINATES if c in names]
    variables += [(o.variable, _counted(o)) for o in outer]
    lookups = tuple(n for n in nodes if isinstance(n, Lookup))
    return Pattern(statement, tuple(variables), lookups, _is_total(nodes, dict(variables)))


def _counted(outer: Quantified) -> Axis | tuple[Node, Node]:
    """The axis that a quantifier runs through from end to end, else its bounds."""
    match outer.start, outer.stop:
        case Literal(value=0), Size(axis=axis):
            return axis
        case Literal(value=0), Literal(value=value):
            return int(value)
    return outer.start, outer.stop


def _is_total(nodes: Iterable[Node], variables: dict[str, Axis | tuple[Node, Node]]) -> bool:
    """Whether every variable occurs only as the index of an axis that it counts along."""
    for node in nodes:
        for place, child in enumerate(children(node)):
            if isinstance(child, Symbol) and child.name in variables:
                if not isinstance(node, Lookup) or node.table.axes[place] != variables[child.name]:
                    return False
    return True


def _covers(one: Lookup, variables: dict[str, Axis | tuple[Node, Node]]) -> bool:
    """Whether the lookup stands for every entry: its indices are different variables, each along its own axis."""
    names = [i.name for i in one.indices if isinstance(i, Symbol)]
    if len(names) != len(one.indices) or len(set(names)) != len(names):
        return False
    return all(variables.get(name) == axis for name, axis in zip(names, one.table.axes, strict=False))


# ---------------------------------------------------------------- ranges at sight


def limits(known: Iterable[Pattern]) -> dict[Hashable, Range]:
    """The ranges that facts such as `window >= 1` or `prefix[b] >= 0` give to constants, sizes and tables' entries."""
    found: dict[Hashable, Range] = {}
    for pattern in known:
        for key, (low, high) in _limit(pattern):
            least, most = found.get(key, INT32)
            found[key] = (max(low, least), min(high, most))
    return {key: (low, high) for key, (low, high) in found.items() if low <= high}


_RANGES: dict[str, Callable[[int], Range]] = {
    "lt": lambda c: (INT32[0], c - 1), "le": lambda c: (INT32[0], c), "gt": lambda c: (c + 1, INT32[1]),
    "ge": lambda c: (c, INT32[1]), "eq": lambda c: (c, c),
}
_SWAPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq"}


def _limit(pattern: Pattern) -> Iterator[tuple[Hashable, Range]]:
    statement = pattern.statement
    if not (isinstance(statement, Op) and statement.name in _RANGES and statement.args[0].type is INT):
        return
    left, right = statement.args
    for subject, bound, name in ((left, right, statement.name), (right, left, _SWAPPED[statement.name])):
        value = _literal(bound)
        if value is not None:
            match subject:
                case Use(constant=constant):
                    yield ("use", constant), _RANGES[name](value)
                case Size(axis=axis):
                    yield ("size", axis), _RANGES[name](value)
                case Lookup(table=table) if _covers(subject, dict(pattern.variables)):
                    yield ("lookup", table), _RANGES[name](value)


def _literal(node: Node) -> int | None:
    match node:
        case Literal(value=value):
            return int(value)
        case Op(name="neg", args=(Literal(value=value),)):
            return -int(value)
    return None


# ---------------------------------------------------------------- instances


class TableFacts:
    """The facts of one definition over one `Terms`, and the instances made so far."""

    def __init__(self, terms: Terms, known: Sequence[Pattern], ascending: Iterable[Ascending] = ()) -> None:
        self.terms = terms
        self.known = known
        self.ascending: set[tuple[Table | None, int]] = {(fact.table, fact.axis) for fact in ascending}
        self.made: dict[Hashable, Formula] = {}
        self.readers: list[Reader] = []
        self.plain: dict[int, tuple[Formula, ...]] | None = None

    def touching(self, atom: int) -> tuple[Formula, ...]:
        """The facts that speak of no table, but of this atom."""
        if self.plain is None:
            self.plain = {}
            for formula in [self._instance(p, {}) for p in self.known if not p.lookups]:
                for touched in self._behind(formula):
                    self.plain[touched] = (*self.plain.get(touched, ()), formula)
        return self.plain.get(atom, ())

    def _behind(self, formula: Formula) -> set[int]:
        """The atoms of a formula, and those that define them."""
        found: set[int] = set()
        waiting = atoms_of(formula)
        while waiting:
            atom = waiting.pop()
            found.add(atom)
            for law in self.terms.atoms[atom].formulas:
                waiting |= atoms_of(law) - found
        return found

    def about(self, atom: int) -> Iterator[Formula]:
        """The instances that a lookup (the number of its atom) calls for."""
        for pattern in self.known:
            for lookup in pattern.lookups:
                binding = self._match(pattern, lookup, atom)
                if binding is not None:
                    yield self._instance(pattern, binding)

    def about_pair(self, first: int, second: int) -> Iterator[Formula]:
        """Of two lookups of one table: equal indices give equal entries, ascending entries keep the indices' order."""
        one, two = self.terms.atoms[first], self.terms.atoms[second]
        x, y = variable(first), variable(second)
        apart = [different(i, j) for i, j in zip(one.indices, two.indices, strict=True)]
        yield one_of((equal(x, y), *apart))
        for axis, (i, j) in enumerate(zip(one.indices, two.indices, strict=True)):
            if (one.table, axis) in self.ascending:
                others = apart[:axis] + apart[axis + 1 :]
                yield one_of((at_least(i - j - 1), at_least(y - x), *others))
                yield one_of((at_least(j - i - 1), at_least(x - y), *others))

    def _match(self, pattern: Pattern, lookup: Lookup, atom: int) -> dict[str, Poly] | None:
        """What the pattern's variables are when its lookup is this atom; None when it cannot be."""
        names = {name for name, _ in pattern.variables}
        binding: dict[str, Poly] = {}
        stack: list[tuple[Lookup, int]] = [(lookup, atom)]
        while stack:
            wanted, number_ = stack.pop()
            found = self.terms.atoms[number_]
            if found.table != wanted.table:
                return None
            for index, given in zip(wanted.indices, found.indices, strict=True):
                match index:
                    case Symbol(name=name) if name in names:
                        if binding.setdefault(name, given) != given:
                            return None
                    case Lookup():
                        if given.atom is None:
                            return None
                        stack.append((index, given.atom))
        return binding

    def _instance(self, pattern: Pattern, binding: dict[str, Poly]) -> Formula:
        """The statement with these values for its variables; a coordinate that is not bound stands for itself."""
        names = {name: binding.get(name) or self.terms.symbol(name) for name, _ in pattern.variables}
        key = (id(pattern), tuple(names.values()))
        if key not in self.made:
            reader = Reader(self.terms, names)
            self.readers.append(reader)
            parts = [reader.when(pattern.statement)]
            for name, over in pattern.variables:
                parts += self._guards(pattern, name, names[name], over, reader)
            self.made[key] = one_of(parts)
        return self.made[key]

    def _guards(
        self, pattern: Pattern, name: str, value: Poly, over: Axis | tuple[Node, Node], reader: Reader
    ) -> tuple[Formula, ...]:
        """The ways in which a variable's value may be out of range; none when the statement is of every entry."""
        if pattern.total or (name in COORDINATES and self._is_coordinate(name, value)):
            return ()
        if isinstance(over, tuple):
            start, stop = reader.value(over[0]), reader.value(over[1])
        else:
            start, stop = number(0), self.terms.extent(over)
        return at_least(start - value - 1), at_least(value - stop)

    def _is_coordinate(self, name: str, value: Poly) -> bool:
        """Whether the value is a coordinate of the same axis, which is in range by itself."""
        if self.terms.padded:
            return False
        return any(value == self.terms.symbol(c) for c, axis in AXES.items() if axis == AXES[name])
