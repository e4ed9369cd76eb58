"""Constant expressions: their values against Python's, and those that have none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meaning import sound

from maskdsl.ir.nodes import Literal, Node, Quantified, Symbol, Use, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, INT, Constant
from maskdsl.meaning.constants import constant_value, fits, kind_of, valueless_part

INTS = st.integers(-(2**31), 2**31 - 1)
EXACT = {"add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "floordiv": lambda x, y: x // y,
         "mod": lambda x, y: x % y, "pow": lambda x, y: x**y if 0 <= y < 99 else 1 / 0}  # fmt: skip


@given(x=INTS, y=INTS | st.integers(-3, 40), name=st.sampled_from(sorted(EXACT)))
def test_ints_are_exact_or_have_no_value(x: int, y: int, name: str) -> None:
    try:
        wanted = EXACT[name](x, y)
    except ZeroDivisionError:
        wanted = x if name == "pow" and y >= 0 and x in (0, 1) else (-1) ** y if name == "pow" and y >= 0 and x == -1 else None
    node = make(name, literal(x), literal(y))
    known = wanted is not None and -(2**31) <= wanted < 2**31
    assert constant_value(node) == (wanted if known else None)
    assert (valueless_part(node) is None) == known


@given(x=st.integers(-100, 100), y=st.integers(-40, 40))
def test_shifts_have_values_for_0_to_31(x: int, y: int) -> None:
    wanted = x >> y if 0 <= y <= 31 else None
    assert constant_value(make("shift_right", literal(x), literal(y))) == wanted


def value(text: str) -> object:
    """The value of an expression without parameters."""
    variant = sound(f"variant v {{ scale = {text} }}").definitions["v"]
    assert variant.scale is not None
    return constant_value(variant.scale)


@pytest.mark.parametrize("text, wanted", [
    ("256 ** -0.5", 0.0625), ("1 / 0 if false else 2", 2.0), ("tanh(0.5)", math.tanh(0.5)), ("inf", math.inf), ("1.0 / 0.0", math.inf),
    ("7 // 2 + 7 % 2", 4.0), ("-7 // 2", -4.0), ("float(true and not false)", None), ("min(3, 2.5, 7)", 2.5),
])  # fmt: skip
def test_values(text: str, wanted: object) -> None:
    if wanted is None:
        wanted = 1.0
    assert value(text) == wanted


def test_what_is_not_known_is_none() -> None:
    constant = Constant("m", "w", INT)
    node = make("add", Use(constant, INT), literal(1))
    assert constant_value(node) is None and constant_value(node, {constant: 4}) == 5
    assert valueless_part(node) is None
    assert constant_value(Symbol("q")) is None


def _counted(kind: str, stop: int, body: Node) -> Quantified:
    return Quantified(kind, "i", literal(0), literal(stop), body, body.type)


def test_quantifiers() -> None:
    i = Symbol("i")
    assert constant_value(_counted("sum", 5, make("mul", i, i))) == 30
    assert constant_value(_counted("any", 5, make("eq", i, literal(4)))) is True
    assert constant_value(_counted("all", 0, Literal(False, BOOL))) is True
    assert constant_value(_counted("sum", 5, make("floordiv", literal(4), i))) is None
    assert constant_value(_counted("sum", 2, make("mul", literal(2**30), literal(2)))) is None
    assert constant_value(_counted("sum", 4096, _counted("sum", 4096, i))) is None


def test_types_of_python_values() -> None:
    assert [kind_of(v).value for v in (True, 1, 1.0)] == ["bool", "int", "float"]
    assert fits(2**31 - 1, INT) and not fits(2**31, INT) and not fits(True, INT) and not fits(math.nan, kind_of(0.5))
