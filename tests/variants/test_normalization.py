"""Variants whose weights do not sum to one, each against its weights written out: activations and a sink of logit 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import maskdsl

Array = np.ndarray

WEIGHTS: dict[str, Callable[[Array, Array], Array]] = {
    "sigmoid_attention": lambda score, seen: seen / (1 + np.exp(-score)),
    "relu_attention": lambda score, seen: seen * np.maximum(score, 0),
    "off_by_one_softmax": lambda score, seen: (
        seen * np.exp(score) / (1 + (seen * np.exp(score)).sum(-1, keepdims=True))
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_those_of_the_activation(name: str) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, 9, 16)) for _ in range(3))
    seen = np.tril(np.ones((9, 9)))
    weights = WEIGHTS[name](q @ k.transpose(0, 1, 3, 2) / 4, seen)
    np.testing.assert_allclose(maskdsl.get(name).reference(q, k, v), weights @ v, rtol=1e-6, atol=1e-7)
