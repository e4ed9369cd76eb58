"""Every lookup in bounds, every int divisor not zero, every shift by 0 to 31: proven for a definition, or reported.

The proof of a place knows the facts of the definition and of all it calls, and the conditions around the place: `a` in
the right side of `a and …`, its opposite in that of `a or …`, and the condition of a choice in its branches.

Not here: how proofs are found (`prove`), what the reports say (`obligation_texts`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from maskdsl.ir.nodes import Literal, Node, Op, Use, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.substitute import inline
from maskdsl.ir.types import INT
from maskdsl.ir.walk import children, topological
from maskdsl.meaning.advice import candidates
from maskdsl.meaning.constants import constant_value
from maskdsl.meaning.demands import DIVISIONS, Demand, demands, failure, is_safe_by_type
from maskdsl.meaning.facts import all_facts
from maskdsl.meaning.linear import Budget
from maskdsl.meaning.obligation_texts import Unmet, report
from maskdsl.meaning.polynomials import Formula
from maskdsl.meaning.prove import STEPS, Prover
from maskdsl.meaning.reading import Reader
from maskdsl.source.diagnostic import Diagnostic, MaskError

PLACE_LIMIT = 5_000
"""How many places (a node and the conditions around it) are looked at before what is left counts as not proven."""

CONDITION_LIMIT, NEAR = 24, 1
"""How many conditions, the innermost ones, a proof knows; and how many of them are tried first."""


def obligations(variant: Variant) -> list[Diagnostic]:
    """What is not proven about a definition (E0402, E0404, E0405), in the order of the text.

    Constants may still be open: what cannot be proven for all their values counts as proven if it holds for their
    defaults, and a divisor of constants without defaults if it is not zero as long as nothing wraps around, because
    the proofs are repeated when the constants are fixed. Open mask parameters are unknown truths.
    Raises MaskError E0406 when the definition grows too large.
    """
    budgets = Budget(STEPS), Budget(STEPS), Budget(STEPS // 4)
    facts = [inline(fact) for fact in variant.facts]
    unmet: list[Unmet] = []
    for index, fact in enumerate(facts):
        if _asks(fact):
            found = _Expression(fact, facts[:index], _defaults(variant), budgets).unmet()
            others = _Expression(fact, facts[:index] + facts[index + 1 :], _defaults(variant), budgets)
            unmet += [replace(u, late=True) for u in found] if found and not others.unmet() else found
    roots = [root for root in (inline(root) for _, root in variant.roots) if _asks(root)]
    if roots:
        every = _inlined(all_facts(variant))
        unmet += [u for root in roots for u in _Expression(root, every, _defaults(variant), budgets).unmet()]
    return report(variant, unmet)


def _inlined(facts: Sequence[Node]) -> list[Node]:
    """The facts without calls; one that grows too large helps no proof and is left out."""
    found = []
    for fact in facts:
        try:
            found.append(inline(fact))
        except MaskError:
            continue
    return found


def _defaults(variant: Variant) -> dict[Hashable, int]:
    """The defaults of int constants, as the prover fixes them."""
    values = {constant: constant_value(node) for constant, node in variant.defaults if constant.type is INT}
    return {("use", c): value for c, value in values.items() if isinstance(value, int)}


def _asks(root: Node) -> bool:
    """Whether anything below a node needs a proof."""
    return any(not is_safe_by_type(d) for node in topological(root) for d in demands(node))


@dataclass(frozen=True, slots=True)
class _Expression:
    """An expression without calls, the facts that hold where it stands, the defaults of constants, and the budgets.

    The budgets are for the proofs, for the proofs with defaults, and for advice.
    """

    root: Node
    facts: Sequence[Node]
    defaults: Mapping[Hashable, int]
    budgets: tuple[Budget, Budget, Budget]

    def unmet(self) -> list[Unmet]:
        """What the demands below the expression lack, and what could help."""
        left = self._places(self.facts, self.budgets[0]).unmet()
        if left and self._has_defaults():
            fixed = Prover(self.facts, fixed=self.defaults, budget=self.budgets[1])
            left = _Places(self.root, fixed, fixed).unmet(left)
        left = self._not_settled_later(left)
        groups: dict[tuple[int, int, bool], list[Demand]] = {}
        for demand in left:
            groups.setdefault((id(demand.node), demand.place, demand.kind == "zero"), []).append(demand)
        return [self._advised(group) for group in groups.values()]

    def _not_settled_later(self, left: list[Demand]) -> list[Demand]:
        """Without divisors that only a product too large for an int could make zero: their constants are still open."""
        later = [d for d in left if d.kind == "zero" and self._is_open(d.child)]
        if not later:
            return left
        doubtful = self._places(self.facts, self.budgets[1], wraps=False).unmet(later)
        return [d for d in left if d not in later or d in doubtful]

    def _is_open(self, divisor: Node) -> bool:
        """Whether a divisor is made of constants alone, one of them without a default."""
        constants = [n.constant for n in topological(divisor) if isinstance(n, Use)]
        return _is_constant(divisor) and any(("use", c) not in self.defaults for c in constants)

    def _places(self, facts: Sequence[Node], budget: Budget, wraps: bool = True) -> _Places:
        """The walk through the expression; lookups may take the divisors that are constants to be positive."""
        assumed = [make("ge", divisor, literal(1)) for divisor in _open_divisors(self.root)]
        strict = Prover(facts, wraps=wraps, budget=budget)
        loose = Prover([*facts, *assumed], wraps=wraps, budget=budget) if assumed else strict
        return _Places(self.root, loose, strict)

    def _has_defaults(self) -> bool:
        nodes = topological([self.root, *self.facts])
        return any(isinstance(n, Use) and ("use", n.constant) in self.defaults for n in nodes)

    def _advised(self, group: list[Demand]) -> Unmet:
        kinds = frozenset(d.kind for d in group)
        for fact in candidates(group[0], kinds):
            if self.budgets[2].left > 0 and not self._places([*self.facts, fact], self.budgets[2]).unmet(group):
                return Unmet(group[0], kinds, fact, self._wraps(group))
        return Unmet(group[0], kinds, None, self._wraps(group))

    def _wraps(self, group: list[Demand]) -> bool:
        """Whether nothing but wrap-around stands against the proof."""
        return self.budgets[2].left > 0 and not self._places(self.facts, self.budgets[2], wraps=False).unmet(group)


def _open_divisors(root: Node) -> list[Node]:
    """Divisors made of constants alone, and the constants that are their factors: taken to be at least 1."""
    found: list[Node] = []
    for node in topological(root):
        if isinstance(node, Op) and node.name in DIVISIONS and node.type is INT and _is_constant(node.args[1]):
            waiting = [node.args[1]]
            while waiting:
                factor = waiting.pop()
                found.append(factor)
                if isinstance(factor, Op) and factor.name == "mul":
                    waiting += factor.args
    return [f for f in dict.fromkeys(found) if not isinstance(f, Literal)]


def _is_constant(root: Node) -> bool:
    leaves = [n for n in topological(root) if not children(n)]
    return all(isinstance(n, Literal | Use) for n in leaves)


@dataclass(slots=True)
class _Places:
    """One expression, walked from its root with the conditions that hold on the way."""

    root: Node
    prover: Prover
    divisors: Prover
    reader: Reader = field(init=False)
    divisor_reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = self.prover.reader(self.root)
        self.divisor_reader = self.reader if self.divisors is self.prover else self.divisors.reader(self.root)

    def unmet(self, wanted: Sequence[Demand] | None = None) -> list[Demand]:
        """The demands (all, or the wanted ones) that are not met everywhere, in the order of the expression."""
        everywhere = wanted
        if everywhere is None:
            everywhere = [d for n in topological(self.root) for d in demands(n) if not is_safe_by_type(d)]
        doubtful: dict[int, list[Demand]] = {}
        for demand in everywhere:
            if not self._is_met(demand, ()):
                doubtful.setdefault(id(demand.node), []).append(demand)
        failed = self._walk(doubtful) if doubtful else set()
        return [d for d in everywhere if d in failed]

    def _is_met(self, demand: Demand, conditions: tuple[tuple[Node, bool], ...]) -> bool:
        zero = demand.kind == "zero"
        prover, reader = (self.divisors, self.divisor_reader) if zero else (self.prover, self.reader)
        known: list[Formula] = [reader.when(node, truth) for node, truth in conditions]
        broken = failure(demand, reader)
        near = len(known) > NEAR and prover.refutes(broken, known[-NEAR:])
        return near or prover.refutes(broken, known)

    def _walk(self, doubtful: Mapping[int, list[Demand]]) -> set[Demand]:
        """The doubtful demands that the conditions around some place do not meet."""
        leads = _leading_to(self.root, set(doubtful))
        seen: set[tuple[int, tuple[tuple[int, bool], ...]]] = set()
        failed: set[Demand] = set()
        stack: list[tuple[Node, tuple[tuple[Node, bool], ...]]] = [(self.root, ())]
        while stack:
            node, conditions = stack.pop()
            key = (id(node), tuple((id(c), truth) for c, truth in conditions))
            if key in seen or id(node) not in leads:
                continue
            seen.add(key)
            if len(seen) > PLACE_LIMIT:
                return {d for group in doubtful.values() for d in group}
            mine = doubtful.get(id(node), [])
            failed |= {d for d in mine if d not in failed and not self._is_met(d, conditions)}
            stack += [(child, _joined(conditions, more)) for child, more in _ways(node)]
        return failed


def _leading_to(root: Node, wanted: set[int]) -> set[int]:
    """The nodes at or above the wanted ones."""
    found = set(wanted)
    for node in topological(root):
        if any(id(c) in found for c in children(node)):
            found.add(id(node))
    return found


def _ways(node: Node) -> Iterator[tuple[Node, tuple[Node, bool] | None]]:
    """The children of a node, each with the condition under which it matters."""
    match node:
        case Op(name="and", args=(left, right)):
            yield from ((left, None), (right, (left, True)))
        case Op(name="or", args=(left, right)):
            yield from ((left, None), (right, (left, False)))
        case Op(name="choose", args=(condition, x, y)):
            yield from ((condition, None), (x, (condition, True)), (y, (condition, False)))
        case _:
            yield from ((child, None) for child in children(node))


def _joined(
    conditions: tuple[tuple[Node, bool], ...], more: tuple[Node, bool] | None
) -> tuple[tuple[Node, bool], ...]:
    if more is None or more in conditions:
        return conditions
    return (*conditions, more)[-CONDITION_LIMIT:]
