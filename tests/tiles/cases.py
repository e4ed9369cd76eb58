"""A program with its tables, taken through the passes to its verdict, and the truth about its tiles by brute force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from maskdsl.backends import reference
from maskdsl.backends.block_mask_torch import tile_verdicts, verdict_function
from maskdsl.backends.tile_tables import Call, make_tile_tables
from maskdsl.ir.nodes import Node
from maskdsl.ir.types import Table
from maskdsl.meaning.facts import all_facts
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.tiles.arrays import Shape, derived_arrays, limits_of_arrays
from maskdsl.tiles.classify import ALL, NONE, SOME
from maskdsl.tiles.limits import Limits, ranges_of_facts
from maskdsl.tiles.verdict import Verdict, verdict_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """The mask after the passes, its verdict, its tables (derived ones too), the call, and the pairs [B, H, Q, K]."""

    mask: Node
    verdict: Verdict
    limits: Limits
    arrays: dict[Table, Array]
    sizes: dict[str, int]
    shape: Shape
    pairs: Array

    @property
    def truth(self) -> Array:
        """NONE, SOME or ALL of every tile, int8 [B, H, q tiles, k tiles]."""
        return truth_of(self.pairs, self.verdict.q_block, self.verdict.k_block)


def prepare(
    program: Any, tables: Mapping[str, Array], call: tuple[int, int, int, int], blocks: tuple[int, int],
    limits: Limits | None = None,
) -> Case:  # fmt: skip
    """A program bound to arrays by name, for (batch rows, heads, queries, keys) and tiles of these sides."""
    variant, shape = program.variant, Shape(*call)
    arrays = {t: np.asarray(tables[t.name]) for t in variant.tables}
    sizes = {"batch": shape.b, "head": shape.h, "kv_head": shape.h, "position": max(shape.q_len, shape.kv_len)}
    sizes |= {
        axis: n for t, a in arrays.items() for axis, n in zip(t.axes, a.shape, strict=False) if isinstance(axis, str)
    }
    facts = all_facts(variant)
    ready = run_passes(replace(variant, facts=facts), Context(sizes, padded=False))
    assert ready.mask is not None
    bound = {**arrays, **derived_arrays(ready.derived, arrays)}
    known = limits or limits_of_arrays(bound, ranges_of_facts(facts))
    verdict = verdict_of(ready.mask, *blocks, known)
    pairs = reference.mask(
        variant, b=shape.b, h=shape.h, q=shape.q_len, k=shape.kv_len, tables=arrays, sizes=sizes,
        q_len=shape.q_len, kv_len=shape.kv_len,
    )  # fmt: skip
    return Case(ready.mask, verdict, known, bound, sizes, shape, np.asarray(pairs))


def truth_of(pairs: Array, q_block: int, k_block: int) -> Array:
    """NONE, SOME or ALL of every tile, counted; tiles that stick out are never ALL."""
    b, h, q, k = pairs.shape
    padded = np.zeros((b, h, -(-q // q_block) * q_block, -(-k // k_block) * k_block), bool)
    padded[:, :, :q, :k] = pairs
    tiles = padded.reshape(b, h, -1, q_block, padded.shape[3] // k_block, k_block)
    return np.where(tiles.all((3, 5)), ALL, np.where(tiles.any((3, 5)), SOME, NONE))


def by_torch(verdict: Verdict, shape: Shape, arrays: Mapping[Table, Array], sizes: Mapping[str, int]) -> Array:
    """The classification by the torch builder, [B, H, q tiles, k tiles]."""
    call = Call(shape.b, shape.h, shape.q_len, shape.kv_len, torch.device("cpu"), sizes)
    tables = {t: torch.from_numpy(np.array(a)) for t, a in arrays.items()}
    bound = {**tables, **make_tile_tables(verdict, call, tables)}
    partial, full = tile_verdicts(verdict_function(verdict), verdict, call, bound)
    return np.where(full.numpy(), ALL, np.where(partial.numpy(), SOME, NONE))
