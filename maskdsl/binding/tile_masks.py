"""The BlockMasks of one bound definition, from its formula: plans by block size, tables and masks while tables stay.

Not here: how tiles are decided (`tiles`), how lists are built (`backends.tile_plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends.flex_blocks import MaskMod, Shape, everything
from maskdsl.backends.tile_plan import Builder, TilePlan, is_read_at_once, limits_of, tile_plan
from maskdsl.backends.tile_tables import Call, make_tile_tables
from maskdsl.binding.derived import derived_tables
from maskdsl.binding.kept import Kept
from maskdsl.binding.shapes import Lengths
from maskdsl.ir.nodes import Derived, Node
from maskdsl.ir.types import Table
from maskdsl.tiles.limits import Limits, Ranges
from maskdsl.tiles.visits import visited_tiles


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """How to get a mask for the tile analysis, the text it is known by, its bound and derived tables, all sizes.

    `ranges` are those that facts give to the values of int tables, `derived` says how tables were made of others.

    Compares by identity: what is kept for a formula is found by the formula itself.
    """

    mask: Callable[[], Node]
    text: str
    tables: Mapping[Table, Tensor]
    sizes: Mapping[str, int]
    ranges: Ranges = field(default_factory=dict)
    derived: tuple[Derived, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a BlockMask is made of that depends on tables and lengths alone."""

    formula: Formula
    builder: Builder

    def is_for(self, lengths: Lengths) -> bool:
        """Whether it was made for a call of these sizes."""
        sizes = self.formula.sizes
        given = (sizes["batch"], sizes["head"], sizes["kv_head"], self.builder.call.q_len, self.builder.call.kv_len)
        return given == lengths


@dataclass(slots=True)
class TileMasks:
    """BlockMasks and what they are made of, kept until somebody writes into a table."""

    plans: dict[Any, TilePlan] = field(default_factory=dict)
    limits: Kept[Limits] = field(default_factory=Kept)
    calls: Kept[Prepared] = field(default_factory=Kept)
    masks: Kept[BlockMask] = field(default_factory=Kept)
    made: WeakKeyDictionary[BlockMask, Prepared] = field(default_factory=WeakKeyDictionary)

    def get(
        self, formula: Formula, mask_mod: MaskMod | None, shape: Shape, device: torch.device, transposed: bool, *,
        exact: bool = False, fresh: bool = False,
    ) -> BlockMask:
        """The BlockMask for a shape; `fresh` makes the lists anew, though not what depends on tables alone."""
        return self.get_of(self.prepared(formula, shape, device), mask_mod, transposed, exact=exact, fresh=fresh)

    def get_of(
        self, ready: Prepared, mask_mod: MaskMod | None, transposed: bool, *, exact: bool = False, fresh: bool = False
    ) -> BlockMask:
        """The same of what `prepared` gave and the tables are still as they were then."""
        if fresh:
            return self._build(ready, mask_mod, transposed, exact)
        build = partial(self._build, ready, mask_mod, transposed, exact)
        return self.masks.get((ready, transposed, exact), ready.formula.tables.values(), build)

    def prepared(self, formula: Formula, shape: Shape, device: torch.device) -> Prepared:
        """What the masks of a shape are made of."""
        prepare = partial(self._prepare, formula, shape, device)
        return self.calls.get((formula, shape, device), formula.tables.values(), prepare)

    def plan(self, formula: Formula, q_block: int, k_block: int) -> TilePlan:
        """How the tiles of a mask are decided, for these block sizes and what its int tables hold now."""
        find = partial(limits_of, formula.tables, formula.ranges)
        limits = self.limits.get(formula.text, formula.tables.values(), find)
        return self._plan_within(formula, q_block, k_block, limits)

    def visits(self, formula: Formula, block: tuple[int, int], lengths: Lengths) -> tuple[float, float]:
        """How many key tiles a row of queries visits on average, at least and at most, whatever tables hold."""
        return visited_tiles(self.plan(formula, *block).verdict, lengths.q_len, lengths.kv_len)

    def _plan_within(self, formula: Formula, q_block: int, k_block: int, limits: Limits) -> TilePlan:
        key = (formula.text, q_block, k_block, frozenset(limits.tables.items()))
        if key not in self.plans:
            self.plans[key] = tile_plan(formula.mask(), q_block, k_block, limits)
        return self.plans[key]

    def refill(self, mask: BlockMask, *, exact: bool = False) -> None:
        """Fills the lists of a mask that was made here, and its derived tables, anew and in place.

        On an accelerator nothing is read back, so the plan stays: int tables whose values lay within ±2**26 keep that
        range.
        """
        prepared = self.made[mask]
        formula, builder = prepared.formula, prepared.builder
        tables, plan, call = formula.tables, builder.plan, builder.call
        for table, fresh in derived_tables(formula.derived, tables).items():
            tables[table].copy_(fresh)
        if is_read_at_once(call.device):
            blocks = plan.verdict.q_block, plan.verdict.k_block
            plan = self._plan_within(formula, *blocks, limits_of(tables, formula.ranges))
        if plan is not builder.plan:
            builder = _builder(plan, call, tables)
        elif plan.verdict.tables:
            builder = builder.over(_all_tables(plan, call, tables))
        builder.refill(mask, exact=exact)

    def _build(self, ready: Prepared, mask_mod: MaskMod | None, transposed: bool, exact: bool) -> BlockMask:
        mask = ready.builder.make(mask_mod or everything, exact=exact, transposed=transposed)
        self.made[mask] = ready
        return mask

    def _prepare(self, formula: Formula, shape: Shape, device: torch.device) -> Prepared:
        plan = self.plan(formula, shape.q_block, shape.kv_block)
        call = Call(shape.batch, shape.heads, shape.q_len, shape.kv_len, device, formula.sizes)
        return Prepared(formula, _builder(plan, call, formula.tables))


def _builder(plan: TilePlan, call: Call, tables: Mapping[Table, Tensor]) -> Builder:
    return Builder(plan, call, _all_tables(plan, call, tables))


def _all_tables(plan: TilePlan, call: Call, tables: Mapping[Table, Tensor]) -> dict[Table, Tensor]:
    """The bound tables, and those of the verdict."""
    return {**tables, **make_tile_tables(plan.verdict, call, tables)}
