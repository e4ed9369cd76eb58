"""Lints: unused parameters, constant masks, missing documentation and examples."""

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
    "mask m(w: int) = q < k where x = w", "mask m(w: int) = q < k requires w > 1", "mask m(t: int[n]) = q < k requires ascending(t, n)",
    "mask a(t: int[n]) = t[0] < k\nmask m(t: int[n]) = a(t)", "mask a(inner: mask) = inner\nmask m(inner: mask) = a(inner)",
])  # fmt: skip
def test_used_parameters(text: str) -> None:
    assert codes(text) == []


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
