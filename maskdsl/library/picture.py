"""Pictures in text: a mask as rows of `x` and `.` or as blocks, scores as shades.

Not here: pictures as image files (`cli.plot`), what is in them (`view`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHADES = " ░▒▓█"
"""From the least visible score to the greatest; the least is still a shade, since empty means masked."""


def letter_rows(mask: NDArray[np.bool_]) -> list[str]:
    """A mask [Q, K] as an example writes it, a row a query: `x . .`."""
    return [" ".join("x" if visible else "." for visible in row) for row in mask.tolist()]


def square_rows(mask: NDArray[np.bool_]) -> list[str]:
    """A mask [Q, K] as squares and dots, two columns a key, a line a query."""
    return [" ".join("■" if visible else "·" for visible in row) for row in mask.tolist()]


def half_block_rows(mask: NDArray[np.bool_]) -> list[str]:
    """A mask [Q, K] as half blocks: a column a key, a line for two queries."""
    padded = np.pad(mask, ((0, len(mask) % 2), (0, 0)))
    return [
        "".join(" ▄▀█"[2 * upper + lower] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(padded[0::2].tolist(), padded[1::2].tolist(), strict=True)
    ]


def shade_rows(score: NDArray[np.float64], visible: NDArray[np.bool_]) -> list[str]:
    """Scores [Q, K] as shades between the least and the greatest that is visible; empty where masked or not finite."""
    shown = visible & np.isfinite(score)
    low, high = score_range(score, visible)
    steps = len(SHADES) - 2
    level = 1 + np.rint((np.where(shown, score, low) - low) / ((high - low) or 1.0) * steps).astype(int)
    return ["".join(SHADES[n] * 2 for n in row) for row in np.where(shown, level, 0).tolist()]


def number_rows(score: NDArray[np.float64], visible: NDArray[np.bool_]) -> list[str]:
    """Scores [Q, K] as numbers in columns, a dot where masked."""
    cells = [[f"{s:.3g}" if v else "." for s, v in zip(*row, strict=True)] for row in zip(score, visible, strict=True)]
    width = max((len(c) for row in cells for c in row), default=1)
    return ["  ".join(c.rjust(width) for c in row) for row in cells]


def score_range(score: NDArray[np.float64], visible: NDArray[np.bool_]) -> tuple[float, float]:
    """The least and the greatest finite score that is visible; zeros when there is none."""
    shown = score[visible & np.isfinite(score)]
    return (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
