"""What each part of a definition may read; types of operators; fields of variants; quantifiers and moves."""

from __future__ import annotations

import pytest
from meaning import checked, codes, marked, sound


@pytest.mark.parametrize("text, found", [
    ("mask m = score > 0.0", ("E0401", "score")),
    ("mask m = k < q where s = score", ("E0401", "score")),
    ("mask m = k < q and s where s = score > 1.0", ("E0401", "score")),
    ("mask m = k <= q at (score = 1.0)", ("E0409", "score = 1.0")),
    ("score s = q at (score = 2.0)", ("E0409", "score = 2.0")),
    ("score s = score at (q = 1, q = 2)", ("E0409", "q = 2")),
    ("score s = score at (qq = 1)", ("E0409", "qq")),
    ("score s = score at (kv_h = 1)", ("E0409", "kv_h")),
    ("score s = score at (kv_len = 1)", ("E0409", "kv_len")),
    ("score s = score at (q = 1.5)", ("E0302", "1.5")),
    ("score s = score at (q = k < q)", ("E0301", "k < q")),
    ("score s = score at (score = k < q)", ("E0301", "k < q")),
    ("score s = k <= q", ("E0301", "k <= q")),
    ("mask m = q - k", ("E0301", "q - k")),
    ("mask m = ascending(t, n)", ("E0412", "ascending(t, n)")),
])  # fmt: skip
def test_what_may_not_be_read(text: str, found: tuple[str, str]) -> None:
    assert marked(text) == [found]


@pytest.mark.parametrize("text, found", [
    ("mask m(n: int = 5000) = any(k == i for i in range(n))", [("E0403", "n")]),
    ("mask m(n: int = 4096) = any(k == i for i in range(n))", []),
    ("mask m(n: int = 0, s: int = -4100) = any(k == i for i in range(s, n))", [("E0403", "n")]),
    ("mask m(n: int = 4000) = any(any(k == i + j for i in range(n)) for j in range(40))",
     [("E0406", "any(any(k == i + j for i in range(n)) for j in range(40))")]),
])  # fmt: skip
def test_defaults_make_no_quantifier_too_long(text: str, found: list[tuple[str, str]]) -> None:
    assert marked(text) == found


@pytest.mark.parametrize("fact, found", [
    ("score > 1.0", ("E0412", "score")),
    ("q < kv_len", ("E0412", "kv_len")),
    ("a", ("E0412", "a")),
    ("inner", ("E0412", "inner")),
    ("t[q] at (q = 0) > 1", ("E0412", "t[q] at (q = 0)")),
    ("w", ("E0301", "w")),
    ("ascending(t, position) or w > 1", ("E0412", "ascending(t, position)")),
    ("not ascending(t, position)", ("E0412", "ascending(t, position)")),
    ("ascending(t, batch)", ("E0308", "batch")),
    ("ascending(w, position)", ("E0307", "w")),
    ("ascending(t[q], position)", ("E0307", "t[q]")),
    ("ascending(t)", ("E0304", "ascending(t)")),
    ("t[q + 1] > 1", ("E0402", "t[q + 1]")),
])  # fmt: skip
def test_what_is_no_fact(fact: str, found: tuple[str, str]) -> None:
    header = "mask a = k <= q\nmask m(t: int[position], w: int, inner: mask) = inner and t[q] == w"
    (code, where), = marked(f"{header} requires {fact}")
    assert (code, where) == found or (code == found[0] == "E0402" and where in found[1])


@pytest.mark.parametrize("fact", [
    "w >= 1", "w % 2 == 0 or w > 9", "ascending(t, position)", "0 <= t[q] < size(position)", "t[0] == 0", "size(position) >= w",
    "all(t[0] <= i for i in range(4))", "w >= 1 and ascending(t, position)", "x == 0",
])  # fmt: skip
def test_what_is_a_fact(fact: str) -> None:
    sound(f"mask m(t: int[position], w: int) = t[q] == w + x where x = t[0] requires {fact}")


def test_a_conjunction_states_two_facts() -> None:
    variant = sound("mask m(w: int) = q < w requires w >= 1 and w < 9, w != 4").definitions["m"]
    assert [f.span.text for f in variant.facts] == ["w >= 1", "w < 9", "w != 4"]


@pytest.mark.parametrize("fields, found", [
    ("mask = k <= q mask = k < q", ("E0407", "mask")),
    ("mask = q", ("E0301", "q")),
    ("mask = score > 0.0", ("E0401", "score")),
    ("score = k <= q", ("E0301", "k <= q")),
    ("score = score then zork", ("E0201", "zork")),
    ("scale = q", ("E0311", "q")),
    ("scale = t[h]", ("E0311", "t[h]")),
    ("scale = score", ("E0311", "score")),
    ("scale = true", ("E0301", "true")),
    ("scale = 1 // 0", ("E0410", "1 // 0")),
    ("scale = 0.0 / 0.0", ("E0410", "0.0 / 0.0")),
    ("sink = t[q]", ("E0305", "q")),
    ("sink = float(q)", ("E0412", "q")),
    ("sink = float(b)", ("E0412", "b")),
    ("sink = score", ("E0412", "score")),
    ("sink = float(q_len)", ("E0412", "q_len")),
    ("sink = true", ("E0301", "true")),
    ("normalize = 1", ("E0301", "1")),
    ("normalize = k <= q", ("E0311", "k")),
])  # fmt: skip
def test_wrong_fields(fields: str, found: tuple[str, str]) -> None:
    text = f"variant v(t: float[head], w: int) {{ {fields} }}"
    assert [f for f in marked(text) if f[0] != "W0801"] == [found]


def test_right_fields() -> None:
    variant = sound("variant v(t: float[head], w: int, on: bool) {"
                    " mask = q < w score = score / 2 then score + 1 scale = w ** -0.5 sink = t[h] * 2 normalize = not on }").definitions["v"]
    assert [name for name, _ in variant.roots] == ["mask", "score", "scale", "sink", "normalize"]
    assert [str(root.type) for _, root in variant.roots] == ["bool", "float", "float", "float", "bool"]
    assert sound("variant v { }").definitions["v"].roots == ()


@pytest.mark.parametrize("body, found", [
    ("any(q == i for i in range(q))", ("E0403", "q")),
    ("any(q == i for i in range(t[b]))", ("E0403", "t[b]")),
    ("any(q == i for i in range(kv_len))", ("E0403", "kv_len")),
    ("any(q == i for i in range(1.5))", ("E0302", "1.5")),
    ("any(q == i for i in range(q < k))", ("E0301", "q < k")),
    ("any(q == i for i in range(4097))", ("E0403", "4097")),
    ("any(q == i for i in range(10 ** 9))", ("E0403", "10 ** 9")),
    ("any(q == i for i in range(1 // 0))", ("E0410", "1 // 0")),
    ("any(q + i for i in range(3))", ("E0301", "q + i")),
    ("sum(q < i for i in range(3)) > 1", ("E0301", "q < i")),
    ("any(any(q == i + j for i in range(300)) for j in range(300))", ("E0406", "any(any(q == i + j for i in range(300)) for j in range(300))")),
])  # fmt: skip
def test_wrong_quantifiers(body: str, found: tuple[str, str]) -> None:
    assert marked(f"mask m(t: int[batch]) = t[b] > k and {body}")[0] == found or marked(
        f"mask m(t: int[batch]) = {body}")[0] == found


def test_right_quantifiers() -> None:
    sound("mask m(t: int[batch, n], w: int) = any(q == i for i in range(w, size(n) + w)) and all(k > t[b, i] for i in range(size(n)))")
    sound("mask m = any(q == i for i in range(1, 4097)) or sum(i for i in range(3)) == k")


@pytest.mark.parametrize("body, found", [
    ("q and k < 1", ["q"]), ("k < 1 or q", ["q"]), ("not q", ["q"]), ("q and k", ["q", "k"]),
    ("(k < q) + 1 == 2", ["(k < q)"]), ("-(k < q) == 2", ["(k < q)"]), ("(k < q) < 2", ["(k < q)"]),
    ("(k < q) == 2", ["2"]), ("bit_and(q < k, 1) == 1", ["q < k"]), ("min(q, k < q) == 1", ["k < q"]),
    ("(q if k else 1) == 1", ["k"]), ("(q if k < q else true) == 1", ["true"]), ("(k < q) / 2 < 1", ["(k < q)"]),
    ("sqrt(k < q) > 1", ["k < q"]), ("1 < (k < q) < 2", ["(k < q)", "(k < q)"]),
])  # fmt: skip
def test_wrong_types(body: str, found: list[str]) -> None:
    assert [f for f in marked(f"mask m = {body}") if f[0] != "W0802"] == [("E0301", f) for f in dict.fromkeys(found)] or [
        w for _, w in marked(f"mask m = {body}")] == found


@pytest.mark.parametrize("body, where", [
    ("bit_and(q, 1.0) == 1", "1.0"), ("shift_left(1, q / 2) == 1", "q / 2"), ("bit_length(2.5) == k", "2.5"),
])  # fmt: skip
def test_floats_where_ints_are_needed(body: str, where: str) -> None:
    assert marked(f"mask m = {body}") == [("E0302", where)]


@pytest.mark.parametrize("body, found", [
    ("2 ** k == q", ("E0411", "k")), ("2 ** t[b] == q", ("E0411", "t[b]")), ("2 ** (size(n) - 5) == q", ("E0411", "2 ** (size(n) - 5)")),
    ("any(2 ** (i - 1) == q for i in range(3))", ("E0411", "2 ** (i - 1)")),
])  # fmt: skip
def test_exponents(body: str, found: tuple[str, str]) -> None:
    assert marked(f"mask m(t: int[batch], u: int[n]) = t[b] == u[0] and {body}") == [found]
    sound("mask m(w: int) = any(2 ** i == q + 2 ** w for i in range(3)) and 2.0 ** k < 9")


def test_advice() -> None:
    helps = {text: checked(text).diagnostics[0].help for text in (
        "mask m = (k < q) + 1 > 1", "mask m = q and k < 1", "mask m = bit_and(q / 2, 1) == 1", "mask m = 2 ** k < q",
    )}  # fmt: skip
    assert list(helps.values()) == [
        ("`int(k < q)` is 0 or 1",), ("compare it with something: `… != 0`",), ("`int(q / 2)` cuts off the fraction",),
        ("for a power of two write `shift_left(1, k)`", "for a float write `float(2) ** …`"),
    ]


def test_an_error_is_told_once_however_often_its_value_is_used() -> None:
    assert codes("mask m = x > 1 and x < 3 and y > 2 and t[x] == 1 where x = zork, y = x + x") == ["E0201", "E0201"]
    assert codes("mask m = x > 1 and x < 3 and y > 2 where x = zork + 1, y = sqrt(x) + x") == ["E0201"]
