"""Oracles of the video part of the vision family: frames, chunks of frames, and heads of sparse video attention."""

from __future__ import annotations

import numpy as np
from oracle import Array, Oracle, Sizes


def _longest(sizes: Sizes) -> int:
    return max(sizes.q, sizes.k)


def radial_attention(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    frame: int, frames: int, text: int = 0, block: int = 128, sink: bool = False, half: bool = False,
) -> Array:  # fmt: skip
    """The mask of one pair of frames after the other, as the authors' `gen_log_mask_shrinked` before it shrinks."""
    video = frame * frames
    seen = np.zeros((max(_longest(sizes), video + text),) * 2, bool)
    seen[:, : video + text] = True
    tokens = np.arange(frame)
    for i, j in np.ndindex(frames, frames):
        apart = abs(i - j)
        decay = 2.0 ** frame.bit_length() / 2.0 ** apart.bit_length()
        near = frame // 2 if half and apart == 1 else frame
        part = np.abs(tokens[:, None] - tokens) <= (near if apart <= 1 else max(decay, block))
        if decay < block and apart % int(block / decay):
            part[:] = False
        if sink and j == 0:
            part[:] = True
        seen[i * frame : (i + 1) * frame, j * frame : (j + 1) * frame] = part
    return seen[q, k]


def _by_ends(ends: list[int], sizes: Sizes, frame: int, window: int, sinks: int) -> Array:
    seen = np.eye(_longest(sizes), dtype=bool)
    for i, end in enumerate(ends[: sizes.q]):
        seen[i, max(0, end - window * frame) if window >= 0 else 0 : end] = True
        seen[i, : min(sinks * frame, end)] = True
    return seen


def chunk_causal_video(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    frame: int = 1560, chunk: int = 3, window: int = -1, sinks: int = 0,
) -> Array:  # fmt: skip
    """Self-Forcing: the table of each token's end, written block by block."""
    ends: list[int] = []
    while len(ends) < sizes.q:
        ends += [len(ends) + frame * chunk] * (frame * chunk)
    return _by_ends(ends, sizes, frame, window, sinks)[q, k]


def chunk_causal_image_to_video(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    frame: int = 1560, chunk: int = 4, window: int = -1, sinks: int = 0,
) -> Array:  # fmt: skip
    ends = [frame] * frame
    while len(ends) < sizes.q:
        ends += [len(ends) + frame * chunk] * (frame * chunk)
    return _by_ends(ends, sizes, frame, window, sinks)[q, k]


def svg_spatial(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    prompt: int = 226, frame: int = 1350, width: int = 2, sink: bool = False, round: int = 128,
) -> Array:  # fmt: skip
    reach = int(np.floor(width * frame / round)) * round
    ones = np.ones((sizes.q, sizes.k), bool)
    seen = np.tril(ones, reach - 1) & np.triu(ones, 1 - reach)
    seen[:prompt] = True
    seen[:, : prompt + (frame if sink else 0)] = True
    return seen[q, k]


def svg_temporal(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    prompt: int = 226, frame: int = 1350, frames: int = 13, width: int = 2,
) -> Array:  # fmt: skip
    """A band inside one frame, repeated for all pairs of frames."""
    reach, tokens = int(np.floor(width * frame / frames)), np.arange(frame)
    count = -(-_longest(sizes) // frame)
    band = np.tile(np.abs(tokens[:, None] - tokens) < reach, (count, count))
    seen = np.ones((prompt + len(band),) * 2, bool)
    seen[prompt:, prompt:] = band
    return seen[q, k]


def _frames(sizes: Sizes, frame: int) -> tuple[Array, Array, Array]:
    count = -(-_longest(sizes) // frame)
    return np.eye(count), np.tril(np.ones((count, count))), np.ones((frame, frame))


def spatial(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, frame: int) -> Array:
    same, _, whole = _frames(sizes, frame)
    return np.kron(same, whole)[q, k] > 0


def temporal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, frame: int) -> Array:
    same, _, _ = _frames(sizes, frame)
    return np.kron(np.ones_like(same), np.eye(frame))[q, k] > 0


def frame_causal(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, frame: int) -> Array:
    _, past, whole = _frames(sizes, frame)
    return np.kron(past, whole)[q, k] > 0


def _tiles(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    tiles = _longest(sizes)
    return {
        "selected": rng.integers(-1, tiles, (sizes.b, sizes.h, tiles, 4)).astype(np.int32),
        "filled": rng.integers(1, 6, tiles).astype(np.int32),
    }


def vsa(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, selected: Array, filled: Array, tile: int = 64) -> Array:
    seen = np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)
    for row, head, i in np.ndindex(seen.shape[:3]):
        for number in selected[row, head, i // tile]:
            if number >= 0:
                seen[row, head, i, number * tile : number * tile + min(filled[number], tile)] = True
    return seen


chunks = (
    {},
    {"frame": 5, "chunk": 2},
    {"frame": 3, "chunk": 3, "window": 5, "sinks": 1},
    {"frame": 4, "chunk": 3, "window": 1},
    {"frame": 1, "chunk": 1, "window": 4, "sinks": 2},
)

frames = ({"frame": 1}, {"frame": 7}, {"frame": 16})

ORACLES: dict[str, Oracle] = {
    "svg_spatial": Oracle(
        mask=svg_spatial,
        constants=(
            {},
            {"prompt": 3, "frame": 10, "round": 4, "sink": True},
            {"prompt": 0, "frame": 9, "width": 1, "round": 1},
        ),
    ),
    "svg_temporal": Oracle(
        mask=svg_temporal,
        constants=({}, {"prompt": 5, "frame": 12, "frames": 4, "width": 1}, {"prompt": 0, "frame": 9}),
    ),
    "spatial_attention": Oracle(mask=spatial, constants=frames),
    "temporal_attention": Oracle(mask=temporal, constants=frames),
    "frame_causal": Oracle(mask=frame_causal, constants=frames),
    "vsa": Oracle(mask=vsa, inputs=_tiles, constants=({}, {"tile": 4}, {"tile": 7})),
    "radial_attention": Oracle(
        mask=radial_attention,
        constants=(
            {"frame": 9, "frames": 14, "block": 4},
            {"frame": 4, "frames": 29, "text": 7, "block": 2, "sink": True, "half": True},
            {"frame": 20, "frames": 6, "block": 1, "sink": True},
            {"frame": 30, "frames": 4},
        ),
    ),
    "chunk_causal_video": Oracle(mask=chunk_causal_video, constants=chunks),
    "chunk_causal_image_to_video": Oracle(mask=chunk_causal_image_to_video, constants=chunks),
}
