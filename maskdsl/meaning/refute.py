"""Whether formulas contradict each other: bounds, then elimination, then cases, within a budget.

Every atom that enters brings what defines it and the facts about it. Products of inequalities are added where a
nonlinear term asks for them. A result of False says nothing.

Not here: the linear procedures (`linear`), what atoms mean (`terms`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from maskdsl.meaning.linear import Bounds, Budget, Row, greatest, infeasible, least, tighten
from maskdsl.meaning.polynomials import FALSE, All, AtLeast, Formula, Monomial, OneOf, Poly, variable
from maskdsl.meaning.table_facts import TableFacts
from maskdsl.meaning.terms import Terms, product_range

CASE_DEPTH = 8
"""How many case distinctions may be nested."""

ROUNDS = 5
"""Rounds of propagation before elimination takes over."""

GENERATIONS, LOOKUP_LIMIT, PAIR_LIMIT = 2, 24, 12
"""How far facts may bring in new lookups, and how many lookups and pairs of them take part in one proof."""

PRODUCT_LIMIT, PRODUCT_ROUNDS, FACTOR_TERMS = 40, 3, 5
"""How many products of inequalities are added, in how many rounds, and how long a factor may be."""


class System:
    """The formulas of one case: inequalities with the bounds they give, and the distinctions still open."""

    def __init__(self, terms: Terms, facts: TableFacts, budget: Budget) -> None:
        self.terms = terms
        self.facts = facts
        self.budget = budget
        self.polys: dict[Poly, Row] = {}
        self.bounds: Bounds = {}
        self.cases: list[OneOf] = []
        self.atoms: dict[int, int] = {}
        self.products: set[Poly] = set()

    def copy(self) -> System:
        """A system that can grow on its own."""
        new = System(self.terms, self.facts, self.budget)
        new.polys, new.bounds, new.cases = dict(self.polys), dict(self.bounds), list(self.cases)
        new.atoms, new.products = dict(self.atoms), set(self.products)
        return new

    # ------------------------------------------------------------ growing

    def add(self, formulas: Iterable[Formula]) -> bool:
        """Take in formulas and all that is known of their atoms; False when one of them is false at sight."""
        stack = [(formula, 0) for formula in formulas]
        while stack:
            formula, generation = stack.pop()
            if formula == FALSE:
                return False
            match formula:
                case All(parts=parts):
                    stack += [(part, generation) for part in parts]
                case OneOf():
                    if formula not in self.cases:
                        self.cases.append(formula)
                        self._register(formula)
                case AtLeast(poly=poly) if poly not in self.polys:
                    if not self.budget.spend(12):
                        return True
                    self.polys[poly] = self.terms.row(poly)
                    self._register(formula)
                    stack += [(f, g) for atom in poly.atoms() for f, g in self._known(atom, generation)]
        return True

    def _register(self, formula: Formula) -> None:
        """Give every column of a formula its range."""
        stack = [formula]
        while stack:
            part = stack.pop()
            if isinstance(part, AtLeast):
                for monomial, _ in part.poly.terms:
                    if monomial and monomial not in self.bounds:
                        self.bounds[monomial] = self.terms.monomial_range(monomial)
            else:
                stack += part.parts

    def _known(self, atom: int, generation: int) -> list[tuple[Formula, int]]:
        """What is known of an atom that is new to the system."""
        if atom in self.atoms:
            return []
        self.atoms[atom] = generation
        found = [*self.terms.atoms[atom].formulas, *self.facts.touching(atom)]
        table = self.terms.atoms[atom].table
        if table is None or generation > GENERATIONS:
            return [(f, generation) for f in found]
        lookups = [a for a in self.atoms if self.terms.atoms[a].table is not None]
        if len(lookups) <= LOOKUP_LIMIT:
            found += self.facts.about(atom)
            twins = [a for a in lookups if a != atom and self.terms.atoms[a].table == table][:PAIR_LIMIT]
            found += [f for twin in twins for f in self.facts.about_pair(twin, atom)]
        return [(f, generation + 1) for f in found]

    # ------------------------------------------------------------ bounds

    def propagate(self) -> bool:
        """Tighten the bounds and settle the cases that they decide; False on a contradiction."""
        for _ in range(ROUNDS):
            if not self.budget.spend(8 * len(self.polys) + 8 * sum(len(case.parts) for case in self.cases)):
                return True
            changed = tighten(self.polys.values(), self.bounds)
            if changed is None or not self._bound_products():
                return False
            decided = self._decide_cases()
            if decided is None:
                return False
            if not changed and not decided:
                return True
        return True

    def _bound_products(self) -> bool:
        """Bound every product by the bounds of its factors; False when a column has no value left."""
        for monomial, (low, high) in self.bounds.items():
            if len(monomial) > 1:
                factors = [self.bounds.get((a,)) or self.terms.monomial_range((a,)) for a in monomial]
                least_, most = product_range(factors)
                self.bounds[monomial] = low, high = max(low, least_), min(high, most)
            if low > high:
                return False
        return True

    def _decide_cases(self) -> bool | None:
        """Drop the alternatives that the bounds exclude: whether something came of it, None when all are excluded."""
        open_cases, self.cases = self.cases, []
        settled: list[Formula] = []
        for case in open_cases:
            judged = [self._judge(part) for part in case.parts]
            if True in judged:
                continue
            left = [part for part, truth in zip(case.parts, judged, strict=True) if truth is None]
            if not left:
                return None
            if len(left) == 1:
                settled.append(left[0])
            else:
                self.cases.append(case if len(left) == len(case.parts) else OneOf(tuple(left)))
        if not self.add(settled):
            return None
        return bool(settled)

    def _judge(self, formula: Formula) -> bool | None:
        """The truth of a formula when the bounds decide it, else None."""
        if isinstance(formula, AtLeast):
            current = self.terms.row(formula.poly)
            if greatest(current, self.bounds) < 0:
                return False
            return True if least(current, self.bounds) >= 0 else None
        every, undecided = isinstance(formula, All), False
        for part in formula.parts:
            truth = self._judge(part)
            if truth is not every and truth is not None:
                return truth
            undecided = undecided or truth is None
        return None if undecided else every

    # ------------------------------------------------------------ products

    def multiply(self) -> bool:
        """Add the products that quotients by unknown divisors and nonlinear terms ask for; False on a contradiction."""
        for _ in range(PRODUCT_ROUNDS):
            tried = dict.fromkeys(self._products())
            if not self.budget.spend(12 * len(tried)):
                return True
            wanted = [p for p in tried if p not in self.products and self._fits(p)]
            fresh = wanted[: max(PRODUCT_LIMIT - len(self.products), 0)]
            if not fresh:
                return True
            self.products.update(fresh)
            if not self.add(AtLeast(p) for p in fresh):
                return False
        return True

    def _products(self) -> Iterator[Poly]:
        """Inequalities times a factor that is not negative: a divisor, or the other half of a nonlinear term."""
        short = [p for p in self.polys if len(p.terms) <= FACTOR_TERMS and all(len(m) < 2 for m, _ in p.terms)]
        yield from (p * y for p in short for y in self._divisors(p))
        pairs = [m for m in self.bounds if len(m) == 2]
        yield from (p for u, v in pairs for p in self._corner(u, v))
        for pair in pairs:
            for u, v in (pair, pair[::-1]):
                if self._least((v,)) >= 0:
                    yield from (p * variable(v) for p in short if any(m == (u,) for m, _ in p.terms))

    def _divisors(self, poly: Poly) -> list[Poly]:
        """The divisors, not negative, of the quotients in an inequality."""
        found = [self.terms.atoms[a].divisor for a in poly.atoms()]
        return [y for y in dict.fromkeys(found) if y is not None and self._judge(AtLeast(y))]

    def _corner(self, u: int, v: int) -> list[Poly]:
        """`(u - least u) * (v - least v) >= 0`."""
        return [(variable(u) - self._least((u,))) * (variable(v) - self._least((v,)))]

    def _least(self, column: Monomial) -> int:
        return (self.bounds.get(column) or self.terms.monomial_range(column))[0]

    def _fits(self, poly: Poly) -> bool:
        """Whether a product brings in at most one new term."""
        return sum(bool(m) and m not in self.bounds for m, _ in poly.terms) <= 1

    # ------------------------------------------------------------ elimination

    def eliminate(self, seeds: set[Monomial]) -> tuple[bool, set[Monomial]]:
        """Whether the inequalities connected with the seeds have no solution; and the columns connected with them."""
        columns = set(seeds)
        left, used = list(self.polys.values()), []
        while True:
            near = [r for r in left if any(m in columns for m, _ in r.coefficients)]
            if not near:
                break
            used += near
            chosen = set(map(id, near))
            left = [r for r in left if id(r) not in chosen]
            columns.update(m for r in near for m, _ in r.coefficients)
        used = [r for r in used if least(r, self.bounds) < 0]
        for column in {m for r in used for m, _ in r.coefficients}:
            low, high = self.bounds[column]
            used += [Row(((column, 1),), -low), Row(((column, -1),), high)]
        return infeasible(used, self.budget), columns


def refuted(goal: Formula, known: Iterable[Formula], terms: Terms, facts: TableFacts, budget: Budget) -> bool:
    """Whether `goal` and `known` contradict each other and the facts; False also when the budget ends."""
    system = System(terms, facts, budget)
    if not system.add((goal, *known)):
        return True
    stack = [(system, _columns(goal), 0)]
    while stack:
        system, seeds, depth = stack.pop()
        if not system.propagate() or not system.multiply() or not system.propagate():
            continue
        impossible, near = system.eliminate(seeds)
        if impossible:
            continue
        case = _nearest(system.cases, near)
        if case is None or depth == CASE_DEPTH or budget.left <= 0:
            return False
        for part in case.parts:
            branch = system.copy()
            branch.cases.remove(case)
            if branch.add((part,)):
                stack.append((branch, seeds | _columns(part), depth + 1))
    return True


def _nearest(cases: list[OneOf], near: set[Monomial]) -> OneOf | None:
    """The case to distinguish next: few alternatives, and as many columns as possible that matter."""
    rated = [(len(case.parts), -len(_columns(case) & near), place) for place, case in enumerate(cases)]
    relevant = [r for r in rated if r[1]]
    return cases[min(relevant)[2]] if relevant else None


def _columns(formula: Formula) -> set[Monomial]:
    if isinstance(formula, AtLeast):
        return {m for m, _ in formula.poly.terms if m}
    return set().union(*map(_columns, formula.parts))
