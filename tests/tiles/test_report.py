"""Reports: counts, ratios, and which condition is to blame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import maskdsl
from maskdsl.tiles.arrays import Shape
from maskdsl.tiles.classify import ALL, NONE, SOME
from maskdsl.tiles.report import TileReport, count_tiles, report_tiles

MIXED = np.array([1 if i // 8 % 2 else i % 2 * 2 for i in range(64)], np.int32)
"""Tiles of 0 and 2 among tiles of 1: ranges that meet, values that never do."""


def report(text: str, call: tuple[int, int, int, int] = (1, 1, 64, 64), block: int = 8, **tables: Any) -> TileReport:
    """The report of a mask."""
    variant = maskdsl.compile(text).variant
    arrays = {t: np.asarray(tables[t.name]) for t in variant.tables}
    sizes = {"batch": call[0], "head": call[1], "kv_head": call[1], "position": max(call[2:])}
    return report_tiles(variant, Shape(*call), arrays, sizes, (block, block))


def blamed(found: TileReport) -> list[tuple[str, int]]:
    """The texts to blame and their tiles."""
    return [(" ".join(loss.span.text.split()), loss.tiles) for loss in found.losses]


def test_counts() -> None:
    found = report("mask m = k <= q")
    assert found.ours == found.truth == count_tiles(found.found)
    assert (found.ours.full, found.ours.partial, found.ours.empty) == (28, 8, 28)
    assert found.ours.visited == 36 and found.ours.sparsity == 28 / 64
    assert (found.undecided, found.visited_ratio, found.full_ratio, found.losses) == (0, 1.0, 1.0, ())


def test_no_mask_is_all_full() -> None:
    found = report("score m = score")
    assert (found.ours.full, found.ours.partial, found.ours.empty) == (64, 0, 0)


def test_rows_and_heads() -> None:
    window = np.array([1, 64], np.int32)
    found = report("mask m(w: int[head]) = 0 <= q - k < w[h]", (3, 2, 64, 64), w=window)
    assert found.found.shape == (1, 2, 8, 8)
    assert found.at(2, 0).ours.visited == 8 and found.at(0, 1).ours.visited == 36


def test_the_truth_is_that_of_every_pair() -> None:
    found = report("mask m(t: int[position]) = t[q] == t[k]", t=MIXED)
    pairs = (MIXED[:, None] == MIXED).reshape(8, 8, 8, 8)
    exact = np.where(pairs.all((1, 3)), ALL, np.where(pairs.any((1, 3)), SOME, NONE))
    np.testing.assert_array_equal(found.exact[0, 0], exact)
    assert found.undecided == int(((found.found == SOME) & (found.exact != SOME)).sum()) > 0
    assert found.visited_ratio == found.ours.visited / found.truth.visited > 1


def test_tiles_that_stick_out_are_never_full() -> None:
    found = report("mask m = true", (1, 1, 60, 64))
    assert (found.ours.full, found.ours.partial) == (56, 8) and not found.undecided


BLAMED = [
    ("k <= q and t[q] == t[k]", ["t[q] == t[k]"]),
    ("k > q + 100 or t[q] == t[k]", ["t[q] == t[k]"]),
    ("not (q < 4 or t[q] == t[k])", ["t[q] == t[k]"]),
    ("t[q] == t[k] if k <= q else false", ["t[q] == t[k]"]),
    ("sin(float(q - k)) < 2.0 and k <= q", []),
    ("sin(q * 0.0) + 1.5 < 2.0 and k <= q", ["sin(q * 0.0) + 1.5 < 2.0"]),
    ("k <= q and sin(q * 0.0) + 1.5 < 2.0", ["sin(q * 0.0) + 1.5 < 2.0"]),
    ("(q // 2 + k // 2) % 2 == 0 and (q // 2 + k // 2 + 1) % 2 == 0", [""]),
]


@pytest.mark.parametrize(("formula", "texts"), BLAMED, ids=[f for f, _ in BLAMED])
def test_the_smallest_condition_is_to_blame(formula: str, texts: list[str]) -> None:
    found = report(f"mask m(t: int[position]) = {formula}", t=MIXED)
    assert [t for t, _ in blamed(found)] == [t or formula for t in texts]
    assert sum(n for _, n in blamed(found)) == found.undecided


def test_blame_points_into_the_definition_that_is_called() -> None:
    text = "mask same(t: int[position]) = t[q] == t[k]\nmask m(t: int[position]) = k <= q and same(t)"
    (loss,) = report(text, t=MIXED).losses
    assert loss.span.text == "t[q] == t[k]" and loss.span.start < text.index("\n")


def test_the_worst_comes_first() -> None:
    formula = "(q < 8 and t[q] == t[k]) or (q >= 8 and t[k] == t[q])"
    found = report(f"mask m(t: int[position]) = {formula}", t=MIXED)
    assert [n for _, n in blamed(found)] == sorted((n for _, n in blamed(found)), reverse=True)
