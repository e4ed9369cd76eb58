"""Oracles of models' variants: their values beside the oracles of the patterns that they use, or the pattern written again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import diffusion_oracles
import dynamic_oracles
import numpy as np
import prefix_oracles
from bias_oracles import deberta_bias, gated_bias, relative_logits, swin_bias
from first_oracles import alibi_slopes, causal, full, sliding_window, softcap, symmetric_local, t5_bias, t5_bias_causal
from oracle import Array, Oracle, Sizes, documents
from scale_oracles import inkling_temperature, llama4_temperature, ministral3_temperature


def recurrent_gemma(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, lookback: int = 2048) -> Array:
    """Google's `_compute_forward_pass_mask`: the query is at most the key plus the window."""
    ones = np.ones((sizes.q, sizes.k), bool)
    return (np.tril(ones) & ~np.tril(ones, -lookback - 1))[q, k]


def falcon_alibi(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, head_dim: int = 64) -> Array:
    """(product + alibi) / sqrt(head_dim), as Falcon adds it to products that are not scaled yet."""
    product = score * math.sqrt(head_dim)
    return alibi_slopes(product, b, h, q, k, sizes) / math.sqrt(head_dim)


def phi3_small(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, block: int = 64, local: int = 16, stride: int = 8
) -> Array:
    """vLLM's `_get_sparse_attn_mask_homo_head` for each head in turn: blocks by loops, then tokens."""
    count = -(-max(sizes.q, sizes.k) // block)
    step = max(1, stride // sizes.h)
    seen = np.zeros((sizes.h, count, count), bool)
    for head in range(sizes.h):
        for row in range(count):
            for column in range(row + 1):
                vertical = (column + head * step + 1) % stride == 0
                seen[head, row, column] = row - column < local or vertical
    tokens = np.kron(seen, np.ones((1, block, block), bool))[:, : sizes.q, : sizes.k]
    return np.tril(tokens)[h, q, k]


def paligemma(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, prefix: Array) -> Array:
    """Columns of the prefix switched on."""
    seen = np.array([np.tril(np.ones((sizes.q, sizes.k), bool)) for _ in prefix])
    for row, length in enumerate(prefix):
        seen[row, :, :length] = True
    return seen[b, q, k]


def longformer(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, is_global: Array, radius: int = 256) -> Array:
    near = np.abs(np.subtract.outer(np.arange(sizes.q), np.arange(sizes.k))) <= radius
    seen = np.array([near for _ in is_global])
    for row, marks in enumerate(is_global):
        seen[row, marks[: sizes.q]] = True
        seen[row][:, marks[: sizes.k]] = True
    return seen[b, q, k]


def longt5_local(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, radius: int = 127) -> Array:
    return symmetric_local(b, h, q, k, sizes, radius)


def nat(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, height: int, width: int, kernel: int = 7) -> Array:
    """The square around each token, moved into the image."""

    def around(place: int, length: int) -> range:
        first = min(max(place - kernel // 2, 0), length - kernel)
        return range(first, first + kernel)

    seen = np.zeros((height * width, height * width), bool)
    for y in range(height):
        for x in range(width):
            for row in around(y, height):
                seen[y * width + x, [row * width + column for column in around(x, width)]] = True
    return seen[q, k]


def self_forcing(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, frame: int = 1560, chunk: int = 1) -> Array:
    """As `_prepare_blockwise_causal_attn_mask`: where the block of every token ends."""
    length, size = max(sizes.q, sizes.k), frame * chunk
    ends = np.zeros(length, np.int64)
    for first in range(0, length, size):
        ends[first : first + size] = first + size
    return np.arange(sizes.k)[None, :] < ends[: sizes.q, None]


def bigbird(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, pick: Array, block: int = 64) -> Array:
    """Blocks by hand: band, borders, picks."""
    count = -(-sizes.k // block)
    rows = -(-max(sizes.q, sizes.k) // block)
    seen = np.zeros((sizes.h, rows, rows), bool)
    for row in range(rows):
        whole = row == 0 or row >= count - 1
        columns = range(rows) if whole else [0, row - 1, row, row + 1, count - 1]
        seen[:, row, list(columns)] = True
        for head in range(sizes.h):
            if not whole:
                seen[head, row, [c for c in pick[head, row - 1] if c < rows]] = True
    return np.kron(seen, np.ones((1, block, block), bool))[h, q, k]


def _picks(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"pick": rng.integers(0, 24, (sizes.h, 24, 3)).astype(np.int32)}


def _bias(*shape: int) -> Callable[[np.random.Generator, Sizes], dict[str, Array]]:
    return lambda rng, sizes: {"bias": rng.standard_normal((*shape, sizes.h)).astype(np.float32)}


def _logits(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"bias": rng.standard_normal((sizes.b, sizes.h, max(sizes.q, sizes.k), 9)).astype(np.float32)}


def _wavlm(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    gate = rng.random((sizes.b, sizes.h, max(sizes.q, sizes.k))).astype(np.float32)
    return {"gate": gate, "bias": rng.standard_normal((320, sizes.h)).astype(np.float32)}


def _deberta(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    shape = (sizes.b, sizes.h, max(sizes.q, sizes.k), 32)
    names = ("content_to_position", "position_to_content")
    return {name: rng.standard_normal(shape).astype(np.float32) for name in names}


def _sink(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"sink_logit": rng.standard_normal(sizes.h).astype(np.float32)}


def _prefix(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"prefix": rng.integers(0, sizes.k + 1, sizes.b).astype(np.int32)}


def _globals(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"is_global": rng.random((sizes.b, max(sizes.q, sizes.k))) < 0.1}


def inkling_global(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, alpha: float, start: int
) -> Array:
    return inkling_temperature(relative_logits(score, b, h, q, k, sizes, bias), b, h, q, k, sizes, alpha, start)


def _window(window: int, scale: float | None = None) -> Oracle:
    """A causal window by its default, and by others."""
    return Oracle(mask=sliding_window, constants=({"window": window}, {"window": 1}, {"window": 6}), scale=scale)


def _image_mask(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, image: Array, window: int | None = None) -> Array:
    """Causal in the window, and tokens of one image to the right, or to the left within it, pair by pair."""
    seen = np.zeros((sizes.b, sizes.q, sizes.k), bool)
    for row, i, j in np.ndindex(*seen.shape):
        together = image[row, i] >= 0 and image[row, i] == image[row, j]
        seen[row, i, j] = (j <= i or together) and (window is None or i - j < window)
    return seen[b, q, k]


def _windows(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, window: Array) -> Array:
    """Patches of one number, number by number."""
    seen = np.zeros((sizes.b, sizes.q, sizes.k), bool)
    for row, numbers in enumerate(window):
        for number in np.unique(numbers[numbers >= 0]):
            seen[row] |= np.outer(numbers[: sizes.q] == number, numbers[: sizes.k] == number)
    return seen[b, q, k]


def _images(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, image: Array) -> Array:
    return _windows(b, h, q, k, sizes, image)


def _runs(name: str) -> Callable[[np.random.Generator, Sizes], dict[str, Array]]:
    """Numbers of images in order, every third run -1 for text or padding."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        run = documents(rng, sizes)
        return {name: np.where(run % 3 == 2, -1, run).astype(np.int32)}

    return draw


def _with_sink(oracle: Oracle) -> Oracle:
    return replace(
        oracle, inputs=lambda rng, sizes: {**oracle.inputs(rng, sizes), **_sink(rng, sizes)}, sink="sink_logit"
    )


_M3 = ({}, {"block": 3}, {"block": 8})

ORACLES: dict[str, Oracle] = {
    "gemma3_image_local": Oracle(
        mask=_image_mask, inputs=_runs("image"), constants=({"window": 1024}, {"window": 3}), scale=1 / 16
    ),
    "gemma3_image_global": Oracle(mask=_image_mask, inputs=_runs("image"), scale=1 / 16),
    "qwen2_5_vl_window": Oracle(mask=_windows, inputs=_runs("window")),
    "qwen2_5_vl_full": Oracle(mask=_images, inputs=_runs("image")),
    "granite_swa": _with_sink(_window(128, scale=1.0)),
    "cwm_local": _window(8192),
    "transfusion_model": prefix_oracles.ORACLES["transfusion"],
    "bd3_lm": diffusion_oracles.ORACLES["block_diffusion"],
    "deepseek_v3_2": dynamic_oracles.ORACLES["dsa"],
    "deepseek_v4_sparse": _with_sink(dynamic_oracles.ORACLES["deepseek_v4_csa"]),
    "deepseek_v4_compressed": _with_sink(dynamic_oracles.ORACLES["deepseek_v4_hca"]),
    "minimax_m3_sparse": replace(dynamic_oracles.ORACLES["minimax_m3"], constants=_M3),
    "gemma3_local": _window(1024, scale=1 / 16),
    "gemma3_global": Oracle(mask=causal, scale=1 / 16),
    "gemma3n_local": _window(512, scale=1.0),
    "gemma3n_global": Oracle(mask=causal, scale=1.0),
    "cohere2_local": _window(4096),
    "cohere2_global": Oracle(mask=causal),
    "olmo3_local": _window(4096),
    "olmo3_global": Oracle(mask=causal),
    "exaone4_local": _window(4096),
    "exaone4_global": Oracle(mask=causal),
    "afmoe_local": _window(1024),
    "afmoe_global": Oracle(mask=causal),
    "recurrent_gemma": Oracle(mask=recurrent_gemma, constants=({}, {"lookback": 0}, {"lookback": 5})),
    "modernbert_local": Oracle(mask=symmetric_local, constants=({}, {"radius": 3})),
    "modernbert_global": Oracle(mask=full),
    "bloom": Oracle(mask=causal, score=alibi_slopes),
    "mpt": Oracle(mask=causal, score=alibi_slopes, constants=({}, {"bias_max": 16.0})),
    "falcon_alibi": Oracle(score=falcon_alibi, constants=({}, {"head_dim": 128})),
    "falcon_rw": Oracle(mask=causal, score=falcon_alibi),
    "t5_encoder": Oracle(
        mask=full,
        score=t5_bias,
        inputs=_bias(32),
        constants=({"max_distance": 128},),
        scale=1.0,
    ),
    "t5_decoder": Oracle(
        mask=causal,
        score=t5_bias_causal,
        inputs=_bias(32),
        constants=({"max_distance": 128},),
        scale=1.0,
    ),
    "longt5_encoder": Oracle(
        mask=longt5_local,
        score=t5_bias,
        inputs=_bias(32),
        constants=({"max_distance": 128}, {"max_distance": 128, "radius": 4}),
        scale=1.0,
    ),
    "grok1": Oracle(mask=causal, score=softcap, constants=({"cap": 30.0},), scale=128**-0.5),
    "ministral3": Oracle(mask=causal, score=ministral3_temperature, constants=({}, {"original": 5})),
    "granite": Oracle(mask=causal, constants=({}, {"attention_multiplier": 0.015625}), scale=1.0),
    "phi3_small_sparse": Oracle(
        mask=phi3_small,
        constants=({}, {"block": 4, "local": 3, "stride": 5}, {"block": 1, "local": 1, "stride": 8}),
        scale=1 / 128,
    ),
    "phi3_small_dense": Oracle(mask=causal, scale=1 / 128),
    "paligemma": Oracle(mask=paligemma, inputs=_prefix),
    "mimo_v2_local": Oracle(
        mask=sliding_window, inputs=_sink, constants=({"window": 129}, {"window": 3}), sink="sink_logit"
    ),
    "mimo_v2_global": Oracle(mask=causal),
    "llama4_global": Oracle(mask=causal, score=llama4_temperature, constants=({}, {"floor_scale": 8})),
    "inkling_local": Oracle(
        mask=sliding_window,
        score=relative_logits,
        inputs=_logits,
        constants=({"window": 512}, {"window": 4}),
        scale=1 / 128,
    ),
    "inkling_global": Oracle(
        mask=causal, score=inkling_global, inputs=_logits, constants=({"alpha": 0.1, "start": 3},), scale=1 / 128
    ),
    "deberta": Oracle(
        mask=full,
        score=deberta_bias,
        inputs=_deberta,
        constants=({"buckets": 16, "max_distance": 512}, {"buckets": 16, "max_distance": 40}),
    ),
    "wavlm": Oracle(mask=full, score=gated_bias, inputs=_wavlm, constants=({"max_distance": 800},)),
    "swin": Oracle(mask=full, score=swin_bias, inputs=_bias(23, 25), constants=({"height": 12, "width": 13},)),
    "longformer_encoder": Oracle(mask=longformer, inputs=_globals, constants=({}, {"radius": 3})),
    "self_forcing": Oracle(mask=self_forcing, constants=({}, {"frame": 6}, {"frame": 4, "chunk": 3})),
    "bigbird_encoder": Oracle(mask=bigbird, inputs=_picks, constants=({"block": 6}, {"block": 64})),
}
