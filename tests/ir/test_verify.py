"""The verifier finds every broken law, and nothing wrong with programs that are well made."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from programs import Program, programs

from maskdsl.ir.nodes import (
    Ascending,
    Call,
    Derived,
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
    literal,
)
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Table
from maskdsl.ir.verify import verify

Q, K, SCORE = Symbol("q"), Symbol("k"), Symbol("score", FLOAT)
WINDOW, TABLE, INNER = Constant("m", "w", INT), Table("m", "t", INT, ("batch", "n")), Hole("m", "inner")
OTHER = Table("x", "t", INT, ("batch", "n"))
TRUE = literal(True)
CAUSAL = Variant("causal", "mask", (WINDOW,), mask=make("le", K, Q))


def mask(body: Node, **fields: object) -> Variant:
    return Variant("m", "mask", (WINDOW, TABLE, INNER), mask=body, **fields)  # type: ignore[arg-type]


BROKEN = {
    "no such operation": Op("nothing", (Q,), BOOL),
    "the types of an operation": Op("lt", (Q, SCORE), BOOL),
    "the result of an operation": Op("lt", (Q, K), INT),
    "the type of the mask": make("sub", Q, K),
    "a literal of another type": make("lt", Q, Literal(1.0, INT)),
    "an int beyond int32": make("lt", Q, literal(2**31)),
    "a bool as an int": make("lt", Q, Literal(True, INT)),
    "a coordinate of another type": make("lt", Symbol("q", FLOAT), literal(1.0)),
    "the type of a constant": make("lt", Use(WINDOW, FLOAT), literal(1.0)),
    "too few indices": make("lt", Lookup(TABLE, (Q,), INT), K),
    "a float index": make("lt", Lookup(TABLE, (Q, literal(1.0)), INT), K),
    "the type of a table": make("lt", Lookup(TABLE, (Q, K), FLOAT), literal(1.0)),
    "a table of another definition": make("lt", Lookup(OTHER, (Q, K), INT), K),
    "a constant of another definition": make("lt", Use(Constant("x", "w", INT), INT), K),
    "a mask of another definition": Fill(Hole("x", "inner")),
    "the size of an unknown axis": make("lt", Q, Size("m")),
    "a variable that nothing binds": make("lt", Symbol("i"), Q),
    "a quantifier over a coordinate's name": Quantified("any", "q", literal(0), literal(2), TRUE, BOOL),
    "a quantifier of unknown kind": Quantified("none", "i", literal(0), literal(2), TRUE, BOOL),
    "any of an int": Quantified("any", "i", literal(0), literal(2), Q, INT),
    "a float bound": Quantified("any", "i", literal(0), literal(2.0), TRUE, BOOL),
    "the result of a quantifier": make("lt", Quantified("sum", "i", literal(0), literal(2), SCORE, INT), Q),
    "a variable in its own bound": Quantified("any", "i", literal(0), Symbol("i"), TRUE, BOOL),
    "a move of a length": Moved(make("lt", Q, K), (("q_len", K),), BOOL),
    "a move by a float": Moved(make("lt", Q, K), (("q", literal(1.0)),), BOOL),
    "the type of a move": Moved(make("lt", Q, K), (("q", K),), INT),
    "a call without arguments": Call(CAUSAL, (), BOOL),
    "a call as a score": make("lt", Call(CAUSAL, ((WINDOW, literal(1)),), FLOAT), literal(1.0)),
    "an argument of another type": Call(CAUSAL, ((WINDOW, literal(1.0)),), BOOL),
    "a table for a constant": Call(CAUSAL, ((WINDOW, TABLE),), BOOL),
    "the score in a mask": make("lt", SCORE, literal(1.0)),
}


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_law_is_found(law: str) -> None:
    with pytest.raises(AssertionError):
        verify(mask(BROKEN[law]))


@pytest.mark.parametrize("fact", [make("sub", Q, K), Ascending(TABLE, 2), Ascending(OTHER, 0), Fill(INNER)])
def test_facts_are_verified(fact: Node) -> None:
    with pytest.raises(AssertionError):
        verify(mask(TRUE, facts=(fact,)))
    verify(mask(TRUE, facts=(Ascending(TABLE, 1), make("lt", Q, Size("n")))))


FIELDS = [("score", literal(1)), ("scale", literal(1)), ("sink", literal(1)), ("normalize", literal(1.0))]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_fields_have_their_types(field: str, value: Node) -> None:
    with pytest.raises(AssertionError, match=field):
        verify(mask(TRUE, **{field: value}))


def test_what_a_pass_removes_is_gone() -> None:
    node = Moved(make("lt", Q, K), (("q", K),), BOOL)
    verify(mask(node))
    verify(mask(node), gone=(Call,))
    with pytest.raises(AssertionError, match="Moved is left"):
        verify(mask(node), gone=(Call, Moved))


def test_derived_tables_are_known() -> None:
    variant = mask(make("lt", Lookup(OTHER, (Q, K), INT), K), derived=(Derived(OTHER, TABLE, 1, "first"),))
    verify(variant)


@given(programs())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_programs_are_well_made(program: Program) -> None:
    for variant in (*program.callees, program.variant, program.fixed):
        verify(variant)
