"""Did-you-mean: a table of misspellings, the distance against a slow oracle, and hostile names."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskdsl.source.suggest import did_you_mean, edit_distance, suggest_names

SCOPE = "q k b h q_len kv_len window slope document sliding_window causal softcap clamp".split()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("windw", "window"), ("windwo", "window"), ("Window", "window"), ("widnow", "window"), ("slop", "slope"),
        ("slopes", "slope"), ("doc", "document"), ("window_sliding", "sliding_window"), ("casual", "causal"),
        ("kvlen", "kv_len"), ("Q", "q"), ("soft_cap", "softcap"), ("clam", "clamp"), ("sliding", "sliding_window"),
    ],
)  # fmt: skip
def test_finds_what_was_meant(name: str, expected: str) -> None:
    assert suggest_names(name, SCOPE) == (expected,)


@pytest.mark.parametrize("name", ["x", "qk", "penalty", "zz", "", "banana", "do", "attention", "w" * 100_000])
def test_says_nothing_when_nothing_is_close(name: str) -> None:
    assert suggest_names(name, SCOPE) == ()
    assert did_you_mean(name, SCOPE) == ()


def test_closest_first_then_order_of_scope() -> None:
    assert suggest_names("blocj", ["bloc_h", "bloc", "block"], limit=3) == ("bloc", "block")
    assert suggest_names("size", ["sizes", "sized", "size"], limit=5) == ("sizes", "sized")


def test_help_line() -> None:
    assert did_you_mean("casual", SCOPE) == ("did you mean `causal`?",)


def _oracle(a: str, b: str) -> int:
    """The textbook recurrence."""

    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        ways = [distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])]
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            ways.append(distance(i - 2, j - 2) + 1)
        return min(ways)

    return distance(len(a), len(b))


@given(st.text("abc_", max_size=7), st.text("abc_", max_size=7))
def test_distance_is_the_textbooks(a: str, b: str) -> None:
    assert edit_distance(a, b) == _oracle(a, b) == edit_distance(b, a)


@given(st.text("abc_", max_size=9), st.text("abc_", max_size=9), st.integers(0, 4))
def test_beyond_what_is_allowed_any_number_does(a: str, b: str, most: int) -> None:
    assert min(edit_distance(a, b, most), most + 1) == min(_oracle(a, b), most + 1)
