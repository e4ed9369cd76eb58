"""Every shipped definition against its oracle: the formula written again, apart, from the source that it names.

Reference and emitted mods are compared densely at several sizes, odd ones included, with tables drawn at random.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from collected import ORACLES
from oracle import Array, Oracle, Sizes

import maskdsl
from maskdsl.backends import reference

SIZES = (
    Sizes(1, 1, 1, 1),
    Sizes(2, 3, 7, 7),
    Sizes(1, 6, 37, 37),
    Sizes(2, 4, 5, 33),
    Sizes(2, 2, 34, 6),
    Sizes(1, 2, 129, 129),
)
CASES = [
    pytest.param(name, constants, id=f"{name}-{number}")
    for name, oracle in ORACLES.items()
    for number, constants in enumerate(oracle.constants)
]


def test_every_definition_has_an_oracle() -> None:
    assert {m.name for m in maskdsl.list()} == ORACLES.keys()


def grid(sizes: Sizes) -> tuple[Array, Array, Array, Array]:
    """b, h, q, k as int arrays that broadcast to [B, H, Q, K]."""
    return np.ix_(*(np.arange(n) for n in (sizes.b, sizes.h, sizes.q, sizes.k)))  # type: ignore[return-value]


def only_known(function: Callable[..., Array], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the function has parameters for."""
    return {name: value for name, value in arguments.items() if name in inspect.signature(function).parameters}


def dense(values: Any, sizes: Sizes) -> Array:
    """Values broadcast to [B, H, Q, K]."""
    return np.broadcast_to(np.asarray(values), (sizes.b, sizes.h, sizes.q, sizes.k))


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_definition(name: str, constants: dict[str, Any]) -> None:
    oracle = ORACLES[name]
    program = maskdsl.get(name, **constants, **oracle.masks)
    for number, sizes in enumerate(SIZES):
        rng = np.random.default_rng(number)
        tables = oracle.inputs(rng, sizes)
        compare(program, oracle, constants, tables, sizes, rng)


def compare(
    program: Any, oracle: Oracle, constants: dict[str, Any], tables: dict[str, Array], sizes: Sizes,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Reference and emitted mods against the oracle over all pairs."""
    known = {"batch": sizes.b, "head": sizes.h, "kv_head": sizes.h, "q_len": sizes.q, "kv_len": sizes.k}
    bound = program.bind(**tables, sizes=known)
    place = {"b": sizes.b, "h": sizes.h, "q": sizes.q, "k": sizes.k, "tables": tables, "sizes": known}
    arguments = {**constants, **tables, "sizes": sizes}
    at = tuple(torch.from_numpy(i.astype(np.int64)) for i in grid(sizes))
    if oracle.mask is not None:
        wanted = dense(oracle.mask(*grid(sizes), **only_known(oracle.mask, arguments)), sizes)
        np.testing.assert_array_equal(reference.mask(program.variant, **place), wanted)
        np.testing.assert_array_equal(dense(bound.mask_mod(*at), sizes), wanted)
    if oracle.score is not None:
        score = rng.standard_normal((sizes.b, sizes.h, sizes.q, sizes.k))
        wanted = dense(oracle.score(score, *grid(sizes), **only_known(oracle.score, arguments)), sizes)
        np.testing.assert_allclose(reference.scores(program.variant, score, **place), wanted, rtol=1e-9, atol=1e-9)
        found = bound.score_mod(torch.from_numpy(score).float(), *at)
        np.testing.assert_allclose(dense(found, sizes), wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", [n for n, o in ORACLES.items() if o.scale is not None or o.sink is not None])
def test_what_surrounds_the_softmax(name: str) -> None:
    """Scale and sink, through attention written out in NumPy."""
    oracle, sizes, rng = ORACLES[name], Sizes(1, 4, 9, 9), np.random.default_rng(0)
    tables = oracle.inputs(rng, sizes)
    q, k, v = (rng.standard_normal((1, 4, 9, 16)) for _ in range(3))
    score = q @ k.transpose(0, 1, 3, 2) * (oracle.scale or 0.25)
    arguments = {**oracle.constants[0], **tables, "sizes": sizes}
    if oracle.score is not None:
        score = oracle.score(score, *grid(sizes), **only_known(oracle.score, arguments))
    assert oracle.mask is not None
    weights = np.exp(score) * oracle.mask(*grid(sizes), **only_known(oracle.mask, arguments))
    total = weights.sum(-1, keepdims=True)
    if oracle.sink is not None:
        total = total + np.exp(tables[oracle.sink].astype(float))[None, :, None, None]
    np.testing.assert_allclose(
        maskdsl.get(name, **oracle.constants[0]).reference(q, k, v, **tables), weights / total @ v, rtol=1e-6, atol=1e-7
    )


def grouped() -> list[str]:
    """The definitions with a table of key heads."""
    return [m.name for m in maskdsl.list() if any("kv_head" in (t.axes or ()) for t in m.tables)]


@pytest.mark.parametrize("name", grouped())
def test_key_heads_are_those_of_their_group(name: str) -> None:
    """Two query heads to a key head: the same as with each key head's table given twice."""
    oracle, sizes = ORACLES[name], Sizes(2, 2, 19, 37)
    program = maskdsl.get(name, **oracle.constants[-1], **oracle.masks)
    few = {n: np.asarray(t) for n, t in oracle.inputs(np.random.default_rng(0), sizes).items()}
    axes = {t.name: t.axes or () for t in program.manifest.tables}
    few |= {n: np.concatenate([t, t], axes[n].index("head")) for n, t in few.items() if "head" in axes[n]}
    many = {n: np.repeat(t, 2, axes[n].index("kv_head")) if "kv_head" in axes[n] else t for n, t in few.items()}
    at = tuple(torch.from_numpy(i.astype(np.int64)) for i in grid(Sizes(2, 4, 19, 37)))
    score, found = torch.randn(2, 4, 19, 37), []
    for kv_head, tables in ((2, few), (4, many)):
        known = {"batch": 2, "head": 4, "kv_head": kv_head, "q_len": 19, "kv_len": 37}
        bound = program.bind(**tables, sizes=known)
        place = {"b": 2, "h": 4, "q": 19, "k": 37, "tables": tables, "sizes": known}
        if program.manifest.kind == "score":
            found.append(reference.scores(program.variant, score.double().numpy(), **place))
            emitted = bound.score_mod(score, *at)
            np.testing.assert_allclose(emitted.numpy(), found[-1], rtol=2e-5, atol=2e-5)
        else:
            found.append(reference.mask(program.variant, **place))
            np.testing.assert_array_equal(dense(bound.mask_mod(*at), Sizes(2, 4, 19, 37)), found[-1])
    np.testing.assert_array_equal(*found)
