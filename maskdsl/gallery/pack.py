"""Pictures as compact data for a page's script: a bit a pair for masks, a byte for scores, a digit a tile.

Not here: how the script draws them (`templates/draw.js`).
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.gallery.page import Curve, Layer, Page, Picture
from maskdsl.library.picture import score_range

LEVELS = 254
"""Steps between the least and the greatest score; byte 0 is a pair that is not visible, byte 1 the least score."""

CURVE_POINTS = 101


def pack_page(page: Page) -> dict[str, Any]:
    """The data of a page: its pictures, the number of the one shown first, and its curve."""
    data: dict[str, Any] = {"shown": page.shown, "pictures": [pack_picture(p) for p in page.pictures]}
    return {**data, "curve": pack_curve(page.curve)} if page.curve else data


def pack_picture(picture: Picture) -> dict[str, Any]:
    """One size of a definition: `q` and `k` lengths, `block`, the texts, and a layer for each head."""
    return {
        "q": picture.q_len, "k": picture.kv_len, "block": picture.block, "call": picture.call, "told": picture.told,
        "incoming": picture.incoming, "tables": [list(t) for t in picture.tables],
        "layers": [pack_layer(layer) for layer in picture.layers],
    }  # fmt: skip


def pack_layer(layer: Layer) -> dict[str, Any]:
    """What of `mask`, `score` (with its range `low` and `high`) and `tiles` a layer has."""
    packed: dict[str, Any] = {}
    if layer.mask is not None:
        packed["mask"] = pack_bits(layer.mask)
    if layer.score is not None:
        visible = np.ones(layer.score.shape, np.bool_) if layer.mask is None else layer.mask
        low, high = score_range(layer.score, visible)
        packed |= {"score": pack_levels(layer.score, visible), "low": _short(low), "high": _short(high)}
    if layer.tiles is not None:
        packed["tiles"] = "".join(map(str, layer.tiles.ravel().tolist()))
    return packed


def pack_bits(mask: NDArray[np.bool_]) -> str:
    """Base64 of a mask's pairs, row after row, eight a byte, the first in the highest bit."""
    return base64.b64encode(np.packbits(mask.ravel()).tobytes()).decode("ascii")


def pack_levels(score: NDArray[np.float64], visible: NDArray[np.bool_]) -> str:
    """Base64 of a byte a pair: 0 where not visible or not finite, else 1 (least) to 255 (greatest)."""
    shown = visible & np.isfinite(score)
    low, high = score_range(score, visible)
    level = 1 + np.rint((np.where(shown, score, low) - low) / ((high - low) or 1.0) * LEVELS)
    return base64.b64encode(np.where(shown, level, 0).astype(np.uint8).tobytes()).decode("ascii")


def pack_curve(curve: Curve) -> dict[str, list[float | None]]:
    """About a hundred points of a curve; None where it is not finite."""
    step = max(1, (len(curve.before) - 1) // (CURVE_POINTS - 1))
    points = zip(curve.before[::step].tolist(), curve.after[::step].tolist(), strict=True)
    before, after = zip(*((_short(b), _short(a)) for b, a in points), strict=True)
    return {"before": list(before), "after": list(after)}


def pack_thumbnail(page: Page) -> dict[str, Any] | None:
    """What the index draws of a page: the picture shown first (its first head), or the curve; None without either."""
    if page.curve and not (page.pictures and page.pictures[page.shown].layers[0].mask is not None):
        return {"curve": pack_curve(page.curve)}
    if not page.pictures:
        return None
    picture = page.pictures[page.shown]
    layer = pack_layer(picture.layers[0])
    drawn = {"score": layer["score"]} if "score" in layer else {"mask": layer["mask"]}
    return {"q": picture.q_len, "k": picture.kv_len, **drawn}


def _short(value: float) -> float | None:
    """Five significant digits; None for what JSON cannot say."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
