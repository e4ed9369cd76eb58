"""Oracles of positional biases: distances, slopes, buckets and tables, by the algorithms of the libraries that ship them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from oracle import Array, Oracle, Sizes

Draw = Callable[[np.random.Generator, Sizes], dict[str, Array]]


def _tables(**shapes: tuple[int | str, ...]) -> Draw:
    """Normal float32 tables whose axes are numbers, "batch", "head", "position", or "span" (2 * position)."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        length = max(sizes.q, sizes.k)
        known = {"batch": sizes.b, "head": sizes.h, "position": length, "span": 2 * length}
        lengths = {name: [known.get(a, a) for a in shape] for name, shape in shapes.items()}  # type: ignore[call-overload]
        return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in lengths.items()}

    return draw


def _distances(sizes: Sizes) -> Array:
    """Query minus key, pair by pair, by counting."""
    return np.array([[i - j for j in range(sizes.k)] for i in range(sizes.q)]).reshape(sizes.q, sizes.k)


def relative_distance(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return score + _distances(sizes)


def absolute_distance(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes) -> Array:
    return score + np.abs(_distances(sizes))


def clipped_distance(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, limit: int = 128) -> Array:
    return score + np.clip(_distances(sizes), -limit, limit)


def alibi_geometric(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias_max: float = 8.0) -> Array:
    """A running product of the first slope."""
    slopes = np.cumprod(np.full(sizes.h, 2.0 ** (-bias_max / sizes.h)))
    return score - slopes[h] * _distances(sizes)


def alibi_symmetric(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, slope: Array) -> Array:
    """As FlashAttention 2's `attn_bias_from_alibi_slopes`."""
    row = np.arange(sizes.q)[:, None]
    relative = np.abs(row + sizes.k - sizes.q - np.arange(sizes.k))
    return score - slope.astype(np.float64)[:, :, None, None] * relative


def alibi_by_key(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, slope: Array, place: Array
) -> Array:
    return score + slope.astype(np.float64)[None, :, None, None] * place[:, None, None, : sizes.k]


def forgetting(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, decay: Array) -> Array:
    """The log of the product of the gates after the key, as a quotient of running products."""
    running = np.exp(decay.astype(np.float64))
    return score + np.log(running[..., : sizes.q, None] / running[..., None, : sizes.k])


def _t5_thresholds(distance: Array, exact: int, buckets: int, reach: int = 128) -> Array:
    """T5's bucket of one side, found number by number in Python's floats."""

    def bucket(n: int) -> int:
        if n < exact:
            return n
        return min(exact + int(math.log(n / exact) / math.log(reach / exact) * (buckets - exact)), buckets - 1)

    return np.vectorize(bucket)(distance)


def t5_bias_32(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    relative = -_distances(sizes)
    bucket = _t5_thresholds(np.abs(relative), 8, 16) + (relative > 0) * 16
    return score + bias.astype(np.float64)[bucket].transpose(2, 0, 1)


def t5_bias_causal_32(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    bucket = _t5_thresholds(np.maximum(_distances(sizes), 0), 16, 32)
    return score + bias.astype(np.float64)[bucket].transpose(2, 0, 1)


def _log_bucket(relative: Array, buckets: int, max_distance: int) -> Array:
    """Hugging Face's `make_log_bucket_position` of DeBERTa v2."""
    middle = buckets // 2
    near = (relative < middle) & (relative > -middle)
    place = np.where(near, middle - 1, np.abs(relative))
    grown = np.ceil(np.log(place / middle) / np.log((max_distance - 1) / middle) * (middle - 1)) + middle
    return np.where(place <= middle, relative, grown * np.sign(relative)).astype(np.int64)


def deberta_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    content_to_position: Array, position_to_content: Array, buckets: int = 256, max_distance: int = 512,
) -> Array:  # fmt: skip
    """Both gathers of `disentangled_attention_bias`; the second over keys, then transposed."""
    length = max(sizes.q, sizes.k)
    relative = _log_bucket(_distances(Sizes(1, 1, length, length)), buckets, max_distance)
    c2p = np.clip(relative + buckets, 0, 2 * buckets - 1)
    p2c = np.clip(-relative + buckets, 0, 2 * buckets - 1)
    shape = (sizes.b, sizes.h, length, length)
    first = np.take_along_axis(content_to_position, np.broadcast_to(c2p, shape), -1)
    second = np.take_along_axis(position_to_content, np.broadcast_to(p2c, shape), -1).swapaxes(-1, -2)
    return score + (first.astype(np.float64) + second)[:, :, : sizes.q, : sizes.k]


def _alibi_by_key(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    """Tokens after a random number of padded places."""
    length = max(sizes.q, sizes.k)
    keep = np.arange(length) >= rng.integers(0, length, (sizes.b, 1))
    place = np.maximum(np.cumsum(keep, axis=1) - 1, 0).astype(np.int32)
    return {"slope": rng.random(sizes.h).astype(np.float32), "place": place}


def shifted_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    """Transformer-XL's `rel_shift`: pad a column, view rows as columns, cut; then the entries of these keys."""
    exact = bias.astype(np.float64)
    n = exact.shape[2]
    middle = exact.shape[3] // 2
    used = exact[..., middle - n + 1 : middle + n]
    padded = np.concatenate([np.zeros((*used.shape[:3], 1)), used], -1)
    folded = padded.reshape(*used.shape[:2], 2 * n, n)[:, :, 1:].reshape(*used.shape[:2], n, 2 * n - 1)
    return score + folded[:, :, : sizes.q, : sizes.k]


def relative_logits(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    found = score.copy()
    for i in range(sizes.q):
        for n in range(bias.shape[3]):
            if 0 <= i - n < sizes.k:
                found[:, :, i, i - n] += bias[:, :, i, n]
    return found


def gated_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, gate: Array, bias: Array, max_distance: int
) -> Array:
    relative, half = -_distances(sizes), bias.shape[0] // 2
    bucket = _t5_thresholds(np.abs(relative), half // 2, half, max_distance) + (relative > 0) * half
    return score + gate.astype(np.float64)[:, :, : sizes.q, None] * bias.astype(np.float64)[bucket].transpose(2, 0, 1)


def _swin_index(height: int, width: int) -> Array:
    """Swin's `relative_position_index`: offsets of all pairs, moved to start at 0, as one number."""
    coords = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).reshape(2, -1)
    relative = (coords[:, :, None] - coords[:, None, :]).transpose(1, 2, 0)
    relative += np.array([height - 1, width - 1])
    relative[:, :, 0] *= 2 * width - 1
    return relative.sum(-1)


def _swin(bias: Array, sizes: Sizes, height: int, width: int) -> Array:
    flat = bias.astype(np.float64).reshape(-1, bias.shape[2])
    return flat[_swin_index(height, width)].transpose(2, 0, 1)[:, : sizes.q, : sizes.k]


def swin_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, height: int, width: int
) -> Array:
    return score + _swin(bias, sizes, height, width)


def beit_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    bias: Array, class_bias: Array, height: int, width: int,
) -> Array:  # fmt: skip
    """BEiT's index: the last three rows of one table, written over the first row, column and corner."""
    table = np.concatenate([bias.reshape(-1, bias.shape[2]), class_bias]).astype(np.float64)
    index = np.zeros((height * width + 1,) * 2, np.int64)
    index[1:, 1:] = _swin_index(height, width)
    index[0, 0:], index[0:, 0], index[0, 0] = len(table) - 3, len(table) - 2, len(table) - 1
    return score + table[index].transpose(2, 0, 1)[:, : sizes.q, : sizes.k]


def swin_v2_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    logit_scale: Array, bias: Array, height: int, width: int,
) -> Array:  # fmt: skip
    factor = np.minimum(np.exp(logit_scale.astype(np.float64)), 100)[:, None, None]
    return score * factor + 16 / (1 + np.exp(-_swin(bias, sizes, height, width)))


def kerple_log(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, weight: Array, rate: Array) -> Array:
    grown = np.log(1 + rate.astype(np.float64)[:, None, None] * np.abs(_distances(sizes)))
    return score - weight.astype(np.float64)[:, None, None] * grown


def kerple_power(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, weight: Array, power: Array
) -> Array:
    with np.errstate(divide="ignore"):
        grown = np.exp(power.astype(np.float64)[:, None, None] * np.log(np.abs(_distances(sizes))))
    return score - weight.astype(np.float64)[:, None, None] * grown


def fire(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes,
    hidden_weight: Array, hidden_bias: Array, weight: Array, bias: Array, rate: Array, threshold: Array,
) -> Array:  # fmt: skip
    """Two linear layers over the normalised distance, as in the paper's appendix."""
    c, least = float(rate.item()), float(threshold.item())
    normal = np.log(c * np.maximum(np.arange(sizes.q), least) + 1)[:, None]
    share = np.log(c * np.abs(_distances(sizes)) + 1) / normal
    hidden = np.maximum(share[..., None] * hidden_weight.astype(np.float64) + hidden_bias, 0)
    return score + (hidden @ weight.astype(np.float64).T + bias).transpose(2, 0, 1)


def sandwich(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, head_scale: Array
) -> Array:
    """Diagonal by diagonal."""
    added = np.zeros((sizes.q, sizes.k))
    for entry, value in enumerate(bias.astype(np.float64)):
        added += value * np.eye(sizes.q, sizes.k, -(entry - len(bias) // 2))
    return score + added * head_scale.astype(np.float64)[:, None, None]


def decay_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, decay: Array) -> Array:
    """The factor itself, and then its logarithm."""
    return score + np.log(decay.astype(np.float64)[:, None, None] ** _distances(sizes))


def dense_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    found = score.copy()
    rows, columns = min(sizes.q, bias.shape[-2]), min(sizes.k, bias.shape[-1])
    found[:, :, :rows, :columns] += bias[..., :rows, :columns]
    return found


def dense_bias_before_scale(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, scale: float
) -> Array:
    """Undo the scale, add, and scale again."""
    return dense_bias(score / scale, b, h, q, k, sizes, bias) * scale


def batch_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    return np.array([row + float(x) for row, x in zip(score, bias, strict=True)])


def query_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    return score + bias.astype(np.float64)[: sizes.q, None]


def key_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    return score + bias.astype(np.float64)[: sizes.k]


def head_and_query_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, head_bias: Array, bias: Array
) -> Array:
    return query_bias(score, b, h, q, k, sizes, bias) + head_bias.astype(np.float64)[:, None, None]


def _packed(bias: Array, start: Array, length: int) -> Array:
    """The piece of each row, [b, 1, length]; the last entry goes on past the end."""
    longer = np.concatenate([bias, np.full(length, bias[-1])]).astype(np.float64)
    return np.array([longer[first : first + length] for first in start])[:, None]


def packed_key_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, start: Array
) -> Array:
    return score + _packed(bias, start, sizes.k)[:, :, None]


def packed_query_bias(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array, start: Array
) -> Array:
    return score + _packed(bias, start, sizes.q)[..., None]


def mla_rope(
    score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, query: Array, key: Array, scale: float
) -> Array:
    return score + scale * query[:, :, : sizes.q].astype(np.float64) @ key[:, :, : sizes.k].swapaxes(-1, -2)


def xor_bias(score: Array, b: Array, h: Array, q: Array, k: Array, sizes: Sizes, bias: Array) -> Array:
    pattern = np.array([[(i ^ j) % 256 for j in range(sizes.k)] for i in range(sizes.q)])
    return score + pattern / 1000 + bias.astype(np.float64)[: sizes.k] / 10


def _positive(**shapes: tuple[int | str, ...]) -> Draw:
    """The same within (0, 1)."""
    draw = _tables(**shapes)
    return lambda rng, sizes: {name: 1 / (1 + np.exp(-t)) for name, t in draw(rng, sizes).items()}


def _fire(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    layers = _tables(hidden_weight=(32,), hidden_bias=(32,), weight=("head", 32), bias=("head",))(rng, sizes)
    return {**layers, "rate": np.array([0.1], np.float32), "threshold": np.array([20.0], np.float32)}


def _packed_starts(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
    length = max(sizes.q, sizes.k)
    start = np.sort(rng.integers(0, length, sizes.b)).astype(np.int32)
    return {"bias": rng.standard_normal(length + 3).astype(np.float32), "start": start}


window = {"height": 12, "width": 13}

ORACLES: dict[str, Oracle] = {
    "relative_distance": Oracle(score=relative_distance),
    "absolute_distance": Oracle(score=absolute_distance),
    "clipped_distance": Oracle(score=clipped_distance, constants=({}, {"limit": 0}, {"limit": 5})),
    "alibi_geometric": Oracle(score=alibi_geometric, constants=({}, {"bias_max": 16.0})),
    "alibi_symmetric": Oracle(score=alibi_symmetric, inputs=_tables(slope=("batch", "head"))),
    "alibi_by_key": Oracle(score=alibi_by_key, inputs=_alibi_by_key),
    "forgetting": Oracle(score=forgetting, inputs=_tables(decay=("batch", "head", "position"))),
    "t5_bias_32": Oracle(score=t5_bias_32, inputs=_tables(bias=(32, "head"))),
    "t5_bias_causal_32": Oracle(score=t5_bias_causal_32, inputs=_tables(bias=(32, "head"))),
    "deberta_bias": Oracle(
        score=deberta_bias,
        inputs=_tables(
            content_to_position=("batch", "head", "position", 32), position_to_content=("batch", "head", "position", 32)
        ),
        constants=({"buckets": 16, "max_distance": 512}, {"buckets": 16, "max_distance": 40}),
    ),
    "shifted_bias": Oracle(score=shifted_bias, inputs=_tables(bias=("batch", "head", "position", "span"))),
    "relative_logits": Oracle(score=relative_logits, inputs=_tables(bias=("batch", "head", "position", 9))),
    "gated_bias": Oracle(
        score=gated_bias,
        inputs=_tables(gate=("batch", "head", "position"), bias=(40, "head")),
        constants=({"max_distance": 800}, {"max_distance": 50}),
    ),
    "swin_bias": Oracle(score=swin_bias, inputs=_tables(bias=(23, 25, "head")), constants=(window,)),
    "beit_bias": Oracle(
        score=beit_bias, inputs=_tables(bias=(23, 25, "head"), class_bias=(3, "head")), constants=(window,)
    ),
    "swin_v2_bias": Oracle(
        score=swin_v2_bias, inputs=_tables(logit_scale=("head",), bias=(23, 25, "head")), constants=(window,)
    ),
    "swin_v2": Oracle(
        score=swin_v2_bias, inputs=_tables(logit_scale=("head",), bias=(23, 25, "head")), constants=(window,)
    ),
    "kerple_log": Oracle(score=kerple_log, inputs=_positive(weight=("head",), rate=("head",))),
    "kerple_power": Oracle(score=kerple_power, inputs=_positive(weight=("head",), power=("head",))),
    "fire": Oracle(score=fire, inputs=_fire),
    "sandwich": Oracle(score=sandwich, inputs=_tables(bias=(41,), head_scale=("head",))),
    "decay_bias": Oracle(score=decay_bias, inputs=_positive(decay=("head",))),
    "dense_bias": Oracle(score=dense_bias, inputs=_tables(bias=(20, 30))),
    "dense_bias_per_head": Oracle(score=dense_bias, inputs=_tables(bias=("batch", "head", 40, 20))),
    "dense_bias_before_scale": Oracle(
        score=dense_bias_before_scale,
        inputs=_tables(bias=("batch", "head", 40, 20)),
        constants=({"scale": 0.125}, {"scale": 2.0}),
    ),
    "batch_bias": Oracle(score=batch_bias, inputs=_tables(bias=("batch",))),
    "query_bias": Oracle(score=query_bias, inputs=_tables(bias=("position",))),
    "key_bias": Oracle(score=key_bias, inputs=_tables(bias=("position",))),
    "head_and_query_bias": Oracle(score=head_and_query_bias, inputs=_tables(head_bias=("head",), bias=("position",))),
    "packed_key_bias": Oracle(score=packed_key_bias, inputs=_packed_starts),
    "packed_query_bias": Oracle(score=packed_query_bias, inputs=_packed_starts),
    "mla_rope": Oracle(
        score=mla_rope,
        inputs=_tables(query=("batch", "head", "position", 8), key=("batch", "head", "position", 8)),
        constants=({"scale": 0.25},),
    ),
    "xor_bias": Oracle(score=xor_bias, inputs=_tables(bias=("position",))),
}
