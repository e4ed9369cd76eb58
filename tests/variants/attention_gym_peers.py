"""Definitions beside attention-gym's functions, and where the two count differently.

Its `sliding_window(w)` keeps w + 1 keys; its NATTEN clamps rows by the width, so only square images are alike; its
Morton order has the column in the even bits, as ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from oracle import Array, Sizes
from peer import SIZES, Peer, Posed, tensor
from torch.nn.attention.flex_attention import noop_mask

SQUARE = (Sizes(1, 2, 64, 64), Sizes(1, 1, 64, 64))
VIDEO = (Sizes(1, 1, 75, 75),)


def _lengths(rng: np.random.Generator, length: int) -> Array:
    """Lengths of documents, of at least one token each, that fill a sequence."""
    count = int(rng.integers(1, min(length, 6) + 1))
    cuts = np.sort(rng.choice(np.arange(1, length), count - 1, replace=False)) if length > 1 else np.array([], int)
    return np.diff([0, *cuts, length])


def _packing(rng: np.random.Generator, sizes: Sizes) -> tuple[torch.Tensor, Array, Array]:
    """The peer's offsets, and the document and start tables, alike in every row."""
    lengths = _lengths(rng, sizes.q)
    offsets = np.array([0, *np.cumsum(lengths)])
    document = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    return tensor(offsets), np.tile(document, (sizes.b, 1)), np.tile(offsets[:-1], (sizes.b, 1)).astype(np.int32)


def _window(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    lookback = int(rng.integers(1, 9))
    return Posed(make(lookback), {"lookback": lookback})


def _window_with_itself(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    lookback = int(rng.integers(1, 9))
    return Posed(make(lookback), {"window": lookback + 1})


def _prefix(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    length = int(rng.integers(0, sizes.k + 1))
    return Posed(make(length), tables={"prefix": np.full(sizes.b, length, np.int32)})


def _document(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    offsets, document, _ = _packing(rng, sizes)
    return Posed(make(noop_mask, offsets), tables={"document": document})


def _packed(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    offsets, document, start = _packing(rng, sizes)
    own = make(lambda b, h, q, k: (k <= q) & (q - k < 3) | (k == 0), offsets)
    return Posed(own, tables={"document": document, "start": start}, masks={"inner": "0 <= q - k < 3 or k == 0"})


def _packed_causal(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    offsets, document, _ = _packing(rng, sizes)
    return Posed(make(offsets), tables={"document": document})


def _packed_interval(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    offsets, document, start = _packing(rng, sizes)
    return Posed(make(offsets), tables={"document": document, "start": start})


def _shared_prefix(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    offsets, document, start = _packing(rng, sizes)
    prompt = np.zeros(start.shape[1], np.int32)
    for d in range(1, len(prompt)):
        prompt[d] = d if rng.random() < 0.4 else prompt[d - 1]
    return Posed(make(offsets, tensor(prompt)), tables={"document": document, "prompt": np.tile(prompt, (sizes.b, 1))})


def _images(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    """Images of 4 tokens, as many as there are keys for."""
    count = -(-sizes.k // 4)
    interval = np.sort(rng.integers(0, sizes.q + 1, (count, 2)), axis=1).astype(np.int32)
    image = np.repeat(np.arange(count), 4)[: sizes.k].astype(np.int32)
    tables = {"image": np.tile(image, (sizes.b, 1)), "interval": np.tile(interval, (sizes.b, 1, 1))}
    return Posed(make(tensor(interval), 4), tables=tables)


def _longformer(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    marked = rng.random(sizes.q) < 0.1
    return Posed(make(3, tensor(marked)), {"radius": 3}, {"is_global": np.tile(marked, (sizes.b, 1))})


def _dilated(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    radius, dilation = int(rng.integers(0, 20)), int(rng.integers(1, 5))
    return Posed(make(radius, dilation), {"radius": radius, "dilation": dilation})


def _batchify(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    own = make(lambda b, h, q, k: k <= q, 5)
    return Posed(own, {"block": 5}, masks={"inner": "k <= q"})


def _block_diffusion(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    block, length = int(rng.integers(1, 6)), sizes.q // 2
    return Posed(make(length, block), {"block": block}, {"length": np.full(sizes.b, length, np.int32)})


def _jetspec(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    prefix, block = sizes.k - sizes.q, int(rng.integers(1, 6))
    return Posed(make(prefix, block), {"block": block}, {"prefix": np.full(sizes.b, prefix, np.int32)})


def _tree(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    from attn_gym.masks import build_tree_ancestor_matrix

    parents = [-1, *(int(rng.integers(0, i)) for i in range(1, sizes.q))]
    ancestor, context = build_tree_ancestor_matrix(parents, device="cpu"), sizes.k - sizes.q
    tables = {"context": np.full(sizes.b, context, np.int32), "ancestor": np.tile(ancestor.numpy(), (sizes.b, 1, 1))}
    return Posed(make(context, ancestor), tables=tables)


def _square(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    height, width = (int(n) for n in rng.choice([3, 5, 7], 2))
    image = {"height": 8, "width": 8, "kernel_height": width, "kernel_width": height}
    # Its first coordinate, called x, is the row: the kernel's width is that of rows.
    return Posed(make(8, 8, width, height), image)


def _tiled(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    sides = {"height": 6, "width": 12, "kernel_height": 3, "kernel_width": 5, "tile_height": 3, "tile_width": 4}
    return Posed(make(12, 6, 5, 3, 4, 3), sides)


def _morton(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    height, width = (int(n) for n in rng.choice([3, 5, 7], 2))
    return Posed(make(8, 8, width, height), {"height": 8, "width": 8, "kernel_height": height, "kernel_width": width})


def _sta_2d(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    """Kernels of 3 x 2 tiles."""
    names = ("height", "width", "kernel_height", "kernel_width", "tile_height", "tile_width", "text")
    numbers = dict(zip(names, (8, 8, 6, 4, 2, 2, 6), strict=True))
    return Posed(make((8, 8), (6, 4), (2, 2), 6), numbers)


def _sta_3d(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    names = [f"{part}{axis}" for part in ("", "kernel_", "tile_") for axis in ("frames", "height", "width")]
    numbers = dict(zip(names, (4, 4, 4, 2, 4, 2, 1, 2, 1), strict=True))
    return Posed(make((4, 4, 4), (2, 4, 2), (1, 2, 1), 5), {**numbers, "text": 5})


def _spatial(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    sink = bool(rng.random() < 0.5)
    own = make(prompt_length=5, num_frames=7, token_per_frame=10, width=2, attn_sink=sink, round_width=8)
    return Posed(own, {"prompt": 5, "frame": 10, "width": 2, "sink": sink, "round": 8})


def _temporal(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    own = make(prompt_length=5, num_frames=7, token_per_frame=10, width=2)
    return Posed(own, {"prompt": 5, "frame": 10, "frames": 7, "width": 2})


def _vsa(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    tiles = -(-sizes.q // 8)
    selected = rng.integers(0, tiles, (sizes.b, sizes.h, tiles, 3)).astype(np.int32)
    filled = rng.integers(0, 9, tiles).astype(np.int32)
    return Posed(make(tensor(selected), 8, tensor(filled)), {"tile": 8}, {"selected": selected, "filled": filled})


def _alibi(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    return Posed(make(sizes.h))


def _softcap(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    return Posed(make(2), {"cap": 2.0})


def _activation(activation: Any) -> Any:
    return lambda make, rng, sizes: Posed(make(activation, 1.5), {"shift": 1.5})


def _gelu(score: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(score, approximate="tanh")


def _graphormer(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    bias = rng.standard_normal((sizes.h, 6))
    distance = rng.integers(0, 6, (sizes.b, sizes.q, sizes.q)).astype(np.int32)
    return Posed(make(tensor(bias), tensor(distance)), tables={"bias": bias, "distance": distance})


def _edges(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    weight = rng.standard_normal((sizes.h, 3, 4))
    edge = rng.integers(0, 4, (sizes.b, sizes.q, sizes.q, 3)).astype(np.int32)
    length = rng.integers(0, 4, (sizes.b, sizes.q, sizes.q)).astype(np.int32)
    own = make(tensor(weight), tensor(edge), tensor(length))
    return Posed(own, tables={"weight": weight, "edge": edge, "length": length})


def _mla(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    query = rng.standard_normal((sizes.b, sizes.h, sizes.q, 8))
    key = rng.standard_normal((sizes.b, 1, sizes.k, 8))
    own = make(tensor(query), tensor(key), sizes.h, 0.5)
    return Posed(own, {"scale": 0.5}, {"query": query, "key": key})


def _sandwich(make: Any, rng: np.random.Generator, sizes: Sizes) -> Posed:
    """Its tables are in its closure; the part without padding is ours."""
    own = make(sizes.h, sizes.q)
    held = dict(zip(own.__code__.co_freevars, (c.cell_contents for c in own.__closure__), strict=True))
    tables = {"bias": held["rel_bias"][: 2 * sizes.q - 1].numpy(), "head_scale": held["head_scale"].numpy()}
    return Posed(own, tables=tables)


MASKS, MODS = "attn_gym.masks", "attn_gym.mods"
SHORT = (Sizes(1, 1, 4, 4), Sizes(2, 3, 7, 7), Sizes(1, 4, 20, 20))
POWERS = (Sizes(1, 1, 5, 5), Sizes(1, 8, 17, 17))

PEERS = (
    Peer("causal", f"{MASKS}:causal_mask", lambda mod, rng, sizes: Posed(mod)),
    Peer("lookback_window", f"{MASKS}:generate_sliding_window", _window),
    Peer("sliding_window", f"{MASKS}:generate_sliding_window", _window_with_itself),
    Peer("prefix_lm", f"{MASKS}:generate_prefix_lm_mask", _prefix),
    Peer("document", f"{MASKS}:generate_doc_mask_mod", _document),
    Peer("packed", f"{MASKS}:generate_doc_mask_mod", _packed),
    Peer("packed_causal", f"{MASKS}:generate_packed_causal_doc_mask_mod", _packed_causal),
    Peer("packed_causal_interval", f"{MASKS}:generate_packed_causal_doc_mask_mod", _packed_interval),
    Peer("shared_prefix", f"{MASKS}:generate_shared_prefix_mask_mod", _shared_prefix),
    Peer("vision_cross_attention", f"{MASKS}:generate_vision_cross_attention_mask_mod", _images),
    Peer("longformer", f"{MASKS}:generate_global_sliding_window", _longformer),
    Peer("dilated_symmetric", f"{MASKS}:generate_dilated_sliding_window", _dilated),
    Peer("batchify", f"{MASKS}:batchify_mask_mod", _batchify),
    Peer("block_diffusion", f"{MASKS}:generate_block_diffusion_mask", _block_diffusion, (Sizes(1, 1, 24, 24), Sizes(2, 2, 62, 62))),
    Peer("jetspec_training", f"{MASKS}:generate_jetspec_training_mask_mod", _jetspec, (*SIZES, Sizes(2, 1, 20, 33))),
    Peer("tree_ancestors", f"{MASKS}:generate_jetspec_tree_causal_mask_mod", _tree, (*SIZES, Sizes(2, 1, 20, 33))),
    Peer("natten", f"{MASKS}:generate_natten", _square, SQUARE),
    Peer("tiled_natten", f"{MASKS}:generate_tiled_natten", _tiled, (Sizes(1, 1, 72, 72),)),
    Peer("morton_natten", f"{MASKS}:generate_morton_natten", _morton, SQUARE),
    Peer("sta_2d", f"{MASKS}:generate_sta_mask_mod_2d", _sta_2d, VIDEO),
    Peer("sta_3d", f"{MASKS}:generate_sta_mask_mod_3d", _sta_3d, VIDEO),
    Peer("svg_spatial", f"{MASKS}:generate_spatial_head_mask_mod", _spatial, (*VIDEO, *SQUARE)),
    Peer("svg_temporal", f"{MASKS}:generate_temporal_head_mask_mod", _temporal, VIDEO),
    Peer("vsa", f"{MASKS}:generate_vsa_mask_mod", _vsa),
    Peer("alibi_geometric", f"{MODS}:generate_alibi_bias", _alibi),
    Peer("alibi_slopes", f"{MODS}:generate_alibi_bias", _alibi, POWERS),
    Peer("softcap", f"{MODS}:generate_tanh_softcap", _softcap),
    Peer("shifted_silu", f"{MODS}:generate_activation_score_mod", _activation(torch.nn.functional.silu)),
    Peer("shifted_gelu", f"{MODS}:generate_activation_score_mod", _activation(_gelu)),
    Peer("graphormer_spatial", f"{MODS}:generate_graphormer_spatial_bias", _graphormer, SHORT),
    Peer("graphormer_edge", f"{MODS}:generate_graphormer_edge_bias", _edges, SHORT),
    Peer("mla_rope", f"{MODS}:generate_mla_rope_score_mod", _mla, SHORT),
    Peer("sandwich", f"{MODS}:generate_sandwich_bias", _sandwich, SHORT),
)  # fmt: skip
