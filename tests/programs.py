"""Random well-typed programs, for tests that hold for every program: `programs()` draws one with data to run it on.

A program is IR as the checker makes it (calls, moves, mask parameters, quantifiers, facts) and its text. Lookups are in
bounds by a coordinate, a clamp, a remainder, a variable's range, a guard or a fact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from expressions import CALLEE, Maker
from hypothesis import strategies as st

from maskdsl.ir.nodes import Literal, Lookup, Moved, Node, Symbol, Variant, literal
from maskdsl.ir.print import text
from maskdsl.ir.substitute import substitute
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Table
from maskdsl.ir.walk import rewrite_variant

DTYPES = {BOOL: ("bool",), INT: ("int8", "int16", "int32", "int64"), FLOAT: ("float32",)}
KINDS = ("mask", "score", "variant")


@dataclass(frozen=True, slots=True)
class Program:
    """A definition, those it calls (first), the values of its constants, its tables' arrays, and the axes' sizes."""

    variant: Variant
    callees: tuple[Variant, ...]
    constants: dict[Constant, Any]
    tables: dict[Table, np.ndarray[Any, Any]]
    sizes: dict[str, int]

    @property
    def text(self) -> str:
        """All the definitions as a .mask file."""
        return "\n\n".join(text(v) for v in (*self.callees, self.variant)) + "\n"

    @property
    def fixed(self) -> Variant:
        """The definition with its constants' values in their places."""
        values = {c: Literal(v, c.type) for c, v in self.constants.items()}
        kept = tuple(p for p in self.variant.parameters if not isinstance(p, Constant))
        return replace(rewrite_variant(self.variant, lambda n: substitute(n, constants=values)), parameters=kept)

    def __repr__(self) -> str:
        arrays = {t.name: a.tolist() for t, a in self.tables.items()}
        return f"{self.text}\n{({c.name: v for c, v in self.constants.items()}, arrays, self.sizes)}"


@st.composite
def programs(draw: Callable[..., Any], kinds: tuple[str, ...] = KINDS, depth: int = 4) -> Program:
    """A program whose definition is of one of the kinds; a `variant` has a mask, scores, a scale and perhaps a sink.
    """
    numbers = st.integers(1, 4)
    sizes = {"batch": draw(st.integers(1, 2)), "kv_head": draw(st.integers(1, 2)), "position": draw(st.integers(1, 6))}
    sizes |= {"head": sizes["kv_head"] * draw(st.integers(1, 2)), "n": draw(numbers), "m": draw(numbers)}
    kind = draw(st.sampled_from(kinds))
    callees = tuple(_callee(draw, i, depth - 1) for i in range(draw(st.integers(0, 2))))
    callees += () if kind != "variant" else (_callee(draw, 7, depth - 1, "mask"), _callee(draw, 8, depth - 1, "score"))
    maker = Maker(draw, "main", callees, has_facts=kind != "variant", closed=int(kind == "variant"))
    variant = _definition(maker, kind, depth)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    tables = {t: _array(draw, t, maker.limits.get(t), sizes, random) for t in variant.tables}
    values = {INT: st.integers(1, 5), FLOAT: st.sampled_from((0.5, 2.0))}
    constants = {c: draw(values[c.type]) for c in variant.constants}
    return Program(variant, callees, constants, tables, sizes)


def _callee(draw: Callable[..., Any], number: int, depth: int, kind: str = "") -> Variant:
    return _definition(Maker(draw, f"{CALLEE}{number}", ()), kind or draw(st.sampled_from(("mask", "score"))), depth)


def _definition(maker: Maker, kind: str, depth: int) -> Variant:
    if kind == "variant":
        return _variant(maker)
    body = maker.bool(depth) if kind == "mask" else maker.rounded(depth)
    return Variant(maker.owner, kind, tuple(maker.parameters), **{kind: body}, facts=tuple(maker.facts))  # type: ignore[arg-type]


def _variant(maker: Maker) -> Variant:
    *_, mask, score = maker.callees
    then = maker.call(score)
    if _reads_score(score):
        then = Moved(maker.call(score), (("score", then),), FLOAT)
    fields: dict[str, Node] = {"mask": maker.call(mask), "score": then, "scale": literal(0.25)}
    if maker.flip():
        fields["sink"] = Lookup(maker.table(FLOAT, ("head",)), (Symbol("h"),), FLOAT)
        fields["normalize"] = literal(maker.flip())
    return Variant(maker.owner, "variant", tuple(maker.parameters), **fields)  # type: ignore[arg-type]


def _reads_score(score: Variant) -> bool:
    from maskdsl.ir.reads import symbols_read

    assert score.score is not None
    return "score" in symbols_read(score.score)[id(score.score)]


def _array(draw: Any, table: Table, limit: str | None, sizes: dict[str, int], random: np.random.Generator) -> Any:
    shape = tuple(sizes[a] if isinstance(a, str) else a for a in table.axes) or (1,)
    dtype = draw(st.sampled_from(DTYPES[table.type]))
    if limit:
        return random.integers(0, sizes[limit], shape).astype(dtype)
    if table.type is FLOAT:
        return (random.integers(-8, 9, shape) / 4).astype(dtype)
    low, high = (0, 2) if table.type is BOOL else (-4, 12)
    return random.integers(low, high, shape).astype(dtype)
