"""Lints: unused names, constant masks, missing documentation and examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from meaning import codes, marked

from maskdsl.meaning.module import check
from maskdsl.source.text import Source


@pytest.mark.parametrize("text", [
    "mask m(w: int) = q < 4", "mask m(t: int[head]) = q < 4", "mask m(t: int[]) = q < 4", "mask m(inner: mask) = q < 4",
    "score m(w: int) = score", "variant m(w: int) { mask = q < 4 }",
])  # fmt: skip
def test_unused_parameters(text: str) -> None:
    assert [c for c, _ in marked(text)] == ["W0801"]


@pytest.mark.parametrize("text", [
    "mask m(w: int) = q < x where x = w", "mask m(w: int) = q < k requires w > 1", "mask m(t: int[n]) = q < k requires ascending(t, n)",
    "mask a(t: int[n]) = t[0] < k\nmask m(t: int[n]) = a(t)", "mask a(inner: mask) = inner\nmask m(inner: mask) = a(inner)",
])  # fmt: skip
def test_used_parameters(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize("text, unused", [
    ("mask m = k <= q where x = q", ["x"]), ("mask m = k <= x where x = q, y = x", ["y"]),
    ("mask m = k <= y where x = q, y = x", []), ("mask m(t: int[n]) = t[x] < q where x = 0", []),
    ("mask m = any(k == x + i for i in range(2)) where x = q", []), ("score m = score at (score = x) where x = 1.0 * q", []),
    ("mask m = k < q where x = 2 > 1 requires x", []), ("variant m { mask = k <= q }", []),
])  # fmt: skip
def test_unused_local_names(text: str, unused: list[str]) -> None:
    assert [w for c, w in marked(text) if c == "W0801"] == unused


@pytest.mark.parametrize("rest, unused", [
    ("mask m = causal", ["other"]), ("mask m = k < q", ["causal", "other"]), ("mask m = causal or other", []),
    ("mask m = k < q\nexample causal | x", ["other"]), ("mask m = causal or windw", []), ("mask m = (", []),
])  # fmt: skip
def test_unused_imports(rest: str, unused: list[str]) -> None:
    library = Source("base", "mask causal = k <= q\nmask window(w: int) = q - k < w")
    text = f"from base import causal, window as other\n{rest}".replace("or other", "or other(2)")
    found = check(Source("m", text), lambda *_: library).diagnostics
    assert [d.span.text for d in found if d.code == "W0801" and d.span] == unused


@pytest.mark.parametrize("body, wraps", [
    ("q - k < 2 ** 31", ["2 ** 31"]), ("q < 65536 * 65536 + 3", ["65536 * 65536"]), ("q < 2147483647 + 1", ["2147483647 + 1"]),
    ("q < -2147483648 - 1 + 4", ["-2147483648 - 1"]), ("q < 2 ** 2147483647", ["2 ** 2147483647"]),
    ("q < (-2) ** 31 or q < 3", []), ("q < 2 ** 30 + (2 ** 30 - 1)", []), ("q < (-1) ** 2147483647 + 9", []), ("q < 3 * 5", []),
    ("k * 73856093 * 19349663 < q", []), ("q < shift_left(1, 31) + 9", []), ("q < 2.0 ** 40", []), ("q < 0 ** 0 + 1", []),
    ("any(q == i + 2 ** 31 for i in range(2))", ["2 ** 31"]), ("q < x + k where x = 46341 * 46341", ["46341 * 46341"]),
])  # fmt: skip
def test_numbers_that_wrap(body: str, wraps: list[str]) -> None:
    found = marked(f"mask m = {body}")
    assert [w for c, w in found if c == "W0808"] == wraps
    assert not wraps or {c for c, _ in found} == {"W0808"}


def test_no_lints_where_there_is_an_error() -> None:
    assert codes("mask m(window: int) = q < windw") == ["E0201"]


@pytest.mark.parametrize("body, constant", [
    ("k <= q or k > q", True), ("q < 0", True), ("q - k < w or q - k >= w", True), ("t[b] < 0 and t[b] > 0", True),
    ("1 < 2", True), ("size(head) >= 1", True), ("q == k and k < q", True),
    ("true", False), ("false", False), ("k <= q", False), ("w > 1", False), ("t[b] == k", False), ("inner or k < q", False),
])  # fmt: skip
def test_constant_masks(body: str, constant: bool) -> None:
    names = {"w": "w: int", "t": "t: int[batch]", "inner": "inner: mask"}
    parameters = ", ".join(p for n, p in names.items() if n in body.split() or f"{n}[b]" in body)
    found = codes(f"mask m({parameters}) = {body}" if parameters else f"mask m = {body}")
    assert found == (["W0802"] if constant else [])


def test_documentation_and_examples_are_wanted_in_files_alone() -> None:
    text = "mask m = k <= q\n## Doc.\nscore s = score\n##\nvariant v { }\nexample v | x"
    assert codes(text) == []
    module = check(Source("m.mask", text, Path("m.mask")), lambda *_: None)
    found = [(d.code, d.span.text) for d in module.diagnostics if d.span]
    assert found == [("W0804", "m"), ("W0805", "m"), ("W0805", "s"), ("W0804", "v")]
