"""Shipped definitions against the functions of other packages, densely; skipped where a package is not installed."""

from __future__ import annotations

import importlib.util

import attention_gym_peers
import numpy as np
import pytest
import torch
import transformers_modules_peers
import transformers_peers
from oracle import Sizes
from peer import Peer, mapped

import maskdsl
from maskdsl.backends import reference

PEERS: tuple[Peer, ...] = (*attention_gym_peers.PEERS, *transformers_peers.PEERS, *transformers_modules_peers.PEERS)


@pytest.mark.parametrize("peer", PEERS, ids=lambda p: f"{p.definition}-{p.function.partition(':')[2]}")
def test_definition_is_the_peers(peer: Peer) -> None:
    if importlib.util.find_spec(peer.package) is None:
        pytest.skip(f"{peer.package} is not installed: pip install maskdsl[peers]")
    function = peer.load()
    for number, sizes in enumerate(peer.sizes):
        compare(peer, function, sizes, np.random.default_rng(number))


def compare(peer: Peer, function: object, sizes: Sizes, rng: np.random.Generator) -> None:
    """The reference over all pairs beside the peer's own values: masks exactly, scores in float32's precision."""
    posed = peer.pose(function, rng, sizes)
    program = maskdsl.get(peer.definition, **posed.constants, **posed.masks)
    known = {"batch": sizes.b, "head": sizes.h, "kv_head": sizes.h, "q_len": sizes.q, "kv_len": sizes.k}
    tables = {name: np.asarray(table) for name, table in posed.tables.items()}
    groups = {tables[t.name].shape[t.axes.index("kv_head")] for t in program.manifest.tables if "kv_head" in (t.axes or ())}
    known |= {"kv_head": groups.pop()} if groups else {}
    program.bind(**tables, sizes=known)  # our own facts hold of what the peer accepts
    place = {"b": sizes.b, "h": sizes.h, "q": sizes.q, "k": sizes.k, "tables": tables, "sizes": known}
    if program.manifest.kind == "score":
        score = rng.standard_normal((sizes.b, sizes.h, sizes.q, sizes.k))
        wanted = mapped(posed.mod, sizes, torch.from_numpy(score))
        np.testing.assert_allclose(reference.scores(program.variant, score, **place), wanted, rtol=1e-5, atol=1e-5)
    else:
        wanted = mapped(posed.mod, sizes)
        np.testing.assert_array_equal(reference.mask(program.variant, **place), wanted)


def test_every_peer_is_of_a_shipped_definition() -> None:
    assert {p.definition for p in PEERS} <= {m.name for m in maskdsl.list()}
