"""The emission engine by itself: lines, names, both dialects."""

from __future__ import annotations

import pytest

from maskdsl.backends.mods_text import TORCH, Dialect, Leaves, emit_expression, safe_name, tidy
from maskdsl.ir.nodes import Lookup, Node, Size, Symbol, literal
from maskdsl.ir.ops import make
from maskdsl.ir.ops_triton import triton_literal
from maskdsl.ir.types import INT, Table

Q, K = Symbol("q"), Symbol("k")
START = Table("m", "start", INT, ("n",))
LEAVES = Leaves({"q": "q", "k": "k"}, {"kv_len": ("kv_len", "b")}, {"n": "start.shape[0]"}, lambda node: node.table.name)
TRITON = Dialect(
    triton_literal, lambda row: row.triton, lambda table, indices, scalar: f"tl.load({table} + {indices[0]})",
    lambda text, scalar: f"tl.full([], {text}, tl.int32)",
)  # fmt: skip


def lines(node: Node, dialect: Dialect = TORCH) -> list[str]:
    return emit_expression(node, LEAVES, dialect)


def test_single_uses_stay_in_their_line() -> None:
    assert lines(make("lt", make("sub", Q, K), literal(4))) == ["value = q - k < 4"]


def test_shared_values_are_computed_once() -> None:
    distance = make("sub", Q, K)
    band = make("and", make("le", literal(0), distance), make("lt", distance, literal(4)))
    assert lines(band) == ["t1 = q - k", "value = (0 <= t1) & (t1 < 4)"]


def test_names_of_where_and_of_tables_are_used() -> None:
    first = make("sub", Q, K, hint="first")
    assert lines(make("neg", first)) == ["first = q - k", "value = -first"]
    at = Lookup(START, (Q,), INT)
    assert lines(make("mul", at, at)) == ["start_q = start[q].to(torch.int32)", "value = start_q * start_q"]


def test_equal_hints_get_different_names() -> None:
    one, two = make("sub", Q, K, hint="x"), make("add", Q, K, hint="x")
    assert lines(make("mul", one, two)) == ["x = q - k", "x_2 = q + k", "value = x * x_2"]


def test_long_expressions_are_cut() -> None:
    total: Node = Q
    for i in range(60):
        total = make("add", make("mul", total, K), literal(i))
    found = lines(total)
    assert len(found) > 3 and max(map(len, found)) < 120


def test_literal_indices_sizes_and_lengths_become_tensors() -> None:
    last = make("sub", Size("n"), literal(1))
    pair = make("add", Lookup(START, (literal(2),), INT), Lookup(START, (last,), INT))
    assert lines(make("add", pair, Symbol("kv_len"))) == [
        "at_2 = torch.full_like(q, 2)",
        "last_n = torch.full_like(q, start.shape[0] - 1)",
        "kv_length = kv_len[b].to(torch.int32)",
        "value = start[at_2].to(torch.int32) + start[last_n].to(torch.int32) + kv_length",
    ]


def test_another_dialect() -> None:
    node = make("lt", Lookup(START, (make("floordiv", Q, literal(16)),), INT), literal(4))
    assert lines(node, TRITON) == ["value = tl.load(start + (q >> 4)) < 4"]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("first", "first"), ("class", "class_"), ("torch", "torch_"), ("__import__", "import_"), ("match", "match_"),
     ("q", "q_"), ("a b", "value"), ("", "value"), ("é", "value"), ("_", "value"), ("int_power", "int_power_")],
)  # fmt: skip
def test_names_are_safe(wanted: str, name: str) -> None:
    assert safe_name(wanted, ()) == name
    assert safe_name(wanted, {name}) != name


@pytest.mark.parametrize(
    ("text", "tidied"),
    [("((a + b) - c)", "a + b - c"), ("(a - (b - c))", "a - (b - c)"), ("((0 <= a) & (a < 4))", "(0 <= a) & (a < 4)"),
     ("(-(a ** 2))", "-a ** 2"), ("((-1) ** a)", "(-1) ** a"),
     ("torch.where((a < b), a, (-1))", "torch.where(a < b, a, -1)")],
)  # fmt: skip
def test_parentheses_are_only_where_python_needs_them(text: str, tidied: str) -> None:
    assert tidy(text) == tidied
