"""Random expressions of one definition, well typed and in bounds: the makings of `programs`.

What a mask or a condition compares is exact in float32 (multiples of 1/4, small), so that masks agree bit for bit;
scores may round, but never sharply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from maskdsl.ir.nodes import Call, Fill, Literal, Lookup, Moved, Node, Quantified, Size, Symbol, Use, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, FLOAT, INT, Axis, Constant, Hole, Parameter, Scalar, Table

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
INTS = (0, 1, 2, 3, 5, 8, 31, -1, -2, -7, 1000, 2**31 - 1, -(2**31))
CALLEE = "callee"


@dataclass(slots=True)
class Maker:
    """Draws the expressions of one definition, and declares the parameters that they need.

    `shared` are earlier expressions that may be used again; `closed` forbids that and the keeping of new ones, under
    guards and in quantifiers. `limits` says of an int table that its entries index an axis (a fact).
    """

    draw: Any
    owner: str
    callees: tuple[Variant, ...]
    parameters: list[Table | Constant | Hole] = field(default_factory=list)
    facts: list[Node] = field(default_factory=list)
    limits: dict[Table, str] = field(default_factory=dict)
    variables: dict[str, Axis | None] = field(default_factory=dict)
    shared: list[tuple[str, Node]] = field(default_factory=list)
    has_facts: bool = True
    closed: int = 0
    serial: int = 0

    def flip(self) -> bool:
        return bool(self.draw(st.booleans()))

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def any_of(self, *options: Callable[[], Node]) -> Node:
        """One of several expressions; the first is what a failure shrinks to."""
        made: Node = self.pick(*options)()
        return made

    def new(self, stem: str) -> str:
        self.serial += 1
        return f"{stem}{self.serial}"

    @contextmanager
    def inside(self, **variables: Axis | None) -> Iterator[None]:
        """A guard or a quantifier: what is made here stays here."""
        before, self.variables = self.variables, {**self.variables, **variables}
        self.closed += 1
        yield
        self.closed -= 1
        self.variables = before

    def kept(self, grade: str, make_node: Callable[[], Node]) -> Node:
        """A new expression, or an earlier one of the grade."""
        old = [n for g, n in self.shared if g == grade] if not self.closed else []
        if old and self.flip():
            return self.pick(*old)  # type: ignore[no-any-return]
        node = make_node()
        if not self.closed and not isinstance(node, Literal | Symbol | Size | Use):
            hint = self.new("w") if self.flip() and hasattr(node, "hint") else ""
            node = replace(node, hint=hint) if hint else node  # type: ignore[call-arg,type-var]
            self.shared.append((grade, node))
        return node

    # ---------------------------------------------------------------- parameters

    def constant(self, kind: Scalar) -> Node:
        """A constant; an int one is from 1 to 5 by a fact."""
        if kind is INT and not self.has_facts:
            return literal(4)
        constant = Constant(self.owner, self.new("c"), kind)
        self.parameters.append(constant)
        use = Use(constant, kind)
        if kind is INT:
            self.facts += [make("le", literal(1), use), make("le", use, literal(5))]
        return use

    def table(self, kind: Scalar, axes: tuple[Axis, ...]) -> Table:
        """A table of earlier or a new one."""
        tables = [p for p in self.parameters if isinstance(p, Table) and p not in self.limits]
        if old := [t for t in tables if (t.type, t.axes) == (kind, axes)]:
            return old[0]
        table = Table(self.owner, self.new("t"), kind, axes)
        self.parameters.append(table)
        return table

    def size(self, axis: str) -> Node:
        """The size of an axis; some table has it."""
        if not any(isinstance(p, Table) and axis in p.axes for p in self.parameters):
            self.table(INT, (axis,))
        return Size(axis)

    def lookup(self, kind: Scalar, depth: int) -> Node:
        """A table of any rank, its indices in bounds."""
        names = st.sampled_from(("batch", "head", "kv_head", "position", "n", "m", 3))
        axes = tuple(self.draw(st.lists(names, max_size=4, unique=True)))
        table = self.table(kind, axes)
        return Lookup(table, tuple(self.index(a, depth) for a in axes), kind)

    def index(self, axis: Axis, depth: int) -> Node:
        """An index of the axis that is in bounds."""
        own = {"batch": ("b",), "head": ("h",), "position": ("q", "k")}.get(str(axis), ())
        if axis == "kv_head":
            return make("floordiv", Symbol("h"), make("floordiv", Size("head"), Size("kv_head")))
        if own:
            return Symbol(self.pick(*own))
        bound = literal(axis) if isinstance(axis, int) else self.size(axis)
        last = literal(axis - 1) if isinstance(axis, int) else make("sub", bound, literal(1))
        mine = [Symbol(v) for v, a in self.variables.items() if a == axis]
        ways = [lambda: literal(0), lambda: make("clamp", self.int(depth - 1), literal(0), last),
                lambda: make("mod", self.int(depth - 1), bound), *(lambda v=v: v for v in mine)]
        return self.any_of(*ways, *([lambda: self.entry(axis)] if isinstance(axis, str) and self.has_facts else []))

    def entry(self, axis: str) -> Node:
        """An entry of a table of indices of the axis."""
        mine = [t for t, a in self.limits.items() if a == axis]
        table = mine[0] if mine else Table(self.owner, self.new("i"), INT, ("batch", "position"))
        if not mine:
            self.size(axis)
            self.parameters.append(table)
            self.limits[table] = axis
            at = Lookup(table, (Symbol("b"), Symbol("q")), INT)
            self.facts += [make("and", make("le", literal(0), at), make("lt", at, Size(axis)))]
        return Lookup(table, (Symbol("b"), Symbol(self.pick("q", "k"))), INT)

    # ---------------------------------------------------------------- bools

    def bool(self, depth: int) -> Node:
        """A bool that reads no score."""
        return self.kept("bool", lambda: self._bool(depth))

    def _bool(self, depth: int) -> Node:
        d = depth - 1
        leaves = (lambda: make("le", Symbol("k"), Symbol("q")), lambda: literal(self.flip()), lambda: self.band(0))
        if depth <= 0:
            return self.any_of(*leaves)
        return self.any_of(
            lambda: self.any_of(*leaves), lambda: make(self.pick(*COMPARISONS), self.int(d), self.int(d)),
            lambda: self.band(d),
            lambda: make(self.pick(*COMPARISONS), self.exact(d), self.exact(d)), lambda: make("not", self.bool(d)),
            lambda: make(self.pick("and", "or", "eq", "ne"), self.bool(d), self.bool(d)), lambda: self.lookup(BOOL, d),
            lambda: make("choose", self.bool(d), self.bool(d), self.bool(d)), lambda: self.guarded(d),
            lambda: self.fill(d),
            lambda: self.quantified(self.pick("any", "all"), self.bool, d), lambda: self.call_or("mask", self.bool, d),
            lambda: self.moved(self.bool, d),
        )  # fmt: skip

    def band(self, depth: int) -> Node:
        """`low <= x < high`."""
        x = self.int(depth)
        return make("and", make("le", self.number(), x), make("lt", x, self.number()))

    def guarded(self, depth: int) -> Node:
        """A lookup that a condition keeps in bounds."""
        table, x = self.table(BOOL, ("n",)), self.int(depth if not self.variables else 0)
        inside = make("and", make("le", literal(0), x), make("lt", x, self.size("n")))
        with self.inside():
            there = Lookup(table, (x,), BOOL)
        return self.any_of(
            lambda: make("and", inside, there), lambda: make("or", make("not", inside), there),
            lambda: make("choose", inside, there, literal(True)),
        )

    def fill(self, depth: int) -> Node:
        """A mask parameter, in definitions that are called."""
        if not self.owner.startswith(CALLEE):
            return self.bool(depth)
        if not any(isinstance(p, Hole) for p in self.parameters):
            self.parameters.append(Hole(self.owner, self.new("inner")))
        return Fill(next(p for p in self.parameters if isinstance(p, Hole)))

    # ---------------------------------------------------------------- ints

    def number(self) -> Node:
        """A literal, or a constant."""
        return self.any_of(lambda: literal(self.pick(*INTS)), lambda: self.constant(INT))

    def int(self, depth: int) -> Node:
        """An int; it may wrap."""
        return self.kept("int", lambda: self._int(depth))

    def _int(self, depth: int) -> Node:
        d = depth - 1
        leaves = (lambda: Symbol(self.pick("q", "k", "b", "h", "q_len", "kv_len", *self.variables)), self.number)
        if depth <= 0:
            return self.any_of(*leaves)
        return self.any_of(
            lambda: self.any_of(*leaves),
            lambda: make(self.pick("add", "sub", "mul", "min", "max"), self.int(d), self.int(d)),
            lambda: make(self.pick("floordiv", "mod"), self.int(d), self.divisor(d)),
            lambda: make(self.pick("abs", "sign", "bit_length"), self.int(d)), lambda: self.negative(d),
            lambda: make("clamp", self.int(d), self.int(d), self.int(d)),
            lambda: make(self.pick("bit_and", "bit_or", "bit_xor"), self.int(d), self.int(d)),
            lambda: make(self.pick("shift_left", "shift_right"), self.int(d), self.count(d)),
            lambda: make("pow", self.int(d), literal(self.pick(0, 1, 2, 3, 5))), lambda: self.lookup(INT, d),
            lambda: make("choose", self.bool(d), self.int(d), self.int(d)),
            lambda: self.size(self.pick("n", "position")),
            lambda: make("to_int", self.any_of(lambda: self.bool(d), lambda: self.exact(d))),
            lambda: self.quantified("sum", self.int, d), lambda: self.moved(self.int, d),
        )  # fmt: skip

    def negative(self, depth: int) -> Node:
        """The negative of what is no number: that of a number is a number."""
        x = self.int(depth)
        return x if isinstance(x, Literal) else make("neg", x)

    def divisor(self, depth: int) -> Node:
        """An int that is not zero."""
        return self.any_of(
            lambda: literal(self.pick(1, 2, 3, -1, -4, 7)), lambda: self.constant(INT),
            lambda: make("max", self.int(depth), literal(1)), lambda: self.size("n"),
        )  # fmt: skip

    def count(self, depth: int) -> Node:
        """An int from 0 to 31."""
        return self.any_of(lambda: literal(self.pick(0, 1, 4, 31)), lambda: make("mod", self.int(depth), literal(32)),
                           lambda: make("bit_and", self.int(depth), literal(31)))  # fmt: skip

    def quantified(self, kind: str, body: Callable[[int], Node], depth: int) -> Node:
        """A quantifier over a literal range, a constant's or an axis."""
        variable, axis = self.new("i"), self.pick(None, "n", "m")
        start, stop = literal(0), self.size(axis) if axis else self.any_of(lambda: literal(3),
        lambda: self.constant(INT))
        if not axis and self.flip():
            start = literal(self.pick(1, -2, 9))
        with self.inside(**{variable: axis}):
            inner = body(depth)
        return Quantified(kind, variable, start, stop, inner, inner.type)

    # ---------------------------------------------------------------- floats

    def exact(self, depth: int) -> Node:
        """A float that float32 holds exactly: a small multiple of 1/4."""
        return self.kept("exact", lambda: self._exact(depth))

    def _exact(self, depth: int) -> Node:
        d = depth - 1
        small = lambda: make("to_float", Symbol(self.pick("q", "k", "h", *self.variables)))  # noqa: E731
        leaves = (small, lambda: literal(self.pick(0.0, 1.0, 0.25, -2.5, -1.0)), lambda: self.constant(FLOAT))
        if depth <= 0:
            return self.any_of(*leaves)
        return self.any_of(
            lambda: self.any_of(*leaves),
            lambda: make(self.pick("add", "sub", "min", "max"), self.exact(d), self.exact(d)),
            lambda: make(self.pick("neg", "abs", "sign", "floor", "ceil", "trunc"), self.exact(d)),
            lambda: make("mul", self.any_of(*leaves), self.any_of(*leaves)), lambda: self.lookup(FLOAT, d),
            lambda: make(self.pick("floordiv", "mod"), self.exact(d), literal(self.pick(0.25, 0.5, 2.0, -1.5))),
            lambda: make("clamp", self.exact(d), self.exact(d), self.exact(d)),
            lambda: make("choose", self.bool(d), self.exact(d), self.exact(d)),
        )  # fmt: skip

    def rounded(self, depth: int) -> Node:
        """A float whose value changes little when its parts are rounded; it may read the score."""
        return self.kept("rounded", lambda: self._rounded(depth))

    def _rounded(self, depth: int) -> Node:
        d = depth - 1
        score = lambda: Symbol("score", FLOAT)  # noqa: E731
        if depth <= 0:
            return self.any_of(score, lambda: self.exact(0))
        return self.any_of(
            score, lambda: self.exact(d),
            lambda: make(self.pick("add", "sub", "mul"), self.rounded(d), self.rounded(d)),
            lambda: make("to_float", self.int(d)), lambda: make("div", self.rounded(d), self.positive(d)),
            lambda: make(self.pick("neg", "abs", "tanh", "sigmoid", "logsigmoid"), self.rounded(d)),
            lambda: make(self.pick("exp", "exp2", "sin", "cos"), self.tame(d)),
            lambda: make(self.pick("log", "log1p", "log2", "sqrt", "rsqrt"), self.positive(d)),
            lambda: make(self.pick("min", "max"), self.rounded(d), self.rounded(d)), lambda: self.tame(d),
            lambda: make("pow", self.positive(d), literal(self.pick(0.0, 1.0, 2.0, 3.0, 0.5, -1.5))),
            lambda: make("choose", self.bool(d), self.rounded(d), self.any_of(lambda: self.rounded(d),
            lambda: literal(-np.inf))),
            lambda: self.quantified("sum", self.rounded, d), lambda: self.call_or("score", self.rounded, d),
            lambda: self.moved(self.rounded, d), lambda: self.rescored(d),
        )  # fmt: skip

    def rounded_or_hidden(self, depth: int) -> Node:
        """A float, or -inf."""
        return self.any_of(lambda: self.rounded(depth), lambda: literal(-np.inf))

    def tame(self, depth: int) -> Node:
        """A float from -8 to 8."""
        return make("clamp", self.rounded(depth), literal(-8.0), literal(8.0))

    def positive(self, depth: int) -> Node:
        """A float from 1/2 on."""
        return make("add", make("abs", self.tame(depth)), literal(0.5))

    # ---------------------------------------------------------------- moves and calls

    def moved(self, body: Callable[[int], Node], depth: int) -> Node:
        """An expression at other coordinates, all inside their axes."""
        inner, names = body(depth), self.draw(st.lists(st.sampled_from("qkbh"), min_size=1, max_size=3, unique=True))
        return Moved(inner, tuple((n, self.target(n)) for n in names), inner.type)

    def target(self, name: str) -> Node:
        here, other = Symbol(name), Symbol({"q": "k", "k": "q"}.get(name, name))
        return self.any_of(
            lambda: other, lambda: make("floordiv", here, literal(2)),
            lambda: make("max", make("sub", here, literal(1)), literal(0)),
            lambda: make("min", here, literal(1)) if name in "qk" else literal(0),
        )  # fmt: skip

    def rescored(self, depth: int) -> Node:
        """A score of another score."""
        inner = make("add", self.rounded(depth), Symbol("score", FLOAT))
        return Moved(inner, (("score", self.rounded(depth)),), FLOAT)

    def call_or(self, kind: str, otherwise: Callable[[int], Node], depth: int) -> Node:
        """A call of a definition of the kind, if there is one."""
        targets = [v for v in self.callees if v.kind == kind]
        return self.call(self.pick(*targets), depth) if targets else otherwise(depth)

    def call(self, target: Variant, depth: int = 1) -> Node:
        """A call; its tables get fresh ones of this definition, its axis `m` perhaps another one's name."""
        other: dict[Axis, Axis] = {"m": self.pick("m", "n")}
        arguments = tuple((p, self.argument(p, other, target, depth)) for p in target.parameters)
        return Call(target, arguments, BOOL if target.kind == "mask" else FLOAT)

    def argument(self, p: Parameter, other: dict[Axis, Axis], target: Variant, depth: int) -> Node | Table:
        match p:
            case Constant(type=kind):
                return literal(self.pick(1, 4) if kind is INT else self.pick(0.5, 2.0))
            case Hole():
                return self.bool(depth)
        table = Table(self.owner, self.new("a"), p.type, tuple(other.get(a, a) for a in p.axes))
        self.parameters.append(table)
        bounded = next((f.args[1].args[1] for f in target.facts if _bounds(f, p)), None)  # type: ignore[union-attr]
        if isinstance(bounded, Size):
            self.limits[table] = str(other.get(bounded.axis, bounded.axis))
        return table


def _bounds(fact: Node, table: Table) -> bool:
    """Whether the fact is `0 <= table[…] < size(axis)`."""
    low = getattr(fact, "args", (None,))[0]
    at = getattr(low, "args", (None, None))[1]
    return isinstance(at, Lookup) and at.table == table
