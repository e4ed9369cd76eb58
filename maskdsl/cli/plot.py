"""Pictures as image files, through matplotlib: the mask with its tiles, the scores as a heat map or a curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.cli.tiles import summary
from maskdsl.library.picture import score_range
from maskdsl.tiles.classify import ALL, NONE, SOME

if TYPE_CHECKING:
    from maskdsl.cli.view import View
    from maskdsl.tiles.report import TileReport

VISIBLE, PARTIAL, EMPTY, LINE = "#1f4e79", "#5f93c4", "#f3f3f0", "#c8c8c0"
FULL_EDGE, PARTIAL_EDGE, OPEN_EDGE = "#0b2e4f", "#d98c2b", "#c0392b"
"""The outlines of tiles: of those found to be full, of partial ones, of those that the formula's bounds leave open."""

DPI = 150


def save_picture(view: View, path: Path, report: TileReport | None = None) -> None:
    """Write a picture of what the view shows; the file's ending (png, svg, pdf) says its format.

    The tiles of `report`, which is about the same row and head, are outlined over the mask.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(view)
    figure = Figure(figsize=(5.4 * len(panels), 6.0), dpi=DPI, layout="compressed")
    FigureCanvasAgg(figure)
    for axes, draw in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        draw(axes, view, report)
    figure.suptitle(view.title, fontsize=12)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.15)


def _panels(view: View) -> list[Any]:
    if view.score is None:
        return [_draw_mask]
    score = _draw_scores if view.score_moves else _draw_curve
    return [_draw_mask, score] if view.has_mask else [score]


def _extent(view: View) -> tuple[float, float, float, float]:
    """The borders of an image of the view, in tokens: left, right, bottom, top."""
    return (-0.5, view.kv_len * view.step - 0.5, view.q_len * view.step - 0.5, -0.5)


def _draw_mask(axes: Any, view: View, report: TileReport | None) -> None:
    from matplotlib.colors import ListedColormap

    shades = ListedColormap([EMPTY, PARTIAL, VISIBLE])
    image = view.mask.astype(int)
    if report is not None and view.step == 1:
        image += _spread(report.exact[0, 0] == ALL, report.block)[: view.q_len, : view.kv_len]
    axes.imshow(image, cmap=shades, vmin=0, vmax=2, interpolation="nearest", extent=_extent(view))
    _name_axes(axes)
    if report is None or view.step > 1:
        axes.set_title(f"every {view.step}. query and key" if view.step > 1 else "", fontsize=9)
        return
    _outline_tiles(axes, view, report)
    axes.set_title(summary(report), fontsize=9)


def _spread(tiles: NDArray[np.bool_], block: tuple[int, int]) -> NDArray[np.bool_]:
    """The value of its tile for every pair."""
    return np.repeat(np.repeat(tiles, block[0], 0), block[1], 1)


def _outline_tiles(axes: Any, view: View, report: TileReport) -> None:
    from matplotlib.patches import Rectangle

    found, exact = report.found[0, 0], report.exact[0, 0]
    for row, column in np.argwhere(found != NONE):
        top, left = row * report.block[0], column * report.block[1]
        high, wide = min(report.block[0], view.q_len - top), min(report.block[1], view.kv_len - left)
        open_still = found[row, column] == SOME != exact[row, column]
        edge = OPEN_EDGE if open_still else FULL_EDGE if found[row, column] == ALL else PARTIAL_EDGE
        style = "--" if open_still else "-"
        axes.add_patch(Rectangle(
            (left - 0.5, top - 0.5), wide, high, fill=False, edgecolor=edge, linestyle=style, linewidth=0.8
        ))  # fmt: skip


def _draw_scores(axes: Any, view: View, report: TileReport | None) -> None:
    assert view.score is not None
    shown = np.ma.masked_where(~view.mask | ~np.isfinite(view.score), view.score)
    image = axes.imshow(shown, cmap="viridis", interpolation="nearest", extent=_extent(view))
    axes.figure.colorbar(image, ax=axes, shrink=0.75)
    low, high = score_range(view.score, view.mask)
    axes.set_title(f"score, {view.incoming:g} before: {low:.4g} to {high:.4g}", fontsize=9)
    _name_axes(axes)


def _draw_curve(axes: Any, view: View, report: TileReport | None) -> None:
    assert view.curve is not None
    before, after = view.curve
    axes.plot(before, before, color=LINE, linewidth=1)
    axes.plot(before, after, color=VISIBLE, linewidth=2)
    axes.set(xlabel="score before", ylabel="score after")
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=8)
    axes.set_title("the same at every q and k", fontsize=9)


def _name_axes(axes: Any) -> None:
    axes.set(xlabel="key k", ylabel="query q")
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    axes.tick_params(labelsize=8)
