"""Tables for a look or a trial run: random ones that satisfy a definition's facts.

Not here: the ways to fill one table (`sample_styles`), whether facts hold (`sample_facts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod

import numpy as np

from maskdsl.ir.nodes import Literal, Node, Variant
from maskdsl.ir.types import BUILT_IN_AXES, Table
from maskdsl.ir.walk import topological
from maskdsl.library.sample_facts import about_sizes, compared_with_sizes, hold
from maskdsl.library.sample_sight import part_that_sees
from maskdsl.library.sample_styles import Scene, Style, Values, cast, styles_of
from maskdsl.meaning.facts import all_facts
from maskdsl.source.diagnostic import Diagnostic, MaskError

MOST_DRAWS, MOST_SIZES = 400, 4000
"""Draws of tables, and of sizes for fresh axes, before giving up."""

MOST_SEEN, ENOUGH = 24, 0.5
"""Draws that satisfy the facts and are looked at, and the part of the queries that must see a key for the last one."""

MOST_ELEMENTS = 1 << 28
"""How large a table may be that is made up: with this many it takes one or two GB while it is drawn."""


def sample_tables(
    variant: Variant, sizes: Mapping[str, int], given: Mapping[Table, Values] | None = None, seed: int = 0
) -> dict[Table, Values]:
    """Random tables beside those given, for a variant whose constants are fixed: int32, float32 or bool.

    They are such that many queries see a key, if some of the first draws are: else a trial would show nothing.
    `sizes` gives `batch`, `head`, `kv_head` and `position` at least; axes that it lacks get sizes that the facts
    allow. Raises MaskError E0605 when no draw satisfies the facts, and for tables that are too large to make up.
    """
    fixed = dict(given or {})
    wanted = tuple(t for t in variant.tables if t not in fixed)
    if not wanted:
        return {}
    best, most = None, -1.0
    for tables, known in islice(_draws_that_hold(variant, wanted, sizes, fixed, seed), MOST_SEEN):
        sees = part_that_sees(variant, {**fixed, **tables}, known)
        if sees > most:
            best, most = tables, sees
        if sees >= ENOUGH:
            break
    if best is None:
        raise MaskError(_none_found(variant))
    return best


def _draws_that_hold(
    variant: Variant, wanted: Sequence[Table], sizes: Mapping[str, int], fixed: Mapping[Table, Values], seed: int
) -> Iterator[tuple[dict[Table, Values], dict[str, int]]]:
    """Tables that satisfy the facts, and the sizes of all axes: the most telling styles first."""
    facts, random = all_facts(variant), np.random.default_rng(seed)
    for known in islice(_sizes_that_hold(wanted, sizes, about_sizes(facts)), 3):
        _verify_small(wanted, known)
        for styles in islice(_mixtures(wanted), MOST_DRAWS // 3):
            tables = _draw(wanted, styles, known, random)
            if hold(facts, {**fixed, **tables}, known):
                yield tables, known


def shape_of(table: Table, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape that a table has when its axes have these sizes; one element for a table without axes."""
    return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in table.axes) or (1,)


def _verify_small(tables: Sequence[Table], sizes: Mapping[str, int]) -> None:
    for table in tables:
        count = prod(shape_of(table, sizes))
        if count > MOST_ELEMENTS:
            told = f"`{table.name}` has {count:,} elements here, too many to make up"
            advice = (f"show or compile less, or give `{table.name}` itself",)
            raise MaskError(Diagnostic("E0605", told, table.span, f"at most {MOST_ELEMENTS:,} are drawn", help=advice))


def _draw(
    tables: Sequence[Table], styles: Sequence[Style], sizes: Mapping[str, int], random: np.random.Generator
) -> dict[Table, Values]:
    fresh = [sizes[a] for t in tables for a in t.axes if isinstance(a, str) and a not in BUILT_IN_AXES]
    scene = Scene(random, sizes["position"], sizes["batch"], min(fresh, default=sizes["position"]))
    return {t: cast(style(scene, shape_of(t, sizes)), t.type) for t, style in zip(tables, styles, strict=True)}


def _mixtures(tables: Sequence[Table]) -> Iterator[tuple[Style, ...]]:
    """A style for each table: first the most telling of each, then ever less telling ones."""
    choices = [styles_of(t) for t in tables]
    for total in range(sum(len(c) - 1 for c in choices) + 1):
        for places in product(*(range(min(total, len(c) - 1) + 1) for c in choices)):
            if sum(places) == total:
                yield tuple(c[p] for c, p in zip(choices, places, strict=True))


def _sizes_that_hold(
    tables: Sequence[Table], sizes: Mapping[str, int], facts: Sequence[Node]
) -> Iterator[dict[str, int]]:
    """The sizes with the tables' fresh axes added, as the facts about sizes allow; small ones first."""
    named = (a for t in tables for a in t.axes if isinstance(a, str))
    fresh = [a for a in dict.fromkeys(named) if a not in sizes]
    for chosen in islice(product(_candidate_sizes(facts, sizes), repeat=len(fresh)), MOST_SIZES):
        known = {**sizes, **dict(zip(fresh, chosen, strict=True))}
        if hold(facts, {}, known):
            yield known


def _candidate_sizes(facts: Sequence[Node], sizes: Mapping[str, int]) -> list[int]:
    """Sizes to try for a fresh axis: small numbers, and what the facts' own numbers suggest."""
    literals = (n.value for n in topological(facts) if isinstance(n, Literal))
    numbers = {v for v in literals if isinstance(v, int)}
    position = sizes["position"]
    told = {s for n in numbers for s in (n, n + 1, 2 * n - 1, 2 * n, 2 * n + 1, -(-position // max(1, n)))}
    told |= {position, position + 1, sizes["batch"] + 1}
    told |= {n + more for n in compared_with_sizes(facts, sizes) for more in (0, 1, -1)}
    plain = [4, 6, 8, 3, 2, 1, 5, 7, 9, 16, 32]
    return [*plain, *sorted(s for s in told if 0 < s <= 1 << 16 and s not in plain)]


def _none_found(variant: Variant) -> Diagnostic:
    names = [t.name for t in variant.tables]
    return Diagnostic(
        "E0605",
        f"no tables were found that satisfy the facts of `{variant.name}`",
        variant.span,
        help=tuple(f"`--set {name}=[…]` gives the table `{name}`" for name in names),
    )
