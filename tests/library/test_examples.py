"""Examples: what they may give and must give, and what is told when they disagree with their definition."""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest

from maskdsl.library.examples import draw_picture, run_examples, value_of
from maskdsl.meaning.module import Module, check
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.render import render_text
from maskdsl.source.text import Source

DEFINITIONS = """
mask causal = k <= q
mask bottom = k <= q + kv_len - q_len
mask same(d: int[batch, position]) = d[b, q] == d[b, k]
mask on(inner: mask) = inner at (q = q + 1)
mask window(w: int = 2) = 0 <= q - k < w requires w >= 1
mask sorted(d: int[n]) = d[0] <= k requires ascending(d, n), d[0] >= 0
mask part(t: bool[kv_head]) = t[kv_h] and k <= q
mask rank(w: int[], t: int[2, n]) = t[1, 0] == k + w
mask lucky(f: float[head], c: bool) = c and f[h] > float(k)
score cap(c: float = 50.0) = c * tanh(score / c)
score bias(t: float[head]) = score - t[h] * (q - k)
score heads = score + size(head)
variant v(w: int = 2) { mask = window(w) score = cap(2.0) then score + 1 }
variant none { }
"""


def module(example: str) -> Module:
    """The definitions above with an example after them."""
    return check(Source("page.mask", DEFINITIONS + example), lambda *_: None)


def told(example: str) -> list[Diagnostic]:
    """All that is said about the example."""
    found = module(example)
    return [*found.diagnostics, *run_examples(found)]


RIGHT = [
    "causal | x .\n| x x",
    "causal at (b = 3, h = 2) | x .\n| x x",
    "causal at (q_len = 1) | x .\n| . .",
    "causal at (kv_len = 1) | x .\n| x .",
    "bottom | x x .\n| x x x",
    "bottom at (q = 0, k = 2, q_len = 1, kv_len = 3) == true",
    "same(d = [[0, 0, 1]]) | x x .\n| x x .\n| . . x",
    "same(d = [[0, 0], [0, 1]]) at (b = 1) | x .\n| . x",
    "same([[0, 0, 1, 1]]) | x x . .\n| x x . .",
    "on(inner = causal) | x x\n| x x",
    "on(inner = k < 1 and q < 2) | x .\n| . .",
    "on(inner = same([[0, 0, 1]])) at (q = 1, k = 2) == true",
    "on(on(window)) | . x\n| . .",
    "window | x .\n| x x",
    "window(w = 3 - 2) | x .\n| . x",
    "part(t = [true, false]) at (h = 1, size(head) = 4) | x .\n| x x",
    "part(t = [true, false]) at (h = 2, size(head) = 4) | . .\n| . .",
    "rank(w = 2, t = [[9, 9, 9], [3, 0, 0]]) | . x .",
    "rank(2, [[0], [-1 + 3]]) | x . .",
    "lucky(f = [1, 2.5], c = true) at (h = 1) | x x x .",
    "sorted([1, 2]) | . x",
    "cap(c = 2.0) at (score = 2.0) == 1.5231883119115297",
    "cap(c = 2) at (score = 2) == 2.0 * tanh(1.0)",
    "cap at (score = inf) == 50.0",
    "bias(t = [1.0, 0.5]) at (h = 1, q = 3, k = 1, score = 4.0) == 3",
    "heads at (size(head) = 4, score = 0.5) == 4.5",
    "causal at (q = 2, k = 1) == true",
    "causal at (q = 1, k = 2) == false",
    "v | x .\n| x x",
    "v at (score = 0.0) == 1.0",
    "v at (q = 3, k = 0) == false",
    "none | x x",
    "none at (score = 2.0) == 2.0",
]


@pytest.mark.parametrize("example", RIGHT)
def test_right(example: str) -> None:
    found = [d for d in told(f"example {example}") if d.severity == "error"]
    assert not found, "\n".join(map(render_text, found))
    assert len(module(f"example {example}").examples) == 1


WRONG = [
    ("zork | x", "E0201", "zork"),
    ("causal | x .\n| x", "E0503", "| x"),
    ("causal(2) | x", "E0210", "2"),
    ("same | x", "E0209", "same"),
    ("same(d = [0]) | x", "E0504", "0"),
    ("same(d = [[[0]]]) | x", "E0504", "[0]"),
    ("same(d = 3) | x", "E0504", "3"),
    ("same(d = []) | x", "E0504", "[]"),
    ("same(d = [[0], [1, 2]]) | x", "E0504", "[1, 2]"),
    ("same(d = [[0.5]]) | x", "E0302", "0.5"),
    ("same(d = [[true]]) | x", "E0301", "true"),
    ("same(d = [[q]]) | x", "E0311", "q"),
    ("same(d = [[zork]]) | x", "E0201", "zork"),
    ("same(d = [[0, 1]]) | x x x", "E0504", "same(d = [[0, 1]])"),
    ("same(d = [[0, 1]]) at (b = 1) | x", "E0504", "same(d = [[0, 1]])"),
    ("same(d = [[0, 1]]) at (q = 5, k = 0) == true", "E0504", "same(d = [[0, 1]])"),
    ("same(d = [[0, 1]]) at (size(position) = 3) | x", "E0504", "same(d = [[0, 1]])"),
    ("rank(w = [2], t = [[0], [0]]) | x", "E0504", "[2]"),
    ("rank(w = 2, t = [[0]]) | x", "E0504", "[[0]]"),
    ("part(t = [true, false]) at (size(head) = 3) | x", "E0504", "part(t = [true, false])"),
    ("part(t = [true, false]) | x", "E0504", "part(t = [true, false])"),
    ("window(w = 0) | x", "E0408", "window(w = 0)"),
    ("window(w = q) | x", "E0311", "q"),
    ("window(w = [1]) | x", "E0301", "[1]"),
    ("on(inner = 3) | x", "E0301", "3"),
    ("on(inner = window(0)) | x", "E0408", "window(0)"),
    ("on(inner = same([[0], [0, 0]])) | x", "E0504", "[0, 0]"),
    ("causal at (q = 1) | x", "E0504", "q = 1"),
    ("causal at (score = 1.0) | x", "E0504", "score = 1.0"),
    ("causal at (qq = 1) | x", "E0409", "qq"),
    ("causal at (kv_h = 1) | x", "E0409", "kv_h"),
    ("causal at (b = 1, b = 2) | x", "E0409", "b = 2"),
    ("causal at (b = 1.5) | x", "E0302", "1.5"),
    ("causal at (b = -1) | x", "E0504", "-1"),
    ("causal at (b = h) | x", "E0311", "h"),
    ("causal at (size(head) = 0) | x", "E0504", "0"),
    ("causal at (k = 1) == true", "E0504", "causal"),
    ("bottom at (q = 1, k = 1) == true", "E0504", "bottom"),
    ("cap == 1.0", "E0504", "cap"),
    ("heads at (score = 1.0) == 1.0", "E0504", "heads"),
    ("cap | x", "E0504", "| x"),
    ("cap at (score = 1.0) == true", "E0301", "true"),
    ("causal at (q = 1, k = 1) == 1.0", "E0301", "1.0"),
    ("cap at (score = 1.0) == q", "E0311", "q"),
    ("causal | x x", "E0501", "causal"),
    ("cap at (score = 0.0) == 1.0", "E0502", "1.0"),
    ("causal at (q = 1, k = 0) == false", "E0502", "false"),
    ("sorted([2, 1]) | . . x", "E0605", "sorted([2, 1])"),
    ("sorted([-1]) | x", "E0605", "sorted([-1])"),
]


@pytest.mark.parametrize("example, code, where", WRONG)
def test_wrong(example: str, code: str, where: str) -> None:
    found = [(d.code, d.span.text if d.span else "") for d in told(f"example {example}") if d.severity == "error"]
    assert found == [(code, where)]


def test_both_pictures_are_shown() -> None:
    (found,) = told("example causal\n    | x x .\n    | x x .\n    | x x .")
    assert render_text(found) == """\
error[E0501]: 2 cells of the picture differ from what `causal` computes
  --> page.mask:16:9
   |
16 | example causal
   |         ^^^^^^
17 |     | x x .
   |         - q = 0, k = 1 is hidden
   |
   = note: in the file   computed   they differ
           x x .         x . .        ^
           x x .         x x .
           x x .         x x x          ^
   = help: mend the formula or the picture; `maskdsl show FILE --accept` draws it again
   = `maskdsl explain E0501` tells more"""


def test_rows_that_see_nothing() -> None:
    assert [d.code for d in told("example on(inner = false) | . .\n| . .")] == ["W0806"]
    assert [d.code for d in told("example causal at (q_len = 1) | x .\n| . .")] == []


def test_what_an_example_holds() -> None:
    (example,) = module("example same(d = [[0, 0, 1], [0, 1, 1]]) at (b = 1)\n| x . .\n| . x x").examples
    (table,) = example.tables
    assert (table.name, example.tables[table].dtype, example.tables[table].shape) == ("d", np.int32, (2, 3))
    assert dict(example.place.sizes) == {"batch": 2, "position": 3, "head": 1, "kv_head": 1}
    assert (dict(example.place.coordinates), dict(example.place.lengths)) == ({"b": 1, "h": 0}, {"q_len": 2, "kv_len": 3})
    assert draw_picture(example).tolist() == [[True, False, False], [False, True, True]]
    assert [s.text for s in example.row_spans] == ["| x . .", "| . x x"]


def test_constants_are_of_their_types() -> None:
    (example,) = module("example cap(c = 2) at (score = 1) == 0.924234").examples
    ((constant, value),) = example.constants.items()
    assert (constant.name, value, type(value)) == ("c", 2.0, float)
    assert value_of(example) == pytest.approx(2 * np.tanh(0.5))


@pytest.mark.parametrize("wanted, close", [("0.9242", False), ("0.924234", True), ("0.92423431", True), ("0.92426", False)])
def test_floats_are_compared_with_a_small_tolerance(wanted: str, close: bool) -> None:
    found: list[Any] = told(f"example cap(c = 2) at (score = 1) == {wanted}")
    assert [d.code for d in found] == ([] if close else ["E0502"])


def test_examples_of_broken_definitions_are_silent() -> None:
    text = "mask bad = zork\nexample bad | x\n| x x\nexample bad at (q = 1) == 2.0"
    assert [d.code for d in check(Source("m", text), lambda *_: None).diagnostics] == ["E0201", "E0503"]


def many(text: str, example: str, count: int) -> list[str]:
    """The codes that a number of equal examples get."""
    return [d.code for d in run_examples(check(Source("m", f"{text}\n{example * count}"), lambda *_: None))]


def test_examples_that_take_too_long_are_not_run() -> None:
    start = process_time()
    squares = "mask m = any(q - k == i * i for i in range(1000))"
    assert many(squares, "example m at (q = 4, k = 0) == true\n", 1000) == ["E0406"]
    large = "example m\n" + ("| " + "x" * 400 + "\n") * 400
    assert many("mask m = sum(q * i % 7 for i in range(4000)) >= 0", large, 1) == ["E0406"]
    doubled = "\n".join(f"mask m{i + 1} = m{i} at (q = q + {i}) or m{i} at (k = k + {i})" for i in range(40))
    module_ = check(Source("m", f"mask m0 = q <= k\n{doubled}\n" + "example m40\n| x\n" * 300), lambda *_: None)
    assert {d.code for d in module_.diagnostics} == {"E0406"}
    assert process_time() - start < 8.0


@pytest.mark.parametrize("text", [
    "mask m = k <= q requires q < 4096\nexample m at (size(position) = 2000000000) | x",
    "mask m = k <= q requires q - k < 4096\nexample m at (size(position) = 100000) | x",
    "mask m = k <= q requires q < 2000000001\nexample m at (q = 2000000000, k = 0) == true",
    "mask m = k <= b requires b < 2147483647\nexample m at (b = 2000000000, k = 3) == true",
])  # fmt: skip
def test_facts_about_too_many_places_are_not_looked_at(text: str) -> None:
    assert [d.code for d in run_examples(check(Source("m", text), lambda *_: None))] == ["E0406"]


def test_a_table_tells_how_long_an_example_takes() -> None:
    text = "mask m(t: int[n]) = all(t[i] <= q for i in range(size(n)))"
    long = f"example m(t = [{', '.join('0' * 300)}]) at (q = 1) == true\n"
    twice = "mask m(t: int[n]) = all(all(t[i] <= q + j for j in range(40)) for i in range(size(n)))"
    assert many(text, long, 25) == many(twice, long, 1) == [] and many(twice, long, 5) == ["E0406"]
