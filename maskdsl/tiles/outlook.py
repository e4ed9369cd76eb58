"""Whether any tile of a mask can be decided at all, told from its formula alone: what the lint W0803 asks.

Every condition is looked at over a few tiles near and far from the diagonal. Conditions on coordinates are decided or
not; conditions on what is given later (tables, sizes, constants, masks) might be decided by it, with one exception:
that a table holds the same int at q as at k. Only the order of the entries would decide that, and no fact tells it. So
neither tables nor constants have to be made up.

Not here: deciding tiles (`verdict`), how often it fails on actual tables (`report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from maskdsl.ir.interval import Interval, of_literal
from maskdsl.ir.nodes import Ascending, Literal, Lookup, Node, Op, Quantified, Symbol, Variant, literal
from maskdsl.ir.ops import OPS
from maskdsl.ir.substitute import inline
from maskdsl.ir.types import BOOL, INT, Table
from maskdsl.ir.walk import fold, topological
from maskdsl.meaning.facts import all_facts, calls_of
from maskdsl.meaning.module import Module
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.tiles.limits import Limits
from maskdsl.tiles.normalize import normalize

BLOCK = 128
TILES = ((0, 1), (1, 0), (0, 5000), (5000, 0), (0, 0), (70, 69), (69, 70), (800, 7), (7, 800), (5000, 5000))
"""Numbers of the tiles of queries and keys that are looked at."""

MOST_NODES = 2000
"""Larger masks are not looked at."""


def lint_module(module: Module) -> tuple[Diagnostic, ...]:
    """The warnings W0803 of a file without errors. What others of its definitions use is a part, and not looked at."""
    definitions = module.definitions.values()
    used = {call.target for variant in definitions for call in calls_of(variant)}
    found = (lint_tiles(v) for v in definitions if v not in used)
    return tuple(d for d in found if d is not None)


def lint_tiles(variant: Variant) -> Diagnostic | None:
    """The warning W0803 where no tile of a mask can be decided; None for what is no mask."""
    if variant.kind != "mask" or variant.mask is None or isinstance(variant.mask, Literal):
        return None
    try:
        mask, facts = inline(variant.mask, MOST_NODES), all_facts(variant)
    except MaskError:
        return None
    ordered = frozenset(f.table for f in facts if isinstance(f, Ascending))
    if any(_some_tile_is_decided(form, ordered) for form in (mask, normalize(mask, Limits()))):
        return None
    return _warning(variant, mask, ordered)


def _warning(variant: Variant, mask: Node, ordered: frozenset[Table]) -> Diagnostic:
    assert variant.mask is not None
    pairs = [n.args for n in topological(mask) if isinstance(n, Op) and _is_match(n, ordered)]
    first = pairs[0][0] if pairs else None
    if not isinstance(first, Lookup):
        return Diagnostic(
            "W0803", "no tile of this mask can be decided ahead of time", variant.mask.span, "undecided in every tile",
            notes=("where a formula decides a whole tile, kernels skip it or need no mask in it",),
            help=("a condition on the distance, such as `k <= q`, lets kernels skip tiles",),
        )  # fmt: skip
    name, axis = first.table.name, _axis_of_positions(first)
    rises = f"if `{name}` never decreases, say so: `requires ascending({name}, {axis})`"
    near = "a condition on the distance, such as `k <= q`, lets kernels skip tiles"
    return Diagnostic(
        "W0803", f"tiles of this mask are decided only where `{name}` happens to be in order", variant.mask.span,
        "undecided where it is not",
        notes=(f"kernels skip tiles whose queries and keys have entries of `{name}` in different ranges",),
        help=(near if axis is None else rises,),
    )  # fmt: skip


def _axis_of_positions(node: Lookup) -> str | None:
    """The axis that q or k itself indexes; None where it does so through something else."""
    pairs = zip(node.table.axes, node.indices, strict=True)
    axes = [axis for axis, index in pairs if isinstance(index, Symbol) and index.name in ("q", "k")]
    return axes[0] if len(axes) == 1 and isinstance(axes[0], str) else None


def _is_match(node: Op, ordered: frozenset[Table]) -> bool:
    """Whether a condition says that a table without an order holds one int at q and at k."""
    match node:
        case Op(name="eq" | "ne", args=(Lookup() as x, Lookup() as y)) if x.type is INT and x.table == y.table:
            return x.table not in ordered and {_sides_of(x), _sides_of(y)} == {frozenset("q"), frozenset("k")}
    return False


# ---------------------------------------------------------------- one tile


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a value in a tile: its bounds, None where it depends on what is given later; and of a condition
    whether it may turn out true of all pairs, and of none.
    """

    interval: Interval | None = None
    whole: bool = True
    none: bool = True


def _some_tile_is_decided(mask: Node, ordered: frozenset[Table]) -> bool:
    for q, k in TILES:
        tile = {"q": q * BLOCK, "k": k * BLOCK}
        found = fold(mask, partial(_see, tile=tile, ordered=ordered))
        if found.whole or found.none:
            return True
    return False


def _see(node: Node, below: tuple[Seen, ...], *, tile: dict[str, int], ordered: frozenset[Table]) -> Seen:
    match node:
        case Literal():
            return _bounded(of_literal(node))
        case Symbol(name="q" | "k" as name):
            return _bounded(Interval(literal(tile[name]), literal(tile[name] + BLOCK - 1)))
        case Quantified(kind="any" | "all"):
            return below[2]
        case Op(name=name):
            known = [s.interval for s in below if s.interval is not None]
            if len(known) == len(below):
                return _bounded(OPS[name].bounds(*known))
            if _is_match(node, ordered):
                return Seen(whole=False, none=False)
            if node.type is BOOL and name in ("and", "or", "not", "choose"):
                return _joined(name, below)
    return Seen()


def _bounded(interval: Interval) -> Seen:
    if interval.type is not BOOL:
        return Seen(interval)
    return Seen(interval, _is(interval.lo, True), _is(interval.hi, False))


def _is(bound: Node, value: bool) -> bool:
    return isinstance(bound, Literal) and bound.value is value


def _sides_of(node: Lookup) -> frozenset[str]:
    return frozenset(n.name for n in topological(node) if isinstance(n, Symbol)) & {"q", "k"}


def _joined(name: str, below: tuple[Seen, ...]) -> Seen:
    first, second = below[0], below[-1]
    match name:
        case "not":
            return Seen(None, first.none, first.whole)
        case "and":
            return Seen(None, first.whole and second.whole, first.none or second.none)
        case "or":
            return Seen(None, first.whole or second.whole, first.none and second.none)
    x = below[1]
    whole = (first.whole and x.whole) or (first.none and second.whole) or (x.whole and second.whole)
    none = (first.whole and x.none) or (first.none and second.none) or (x.none and second.none)
    return Seen(None, whole, none)
