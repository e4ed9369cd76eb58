"""Printing: the language's spelling, minimal parentheses, names for what is shared; what is printed reads back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from programs import Program, programs

from maskdsl.ir.names import Names, fresh
from maskdsl.ir.nodes import Literal, Lookup, Moved, Node, Op, Quantified, Symbol, Use, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.print import text
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Table
from maskdsl.meaning.module import Module, check
from maskdsl.source.text import Source

Q, K, SCORE = Symbol("q"), Symbol("k"), Symbol("score", FLOAT)


def read(program: str) -> Module:
    """The checked text; it must have no errors."""
    module = check(Source("m", program), lambda name, local, importer: None)
    assert not module.errors, module.errors[0].message
    return module


SAME = [
    "q - k - 1 < 2", "q - (k - 1) < 2", "q * (k + 1) < 2", "q // 2 * 3 < 2", "q // (2 * 3) < 2", "-q < 2",
    "-(q + 1) < 2",
    "(-q) ** 2 < 3", "-q ** 2 < 3", "(q + 1) ** 2 < 3", "q ** 4 < 3", "q - -k < 2", "--q < 2",
    "not q < k", "not (q < k and k < 2)", "q < k and (k < 2 or q == 1)", "q < k and k < 2 or q == 1",
    "(q < k) == (k < 2)", "(not q < k) == true", "0 <= q - k < 4", "0 <= q - k < 4 and k < 3",
    "k < 3 and 0 <= q - k < 4",
    "0 <= q < k < 9 != 4", "q < k if k < 2 else k < 1", "(q < k if k < 2 else k < 1) if q < 1 else q == 3",
    "q < k if k < 2 else k < 1 if q < 1 else q == 3", "(q if k < 2 else k) < 1", "any(q == i for i in range(4))",
    "any(q == i for i in range(1, 4))", "sum(q * i for i in range(4)) < 3",
    "all(any(i < j for j in range(2)) for i in range(3))",
    "(q < k) at (q = k, k = q)", "(q < k) at (q = k) at (k = q)",
    "min(q, k) < max(q, 2)", "clamp(q, 0, 3) < bit_and(k, 7)", "int(q < k) < 2", "float(q) < float(k)", "q / k < 0.5",
    "q < 0.5 + k", "log(q + 1) < 0.5", "bit_length(q) < shift_left(1, 3)", "inf > 1.5", "-inf < q * 0.5", "kv_h < 2",
    "q_len < kv_len", "-2147483648 < q", "2147483647 > q", "1e-05 < q * 0.5", "1e+20 > q * 0.5",
]  # fmt: skip


@pytest.mark.parametrize("expression", SAME)
def test_what_is_read_is_printed_as_it_was(expression: str) -> None:
    program = f"mask m = {expression}"
    assert text(read(program).definitions["m"]) == program


DEFINITIONS = [
    "mask m(w: int = 4) = q - k < w\n    requires w >= 1",
    "mask m(t: int[batch, n], w: int[]) = t[b, 0] < w",
    "mask m(inner: mask, s: int[batch]) = inner at (q = q - s[b], k = k - s[b]) and s[b] < q",
    "score m(slope: float[kv_head], cap: float = 50.0) = cap * tanh((score - slope[kv_h] * (q - k)) / cap)\n"
    "    requires cap > 0.0",
    "mask m(d: int[batch, position]) = first < k and first < q\n    where first = d[b, q]\n"
    "    requires ascending(d, position),\n             0 <= d[b, q] < size(position)",
    "variant m(sink: float[head]) {\n    mask = k <= q\n    score = tanh(score) then score * 2.0 then score + 1.0\n"
    "    scale = 256.0 ** -0.5\n    sink = sink[h]\n    normalize = false\n}",
    "## What it is.\n##\n## More of it.\nmask m = k <= q",
]  # fmt: skip


@pytest.mark.parametrize("program", DEFINITIONS)
def test_definitions_are_printed_as_they_were(program: str) -> None:
    assert text(read(program).definitions["m"]) == program


@given(programs())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_programs_read_back_as_they_were_printed(program: Program) -> None:
    definitions = read(program.text).definitions.values()
    assert "\n\n".join(map(text, definitions)) + "\n" == program.text


# ---------------------------------------------------------------- names


def test_shared_values_are_named_once_in_order() -> None:
    one = make("sub", Q, K)
    two = make("mul", one, one)
    assert text(make("lt", two, make("neg", two))) == "t2 < -t2\n    where t1 = q - k,\n          t2 = t1 * t1"


def test_hints_and_tables_give_names() -> None:
    table = Table("m", "document", INT, ("batch", "position"))
    at = Lookup(table, (Symbol("b"), Q), INT)
    hinted = make("add", at, at, hint="twice")
    assert text(make("lt", hinted, hinted)).splitlines() == [
        "twice < twice", "    where document_q = document[b, q],", "          twice = document_q + document_q",
    ]  # fmt: skip


def test_names_do_not_clash_with_parameters() -> None:
    use = Use(Constant("m", "t1", INT), INT)
    one, two = make("sub", Q, use), make("add", Q, use, hint="t1")
    shown = text(make("lt", make("mul", one, one), make("mul", two, two)))
    assert "t2 = q - t1" in shown and "t1_2 = q + t1" in shown


def test_leaves_conversions_and_chains_are_not_named() -> None:
    as_float = make("to_float", Q)
    assert text(make("lt", make("mul", as_float, SCORE), make("add", as_float, SCORE))) == "q * score < q + score"
    distance = make("sub", Q, K)
    assert text(make("and", make("le", literal(0), distance), make("lt", distance, literal(4)))) == "0 <= q - k < 4"


def test_what_reads_a_variable_is_repeated() -> None:
    shared = make("add", Symbol("i"), Q)
    node = Quantified("any", "i", literal(0), literal(3), make("lt", shared, make("neg", shared)), BOOL)
    assert text(node) == "any(i + q < -(i + q) for i in range(3))"


def test_a_name_inside_a_move_is_read_there() -> None:
    shared = make("lt", Q, K)
    assert text(make("and", shared, Moved(shared, (("q", K),), BOOL))) == "t1 and t1 at (q = k)\n    where t1 = q < k"


def test_fresh_names() -> None:
    assert fresh("i", ()) == "i" and fresh("i", {"i"}) == "i_2" and fresh("i_2", {"i_2"}) == "i_3"
    names = Names({"t1"})
    assert [names.give(make("neg", Q)) for _ in range(2)] == ["t2", "t3"]


# ---------------------------------------------------------------- size


def test_deep_and_wide_graphs_are_printed_in_little_text() -> None:
    deep: Node = Q
    for i in range(20_000):
        deep = make("add", deep, literal(i))
    assert len(text(deep)) < 400_000
    wide: Node = Q
    for _ in range(300):
        wide = make("add", wide, wide)
    assert len(text(wide).splitlines()) == 300


def test_sharing_inside_a_quantifier_is_cut_where_it_explodes() -> None:
    wide: Node = Symbol("i")
    for _ in range(60):
        wide = make("add", wide, wide)
    node = Quantified("sum", "i", literal(0), literal(3), wide, INT)
    assert "…" in text(node) and len(text(node)) < 20_000


def test_printing_is_deterministic_and_knows_odd_floats() -> None:
    nan = Literal(float("nan"), FLOAT)
    assert text(make("mul", SCORE, nan)) == "score * (inf - inf)"
    assert text(make("pow", Literal(-0.0, FLOAT), Literal(2.0, FLOAT))) == "(-0.0) ** 2.0"
    assert isinstance(make("neg", Q), Op)


def test_a_fact_of_a_definition_shares_names_with_its_body() -> None:
    table = Table("m", "t", INT, ("batch",))
    at = Lookup(table, (Symbol("b"),), INT)
    variant = Variant("m", "mask", (table,), mask=make("lt", at, Q), facts=(make("lt", at, literal(3)),))
    assert text(variant).splitlines() == [
        "mask m(t: int[batch]) = t_value < q", "    where t_value = t[b]", "    requires t_value < 3",
    ]  # fmt: skip
