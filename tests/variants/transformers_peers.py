"""Definitions beside the functions of Hugging Face's transformers: its mask functions, and what models build themselves.

Tensors that it builds whole (buckets, ALiBi, windows of images) are read as tables.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from oracle import Array, Sizes, documents
from peer import SIZES, Mod, Peer, Posed, added, looked_up, tensor

Generator = np.random.Generator

LONG = (*SIZES, Sizes(1, 2, 150, 150))
"""Longer than any exact bucket."""


def _functions() -> Any:
    """The module of the mask functions, for those that are combined with others."""
    from transformers import masking_utils

    return masking_utils


def _plain(mod: Mod, rng: Generator, sizes: Sizes) -> Posed:
    return Posed(mod)


def _two(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    texts = {"first": "0 <= q - k < 3", "second": "k % 2 == 0"}
    return Posed(make(lambda b, h, q, k: (k <= q) & (q - k < 3), lambda b, h, q, k: k % 2 == 0), masks=texts)


def _number(name: str, *more: int) -> Any:
    """A function of one constant that both call alike, at sizes 1 and above."""
    return lambda make, rng, sizes: Posed(make(n := int(rng.integers(1, 9)), *more), {name: n})


def _chunked(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    chunk = int(rng.integers(1, 9))
    return Posed(make(chunk, torch.zeros(sizes.b, dtype=torch.int64)), {"chunk": chunk})


def _chunked_after_padding(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    chunk, pad = int(rng.integers(1, 9)), rng.integers(0, sizes.k + 1, sizes.b).astype(np.int32)
    return Posed(make(chunk, tensor(pad)), {"chunk": chunk}, {"pad": pad})


def _runs(rng: Generator, sizes: Sizes) -> Array:
    """Numbers of images, every third run text."""
    run = documents(rng, sizes)
    return np.where(run % 3 == 2, -1, run).astype(np.int32)


def _overlay(name: str) -> Any:
    def pose(overlay: Any, rng: Generator, sizes: Sizes) -> Posed:
        block, functions = _runs(rng, sizes), _functions()
        return Posed(functions.or_masks(functions.causal_mask_function, overlay(tensor(block))), tables={name: block})

    return pose


def _overlay_window(name: str) -> Any:
    """`create_masks_for_vision_model` of Gemma 3: the window over the union."""

    def pose(overlay: Any, rng: Generator, sizes: Sizes) -> Posed:
        block, window, functions = _runs(rng, sizes), int(rng.integers(1, 9)), _functions()
        union = functions.or_masks(functions.causal_mask_function, overlay(tensor(block)))
        own = functions.and_masks(union, functions.sliding_window_overlay(window))
        return Posed(own, {"window": window}, {name: block})

    return pose


def _padding(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    keep = rng.random((sizes.b, sizes.k)) < 0.6
    return Posed(make(tensor(keep)), tables={"keep": keep})


def _packed(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    document = documents(rng, sizes)
    return Posed(make(tensor(document)), tables={"document": document})


def _positions(rng: Generator, sizes: Sizes) -> tuple[Array, Array, Array]:
    """Documents, where each begins, and positions that begin again with them."""
    document = documents(rng, sizes)
    start = np.array([[np.argmax(row == d) for d in range(document.max() + 1)] for row in document], np.int32)
    position = np.arange(document.shape[1]) - np.take_along_axis(start, document, axis=1)
    return document, start, position.astype(np.int32)


def _remapped(remap: Any, rng: Generator, sizes: Sizes) -> Posed:
    document, start, position = _positions(rng, sizes)
    inner = remap(lambda b, h, q, k: (k <= q) & (q // 3 == k // 3), tensor(position))
    own = _functions().and_masks(_functions().packed_sequence_mask_function(tensor(document)), inner)
    tables = {"document": document, "start": start}
    return Posed(own, tables=tables, masks={"inner": "k <= q and q // 3 == k // 3"})


def _found(find: Any, rng: Generator, sizes: Sizes) -> Posed:
    position = _positions(rng, sizes)[2]
    number = find(tensor(position))
    number = torch.zeros(position.shape, dtype=torch.int64) if number is None else number
    own = _functions().packed_sequence_mask_function(number)
    return Posed(own, tables={"position_id": position})


def _offsets(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    q_offset, k_offset = (int(n) for n in rng.integers(0, 9, 2))
    own = make(_functions().causal_mask_function, q_offset, k_offset)
    return Posed(own, {"q_offset": q_offset, "k_offset": k_offset})


def _both_sides(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    left, right = (int(n) for n in rng.integers(1, 9, 2))
    return Posed(make((left, right)), {"left": left, "right": right})


def _limited(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    chunk, chunks = (int(n) for n in rng.integers(1, 6, 2))
    return Posed(make(chunk * chunks, chunk - 1), {"chunk": chunk, "left_chunks": chunks})


def _sequence(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    image = _runs(rng, sizes)
    return Posed(make(tensor(image)), tables={"image": image})


def _distance(sizes: Sizes) -> torch.Tensor:
    """Key minus query, [Q, K]."""
    return torch.arange(sizes.k)[None, :] - torch.arange(sizes.q)[:, None]


def _buckets(bidirectional: bool) -> Any:
    def pose(bucket: Any, rng: Generator, sizes: Sizes) -> Posed:
        bias = rng.standard_normal((32, sizes.h))
        found = bucket(_distance(sizes), bidirectional=bidirectional, num_buckets=32, max_distance=128)
        return Posed(added(tensor(bias)[found].permute(2, 0, 1)[None]), tables={"bias": bias})

    return pose


def _gated(bucket: Any, rng: Generator, sizes: Sizes) -> Posed:
    gate, bias = rng.random((sizes.b, sizes.h, sizes.q)), rng.standard_normal((320, sizes.h))
    found = bucket(SimpleNamespace(num_buckets=320, max_distance=800), _distance(sizes))
    own = tensor(gate)[..., None] * tensor(bias)[found].permute(2, 0, 1)
    return Posed(added(own), tables={"gate": gate, "bias": bias})


def _deberta(bucket: Any, rng: Generator, sizes: Sizes) -> Posed:
    """Gathered as `disentangled_attention_bias` does, with the buckets of q - k."""
    tables = {
        name: rng.standard_normal((sizes.b, sizes.h, max(sizes.q, sizes.k), 32))
        for name in ("content_to_position", "position_to_content")
    }
    entry = (bucket(-_distance(sizes), 16, 40) + 16).clamp(0, 31).long().expand(sizes.b, sizes.h, -1, -1)
    to_position, to_content = map(tensor, tables.values())
    own = to_position.gather(3, entry) + to_content.gather(3, entry.transpose(2, 3)).transpose(2, 3)
    return Posed(added(own), {"buckets": 16, "max_distance": 40}, tables)


def _bloom(build: Any, rng: Generator, sizes: Sizes) -> Posed:
    """Its tensor is by the key; a constant of the row makes it a distance."""
    bias = build(torch.ones(1, sizes.k), sizes.h, torch.float64).reshape(1, sizes.h, 1, sizes.k)
    return Posed(added(bias - bias.transpose(2, 3)))


def _bloom_padded(build: Any, rng: Generator, sizes: Sizes) -> Posed:
    kept = torch.from_numpy(np.arange(sizes.k) >= rng.integers(0, sizes.k, (sizes.b, 1))).long()
    from transformers.models.bloom.modeling_bloom import _get_alibi_slopes

    place = ((kept.cumsum(1) - 1) * kept).numpy().astype(np.int32)
    bias = build(kept, sizes.h, torch.float64).reshape(sizes.b, sizes.h, 1, sizes.k).expand(-1, -1, sizes.q, -1)
    slope = _get_alibi_slopes(sizes.h, torch.device("cpu")).double().numpy()
    return Posed(added(bias), tables={"slope": slope, "place": place})


def _mpt(build: Any, rng: Generator, sizes: Sizes) -> Posed:
    bias = build(sizes.h, sizes.k, 16).double()[None]
    return Posed(added(bias - bias.transpose(2, 3)), {"bias_max": 16.0})


def _swin(get: Any, rng: Generator, sizes: Sizes) -> Posed:
    """Windows of 4 on 8 x 8 tokens, rolled by 1: the mask of each window, taken back to where the tokens are."""
    masks = get(SimpleNamespace(shift_size=1, window_size=4), 8, 8, torch.float32, torch.device("cpu"))
    rolled = torch.arange(64).reshape(8, 8).roll((-1, -1), (0, 1))
    places = rolled.reshape(2, 4, 2, 4).transpose(1, 2).reshape(4, 16)
    seen = torch.zeros(64, 64, dtype=torch.bool)
    for place, mask in zip(places, masks, strict=True):
        seen[place[:, None], place[None, :]] = mask == 0
    return Posed(looked_up(seen[None, None]), {"width": 8, "window": 4, "shift": 1})


def _prophet(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    stream = int(rng.integers(0, 3))
    seen = make(sizes.q, 3, torch.device("cpu"), torch.float32)[stream] == 0
    return Posed(looked_up(seen[None, None]), {"stream": stream}, {"length": np.array([sizes.q], np.int32)})


def _xlnet(create: Any, rng: Generator, sizes: Sizes) -> Posed:
    """With and without `same_length`."""
    memory, same = sizes.k - sizes.q, bool(rng.random() < 0.5)
    hidden = create(SimpleNamespace(device="cpu", same_length=same), sizes.q, memory)
    return Posed(looked_up(hidden[None, None] == 0), {"memory": memory, "same_length": same})


def _longt5(get: Any, rng: Generator, sizes: Sizes) -> Posed:
    """Its blocks of radius + 1 tokens see three blocks, from which it hides what is too far; put back into a matrix."""
    block = 5
    folded = get(torch.ones(1, sizes.q, dtype=torch.int64), block, torch.device("cpu"))[0, 0]
    count = len(folded)
    seen = torch.zeros(count * block, (count + 2) * block, dtype=torch.bool)
    for i, part in enumerate(folded):
        seen[i * block : (i + 1) * block, i * block : (i + 3) * block] = part
    return Posed(looked_up(seen[None, None, : sizes.q, block : block + sizes.k]), {"radius": block - 1})


def _doge(prepare: Any, rng: Generator, sizes: Sizes) -> Posed:
    """The best three by weight of the keys up to each query, which it finds by top-k for every query."""
    weight = torch.from_numpy(rng.random((sizes.b, sizes.h, sizes.q)))
    causal = torch.ones(sizes.q, sizes.q, dtype=torch.bool).tril().expand(sizes.b, 1, -1, -1)
    hidden = torch.zeros(sizes.b, sizes.q, 1, dtype=torch.float64)
    seen = prepare(None, hidden, weight, 3, causal) > torch.finfo(torch.float64).min
    gone = (~seen & causal).int()
    dropped_at = torch.where(gone.any(2), gone.argmax(2), sizes.q).int().numpy()
    return Posed(looked_up(seen), tables={"dropped_at": dropped_at})


MASKS, MODELS = "transformers.masking_utils", "transformers.models"
UNEVEN = (Sizes(1, 1, 1, 1), Sizes(1, 2, 7, 7), Sizes(2, 2, 7, 19), Sizes(1, 1, 20, 33))
HEADS = (Sizes(1, 1, 5, 5), Sizes(1, 6, 17, 17), Sizes(2, 12, 9, 9), Sizes(1, 8, 20, 20))

PEERS = (
    Peer("full", f"{MASKS}:bidirectional_mask_function", _plain),
    Peer("causal", f"{MASKS}:causal_mask_function", _plain),
    Peer("and_masks", f"{MASKS}:and_masks", _two),
    Peer("or_masks", f"{MASKS}:or_masks", _two),
    Peer("sliding_window", f"{MASKS}:sliding_window_causal_mask_function", _number("window")),
    Peer("mistral", f"{MASKS}:sliding_window_causal_mask_function", _number("window")),
    Peer("symmetric_local", f"{MASKS}:sliding_window_bidirectional_mask_function", _number("radius")),
    Peer("modernbert_local", f"{MASKS}:sliding_window_bidirectional_mask_function", _number("radius")),
    Peer("chunked", f"{MASKS}:chunked_causal_mask_function", _chunked),
    Peer("llama4_local", f"{MASKS}:chunked_causal_mask_function", _chunked),
    Peer("chunked_after_padding", f"{MASKS}:chunked_causal_mask_function", _chunked_after_padding),
    Peer("block_overlay", f"{MASKS}:blockwise_overlay", _overlay("block")),
    Peer("gemma3_image_global", f"{MASKS}:blockwise_overlay", _overlay("image")),
    Peer("block_overlay_window", f"{MASKS}:blockwise_overlay", _overlay_window("block")),
    Peer("gemma3_image_local", f"{MASKS}:blockwise_overlay", _overlay_window("image")),
    Peer("key_padding", f"{MASKS}:padding_mask_function", _padding),
    Peer("document", f"{MASKS}:packed_sequence_mask_function", _packed),
    Peer("packed", f"{MASKS}:remap_positions_for_packed_sequence", _remapped),
    Peer("position_reset", f"{MASKS}:find_packed_sequence_indices", _found),
    Peer("offset_causal", f"{MASKS}:add_offsets_to_mask_function", _offsets),
    Peer("exclusive_local", f"{MODELS}.gemma4.modeling_gemma4:sliding_window_mask_function", _both_sides),
    Peer("chunked_left_context", f"{MODELS}.nemotron_asr_streaming.modeling_nemotron_asr_streaming:chunked_limited_mask_function", _limited),
    Peer("doge_keep", f"{MODELS}.doge.modeling_doge:DogeAttention.prepare_dynamic_mask", _doge),
    Peer("longt5_local", f"{MODELS}.longt5.modeling_longt5:_get_local_attention_mask", _longt5),
    Peer("swin_shifted_window", f"{MODELS}.swin.modeling_swin:SwinLayer.get_attn_mask", _swin, (Sizes(1, 1, 64, 64),)),
    Peer("prophetnet_ngram", f"{MODELS}.prophetnet.modeling_prophetnet:ngram_attention_bias", _prophet, tuple(Sizes(1, 2, n, 2 * n) for n in (1, 4, 9, 20))),
    Peer("transformer_xl", f"{MODELS}.xlnet.modeling_xlnet:XLNetModel.create_mask", _xlnet, UNEVEN),
    Peer("t5_bias", f"{MODELS}.mt5.modeling_mt5:MT5Attention._relative_position_bucket", _buckets(True), LONG),
    Peer("t5_bias_32", f"{MODELS}.mt5.modeling_mt5:MT5Attention._relative_position_bucket", _buckets(True), LONG),
    Peer("t5_bias_causal", f"{MODELS}.mt5.modeling_mt5:MT5Attention._relative_position_bucket", _buckets(False), LONG),
    Peer("t5_bias_causal_32", f"{MODELS}.mt5.modeling_mt5:MT5Attention._relative_position_bucket", _buckets(False), LONG),
    Peer("gated_bias", f"{MODELS}.wavlm.modeling_wavlm:WavLMAttention._relative_positions_bucket", _gated, LONG),
    Peer("deberta_bias", f"{MODELS}.deberta_v2.modeling_deberta_v2:make_log_bucket_position", _deberta, LONG),
    Peer("alibi_slopes", f"{MODELS}.bloom.modeling_bloom:build_alibi_tensor", _bloom, HEADS),
    Peer("alibi_slopes", f"{MODELS}.mpt.modeling_mpt:build_mpt_alibi_tensor", _mpt, HEADS),
    Peer("alibi_by_key", f"{MODELS}.bloom.modeling_bloom:build_alibi_tensor", _bloom_padded, HEADS),
)  # fmt: skip
