"""The reference's attention against softmax written by hand, one query at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskdsl.backends.reference_attention import attention
from maskdsl.ir.nodes import Lookup, Node, Symbol, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import FLOAT, Table

H, Q, K = (Symbol(n) for n in "hqk")
SCORE = Symbol("score", FLOAT)
CAUSAL = make("le", K, Q)
SLOPE, SINK = Table("v", "slope", FLOAT, ("head",)), Table("v", "sink", FLOAT, ("head",))


def inputs(shape=(2, 4, 5, 8), kv_heads=2, kv_len=7, value_dim=3, seed=0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    b, _, _, d = shape
    return (
        rng.normal(size=shape).astype(np.float32),
        rng.normal(size=(b, kv_heads, kv_len, d)).astype(np.float32),
        rng.normal(size=(b, kv_heads, kv_len, value_dim)).astype(np.float32),
    )


def oracle(q, k, v, visible, change=lambda s, h, i, j: s, scale=None, sink=None, normalize=True):
    """Softmax by loops over Python floats."""
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    out, lse = np.zeros((*q.shape[:3], v.shape[3])), np.full(q.shape[:3], -math.inf)
    group = q.shape[1] // k.shape[1]
    for b, h, i in np.ndindex(*q.shape[:3]):
        keys = [j for j in range(k.shape[2]) if visible(b, h, i, j)]
        dots = {j: float(q[b, h, i].astype(float) @ k[b, h // group, j].astype(float)) for j in keys}
        weights = {j: math.exp(change(scale * dots[j], h, i, j)) for j in keys}
        total = sum(weights.values())
        if not total:
            continue
        lse[b, h, i] = math.log(total)
        drain = 0.0 if sink is None else math.exp(sink[h])
        whole = sum(weights[j] * v[b, h // group, j].astype(float) for j in keys)
        out[b, h, i] = whole / (total + drain) if normalize else whole
    return out, lse


def check(variant: Variant, expected, *qkv, **arguments) -> None:
    for found, wanted in zip(attention(variant, *qkv, **arguments), expected, strict=True):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_heads(kv_heads: int) -> None:
    qkv = inputs(kv_heads=kv_heads)
    check(Variant("causal", "mask", mask=CAUSAL), oracle(*qkv, lambda b, h, i, j: j <= i), *qkv)


def test_without_mask_and_with_scale() -> None:
    qkv = inputs()
    variant = Variant("full", "variant", scale=literal(0.25))
    check(variant, oracle(*qkv, lambda *_: True, scale=0.25), *qkv)


def test_rows_that_see_nothing_are_zero() -> None:
    qkv = inputs()
    below = Variant("below", "mask", mask=make("lt", K, Q))
    out, lse = attention(below, *qkv)
    assert (out[:, :, 0] == 0).all() and (lse[:, :, 0] == -np.inf).all()
    check(below, oracle(*qkv, lambda b, h, i, j: j < i), *qkv)


def test_visible_keys_at_minus_infinity_give_zero() -> None:
    qkv = inputs()
    change = make("choose", make("lt", Q, literal(2)), literal(-math.inf), SCORE)
    variant = Variant("v", "variant", mask=CAUSAL, score=change)
    out, lse = attention(variant, *qkv)
    assert (out[:, :, :2] == 0).all() and (lse[:, :, :2] == -np.inf).all()
    check(variant, oracle(*qkv, lambda b, h, i, j: j <= i and i >= 2), *qkv)


def test_lengths_per_row_and_offset() -> None:
    qkv = inputs(kv_len=9)
    q_len, kv_len = np.array([3, 5]), np.array([9, 6])
    expected = oracle(*qkv, lambda b, h, i, j: j <= i + 3 and i < q_len[b] and j < kv_len[b])
    check(Variant("causal", "mask", mask=CAUSAL), expected, *qkv, q_len=q_len, kv_len=kv_len, q_offset=3)


def alibi() -> Node:
    distance = make("to_float", make("sub", Q, K))
    return make("sub", SCORE, make("mul", Lookup(SLOPE, (H,), FLOAT), distance))


def test_scores() -> None:
    qkv, slopes = inputs(), np.array([1.0, 0.5, 0.25, 0.125], np.float32)
    variant = Variant("alibi", "variant", (SLOPE,), mask=CAUSAL, score=alibi())
    expected = oracle(*qkv, lambda b, h, i, j: j <= i, lambda s, h, i, j: s - float(slopes[h]) * (i - j))
    check(variant, expected, *qkv, tables={"slope": slopes})


def test_sink_joins_the_denominator() -> None:
    qkv, sink = inputs(), np.array([0.5, -2.0, 3.0, 0.0], np.float32)
    variant = Variant("v", "variant", (SINK,), mask=make("lt", K, Q), sink=Lookup(SINK, (H,), FLOAT))
    expected = oracle(*qkv, lambda b, h, i, j: j < i, sink=sink.astype(float))
    check(variant, expected, *qkv, tables={"sink": sink})
    out, lse = attention(variant, *qkv, tables={"sink": sink})
    plain, _ = attention(Variant("v", "variant", mask=make("lt", K, Q)), *qkv)
    sigmoid = 1 / (1 + np.exp(-(lse - sink[:, None])))
    np.testing.assert_allclose(out, plain * sigmoid[..., None], rtol=1e-12)


def test_sigmoid_attention() -> None:
    qkv = inputs()
    variant = Variant("v", "variant", mask=CAUSAL, score=make("logsigmoid", SCORE), normalize=literal(False))
    q, k, v = (x.astype(float) for x in qkv)
    k, v = np.repeat(k, 2, axis=1), np.repeat(v, 2, axis=1)
    weight = 1 / (1 + np.exp(-(q @ k.swapaxes(2, 3)) / math.sqrt(8))) * (np.arange(7) <= np.arange(5)[:, None])
    out, _ = attention(variant, *qkv)
    np.testing.assert_allclose(out, weight @ v, rtol=1e-12)


def test_large_scores_do_not_overflow() -> None:
    q, k, v = inputs()
    variant = Variant("full", "variant", scale=literal(1e4))
    out, lse = attention(variant, q, k, v)
    best = (q.astype(float) @ np.repeat(k, 2, axis=1).astype(float).swapaxes(2, 3)).argmax(axis=3)
    assert np.isfinite(lse).all()
    np.testing.assert_allclose(out, np.take_along_axis(np.repeat(v, 2, axis=1), best[..., None], axis=2), rtol=1e-6)


def test_keys_shared_by_all_batch_rows() -> None:
    q, k, v = inputs()
    shared = np.repeat(k[:1], 2, axis=0), np.repeat(v[:1], 2, axis=0)
    variant = Variant("causal", "mask", mask=CAUSAL)
    for found, wanted in zip(attention(variant, q, k[:1], v[:1]), attention(variant, q, *shared), strict=True):
        np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize(("queries", "keys"), [(0, 4), (4, 0)])
def test_nothing_to_attend(queries: int, keys: int) -> None:
    variant = Variant("v", "variant", (SINK,), mask=CAUSAL, sink=Lookup(SINK, (H,), FLOAT))
    qkv = inputs((2, 4, queries, 8), kv_len=keys)
    out, lse = attention(variant, *qkv, tables={"sink": np.zeros(4)})
    assert out.shape == (2, 4, queries, 3) and (out == 0).all() and (lse == -np.inf).all()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, slopes = inputs((2, 4, 33, 8), kv_len=40), np.ones(4)
    variant = Variant("alibi", "variant", (SLOPE,), mask=CAUSAL, score=alibi())
    whole = attention(variant, *qkv, tables={"slope": slopes})
    monkeypatch.setattr("maskdsl.backends.reference.LANES_AT_ONCE", 1000)
    for found, wanted in zip(attention(variant, *qkv, tables={"slope": slopes}), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
