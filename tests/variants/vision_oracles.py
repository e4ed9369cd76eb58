"""Oracles of the vision family: neighborhoods, tiles and windows of images, drawn axis by axis and multiplied out."""

from __future__ import annotations

import functools

import numpy as np
from oracle import Array, Oracle, Sizes


def _tokens(axes: list[Array], sizes: Sizes) -> Array:
    """[q, k] over tokens in row-major order, from one matrix [n, n] for each axis, the slowest first."""
    return functools.reduce(np.kron, axes)[: sizes.q, : sizes.k].astype(bool)


def _turns(sizes: Sizes, inner: int) -> int:
    """How far the slowest axis goes, for tokens past the canvas too."""
    return -(-max(sizes.q, sizes.k) // inner)


def _shifted_inside(count: int, length: int, kernel: int) -> Array:
    """[count, count]: `kernel` places from kernel // 2 before, moved into the axis."""
    seen = np.zeros((count, count), bool)
    for i in range(count):
        first = min(max(i - kernel // 2, 0), length - kernel)
        seen[i, first : first + kernel] = True
    return seen


def natten_1d(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, length: int, kernel: int = 7) -> Array:
    return _shifted_inside(max(length, sizes.q, sizes.k), length, kernel)[q, k]


def natten(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    height: int, width: int, kernel_height: int = 7, kernel_width: int = 7,
) -> Array:  # fmt: skip
    rows = _shifted_inside(max(height, _turns(sizes, width)), height, kernel_height)
    return _tokens([rows, _shifted_inside(width, width, kernel_width)], sizes)[q, k]


def _gna(count: int, length: int, kernel: int, stride: int, dilation: int, causal: bool) -> Array:
    """NATTEN: each dilation group an axis of its own, windows by the leader of the query's stride group."""
    seen = np.zeros((count, count), bool)
    for group in range(dilation):
        members = len(range(group, length, dilation))
        for i, place in enumerate(range(group, count, dilation)):
            leader = min(i - i % stride + (stride - 1 if causal else stride // 2), members - 1)
            start = leader - kernel + 1 if causal else min(max(leader - kernel // 2, 0), members - kernel)
            for j in range(max(start, 0), i + 1 if causal else start + kernel):
                seen[place, group + j * dilation] = True
    return seen


def gna_1d(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    length: int, kernel: int, stride: int = 1, dilation: int = 1, causal: bool = False,
) -> Array:  # fmt: skip
    return _gna(max(length, sizes.q, sizes.k), length, kernel, stride, dilation, causal)[q, k]


def gna_2d(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    height: int, width: int, kernel_height: int, kernel_width: int, stride_height: int = 1, stride_width: int = 1,
    dilation_height: int = 1, dilation_width: int = 1, causal_height: bool = False, causal_width: bool = False,
) -> Array:  # fmt: skip
    count = max(height, _turns(sizes, width))
    rows = _gna(count, height, kernel_height, stride_height, dilation_height, causal_height)
    columns = _gna(width, width, kernel_width, stride_width, dilation_width, causal_width)
    return _tokens([rows, columns], sizes)[q, k]


def gna_3d(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    frames: int, height: int, width: int, kernel_frames: int, kernel_height: int, kernel_width: int,
    stride_frames: int = 1, stride_height: int = 1, stride_width: int = 1,
    dilation_frames: int = 1, dilation_height: int = 1, dilation_width: int = 1,
    causal_frames: bool = False, causal_height: bool = False, causal_width: bool = False,
) -> Array:  # fmt: skip
    count = max(frames, _turns(sizes, height * width))
    times = _gna(count, frames, kernel_frames, stride_frames, dilation_frames, causal_frames)
    rows = _gna(height, height, kernel_height, stride_height, dilation_height, causal_height)
    columns = _gna(width, width, kernel_width, stride_width, dilation_width, causal_width)
    return _tokens([times, rows, columns], sizes)[q, k]


def _with_text(video: Array, text: int, sizes: Sizes) -> Array:
    """[q, k]: the video's own matrix, then text that sees and is seen by all, then padding that sees and is not seen."""
    shown, length = len(video), max(sizes.q, sizes.k, len(video) + text)
    seen = np.zeros((length, length), bool)
    seen[:, : shown + text] = True
    seen[:shown, :shown] = video
    return seen[: sizes.q, : sizes.k]


def _tile_axis(length: int, kernel: int, tile: int) -> Array:
    return _shifted_inside(length // tile, length // tile, kernel // tile)


def sta_1d(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, tiles: int, kernel: int) -> Array:
    return _shifted_inside(max(tiles, sizes.q, sizes.k), tiles, kernel)[q, k]


def sta_2d(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    height: int, width: int, kernel_height: int, kernel_width: int,
    tile_height: int = 8, tile_width: int = 8, text: int = 0,
) -> Array:  # fmt: skip
    tiles = np.kron(_tile_axis(height, kernel_height, tile_height), _tile_axis(width, kernel_width, tile_width))
    numel = tile_height * tile_width
    return _with_text(np.kron(tiles, np.ones((numel, numel), bool)), text, sizes)[q, k]


def sta_3d(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    frames: int, height: int, width: int, kernel_frames: int, kernel_height: int, kernel_width: int,
    tile_frames: int = 6, tile_height: int = 8, tile_width: int = 8, text: int = 0,
) -> Array:  # fmt: skip
    tiles = np.kron(_tile_axis(height, kernel_height, tile_height), _tile_axis(width, kernel_width, tile_width))
    tiles = np.kron(_tile_axis(frames, kernel_frames, tile_frames), tiles)
    numel = tile_frames * tile_height * tile_width
    return _with_text(np.kron(tiles, np.ones((numel, numel), bool)), text, sizes)[q, k]


def video_then_text(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, video: int, text: int = 0) -> Array:
    """With frames of 4 tokens inside."""
    frames = np.kron(np.eye(video), np.ones((4, 4))).astype(bool)[:video, :video]
    return _with_text(frames, text, sizes)[q, k]


def window_attention(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int, window: int = 7) -> Array:
    def axis(count: int) -> Array:
        return np.kron(np.eye(count), np.ones((window, window)))[:count, :count]

    return _tokens([axis(_turns(sizes, width)), axis(width)], sizes)[q, k]


def swin_shifted_window(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, width: int, window: int = 7, shift: int = 3
) -> Array:
    """Swin: regions numbered on the rolled image and cut into windows; here rolled back to the tokens' own places."""
    height = -(-_turns(sizes, width) // window) * window
    numbers = np.zeros((height, width), int)
    edges = (0, window, shift)
    for i, rows in enumerate(edges):
        for j, columns in enumerate(edges):
            numbers[height - rows if rows else 0 :, width - columns if columns else 0 :] = 3 * i + j
    if not shift:
        numbers[:] = 0
    windows = np.arange(height)[:, None] // window * width + np.arange(width) // window
    number, place = (np.roll(a, (shift, shift), (0, 1)).ravel() for a in (numbers, windows))
    return (number[q] == number[k]) & (place[q] == place[k])


ORACLES: dict[str, Oracle] = {
    "natten_1d": Oracle(mask=natten_1d, constants=({"length": 129}, {"length": 9, "kernel": 9}, {"length": 50, "kernel": 5})),
    "natten": Oracle(
        mask=natten,
        constants=(
            {"height": 12, "width": 11},
            {"height": 4, "width": 9, "kernel_height": 3, "kernel_width": 5},
            {"height": 1, "width": 37, "kernel_height": 1, "kernel_width": 9},
        ),
    ),
    "gna_1d": Oracle(
        mask=gna_1d,
        constants=(
            {"length": 129, "kernel": 7},
            {"length": 31, "kernel": 6, "stride": 4, "dilation": 3},
            {"length": 40, "kernel": 5, "stride": 3, "dilation": 2, "causal": True},
        ),
    ),
    "gna_2d": Oracle(
        mask=gna_2d,
        constants=(
            {"height": 12, "width": 11, "kernel_height": 7, "kernel_width": 7},
            {"height": 9, "width": 10, "kernel_height": 4, "kernel_width": 5, "stride_height": 4, "dilation_width": 2},
            {"height": 7, "width": 6, "kernel_height": 3, "kernel_width": 6, "stride_width": 3, "causal_height": True},
        ),
    ),
    "gna_3d": Oracle(
        mask=gna_3d,
        constants=(
            {"frames": 5, "height": 5, "width": 6, "kernel_frames": 3, "kernel_height": 3, "kernel_width": 3},
            {"frames": 6, "height": 4, "width": 5, "kernel_frames": 4, "kernel_height": 2, "kernel_width": 2,
             "stride_frames": 2, "dilation_height": 2, "dilation_width": 2, "causal_frames": True},
        ),
    ),
    "sta_1d": Oracle(mask=sta_1d, constants=({"tiles": 20, "kernel": 6}, {"tiles": 129, "kernel": 5}, {"tiles": 1, "kernel": 1})),
    "sta_2d": Oracle(
        mask=sta_2d,
        constants=(
            {"height": 24, "width": 24, "kernel_height": 8, "kernel_width": 24},
            {"height": 6, "width": 8, "kernel_height": 4, "kernel_width": 6, "tile_height": 2, "tile_width": 2, "text": 5},
        ),
    ),
    "sta_3d": Oracle(
        mask=sta_3d,
        constants=(
            {"frames": 12, "height": 16, "width": 16, "kernel_frames": 6, "kernel_height": 8, "kernel_width": 16},
            {"frames": 4, "height": 3, "width": 8, "kernel_frames": 2, "kernel_height": 2, "kernel_width": 6,
             "tile_frames": 1, "tile_height": 1, "tile_width": 2, "text": 20},
        ),
    ),
    "video_then_text": Oracle(
        mask=video_then_text,
        masks={"inner": "q // 4 == k // 4"},
        constants=({"video": 30}, {"video": 6, "text": 25}, {"video": 0, "text": 3}),
    ),
    "window_attention": Oracle(
        mask=window_attention, constants=({"width": 14}, {"width": 10, "window": 4}, {"width": 9, "window": 1})
    ),
    "swin_shifted_window": Oracle(
        mask=swin_shifted_window,
        constants=(
            {"width": 14},
            {"width": 15, "window": 3, "shift": 1},
            {"width": 12, "window": 4, "shift": 2},
            {"width": 12, "window": 4, "shift": 0},
        ),
    ),
}  # fmt: skip
