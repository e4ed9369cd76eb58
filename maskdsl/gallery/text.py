"""A page's picture in text: what is there without the script, and what can be pasted into an example."""

from __future__ import annotations

import numpy as np

from maskdsl.gallery.page import Curve, Page
from maskdsl.library.picture import letter_rows, number_rows, shade_rows

NUMBERS_UP_TO = 16
"""Wider scores are shades."""

CURVE_AT = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)


def text_picture(page: Page) -> str:
    """The picture that a page shows first, as lines; the first head's."""
    return "\n".join([*_picture_rows(page), *(_curve_rows(page.curve) if page.curve else [])])


def _picture_rows(page: Page) -> list[str]:
    if not page.pictures:
        return []
    layer = page.pictures[page.shown].layers[0]
    rows = [] if layer.mask is None else [*letter_rows(layer.mask), ""]
    if layer.score is not None:
        visible = np.ones(layer.score.shape, np.bool_) if layer.mask is None else layer.mask
        draw = number_rows if layer.score.shape[1] <= NUMBERS_UP_TO else shade_rows
        rows += [*draw(layer.score, visible), ""]
    return rows


def _curve_rows(curve: Curve) -> list[str]:
    """A few scores and what they become."""
    places = [int(np.argmin(np.abs(curve.before - s))) for s in CURVE_AT]
    return ["score before   after", *(f"{curve.before[i]:12g}   {curve.after[i]:.6g}" for i in places)]
