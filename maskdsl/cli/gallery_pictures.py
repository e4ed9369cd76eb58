"""A definition for the gallery: pictures at several sizes, a layer a head, and the tiles of a kernel at full size.

Everything is computed by the reference evaluator (`view`) and the tile analysis, with the arguments of `trial`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.cli.tiles import default_tile, report_trial
from maskdsl.cli.trial import (
    Trial,
    Wish,
    constants_of,
    find_example,
    full_example,
    full_values,
    make_trial,
    shown_values,
)
from maskdsl.cli.view import View, view
from maskdsl.gallery.page import OPEN, Curve, Kernel, Layer, Picture
from maskdsl.ir.nodes import Variant
from maskdsl.ir.print import text
from maskdsl.meaning.examples import Example
from maskdsl.meaning.module import Module
from maskdsl.source.diagnostic import MaskError
from maskdsl.tiles.arrays import Shape
from maskdsl.tiles.classify import SOME
from maskdsl.tiles.report import TileReport, count_tiles, find_tiles

SIZES = (8, 16, 32, 64)
"""Tokens along a picture's side, beside the size of the definition's own example."""

MOST_HEADS = 4
"""Heads of a definition that get a layer each."""

KERNEL_LENGTH, KERNEL_LENGTH_WITH_TABLES, KERNEL_BLOCK = 16_384, 4096, 128
"""The tokens and the block of the figures about a kernel's tiles; random tables take long to find at great lengths."""

LONGEST_TABLE = 160
"""Characters of a table's values that are shown."""


Masks = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What a page shows of a definition, as `gallery.page.Page` names it."""

    pictures: tuple[Picture, ...]
    shown: int
    curve: Curve | None
    curve_of: str
    kernel: Kernel | None
    fields: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    depends: frozenset[str]


def draw(module: Module, variant: Variant, file: str) -> Drawn:
    """Everything computed of a definition; `file` is what its file is called in texts.

    Raises MaskError as `make_trial` does when its example gives no arguments; sizes that do not fit are left out.
    """
    own = make_trial(module, variant, Wish())
    first, size = view(own), max(own.q_len, own.kv_len)
    flat = first.curve is not None and not first.has_mask
    trials = {} if flat else {**_other_sizes(module, variant, size), size: own}
    masks = _masks(find_example(module, variant))
    surround = [(n, node) for n in ("scale", "sink", "normalize") if (node := getattr(own.variant, n)) is not None]
    return Drawn(
        tuple(_picture(trials[n], file, masks) for n in sorted(trials)), 0 if flat else sorted(trials).index(size),
        *_curve(module, variant, first),
        _kernel(module, variant, file) if first.has_mask else None,
        tuple((name, text(node)) for name, node in surround), arguments(module, variant), first.depends,
    )  # fmt: skip


def _curve(module: Module, variant: Variant, first: View) -> tuple[Curve | None, str]:
    """What becomes of scores with the constants' defaults, where they have some, and the call; None without a curve."""
    if first.curve is None:
        return None, ""
    example = find_example(module, variant)
    trial = make_trial(module, variant, Wish({**shown_values(example), **constants_of(variant, {})}))
    curve = view(trial).curve
    return (None if curve is None else Curve(*curve)), _call(trial, _masks(example))


def _other_sizes(module: Module, variant: Variant, own: int) -> dict[int, Trial]:
    """The definition at every other size that it fits."""
    trials = {}
    for size in SIZES:
        if size != own:
            try:
                trials[size] = make_trial(module, variant, Wish(lengths=(size, size)))
            except MaskError:
                continue
    return trials


def arguments(module: Module, variant: Variant) -> tuple[tuple[str, Any], ...]:
    """The constants of the example of full size by name, and its masks as text."""
    example = full_example(module, variant)
    constants = {} if example is None else example.constants
    return (*((c.name, value) for c, value in constants.items()), *_masks(example))


def _masks(example: Example | None) -> Masks:
    """The masks of an example, as text."""
    masks = {} if example is None else example.masks
    return tuple((hole.name, " ".join(node.span.text.split())) for hole, node in masks.items())


def _call(trial: Trial, masks: Masks) -> str:
    """The definition with its constants and masks, as a call in the language."""
    given = [*([] if not trial.constants else [trial.title[len(trial.variant.name) + 1 : -1]])]
    given += [f"{name} = {mask}" for name, mask in masks]
    return f"{trial.variant.name}({', '.join(given)})" if given else trial.variant.name


# ---------------------------------------------------------------- pictures


def _picture(trial: Trial, file: str, masks: Masks) -> Picture:
    """The definition at one size."""
    block = default_tile(trial.q_len, trial.kv_len)
    first, incoming = _telling_view(trial)
    heads = min(MOST_HEADS, trial.sizes["head"]) if "h" in first.depends else 1
    views = [first, *(view(trial, h=h, incoming=incoming) for h in range(1, heads))]
    report = report_trial(trial, (block, block)) if first.has_mask and block > 1 else None
    layers = tuple(_layer(v, None if report is None else report.at(0, h)) for h, v in enumerate(views))
    return Picture(
        trial.q_len, trial.kv_len, block, _call(trial, masks), _told(trial, file), layers, _short_tables(trial),
        incoming,
    )


def _telling_view(trial: Trial) -> tuple[View, float]:
    """The view of the first head, with 1 coming in where 0 leaves every score alike, as in a product."""
    plain = view(trial)
    if plain.score is None or not plain.score_moves or np.ptp(_finite(plain)) > 0:
        return plain, 0.0
    return view(trial, incoming=1.0), 1.0


def _finite(shown: View) -> NDArray[np.float64]:
    assert shown.score is not None
    seen = shown.score[shown.mask & np.isfinite(shown.score)]
    return seen if seen.size else np.zeros(1)


def _layer(shown: View, report: TileReport | None) -> Layer:
    mask = shown.mask if shown.has_mask else None
    score = shown.score if shown.score_moves else None
    return Layer(mask, score, None if report is None else _tiles(report))


def _tiles(report: TileReport) -> NDArray[np.int8]:
    """The verdicts as the page shows them: a tile left partial that is full or empty in truth is OPEN."""
    found, exact = report.found[0, 0], report.exact[0, 0]
    return np.where((found == SOME) & (exact != SOME), OPEN, found).astype(np.int8)


def _told(trial: Trial, file: str) -> str:
    """Where the arguments come from, with the file as the library names it."""
    parts = trial.told.split("; ")
    named = [f"arguments of the example at {file}:{p.rpartition(':')[2]}" if p.startswith("arg") else p for p in parts]
    return "; ".join(named).replace("`", "")


def _short_tables(trial: Trial) -> tuple[tuple[str, str], ...]:
    """The tables whose values are few, as text."""
    shown = [(t.name, _values(array)) for t, array in trial.tables.items()]
    return tuple((name, values) for name, values in shown if len(values) <= LONGEST_TABLE)


def _values(array: NDArray[Any]) -> str:
    if array.size > LONGEST_TABLE:
        return " " * (LONGEST_TABLE + 1)
    values = np.round(array.astype(np.float64), 3) if array.dtype.kind == "f" else array
    return str(values.tolist()).replace("True", "true").replace("False", "false")


# ---------------------------------------------------------------- the tiles of a kernel


def _kernel(module: Module, variant: Variant, file: str) -> Kernel | None:
    """The tiles at full size, with the defaults of the constants and those of the example of full size where there is
    one; None where these lengths do not fit."""
    example, given = full_example(module, variant), full_values(module, variant)
    length = KERNEL_LENGTH_WITH_TABLES if variant.tables else KERNEL_LENGTH
    try:
        trial = make_trial(module, variant, Wish(given, (length, length), examples=False))
        shape = Shape(trial.sizes["batch"], trial.sizes["head"], length, length)
        found = find_tiles(trial.variant, shape, trial.tables, trial.sizes, (KERNEL_BLOCK, KERNEL_BLOCK))
    except MaskError:
        return None
    n = count_tiles(found)
    return Kernel(
        length, KERNEL_BLOCK, found.shape[1], n.full, n.partial, n.empty, _call(trial, _masks(example)),
        _told(trial, file),
    )
