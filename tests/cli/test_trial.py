"""The arguments that definitions are shown with, and what they then look like."""

from __future__ import annotations

import numpy as np
import pytest

from maskdsl.backends import reference
from maskdsl.cli.compile_one import Wanted, trial_of
from maskdsl.cli.measure import Shape
from maskdsl.cli.show import describe, drawing
from maskdsl.cli.trial import Trial, Wish, checked_definition, make_trial
from maskdsl.cli.view import view
from maskdsl.library.registry import Entry, Registry
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source

REGISTRY = Registry()
CALL = Wanted((), "cpu", "float32", Shape(1, 4, 4, 16, 64, 64), examples=True)
TEXT = """
mask near(inner: mask, start: int[batch], window: int, deep: int = 2) = inner and q - k < window * deep + start[b]
    requires window >= 1, start[b] >= 0
example near(inner = k <= q, start = [0], window = 1)
    | x . .
    | x x .
    | . x x
"""


def trial(name: str = "near", wish: Wish | None = None, text: str = TEXT) -> Trial:
    """The trial of a definition of a text."""
    module, variant = checked_definition(Source("a.mask", text), name, REGISTRY)
    return make_trial(module, variant, wish or Wish())


@pytest.mark.parametrize("entry", REGISTRY.entries(), ids=lambda e: e.name)
@pytest.mark.parametrize("lengths", [None, (9, 23)])
def test_every_shipped_definition_can_be_shown(entry: Entry, lengths: tuple[int, int] | None) -> None:
    module, variant = checked_definition(entry.source, entry.name, REGISTRY)
    try:
        made = make_trial(module, variant, Wish(lengths=lengths))
    except MaskError as problem:
        assert lengths and "does not hold at these sizes" in str(problem)
        return
    assert set(made.tables) == set(made.variant.tables)
    shown = view(made)
    if variant.mask is not None:
        assert np.array_equal(shown.mask, reference.mask(
            made.variant, b=np.array([0]), h=np.array([0]), q=made.q_len, k=made.kv_len, tables=made.tables,
            sizes=made.sizes,
        )[0, 0])  # fmt: skip
    assert "\n".join(describe(made, shown)).startswith(entry.name)
    assert drawing(shown, plain=True) and drawing(shown, plain=False)


@pytest.mark.parametrize("entry", REGISTRY.entries(), ids=lambda e: e.name)
def test_every_shipped_definition_can_be_compiled_with_the_rest(entry: Entry) -> None:
    """At the sizes of `maskdsl compile FOLDER`, and such that the kernel has something to compute."""
    made = trial_of(entry.full_path if entry.source.path is None else f"{entry.source.path}:{entry.name}", CALL)
    seen = reference.mask(
        made.variant, b=made.sizes["batch"], h=made.sizes["head"], q=made.q_len, k=made.kv_len, tables=made.tables,
        sizes=made.sizes,
    )  # fmt: skip
    assert seen.any()
    assert {str(x.dtype) for x in made.tables.values()} <= {"int32", "float32", "bool"}


def test_an_example_for_other_heads_or_lengths_decides_them() -> None:
    found = {n: trial_of(n, CALL) for n in ("swin", "nat", "causal")}
    assert {n: (t.sizes["head"], t.sizes["kv_head"], t.q_len) for n, t in found.items()} == {
        "swin": (1, 1, 4), "nat": (1, 1, 64), "causal": (4, 4, 64),
    }  # fmt: skip


def test_what_is_left_open_comes_from_the_example() -> None:
    made = trial()
    assert made.constants == {"window": 1, "deep": 2} and (made.q_len, made.kv_len) == (3, 3)
    assert made.told == "arguments of the example at a.mask:4"
    assert view(made).mask.tolist() == [[True, False, False], [True, True, False], [False, True, True]]


def test_what_is_wished_for_comes_first() -> None:
    made = trial(wish=Wish({"window": 3, "start": [4, 5], "inner": "full", "deep": 1}, batch=2, lengths=(12, 12)))
    assert made.constants == {"window": 3, "deep": 1} and made.told == ""
    assert [made.tables[t].tolist() for t in made.variant.tables] == [[4, 5]]
    q, k = np.arange(12)[:, None], np.arange(12)
    assert np.array_equal(view(made, b=1).mask, q - k < 8)


def test_without_the_example_what_has_no_default_is_missing() -> None:
    with pytest.raises(MaskError) as caught:
        trial(wish=Wish(examples=False))
    assert {d.code for d in caught.value.diagnostics} == {"E0209"}


def test_tables_too_short_for_the_size_are_drawn_anew() -> None:
    text = "mask own(t: int[position]) = t[k] <= q\n    requires 0 <= t[k]\nexample own(t = [0, 1])\n    | x .\n    | x x\n"
    short, long = trial("own", text=text), trial("own", Wish(lengths=(5, 5)), text)
    assert [x.tolist() for x in short.tables.values()] == [[0, 1]] and "random" not in short.told
    assert [len(x) for x in long.tables.values()] == [5] and long.told == "random `t` such that the facts hold"


def test_a_mask_brings_its_own_tables() -> None:
    text = "mask outer(inner: mask) = inner and k <= q\n"
    made = trial("outer", Wish({"inner": "document", "document": [[0, 0, 1]]}), text)
    assert view(made).mask.tolist() == [[True, False, False], [True, True, False], [False, False, True]]
    with pytest.raises(MaskError, match="has no parameter `documnet`"):
        trial("outer", Wish({"inner": "document", "documnet": [[0, 0, 1]]}), text)


def test_a_definition_in_a_file_with_errors_is_refused_with_them() -> None:
    with pytest.raises(MaskError) as caught:
        trial("good", text="mask good = k <= q\nmask bad = nope\n")
    assert [d.code for d in caught.value.diagnostics] == ["E0201"]


def test_a_view_of_every_third_token_is_a_part_of_the_whole() -> None:
    made = trial(wish=Wish(lengths=(20, 31)))
    assert np.array_equal(view(made, step=3).mask, view(made).mask[::3, ::3])


@pytest.mark.parametrize(
    ("text", "depends", "moves"),
    [
        ("score own(t: float[head]) = score - t[h]", {"h"}, False),
        ("score own(t: float[batch, position]) = score + t[b, k]", {"b"}, True),
        ("score own = score * 2.0", set(), False),
        ("from alibi import alibi\nvariant own(t: float[head]) { score = alibi(t) }", {"h"}, True),
    ],
)
def test_what_a_picture_depends_on(text: str, depends: set[str], moves: bool) -> None:
    shown = view(trial("own", text=text), incoming=1.5)
    assert shown.depends == depends and shown.score_moves is moves and (shown.curve is None) is moves
