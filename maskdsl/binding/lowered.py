"""Takes a definition through the passes to the code of its mods, once for each set of sizes that is in the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from maskdsl.backends.mods import Emitted, emit
from maskdsl.backends.mods_text import TORCH, Dialect
from maskdsl.ir.emission import Unwritable
from maskdsl.ir.nodes import LENGTHS, Lookup, Node, Quantified, Size, Symbol, Variant, literal
from maskdsl.ir.types import Table
from maskdsl.ir.walk import topological
from maskdsl.meaning.facts import all_facts
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.tiles.limits import Ranges, ranges_of_facts

FIXED = frozenset({"head", "kv_head"})
"""Sizes that are always numbers in the code: a kernel is made for a number of heads anyway."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A definition after the passes, and its code. `scale` is None for 1/sqrt(head_dim); `inside` makes the definition
    without what guards lookups past the lengths.
    """

    variant: Variant
    emitted: Emitted
    scale: float | None
    normalize: bool
    inside: Callable[[], Variant]
    ranges: Ranges = field(default_factory=dict)
    forms: dict[tuple[str, bool], Emitted] = field(default_factory=dict)

    def form(self, dialect: Dialect, inside: bool = False) -> Emitted:
        """The code in a dialect; `emitted` is the textbook's. Raises Unwritable for a function that it lacks.

        With `inside` it is for kernels that never look past the lengths.
        """
        if dialect is TORCH:
            return self.emitted
        key = (dialect.name, inside)
        if key not in self.forms:
            self.forms[key] = emit(self.inside() if inside else self.variant, dialect, ranges=self.ranges)
        return self.forms[key]

    @property
    def needs_lse(self) -> bool:
        """Whether what follows the softmax uses its log-sum-exp: a sink, or the division undone."""
        return self.variant.sink is not None or not self.normalize

    @property
    def is_placed(self) -> bool:
        """Whether scores depend on more than the score: on a coordinate, a length or a table."""
        if self.variant.score is None:
            return False
        read = {n for n in topological([self.variant.score]) if isinstance(n, Symbol | Lookup)}
        return any(isinstance(n, Lookup) or n.name != "score" for n in read)

    def unwritable(self, dialect: Dialect) -> tuple[str, ...]:
        """Why there is no form in a dialect; nothing if there is one."""
        try:
            self.form(dialect)
        except Unwritable as problem:
            return (str(problem),)
        return ()


@dataclass(slots=True)
class Lowering:
    """The code of one definition whose constants are fixed, made when it is asked for.

    `needed` are the axes whose sizes are part of the code; `lengths` are those of `q_len` and `kv_len` that mods read,
    `ranges` what facts say of the values of int tables.
    """

    variant: Variant
    needed: frozenset[str] = frozenset()
    lengths: frozenset[str] = frozenset()
    ranges: Ranges = field(default_factory=dict)
    known: dict[tuple[tuple[str, int], ...], Lowered] = field(default_factory=dict)
    insides: dict[tuple[tuple[str, int], ...], Variant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        flat = run_passes(self.variant, after="inline_moves")
        nodes = list(topological([root for _, root in flat.roots]))
        bounds = [bound for n in nodes if isinstance(n, Quantified) for bound in (n.start, n.stop)]
        carried = {axis for t in _tables(nodes) for axis in t.axes if isinstance(axis, str)} - FIXED
        # What surrounds the softmax is a number of the call, whatever tables carry its axes.
        numbers = topological([n for n in (flat.scale, flat.normalize) if n is not None])
        self.needed = _axes(topological(bounds)) | (_axes(nodes) - carried) | _axes(numbers)
        self.lengths = frozenset(n.name for n in nodes if isinstance(n, Symbol) and n.name in LENGTHS)
        self.ranges = ranges_of_facts(all_facts(self.variant))

    def at(self, sizes: Mapping[str, int]) -> Lowered:
        """The code for these sizes, which must hold all that are needed. Raises MaskError E0403, E0406."""
        key = self._key(sizes)
        if key not in self.known:
            self.known[key] = _lower(self.variant, dict(key), partial(self.inside_at, dict(key)), self.ranges)
        return self.known[key]

    def inside_at(self, sizes: Mapping[str, int]) -> Variant:
        """The definition after the passes for who never looks past the lengths: no lookup is guarded for that."""
        key = self._key(sizes)
        if key not in self.insides:
            self.insides[key] = run_passes(_with_all_facts(self.variant), Context(dict(key), padded=False))
        return self.insides[key]

    def tile_mask_at(self, sizes: Mapping[str, int]) -> Node:
        """The mask as the tile analysis reads it, which never looks past the lengths; true without one."""
        mask = self.inside_at(sizes).mask
        return literal(True) if mask is None else mask

    def _key(self, sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
        return tuple((axis, sizes[axis]) for axis in sorted(self.needed))


def _lower(variant: Variant, sizes: Mapping[str, int], inside: Callable[[], Variant], ranges: Ranges) -> Lowered:
    after = run_passes(_with_all_facts(variant), Context(sizes))
    scale = None if after.scale is None else float(_number(after.scale, sizes))
    normalize = after.normalize is None or bool(_number(after.normalize, sizes))
    return Lowered(after, emit(after), scale, normalize, inside, ranges)


def _with_all_facts(variant: Variant) -> Variant:
    """Passes use what holds of the tables: the facts of the definitions that are called go along."""
    return replace(variant, facts=all_facts(variant))


def _number(root: Node, sizes: Mapping[str, int]) -> Any:
    """The value of a field that depends on constants and sizes alone."""
    from maskdsl.backends.reference import evaluate

    return evaluate(root, coordinates={}, tables={}, constants={}, sizes=sizes, lengths={}).item()


def _axes(nodes: Iterable[object]) -> frozenset[str]:
    return frozenset(n.axis for n in nodes if isinstance(n, Size))


def _tables(nodes: Iterable[object]) -> set[Table]:
    return {n.table for n in nodes if isinstance(n, Lookup)}
