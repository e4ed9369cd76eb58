"""Proofs over the ints of one definition: what follows from its facts and from the conditions around a place.

The arithmetic is exact: int32 wraps around. A proof says that a statement holds for every value of the coordinates,
sizes, constants and tables that the facts and conditions allow; coordinates lie in [0, 2**30), sizes in [1, 2**31). A
proof not found says nothing.

Not here: which statements need a proof (`obligations`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from maskdsl.ir.nodes import Ascending, Node, Quantified
from maskdsl.ir.walk import topological
from maskdsl.meaning.linear import Budget, Range
from maskdsl.meaning.polynomials import FALSE, TRUE, Formula, Poly, at_least
from maskdsl.meaning.reading import Reader
from maskdsl.meaning.refute import refuted
from maskdsl.meaning.table_facts import TableFacts, limits, patterns
from maskdsl.meaning.terms import Terms

STEPS, STEPS_EACH = 500_000, 60_000
"""Elementary steps, of about a microsecond, for all the proofs of one definition, and for one of them."""

STEPS_BESIDE = 200
"""What a proof costs beside the steps that it counts."""


def prove(goal: Node, facts: Sequence[Node] = (), conditions: Sequence[Node] = ()) -> bool:
    """Whether a bool node is surely true where the facts and the conditions are.

    `facts` hold for every value of the coordinates in them, `conditions` where `goal` stands. No node may hold a call
    or a move. What is neither a comparison of ints nor made of such is an unknown truth.
    """
    prover = Prover(facts)
    reader = prover.reader((goal, *conditions))
    return prover.refutes(reader.when(goal, False), [reader.when(c) for c in conditions])


class Prover:
    """The proofs of one definition: they share its facts, what has been read, and a budget.

    `fixed` gives the values of sizes (by `("size", axis)`) and constants (by `("use", constant)`). With `padded`, q
    and k may be anything from 0 to 2**30. Without `wraps` ints are taken to be unbounded: good for advice, no proof.
    """

    def __init__(
        self, facts: Sequence[Node] = (), *, fixed: Mapping[Hashable, int] | None = None, padded: bool = False,
        wraps: bool = True, budget: Budget | None = None,
    ) -> None:
        known = patterns(facts)
        ranges: dict[Hashable, Range] = {**limits(known), **{key: (v, v) for key, v in (fixed or {}).items()}}
        self.terms = Terms(ranges, padded=padded, wraps=wraps)
        ascending = [p.statement for p in known if isinstance(p.statement, Ascending)]
        self.facts = TableFacts(self.terms, known, ascending)
        self.budget = budget or Budget(STEPS)
        self.known: dict[tuple[Formula, tuple[Formula, ...]], bool] = {}

    def reader(self, roots: Node | Sequence[Node]) -> Reader:
        """A reader of these expressions: it knows what the variables of the quantifiers in them run through."""
        names: dict[str, Poly] = {}
        reader = Reader(self.terms, names)
        for node in reversed(list(topological(roots))):  # outer quantifiers first: bounds may read their variables
            if isinstance(node, Quantified):
                start, stop = reader.value(node.start), reader.value(node.stop)
                names[node.variable] = self._counter(node.variable, start, stop)
        return reader

    def _counter(self, name: str, start: Poly, stop: Poly) -> Poly:
        """A quantifier's variable."""
        low, high = self.terms.range(start)[0], max(self.terms.range(stop)[1] - 1, self.terms.range(start)[0])

        def define(it: Poly) -> tuple[Formula, ...]:
            return at_least(it - start), at_least(stop - it - 1)

        return self.terms.atom(("counter", name, start, stop), low, high, define)

    def refutes(self, formula: Formula, conditions: Sequence[Formula] = ()) -> bool:
        """Whether a formula cannot hold where the conditions do."""
        given = tuple(c for c in dict.fromkeys(conditions) if c != TRUE)
        if formula == FALSE or FALSE in given:
            return True
        if formula == TRUE and not given:
            return False
        if (formula, given) not in self.known:
            allowed = min(STEPS_EACH, self.budget.left)
            mine = Budget(allowed)
            self.known[formula, given] = allowed > 0 and refuted(formula, given, self.terms, self.facts, mine)
            self.budget.spend(allowed - max(mine.left, 0) + STEPS_BESIDE)
        return self.known[formula, given]
