"""The folding constructors: never another value than the row's own, and no node where none is needed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ops_oracle import FLOATS, INTS
from ops_tiles import value_of

from maskdsl.ir.algebra import FALSE, TRUE, build, choose, either, lt, negate
from maskdsl.ir.nodes import Literal, Node, Op, Symbol, literal
from maskdsl.ir.ops import TABLE, Function, make
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

OVERLOADS = [(f, types) for f in TABLE for types, _ in f.signatures]
RNG = np.random.default_rng(0)
SYMBOLS = {
    name: RNG.choice(np.array(values, dtype), 2000)
    for names, values, dtype in (("ij", INTS, np.int32), ("xy", FLOATS, np.float64), ("cd", (False, True), np.bool_))
    for name in names
}
CHOICES: dict[Scalar, list[Node]] = {
    INT: [Symbol("i"), Symbol("j"), *(literal(n) for n in (0, 1, -1, 2, INTS[-1], INTS[-3]))],
    FLOAT: [Symbol("x", FLOAT), Symbol("y", FLOAT), *(literal(n) for n in (0.0, 1.0, -1.0, float("inf")))],
    BOOL: [Symbol("c", BOOL), Symbol("d", BOOL), TRUE, FALSE, make("lt", Symbol("i"), Symbol("i"))],
}


@pytest.mark.parametrize(("row", "types"), OVERLOADS, ids=lambda x: x.name if isinstance(x, Function) else "")
def test_same_value_as_the_row(row: Function, types: tuple[Scalar, ...]) -> None:
    for args in itertools.product(*(CHOICES[t] for t in types)):
        if row.name == "pow" and types[0] is INT and not (isinstance(args[1], Literal) and 0 <= args[1].value < 9):
            continue
        plain, folded = make(row.name, *args), build(row.name, *args)
        assert folded.type is plain.type
        expected, found = (value_of(n, SYMBOLS, wide=True) for n in (plain, folded))
        np.testing.assert_array_equal(*np.broadcast_arrays(found, expected), err_msg=str([row.name, *args])[:300])


def test_no_dead_nodes() -> None:
    i, c = Symbol("i"), Symbol("c", BOOL)
    for node, wanted in (
        (build("add", i, literal(0)), i), (build("mul", literal(1), i), i), (build("max", i, literal(INTS[-1])), i),
        (choose(TRUE, i, literal(3)), i), (choose(c, i, i), i), (either(FALSE, c), c), (negate(negate(c)), c),
    ):  # fmt: skip
        assert node is wanted
    flipped = negate(lt(i, literal(3)))
    assert isinstance(flipped, Op) and flipped.name == "ge"
