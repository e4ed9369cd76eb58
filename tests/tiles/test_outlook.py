"""Lint W0803: masks of which no tile can be decided ahead of time, and those that must not be warned of."""

from __future__ import annotations

import pytest

from maskdsl.meaning.module import Module, check
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.text import Source
from maskdsl.tiles.outlook import lint_module

HOPELESS = [
    "t[b, q] == t[b, k]",
    "t[b, q] != t[b, k]",
    "t[b, k] == t[b, q]",
    "not t[b, q] == t[b, k]",
    "t[b, q] == t[b, k] or t[b, k] == t[b, q]",
    "any(u[r, q] == u[r, k] for r in range(size(rounds)))",
    "(q - k) % 2 == 0",
    "q % 64 >= k % 64",
    "bit_and(bit_xor(q, k), 3) == 1",
    "t[b, q] == t[b, k] or q % 2 == 0",
]

HOPEFUL = [
    "k <= q",
    "true",
    "t[b, q] == t[b, k] and k <= q",
    "t[b, q] == t[b, k] or q - k < 100000",
    "t[b, q] == t[b, k] and t[b, q] >= 0",
    "t[b, q] <= t[b, k]",  # an order decides tiles as soon as the values do
    "t[b, q] == 3",
    "f[b, k]",
    "f[b, q] == f[b, k]",
    "(q - k) % w == 0",  # what a constant makes of it is open
    "(q - k) % 4096 == 0",
    "q // w == k // w",
    "k < p",
    "given",
    "given and t[b, q] == t[b, k]",
    "q - t[b, q] == k - t[b, k]",
    "exp(0.1 * (k - q)) > 0.5",
]


def module(body: str) -> Module:
    """A file with one mask."""
    parameters = "t: int[batch, position], u: int[rounds, position], f: bool[batch, position], p: int[], w: int = 128"
    facts = "requires w >= 1"
    text = f"mask m({parameters}, given: mask) = {body} {facts}"
    found = check(Source("m.mask", text), lambda name, local, importer: None)
    assert not found.errors, found.errors
    return found


def lint(text: str) -> list[Diagnostic]:
    """The warnings of a text."""
    found = check(Source("m.mask", text), lambda name, local, importer: None)
    assert not found.errors, found.errors
    return [*lint_module(found)]


@pytest.mark.parametrize("body", HOPELESS)
def test_hopeless_masks_are_warned_of(body: str) -> None:
    (found,) = lint_module(module(body))
    assert found.code == "W0803" and found.span is not None and found.span.text == body


@pytest.mark.parametrize("body", HOPEFUL)
def test_masks_with_a_chance_are_not(body: str) -> None:
    assert not lint_module(module(body))


def test_a_fact_about_the_order_is_a_chance() -> None:
    text = "mask m(t: int[batch, position]) = t[b, q] == t[b, k]"
    (found,) = lint(text)
    assert found.help == ("if `t` never decreases, say so: `requires ascending(t, position)`",)
    assert not lint(f"{text} requires ascending(t, position)")


def test_the_order_of_a_table_is_asked_for_where_it_would_help() -> None:
    """A table that positions do not index has no order along them, and its own axis is the one to name."""
    nested = "mask m(t: int[position], u: int[n]) = u[clamp(t[q], 0, size(n) - 1)] == u[clamp(t[k], 0, size(n) - 1)]"
    (found,) = lint(nested)
    assert found.message == "tiles of this mask are decided only where `u` happens to be in order"
    assert "ascending" not in found.help[0] and "k <= q" in found.help[0]
    (found,) = lint("mask m(t: int[rows, n]) = t[0, min(q, size(n) - 1)] == t[0, min(k, size(n) - 1)] requires size(rows) > 0")
    assert "ascending" not in found.help[0]


def test_without_tables_the_advice_is_another() -> None:
    (found,) = lint("mask m = (q - k) % 2 == 0")
    assert "k <= q" in found.help[0]


def test_parts_of_other_definitions_are_not_judged() -> None:
    same = "mask same(t: int[position]) = t[q] == t[k]"
    assert lint(same)
    assert not lint(f"{same}\nmask m(t: int[position]) = same(t) and k <= q")
    assert [d.span.text for d in lint(f"{same}\nmask m(t: int[position]) = same(t)") if d.span] == ["same(t)"]


def test_scores_and_variants_are_not_judged() -> None:
    assert not lint("score s = score * 2.0")
    assert not lint("variant v(t: int[position]) { mask = t[q] == t[k] }")
