"""Facts of what is called: about the arguments, once each, and checked as soon as constants are known."""

from __future__ import annotations

import pytest
from meaning import checked, codes, marked, sound

from maskdsl.ir.nodes import Ascending, Quantified, Variant
from maskdsl.ir.print import text
from maskdsl.meaning.facts import all_facts

CALLEE = "mask near(w: int = 4) = q - k < w requires w >= 1\n"


def facts(program: str, name: str = "m") -> list[str]:
    """All the facts of a definition, in the language."""
    return [text(f) for f in all_facts(sound(program).definitions[name])]


def test_facts_are_about_the_arguments() -> None:
    assert facts(f"{CALLEE}mask m(v: int) = near(v * 2) requires v < 9") == ["v < 9", "v * 2 >= 1"]
    program = "mask same(d: int[batch, n]) = d[b, 0] == k requires ascending(d, n), d[b, q % size(n)] < size(n)\n"
    assert facts(f"{program}mask m(e: int[batch, position]) = same(e)")[1] == "e[b, q % size(position)] < size(position)"
    first = all_facts(checked(f"{program}mask m(e: int[batch, 8]) = same(e)").definitions["m"])[0]
    assert isinstance(first, Ascending) and (first.table.name, first.axis) == ("e", 1)


def test_equal_facts_are_one() -> None:
    assert facts(f"{CALLEE}mask m(v: int) = near(v) or near(v) at (q = k) or near(w = v)") == ["v >= 1"]


def test_facts_come_from_everywhere() -> None:
    on = f"{CALLEE}mask on(inner: mask) = inner\n"
    assert facts(f"{on}mask m(v: int) = on(near(v))") == ["v >= 1"]
    assert facts(f"{on}mask o(v: int) = near(v)\nvariant m(u: int) {{ mask = on(o(u)) }}") == ["u >= 1"]
    score = "score s(c: float) = score * c requires c > 0.0\n"
    assert facts(f"{score}variant m(x: float) {{ score = s(x) then s(x + 1) }}") == ["x + 1.0 > 0.0", "x > 0.0"]


def test_a_fact_about_a_quantifiers_variable_is_for_all_of_it() -> None:
    (fact,) = all_facts(sound(f"{CALLEE}mask m(v: int) = any(near(v + i) for i in range(3))").definitions["m"])
    assert isinstance(fact, Quantified) and text(fact) == "all(v + i >= 1 for i in range(3))"
    nested = f"{CALLEE}mask m = any(any(near(1 + i + j) for j in range(i + 1)) for i in range(3))"
    assert facts(nested) == ["all(all(1 + i + j >= 1 for j in range(i + 1)) for i in range(3))"]


@pytest.mark.parametrize("call, code", [
    ("near(0)", "E0408"), ("near(-3 + 3)", "E0408"), ("near(1)", None), ("near()", None), ("near(v)", None),
    ("any(near(i) for i in range(3))", "E0408"), ("any(near(i + 1) for i in range(3))", None),
    ("any(near(4 // i) for i in range(3))", "E0408"), ("near(1) and near(0) and near(0)", "E0408"),
])  # fmt: skip
def test_calls_that_break_a_fact(call: str, code: str | None) -> None:
    found = [c for c in codes(f"{CALLEE}mask m(v: int) = {call} and q < v") if c != "W0802"]
    assert found == ([code] if code else [])


def test_a_broken_fact_far_below_is_told_where_the_constant_is_given() -> None:
    program = f"{CALLEE}mask n(u: int) = near(u - 1)\nmask m = n(1)"
    assert marked(program) == [("E0408", "n(1)")]
    (found,) = checked(program).diagnostics
    assert found.also[0].span.text == "w >= 1"


def test_a_default_that_breaks_a_fact() -> None:
    assert marked("mask m(w: int = 0) = q < w requires w >= 1") == [("E0408", "0")]
    assert marked(f"{CALLEE}mask m(v: int = 0) = near(v)") == [("E0408", "0")]


def test_deep_calls_with_many_facts_end() -> None:
    lines = ["mask a0(n: int) = k < q + n requires n >= 0"]
    lines += [f"mask a{i}(n: int) = a{i - 1}(n * 3) or a{i - 1}(n + 1)" for i in range(1, 40)]
    assert "E0406" in codes("\n".join(lines))


def test_facts_do_not_change_what_they_are_asked_of() -> None:
    variant = sound(f"{CALLEE}mask m = near(3)").definitions["m"]
    assert isinstance(variant, Variant) and variant.facts == () and len(all_facts(variant)) == 1
