"""The table of functions: complete, and each row's reference means what plain Python says."""

from __future__ import annotations

import numpy as np
import pytest
from ops_oracle import ORACLES, cases

from maskdsl.ir import ops
from maskdsl.ir.nodes import Symbol, literal
from maskdsl.ir.ops import BY_SYMBOL, FUNCTIONS, OPS, PREFIX, TABLE, Function, make
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

DTYPES = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}
OVERLOADS = [(f, s) for f in TABLE for s in f.signatures]


def test_every_row_has_an_oracle() -> None:
    assert ORACLES.keys() == OPS.keys()
    assert len(OPS) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_row_is_complete(row: Function) -> None:
    assert row.doc.endswith(".") and "\n" not in row.doc
    assert {len(types) for types, _ in row.signatures} == {row.arity}
    assert len({types for types, _ in row.signatures}) == len(row.signatures)
    assert row.symbol or row.call or row.name == "choose"


@pytest.mark.parametrize(("row", "signature"), OVERLOADS, ids=lambda x: x.name if isinstance(x, Function) else None)
def test_reference_means_what_python_says(row: Function, signature: tuple[tuple[Scalar, ...], Scalar]) -> None:
    types, result = signature
    given = list(cases(row.name, tuple(str(t) for t in types), step=7 if row.arity == 3 else 1))
    columns = [np.array(column, DTYPES[t]) for column, t in zip(zip(*given, strict=True), types, strict=True)]
    found = row.reference(*columns)
    assert found.dtype == DTYPES[result]
    expected = [ORACLES[row.name](*args) for args in given]
    if result is FLOAT:
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-300)
    else:
        wrong = [(a, f, e) for a, f, e in zip(given, found.tolist(), expected, strict=True) if f != e]
        assert not wrong, wrong[:5]


def test_reference_takes_scalars_without_warning(recwarn: pytest.WarningsRecorder) -> None:
    largest = np.asarray(2**31 - 1, np.int32)
    assert OPS["add"].reference(largest, np.asarray(1, np.int32)) == -(2**31)
    assert OPS["log"].reference(np.asarray(0.0)) == -np.inf
    assert not recwarn.list


def test_names_and_symbols() -> None:
    assert set(BY_SYMBOL) == {"+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!=", "and", "or"}
    assert set(PREFIX) == {"-", "not"}
    spec = """abs min max clamp floor ceil trunc sign exp exp2 log log1p log2 sqrt rsqrt tanh sigmoid logsigmoid
    pow sin cos int float bit_and bit_or bit_xor shift_left shift_right bit_length"""
    assert set(FUNCTIONS) == set(spec.split())
    assert [f.name for f in TABLE if f.variadic] == ["min", "max"]


def test_make_types_the_node() -> None:
    q, x = Symbol("q"), Symbol("score", FLOAT)
    assert make("sub", q, literal(1), hint="d").hint == "d"
    assert make("lt", q, q).type is BOOL
    assert make("choose", make("lt", q, q), x, literal(0.5)).type is FLOAT
    for bad in (lambda: make("add", q, x), lambda: make("nothing", q), lambda: make("not", q), lambda: make("neg")):
        with pytest.raises(AssertionError):
            bad()


def test_fold_literals_wraps() -> None:
    assert ops.fold_literals("mul", literal(2**30), literal(4)) == 0
    assert ops.fold_literals("lt", literal(0.5), literal(1.0)) is True
    assert isinstance(ops.fold_literals("to_float", literal(3)), float)
