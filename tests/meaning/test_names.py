"""Names: what may be defined, what hides what, which order matters, circles, unknown names."""

from __future__ import annotations

import pytest
from meaning import checked, codes, marked, sound

from maskdsl.meaning.scope import KEYWORDS, OWN_NAMES
from maskdsl.syntax.habits import NAMES, WORDS


@pytest.mark.parametrize("word", sorted(OWN_NAMES - KEYWORDS))
def test_names_with_a_meaning_cannot_be_given(word: str) -> None:
    for text in ("mask {} = k <= 1", "mask m({}: int) = k <= 1", "mask m = k <= 1 where {} = 2", "from a import x as {}\nmask m = x"):
        found = marked(text.format(word), {"a": "mask x = true"})
        assert ("E0203", word) in found


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_reserved_words_cannot_be_names(word: str) -> None:
    found = codes(f"mask m({word}: int) = k <= q")
    assert len(found) == 1 and found[0] in ("E0203", "E0101", "E0102", "E0108")


def test_a_reserved_name_is_told_once() -> None:
    assert codes("mask near(range: int) = q < range + range") == ["E0203"]
    assert codes("mask near(q: int) = q < q + k") == ["E0203"]
    assert codes("mask m = any(q == k for q in range(3))") == ["E0203"]


def test_definitions_in_any_order() -> None:
    assert list(sound("mask a = b2 and c\nmask b2 = c\nmask c = k <= q").definitions) == ["a", "b2", "c"]


def test_names_given_twice() -> None:
    assert marked("mask m = true\nscore m = score") == [("E0202", "m")]
    assert marked("mask m(w: int, w: int) = q < w") == [("E0202", "w")]
    assert marked("mask m(w: int) = q < w where w = 2") == [("E0202", "w")]
    assert marked("mask m = q < w where w = 2, w = 3") == [("E0202", "w")]
    assert marked("from a import x\nmask x = true", {"a": "mask x = true"}) == [("E0202", "x")]
    assert marked("from a import x, x\nmask m = x and k < q", {"a": "mask x = true"}) == [("E0202", "x")]


def test_errors_of_both_definitions_of_a_name() -> None:
    assert codes("mask m = zork\nmask m = q") == ["E0201", "E0202", "E0301"]


def test_parameters_and_locals_hide_definitions() -> None:
    module = sound(
        "mask document(document: int[batch, position]) = document[b, q] == document[b, k]\n"
        "mask n(t: int[n]) = t[0] < size(n)\n"
        "mask other(n: int) = q < n\n"
        "mask local = causal where causal = causal and k > 3\n"
        "mask causal = k <= q\n"
        "mask i = any(i == k for i in range(3))\n"
    )
    assert len(module.definitions) == 6


def test_locals_come_in_order() -> None:
    assert codes("mask m = z > k where y = q, z = y + 1") == []
    assert marked("mask m = z > 0 where z = y + 1, y = q") == [("E0201", "y")]
    assert marked("mask m = z > 0 where z = z + 1") == [("E0201", "z")]


def test_a_quantifiers_variable_ends_with_it() -> None:
    assert marked("mask m = any(i == k for i in range(3)) and i == 2") == [("E0201", "i")]
    assert marked("mask m = any(i == k for i in range(i))") == [("E0201", "i")]


def test_variables_of_one_definition_have_different_names() -> None:
    mask = sound("mask m = any(i == k for i in range(3)) or any(any(i == q for i in range(2)) for i in range(i2)) where i2 = 4")
    from maskdsl.ir.nodes import Quantified
    from maskdsl.ir.walk import topological

    root = mask.definitions["m"].mask
    assert root is not None
    names = [n.variable for n in topological(root) if isinstance(n, Quantified)]
    assert len(names) == len(set(names)) == 3


@pytest.mark.parametrize("text, through", [
    ("mask m = m", ""),
    ("mask m = q < 1 or m at (q = q - 1)", ""),
    ("mask m = n\nmask n = m", "`n`"),
    ("mask m = n\nmask n = o\nmask o = k < q and m", "`n` and `o`"),
    ("score s = score + s", ""),
])  # fmt: skip
def test_circles(text: str, through: str) -> None:
    (found,) = checked(text).diagnostics
    assert found.code == "E0207" and found.message.endswith(f"uses itself{' through ' + through if through else ''}")


def test_circles_leave_the_others_alone() -> None:
    module = checked("mask a = c\nmask c = a\nmask d = a or k < q\nmask e = k < q")
    assert [d.code for d in module.diagnostics] == ["E0207"] and list(module.definitions) == ["e"]


def test_long_chains_of_definitions() -> None:
    lines = [f"mask a{i} = a{i - 1} or k < {i}" for i in range(1, 300)]
    assert len(sound("\n".join(["mask a0 = k < q", *lines])).definitions) == 300
    assert len(sound("\n".join([*reversed(lines), "mask a0 = k < q"])).definitions) == 300


def test_unknown_names_are_told_once_a_definition_with_advice() -> None:
    module = checked("mask m(window: int) = windw < q or windw > k\nmask n = casual\nmask causal = k <= q")
    assert [(d.code, d.help) for d in module.diagnostics] == [
        ("E0201", ("did you mean `window`?",)), ("E0201", ("did you mean `causal`?",)),
    ]


@pytest.mark.parametrize("name", sorted(NAMES.keys() - KEYWORDS - WORDS.keys()))
def test_habits_have_their_own_advice(name: str) -> None:
    (found,) = checked(f"mask m = {name} < 3").diagnostics
    assert (found.code, found.help) == ("E0201", (NAMES[name],))


def test_no_habit_is_a_name_of_the_language() -> None:
    assert not (NAMES.keys() - KEYWORDS) & OWN_NAMES


def test_an_axis_may_be_called_like_a_definition() -> None:
    assert [d.code for d in checked("mask m(t: int[m]) = any(t[i] == k for i in range(size(m)))").diagnostics] == []
    assert codes("mask m(t: int[n, m]) = k < size(m) and t[0, 0] == q requires size(m) >= 1, ascending(t, m)") == []
    assert codes("variant m(t: float[m]) {\n    mask = k < size(m)\n    sink = t[min(h, size(m) - 1)]\n}") == []


def test_functions_need_their_arguments() -> None:
    assert marked("mask m = sqrt > 1.0") == [("E0304", "sqrt")]
    assert marked("mask m = size > 1") == [("E0304", "size")]
    assert marked("mask m = clamp(q, 1) > 1") == [("E0304", "clamp(q, 1)")]
    assert marked("mask m = min(q) > 1") == [("E0304", "min(q)")]
    assert marked("mask m = sqrt(x = 2.0) > 1.0") == [("E0208", "x")]
    assert marked("mask m = sqrt() > 1.0") == [("E0304", "sqrt()")]


def test_what_did_not_parse_is_not_missed() -> None:
    text = "mask broken(w: int = = 3) = k < w\nmask m = broken(1) and q < k\n"
    assert len(codes(text)) == 1
    assert len(codes("from a import x, as y\nmask m = x and y", {"a": "mask x = true\nmask y = true"})) == 1
    assert len(codes("from a import x\nmask m = x", {"a": "mask x = = true"})) == 1
