"""What the tile analysis makes of a definition: counts, how far they are from the truth, and what cost precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from maskdsl.ir.nodes import Variant, literal
from maskdsl.meaning.facts import all_facts
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.tiles.arrays import Shape, Tables, derived_arrays, limits_of_arrays
from maskdsl.tiles.classify import ALL, NONE, SOME, classify, refine
from maskdsl.tiles.evaluate import Array
from maskdsl.tiles.limits import ranges_of_facts
from maskdsl.tiles.losses import Loss, find_losses
from maskdsl.tiles.verdict import Verdict, verdict_of


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tiles are full, partial and empty."""

    full: int
    partial: int
    empty: int

    @property
    def total(self) -> int:
        """All tiles."""
        return self.full + self.partial + self.empty

    @property
    def visited(self) -> int:
        """The tiles that a kernel computes."""
        return self.full + self.partial

    @property
    def sparsity(self) -> float:
        """The share of tiles that a kernel skips, 0 to 1."""
        return self.empty / self.total


@dataclass(frozen=True, slots=True, eq=False)
class TileReport:
    """The verdicts `found` from the formula's bounds and the `exact` ones: int8 [B or 1, H or 1, q tiles, k tiles].

    They have one batch row or head where the mask is the same for all. `losses` are the conditions that the bounds
    could not decide, most tiles first; none where the two are equal.
    """

    shape: Shape
    block: tuple[int, int]
    found: Array
    exact: Array
    losses: tuple[Loss, ...]

    def at(self, b: int, h: int) -> TileReport:
        """The report of one batch row and head; `losses` stay those of all."""
        row, head = min(b, self.found.shape[0] - 1), min(h, self.found.shape[1] - 1)
        cut = np.s_[row : row + 1, head : head + 1]
        return replace(self, found=self.found[cut], exact=self.exact[cut])

    @property
    def ours(self) -> Counts:
        """The tiles as the analysis decides them."""
        return count_tiles(self.found)

    @property
    def truth(self) -> Counts:
        """The tiles as they are."""
        return count_tiles(self.exact)

    @property
    def undecided(self) -> int:
        """How many partial tiles are in truth full or empty."""
        return int(((self.found == SOME) & (self.exact != SOME)).sum())

    @property
    def visited_ratio(self) -> float:
        """Tiles visited over those that must be: 1 or more, infinite where tiles are visited and none must be."""
        if self.truth.visited:
            return self.ours.visited / self.truth.visited
        return inf if self.ours.visited else 1.0

    @property
    def full_ratio(self) -> float:
        """Full tiles found over those that there are: 1 or less."""
        return self.ours.full / self.truth.full if self.truth.full else 1.0


def count_tiles(kinds: Array) -> Counts:
    """How many entries are ALL, SOME and NONE."""
    return Counts(*(int((kinds == kind).sum()) for kind in (ALL, SOME, NONE)))


def report_tiles(
    variant: Variant, shape: Shape, tables: Tables, sizes: Mapping[str, int], block: tuple[int, int] = (128, 128)
) -> TileReport:
    """The report of a definition whose constants are fixed, for tables and the sizes of all axes by name.

    Raises MaskError E0403 and E0406 as the passes do.
    """
    verdict, bound = _verdict_and_tables(variant, tables, sizes, block)
    with np.errstate(all="ignore"):
        found = classify(verdict, shape, bound, sizes)
        exact = refine(verdict, found, shape, bound, sizes)
        losses = find_losses(verdict, found, exact, shape, bound, sizes)
    return TileReport(shape, block, found, exact, losses)


def find_tiles(
    variant: Variant, shape: Shape, tables: Tables, sizes: Mapping[str, int], block: tuple[int, int] = (128, 128)
) -> Array:
    """The verdicts of `report_tiles` alone, as `TileReport.found`: no pair is evaluated. Raises MaskError likewise."""
    verdict, bound = _verdict_and_tables(variant, tables, sizes, block)
    with np.errstate(all="ignore"):
        return classify(verdict, shape, bound, sizes)


def _verdict_and_tables(
    variant: Variant, tables: Tables, sizes: Mapping[str, int], block: tuple[int, int]
) -> tuple[Verdict, Tables]:
    """The verdict of a definition's mask, and its tables with those that the passes derive from them."""
    facts = all_facts(variant)
    ready = run_passes(replace(variant, facts=facts), Context(sizes, padded=False))
    bound = {**tables, **derived_arrays(ready.derived, tables)}
    mask = literal(True) if ready.mask is None else ready.mask
    return verdict_of(mask, *block, limits_of_arrays(bound, ranges_of_facts(facts))), bound
