"""Oracles of models' layers that came with their patterns: global partners of local layers, branches, dilated stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import dynamic_oracles
import global_oracles
import numpy as np
import video_oracles
import vision_oracles
from bias_oracles import swin_bias
from first_oracles import causal, sliding_window, t5_bias, t5_bias_causal
from models_oracles import ORACLES as MODELS
from models_oracles import nat
from oracle import Array, Oracle, Sizes

Draw = Callable[[np.random.Generator, Sizes], dict[str, Array]]


def neighborhood_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, width: int, dilation: int = 1
) -> Array:
    """Pair by pair: how many steps the key is below and to the right, looked up from the table's middle."""
    added = np.zeros((sizes.h, sizes.q, sizes.k))
    rows, columns = bias.shape[1:]
    for i, j in np.ndindex(sizes.q, sizes.k):
        down = math.floor((j // width - i // width) / dilation) + rows // 2
        right = math.floor((j % width - i % width) / dilation) + columns // 2
        if 0 <= down < rows and 0 <= right < columns:
            added[:, i, j] = bias[:, down, right]
    return score + added[h, q, k]


def dilated_neighborhood(stage: int) -> Callable[..., Array]:
    """NATTEN's mask in both directions with a stage's dilation unless another is given."""

    def mask(
        b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
        height: int, width: int, kernel: int = 7, dilation: int = stage,
    ) -> Array:  # fmt: skip
        return vision_oracles.gna_2d(
            b, h, q, k, sizes, height, width, kernel, kernel, dilation_height=dilation, dilation_width=dilation
        )

    return mask


def dilated_bias(stage: int) -> Callable[..., Array]:
    """The bias with a stage's dilation unless another is given."""

    def score(
        score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
        bias: Array, width: int, dilation: int = stage,
    ) -> Array:  # fmt: skip
        return neighborhood_bias(score, b, h, q, k, sizes, bias, width, dilation)

    return score


def longt5_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    bias: Array, side_bias: Array, block: Array, max_distance: int,
) -> Array:  # fmt: skip
    """Hugging Face's way: the bias of tokens and `compute_side_bias`, put side by side."""
    tokens = min(sizes.q, sizes.k)
    own = np.arange(sizes.q)[:, None]
    zero = np.zeros((sizes.b, sizes.h, sizes.q, 1))
    local = t5_bias(zero, b, h, own, np.arange(tokens), sizes, bias, max_distance)
    relative = np.arange(sizes.k - tokens) - block[:, None, : sizes.q, None]
    side = t5_bias(zero, b, h, np.zeros_like(own), relative, sizes, side_bias, max_distance)
    return score + np.concatenate([np.broadcast_to(local, (*zero.shape[:3], tokens)), side], axis=3)[b, h, q, k]


def svg_hunyuan(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    frame: int = 3600, frames: int = 33, prompt: int = 256, width: float = 2.0, round: int = 128,
) -> Array:  # fmt: skip
    """`generate_temporal_head_mask_mod` of hyvideo/utils.py as one matrix: a band, text rows and columns, padding."""
    length, video = max(sizes.q, sizes.k, frame * frames + prompt), frame * frames
    shown = min(length, max(sizes.q, sizes.k))
    reach, ones = math.floor(width * frame / round) * round, np.ones((shown, shown), bool)
    seen = np.tril(ones, reach - 1) & np.triu(ones, 1 - reach)
    seen[:, video : video + prompt] = True
    seen[video : video + prompt, :] = True
    seen[video + prompt :, : video + prompt] = False
    seen[: video + prompt, video + prompt :] = False
    seen[video + prompt :, video + prompt :] = True
    return seen[q, k]


def svg_wan(
    b: Array, h: Array, q: Array, k: Array, sizes: Sizes, frame: int = 1560, width: float = 2.0, round: int = 128
) -> Array:
    """The same of wan/utils.py: a band that is rounded up and whose ends are seen, and the first frame."""
    reach, ones = math.ceil(width * frame / round) * round, np.ones((sizes.q, sizes.k), bool)
    seen = np.tril(ones, reach) & np.triu(ones, -reach)
    seen[:, :frame] = True
    return seen[q, k]


def _rpb(side: int) -> Draw:
    return lambda rng, sizes: {"bias": rng.standard_normal((sizes.h, side, side)).astype(np.float32)}


def _sink(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"sink_logit": rng.standard_normal(sizes.h).astype(np.float32)}


def _regions(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    region = rng.integers(0, 4, (sizes.b, max(sizes.q, sizes.k))).astype(np.int32)
    return {"bias": rng.standard_normal((23, 25, sizes.h)).astype(np.float32), "region": region}


def _side(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    block = np.sort(rng.integers(-1, 9, (sizes.b, max(sizes.q, sizes.k))), axis=1).astype(np.int32)
    return {**_tables(rng, sizes), "side_bias": rng.standard_normal((32, sizes.h)).astype(np.float32), "block": block}


def _tables(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    return {"bias": rng.standard_normal((32, sizes.h)).astype(np.float32)}


def same_region(b: Array, h: Array, q: Array, k: Array, sizes: Sizes, region: Array) -> Array:
    """Swin's way: regions as numbers, and pairs whose difference is not 0 hidden."""
    apart = region[:, None, :].astype(np.int64) - region[:, :, None]
    return (apart == 0)[b, q, k]


def _dinat(stage: int) -> Oracle:
    size = 7 * stage
    constants = ({"height": size, "width": size}, {"height": 8, "width": 11, "kernel": 3, "dilation": 2})
    return Oracle(dilated_neighborhood(stage), dilated_bias(stage), _rpb(13), constants)


def _branch(name: str) -> Oracle:
    return dynamic_oracles.ORACLES[name]


_images = MODELS["gemma3_image_local"]
_transient = global_oracles.ORACLES["longt5_transient_global"]

ORACLES: dict[str, Oracle] = {
    "neighborhood_bias": Oracle(
        score=neighborhood_bias, inputs=_rpb(13), constants=({"width": 9}, {"width": 4, "dilation": 3})
    ),
    "nat": Oracle(
        mask=nat,
        score=neighborhood_bias,
        inputs=_rpb(13),
        constants=({"height": 12, "width": 13}, {"height": 9, "width": 15, "kernel": 3}),
    ),
    "dinat_dilated_8": _dinat(8),
    "dinat_dilated_4": _dinat(4),
    "dinat_dilated_2": _dinat(2),
    "cwm_global": Oracle(mask=causal),
    "granite_swa_global": Oracle(
        mask=causal, inputs=_sink, constants=({}, {"attention_multiplier": 0.25}), scale=1.0, sink="sink_logit"
    ),
    "minimax_m3_dense": Oracle(mask=causal),
    "deepseek_v4_window": Oracle(
        mask=sliding_window, inputs=_sink, constants=({"window": 128}, {"window": 3}), sink="sink_logit"
    ),
    "swin_shifted": Oracle(
        mask=same_region, score=swin_bias, inputs=_regions, constants=({"height": 12, "width": 13},)
    ),
    "nsa_compressed_layer": _branch("nsa_compressed"),
    "nsa_selected_layer": _branch("nsa_selected"),
    "nsa_window_layer": _branch("nsa_window"),
    "moba_sparse": replace(_branch("moba"), constants=({"chunk": 4096}, {"chunk": 3})),
    "moba_dense": Oracle(mask=causal),
    "longt5_bias": Oracle(score=longt5_bias, inputs=_side, constants=({"max_distance": 128},)),
    "longt5_global_encoder": Oracle(
        mask=_transient.mask,
        score=longt5_bias,
        inputs=lambda rng, sizes: {**_transient.inputs(rng, sizes), **_side(rng, sizes)},
        constants=({"max_distance": 128}, {"max_distance": 128, "radius": 3}),
        scale=1.0,
    ),
    "longt5_decoder": Oracle(
        mask=causal, score=t5_bias_causal, inputs=_tables, constants=({"max_distance": 128},), scale=1.0
    ),
    "gemma4_local": Oracle(mask=sliding_window, constants=({"window": 512}, {"window": 6}), scale=1.0),
    "gemma4_global": Oracle(mask=causal, scale=1.0),
    "gemma4_image_local": Oracle(
        mask=_images.mask, inputs=_images.inputs, constants=({"window": 1024}, {"window": 3}), scale=1.0
    ),
    "self_forcing_image_to_video": Oracle(
        mask=video_oracles.chunk_causal_image_to_video, constants=({}, {"frame": 6}, {"frame": 4, "chunk": 3})
    ),
    "svg_hunyuan": Oracle(
        mask=svg_hunyuan,
        constants=(
            {},
            {"frame": 10, "frames": 3, "prompt": 4, "round": 4},
            {"frame": 9, "frames": 4, "prompt": 0, "width": 1.5, "round": 1},
            {"frame": 20, "frames": 5, "prompt": 7, "width": 0.7, "round": 5},
        ),
    ),
    "svg_wan": Oracle(
        mask=svg_wan,
        constants=({}, {"frame": 10, "round": 4, "width": 0.9}, {"frame": 9, "width": 1.0, "round": 1}),
    ),
}
