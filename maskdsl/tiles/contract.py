"""Lets every part of a mask know what the conditions around it say, so that its bounds need not cover the rest.

Interval analysis looks at the parts of a conjunction one by one. Under a condition a value may be held in the range
that it leaves, and a comparison of one side's table with the other's may look at the entries that count alone:

    q < n and X(q)                  ->  q < n and X(min(q, n - 1))
    0 <= d < w and d % c == 0       ->  0 <= d < w and clamp(d, 0, w - 1) % c == 0
    first[q] <= k and q - 9 <= k    ->  k >= max(first[q], q - 9)
    first[q] <= k and k <= last[q]  ->  k >= low(q) and k <= high(q)
                                        where low(i) = first[i] if first[i] <= last[i] else 2147483647, high(i) likewise
    t[q] >= 0 and t[q] == t[k]      ->  t[q] >= 0 and low(q) <= high(k) and low(k) <= high(q)
                                        where low(i) = t[i] if t[i] >= 0 else 2147483647, high(i) likewise

Law: `a and b` is `a and c` wherever b and c agree under a. Parts are taken one after another: each knows those before
it, which stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from maskdsl.ir.algebra import TRUE, build, negate
from maskdsl.ir.nodes import Lookup, Node, Op, Symbol, literal
from maskdsl.ir.ops_reference import INT_MAX, INT_MIN
from maskdsl.ir.reads import symbols_read
from maskdsl.ir.types import BOOL, INT
from maskdsl.ir.walk import children, topological, with_children
from maskdsl.tiles.limits import Limits
from maskdsl.tiles.linear import COMPARISONS, Linear, expression, linear
from maskdsl.tiles.normalize import spanned

MOST_DEPTH, MOST_PARTS = 32, 2000
"""Conditions nested deeper, or beyond this many, stay as they are."""

ORDERS = tuple(name for name in COMPARISONS if name != "ne")
"""The comparisons that bound their operands."""

HELD = frozenset("mod floordiv bit_and bit_or bit_xor shift_left shift_right bit_length abs mul pow".split())
"""The operations whose arguments are held in range, beside coordinates, which are so wherever they stand."""


def contract(root: Node, limits: Limits, q_block: int, k_block: int) -> Node:
    """The same truth for every coordinate; `limits` are static bounds, the sides those of the tiles."""
    return _Contraction(limits, {"q": q_block, "k": k_block}).under(root, (), 0)


@dataclass(slots=True)
class _Contraction:
    limits: Limits
    blocks: dict[str, int]
    parts: int = 0
    reads: dict[int, frozenset[str]] = field(default_factory=dict)
    forms: dict[int, list[Linear]] = field(default_factory=dict)
    kept: list[Node] = field(default_factory=list)
    """Nodes whose identities are keys, so that they stay alive."""

    def under(self, node: Node, facts: tuple[Node, ...], depth: int) -> Node:
        """The node rewritten for where all the facts are true."""
        self.parts += 1
        if depth > MOST_DEPTH or self.parts > MOST_PARTS or node.type is not BOOL:
            return node
        match node:
            case Op(name="and"):
                return self._conjunction(node, facts, depth)
            case Op(name="or"):
                below = [self.under(part, facts, depth + 1) for part in parts_of(node)]
                return spanned(_joined("or", below), node)
            case Op(name="not", args=(inner,)):
                return spanned(negate(self.under(inner, facts, depth + 1)), node)
            case Op(name="choose", args=(condition, x, y)):
                first = self.under(x, (*facts, condition), depth + 1)
                second = self.under(y, (*facts, negate(condition)), depth + 1)
                return spanned(build("choose", condition, first, second), node)
        return self._leaf(node, facts)

    def _conjunction(self, node: Op, facts: tuple[Node, ...], depth: int) -> Node:
        """Each part under those before it; the plainest come first, for they say most about the others."""
        done: list[Node] = []
        for part in sorted(self._merged(node), key=self._rank):
            done.append(self.under(part, facts, depth + 1))
            facts = (*facts, part)
        return spanned(_joined("and", done), node)

    def _merged(self, node: Op) -> list[Node]:
        """The parts of a conjunction; limits of one coordinate by tables of the other side are one limit."""
        kept: list[Node] = []
        limits: dict[tuple[str, str], list[tuple[Node, Node]]] = {}
        for part in parts_of(node):
            limit = self._limit(part)
            if limit is None:
                kept.append(part)
            else:
                limits.setdefault(limit[:2], []).append((part, limit[2]))
        for name in ("q", "k"):
            lower, upper = (limits.get((name, order), []) for order in ("ge", "le"))
            sides = [[limit for _, limit in found] for found in (lower, upper)]
            if all(self._has_lookups(side) for side in sides):
                kept += [spanned(part, node) for part in _where_any(Symbol(name), *sides)]
                continue
            for order, found, side in (("ge", lower, sides[0]), ("le", upper, sides[1])):
                if len(found) > 1 and self._has_lookups(side):
                    kept.append(spanned(build(order, Symbol(name), _tightest(order, side)), node))
                else:
                    kept += [part for part, _ in found]
        return kept

    def _limit(self, part: Node) -> tuple[str, str, Node] | None:
        """A part as `coordinate <= limit` or `coordinate >= limit` where the limit reads the other side."""
        forms = self._forms(part)
        if len(forms) != 1:
            return None
        for name, other in (("q", "k"), ("k", "q")):
            mine = forms[0].where(partial(self._varies_with, name))
            match [*mine.terms.values()]:
                case [(Symbol(), 1 | -1 as sign)]:
                    limit = expression(Linear({}, 0).plus(forms[0].plus(mine, -1), -sign), self.limits)
                    if limit is not None and self._side(limit) == other:
                        return name, "le" if sign == 1 else "ge", limit
        return None

    def _rank(self, part: Node) -> int:
        if not isinstance(part, Op) or part.name not in COMPARISONS:
            return 1 if self._side(part) else 3
        return 0 if self._side(part) or self._bounds_coordinates(part) else 2

    def _bounds_coordinates(self, part: Op) -> bool:
        """Whether a comparison speaks of coordinates and what is one value in the tile alone."""
        form = self._difference(part)
        return form is not None and all(isinstance(n, Symbol) or self._side(n) == "" for n, _ in form.terms.values())

    # ---------------------------------------------------------------- what a node reads

    def _learn(self, node: Node) -> None:
        if id(node) not in self.reads:
            self.kept.append(node)
            self.reads.update(symbols_read(node))

    def _varies_with(self, name: str, node: Node) -> bool:
        return name in self._reads(node)

    def _reads(self, node: Node) -> frozenset[str]:
        self._learn(node)
        return self.reads[id(node)] & {"q", "k"}

    def _side(self, node: Node) -> str | None:
        """ "q" or "k" for what varies with one of them, "" for what varies with none, None for both."""
        varying = self._reads(node)
        return None if len(varying) == 2 else "".join(varying)

    def _has_lookups(self, nodes: Sequence[Node]) -> bool:
        """Whether a table is read at q or k."""
        return any(isinstance(n, Lookup) and self._reads(n) for n in topological(nodes))

    # ---------------------------------------------------------------- a condition without parts

    def _leaf(self, node: Node, facts: tuple[Node, ...]) -> Node:
        if not facts:
            return node
        filtered = self._filtered(node, facts)
        return self._held(node, facts) if filtered is None else filtered

    def _filtered(self, node: Node, facts: tuple[Node, ...]) -> Node | None:
        """A comparison of a value out of tables of q with one of k, over the entries that count."""
        if (
            not isinstance(node, Op)
            or node.name not in COMPARISONS
            or node.name == "ne"
            or node.args[0].type is not INT
        ):
            return None
        x, y = node.args
        if {self._side(x), self._side(y)} != {"q", "k"}:
            return None
        here, there = ([f for f in facts if self._side(f) == self._side(v)] for v in (x, y))
        if node.name == "eq":
            here, there = here + self._transferred(there, y, x), there + self._transferred(here, x, y)
        here, there = (known if self._has_lookups([v]) else [] for v, known in ((x, here), (y, there)))
        if not here and not there:
            return None
        low_x, high_x = _filled(here, x, INT_MAX), _filled(here, x, INT_MIN)
        low_y, high_y = _filled(there, y, INT_MAX), _filled(there, y, INT_MIN)
        match node.name:
            case "lt" | "le":
                made = build(node.name, low_x, high_y)
            case "gt" | "ge":
                made = build(node.name, high_x, low_y)
            case _:
                made = build("and", build("le", low_x, high_y), build("le", low_y, high_x))
        return spanned(made, node)

    def _transferred(self, facts: list[Node], x: Node, y: Node) -> list[Node]:
        """What comparisons of x with one value say of y, which equals x."""
        found = []
        for fact in facts:
            match fact:
                case Op(name=name, args=(a, b)) if name in COMPARISONS and a is x and self._side(b) == "":
                    found.append(build(name, y, b))
                case Op(name=name, args=(a, b)) if name in COMPARISONS and b is x and self._side(a) == "":
                    found.append(build(name, a, y))
        return found

    def _held(self, node: Node, facts: tuple[Node, ...]) -> Node:
        """The node with coordinates, and arguments that intervals handle badly, held where the facts leave them."""
        bounds = [form for f in facts for form in self._forms(f)]
        if not bounds:
            return node
        made: dict[int, Node] = {}
        for part in topological(node, stop=lambda n: isinstance(n, Lookup)):
            if isinstance(part, Lookup):
                made[id(part)] = part
                continue
            below = tuple(
                self._hold(c, made[id(c)], bounds) if _needs_holding(part, c) else made[id(c)] for c in children(part)
            )
            rebuilt = with_children(part, below)
            made[id(part)] = self._hold(part, rebuilt, bounds) if isinstance(part, Symbol) else rebuilt
        return made[id(node)]

    def _hold(self, node: Node, rebuilt: Node, bounds: list[Linear]) -> Node:
        """The rebuilt node within the bounds that are known of the node."""
        if node.type is not INT or self._side(node) == "":
            return rebuilt
        form = linear(node, self.limits)
        varying = form.where(lambda n: self._side(n) != "")
        terms = [n for n, _ in varying.terms.values()]
        if len(terms) == 1 and isinstance(terms[0], Symbol) and node is not terms[0]:
            return rebuilt  # its coordinate is held already
        for bound in bounds:
            known = bound.where(lambda n: self._side(n) != "")
            for sign in (1, -1):
                if varying.terms.keys() and known.plus(varying, -sign).terms == {}:
                    rebuilt = self._limited(node, rebuilt, form, bound, sign)
        return rebuilt

    def _limited(self, node: Node, rebuilt: Node, form: Linear, bound: Linear, sign: int) -> Node:
        """bound = sign * node + rest <= 0, so node <= -rest, or for sign -1 node >= rest."""
        rest = bound.plus(form, -sign)
        if isinstance(node, Symbol) and not rest.terms and self._between_tiles(node.name, rest.constant, sign):
            return rebuilt
        limit = expression(Linear({}, 0).plus(rest, -sign), self.limits)
        return rebuilt if limit is None else build("min" if sign == 1 else "max", rebuilt, limit)

    def _between_tiles(self, name: str, rest: int, sign: int) -> bool:
        """Whether a coordinate's bound lies between two tiles: then no tile has both pairs within it and beyond."""
        return name in self.blocks and (rest - (1 if sign == 1 else 0)) % self.blocks[name] == 0

    def _forms(self, fact: Node) -> list[Linear]:
        """The sums that a fact says are at most 0."""
        if id(fact) not in self.forms:
            self.kept.append(fact)
            self.forms[id(fact)] = self._forms_of(fact)
        return self.forms[id(fact)]

    def _forms_of(self, fact: Node) -> list[Linear]:
        if not isinstance(fact, Op) or fact.name not in ORDERS:
            return []
        form = self._difference(fact)
        if form is None:
            return []
        one = Linear({}, 1)
        opposite = Linear({}, 0).plus(form, -1)
        match fact.name:
            case "le":
                return [form]
            case "lt":
                return [form.plus(one)]
            case "ge":
                return [opposite]
            case "gt":
                return [opposite.plus(one)]
        return [form, opposite]

    def _difference(self, node: Op) -> Linear | None:
        """Left minus right of a comparison of ints that reads q or k outside tables; else None."""
        if node.args[0].type is not INT:
            return None
        left, right = (linear(a, self.limits) for a in node.args)
        return left.plus(right, -1)


def _needs_holding(node: Node, argument: Node) -> bool:
    return isinstance(node, Op) and node.name in HELD and not isinstance(argument, Symbol)


def parts_of(node: Op) -> list[Node]:
    """The operands of a chain of one operation, in order."""
    found, stack = list[Node](), [*reversed(node.args)]
    while stack:
        part = stack.pop()
        if isinstance(part, Op) and part.name == node.name:
            stack.extend(reversed(part.args))
        else:
            found.append(part)
    return found


def _joined(name: str, parts: Sequence[Node]) -> Node:
    total = parts[0]
    for part in parts[1:]:
        total = build(name, total, part)
    return total


def _tightest(order: str, limits: Sequence[Node]) -> Node:
    return _joined("min" if order == "le" else "max", limits)


def _where_any(coordinate: Node, lower: Sequence[Node], upper: Sequence[Node]) -> tuple[Node, Node]:
    """`lower <= coordinate <= upper`, but where no coordinate lies between, limits that hide no other row's."""
    low, high = _tightest("ge", lower), _tightest("le", upper)
    some = [build("le", low, high)]
    return build("ge", coordinate, _filled(some, low, INT_MAX)), build("le", coordinate, _filled(some, high, INT_MIN))


def _filled(facts: list[Node], value: Node, otherwise: int) -> Node:
    """The value where the facts hold, else a value that no comparison prefers."""
    return build("choose", _joined("and", [TRUE, *facts]), value, literal(otherwise)) if facts else value
