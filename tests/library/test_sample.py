"""Random tables satisfy the facts, and are found for every shipped definition."""

from __future__ import annotations

import numpy as np
import pytest

from maskdsl.backends import reference
from maskdsl.ir.nodes import Variant
from maskdsl.library.registry import Registry
from maskdsl.library.sample import sample_tables
from maskdsl.library.sample_sight import part_that_sees
from maskdsl.library.sample_styles import BOOL_STYLES, FLOAT_STYLES, INT_STYLES, SHORT_STYLES, Scene
from maskdsl.meaning.instantiate import instantiate
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source

SIZES = {"batch": 2, "head": 4, "kv_head": 2, "position": 40}


def definition(text: str) -> Variant:
    """The only definition of a text, with its defaults."""
    module = Registry().check(Source("a.mask", text))
    assert not module.errors, module.errors
    return instantiate(next(iter(module.definitions.values())))


def shipped() -> list[Variant]:
    """Every shipped definition with tables, fixed by its defaults, or by its first example where it lacks some."""
    registry, found = Registry(), []
    for _, source in registry.sources():
        module = registry.check(source)
        for variant in module.definitions.values():
            shown = next(([*e.constants.items()] for e in module.examples if e.target is variant), [])
            needed = {*variant.constants} - {*dict(variant.defaults)}
            values = {c.name: v for c, v in shown} if needed else {}
            if variant.tables and not variant.holes and {c.name for c in needed} <= {*values}:
                found.append(instantiate(variant, values))
    return found


@pytest.mark.parametrize("fixed", shipped(), ids=lambda v: v.name)
def test_every_shipped_definition_gets_tables_that_it_can_read(fixed: Variant) -> None:
    tables = sample_tables(fixed, SIZES)
    assert set(tables) == set(fixed.tables)
    seen = reference.mask(fixed, b=2, h=4, q=40, k=40, tables=tables, sizes=SIZES)
    assert seen.shape == (2, 4, 40, 40)
    if fixed.score is not None:
        scores = reference.scores(fixed, np.zeros(seen.shape), b=2, h=4, q=40, k=40, tables=tables, sizes=SIZES)
        assert not np.isnan(scores).any()


# Each fact, and the same in Python over the arrays by name.
FACTS = [
    ("a: int[batch, position]", "a[b, q] == a[b, k]", "ascending(a, position), 0 <= a[b, q]",
     lambda a: (np.diff(a) >= 0).all() and (a >= 0).all()),
    ("a: int[batch]", "k < a[b]", "0 <= a[b] <= size(position)", lambda a: ((a >= 0) & (a <= 40)).all()),
    ("a: int[n]", "a[0] <= k", "size(n) == 7, ascending(a, n), a[0] == 0",
     lambda a: a.shape == (7,) and a[0] == 0 and (np.diff(a) >= 0).all()),
    ("a: int[position]", "a[q] <= k", "0 <= a[q] <= q", lambda a: ((a >= 0) & (a <= np.arange(40))).all()),
    ("a: bool[4, head]", "a[0, h] or k <= q", "size(head) == 4", lambda a: a.shape == (4, 4) and a.dtype == bool),
    ("a: int[]", "k <= q + a[]", "a[] >= 0", lambda a: a.shape == (1,) and a[0] >= 0),
]  # fmt: skip


@pytest.mark.parametrize(("table", "body", "facts", "holds"), FACTS, ids=[f[2] for f in FACTS])
def test_facts_hold(table: str, body: str, facts: str, holds: object) -> None:
    body = body.replace("a[]", "a") if table.endswith("int[]") else body
    facts = facts.replace("a[]", "a")
    variant = definition(f"mask m({table}) = {body}\n    requires {facts}\n")
    for seed in range(5):
        (array,) = sample_tables(variant, SIZES, seed=seed).values()
        assert holds(array)  # type: ignore[operator]


def test_tables_that_are_given_stay_and_bind_the_others() -> None:
    variant = definition("mask m(a: int[n], c: int[n]) = a[0] + c[0] <= k\n    requires size(n) >= 1, c[0] >= a[0]\n")
    a, c = variant.tables
    tables = sample_tables(variant, {**SIZES, "n": 3}, {a: np.array([17, 0, 0], np.int32)})
    assert set(tables) == {c} and tables[c].shape == (3,) and tables[c][0] >= 17


def test_facts_that_nothing_satisfies_are_told() -> None:
    variant = definition("mask m(a: int[n]) = a[0] <= k\n    requires size(n) >= 1, a[0] == 123456\n")
    with pytest.raises(MaskError, match="no tables were found") as caught:
        sample_tables(variant, SIZES)
    assert [d.code for d in caught.value.diagnostics] == ["E0605"]


@pytest.mark.parametrize("style", [*SHORT_STYLES, *INT_STYLES, *BOOL_STYLES, *FLOAT_STYLES])
@pytest.mark.parametrize("position", [1, 2, 40])
def test_every_style_fills_every_shape(style: object, position: int) -> None:
    for shape in ((1,), (position,), (3, 1), (2, position), (2, 3, 4), (1, 2, 3, 4)):
        scene = Scene(np.random.default_rng(0), position, 2, 3)
        assert style(scene, shape).shape == shape  # type: ignore[operator]


@pytest.mark.parametrize("axes, count", [("2000, 2000, 2000, 2000", "16,000,000,000,000"), ("position, position, position", "8,000,000,000")])
def test_tables_that_are_too_large_are_not_made_up(axes: str, count: str) -> None:
    variant = definition(f"mask m(t: bool[{axes}]) = t[0, 0, 0{', 0' if '2000' in axes else ''}] and k <= q")
    with pytest.raises(MaskError, match=f"has {count} elements here"):
        sample_tables(variant, {**SIZES, "position": 2000})


def test_facts_about_too_many_places_are_not_looked_at() -> None:
    variant = definition("mask m(t: int[n]) = t[0] < q - k requires q - k < 1000000, t[0] >= 0")
    with pytest.raises(MaskError, match="speaks of 1,000,000,000,000 places here"):
        sample_tables(variant, {**SIZES, "position": 1_000_000})


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("mask m(low: int[batch, position], high: int[batch, position]) = low[b, q] <= k < high[b, q]", 0.5),
        ("mask m(word: int[batch, position, words]) = k < size(words) * 32 and "
         "bit_and(shift_right(word[b, q, clamp(k // 32, 0, size(words) - 1)], k % 32), 1) == 1", 0.5),
        ("mask m(n: int[batch]) = k < n[b] and q < 0", 0.0),
    ],
)  # fmt: skip
def test_draws_that_see_something_are_preferred(text: str, least: float) -> None:
    fixed = definition(text)
    tables = sample_tables(fixed, SIZES)
    seen = reference.mask(fixed, b=2, h=1, q=40, k=40, tables=tables, sizes=SIZES)
    assert part_that_sees(fixed, tables, {**SIZES, "words": 4}) == seen[-1, 0].any(axis=-1).mean() >= least
