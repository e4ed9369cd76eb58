"""Tables: their axes, their indices, their sizes; the picture of an index of the wrong axis."""

from __future__ import annotations

import pytest
from meaning import checked, codes, marked, sound

from maskdsl.source.render import render_text

COORDINATES = {"b": "batch", "h": "head", "kv_h": "kv_head", "q": "position", "k": "position"}


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("axis", ["batch", "head", "kv_head", "position"])
def test_a_coordinate_belongs_to_its_axis(coordinate: str, axis: str) -> None:
    found = marked(f"mask m(t: int[{axis}]) = t[{coordinate}] == 1")
    assert found == ([] if COORDINATES[coordinate] == axis else [("E0305", coordinate)])


def test_a_coordinate_by_another_name_is_still_one() -> None:
    assert marked("mask m(t: int[head]) = t[p] == 1 where p = q") == [("E0305", "p")]


def test_other_indices_are_left_to_the_proofs() -> None:
    assert codes("mask m(t: int[head]) = t[q % size(head)] == 1") == []
    assert codes("mask m(t: int[n]) = t[q] == 1") == ["E0402"]
    assert codes("mask m(t: int[4]) = t[3] == 1") == []
    assert codes("mask m(t: int[4]) = t[4] == 1") == ["E0402"]


def test_the_picture_of_a_wrong_axis() -> None:
    (found,) = checked("score alibi(slope: float[head]) =\n    score - slope[q] * (q - k)").diagnostics
    assert render_text(found) == """\
error[E0305]: `slope` is indexed by head, but `q` is a position
 --> test.mask:2:19
  |
1 | score alibi(slope: float[head]) =
  |                          ---- this axis is head
2 |     score - slope[q] * (q - k)
  |                   ^ a position
  |
  = help: index it with `h`
  = `maskdsl explain E0305` tells more"""


@pytest.mark.parametrize("body, found", [
    ("t[b] == 1", ("E0306", "t[b]")),
    ("t[b, q, k] == 1", ("E0306", "t[b, q, k]")),
    ("t == 1", ("E0307", "t")),
    ("t() == 1", ("E0307", "t()")),
    ("w[0] == 1", ("E0306", "w[0]")),
    ("c[0] == 1", ("E0307", "c")),
    ("inner[0] == 1", ("E0307", "inner")),
    ("other[0] == 1", ("E0307", "other")),
    ("q[0] == 1", ("E0307", "q")),
    ("sqrt[0] == 1", ("E0307", "sqrt")),
    ("y[0] == 1", ("E0307", "y")),
    ("tt[0] == 1", ("E0201", "tt")),
    ("t[b, q + 0.5] == 1", ("E0302", "q + 0.5")),
    ("t[b, q < k] == 1", ("E0301", "q < k")),
    ("t[b, zork] == 1", ("E0201", "zork")),
])  # fmt: skip
def test_wrong_lookups(body: str, found: tuple[str, str]) -> None:
    header = "mask other = true\nmask m(t: int[batch, position], w: int[], c: int, inner: mask)"
    assert [f for f in marked(f"{header} = {body} where y = 3") if f[0][0] == "E"] == [found]


@pytest.mark.parametrize("type_, found", [
    ("int[batch, head, n, m, 5]", "E0310"), ("int[0]", "E0313"), ("int[q]", "E0203"), ("int[if]", "E0203"), ("int[b]", "E0203"),
])  # fmt: skip
def test_wrong_types(type_: str, found: str) -> None:
    assert codes(f"mask m(t: {type_}) = t[0] == 1 and t == 2 and size(n) == 1") == [found]


def test_sizes() -> None:
    sound("mask m(t: int[n, 4]) = size(n) + size(batch) + size(head) + size(kv_head) + size(position) > t[0, 3]")
    assert marked("mask m(t: int[blocks]) = size(block) > t[0]") == [("E0308", "block")]
    assert marked("mask m(t: int[blocks]) = size(3) > t[0]") == [("E0308", "3")]
    assert marked("mask m(t: int[blocks]) = size(t[0]) > t[0]") == [("E0308", "t[0]")]
    assert marked("mask m(t: int[blocks]) = size(blocks, 0) > t[0]") == [("E0304", "size(blocks, 0)")]


def test_advice_for_an_axis() -> None:
    (found,) = checked("mask m(t: int[blocks]) = size(block) > t[0]").diagnostics
    assert found.help == ("did you mean `blocks`?",)
