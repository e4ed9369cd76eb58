"""Manifests say what the definition says."""

from __future__ import annotations

import json

import pytest

from maskdsl.library.manifest import Manifest, parameter_text
from maskdsl.library.registry import Registry
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source

TEXT = """
## The first line.
##   And the second.
mask picky(inner: mask, pick: int[head, blocks, 3], one: int[], block: int = 64, low: float = -1.5,
           deep: float = 256 ** -0.5, flag: bool = true, none: float = -inf) =
    inner and pick[h, 0, 0] == k
    requires size(blocks) * block >= size(position),
        block >= 1
example picky(inner = causal) | x
"""


def manifest(name: str = "picky", text: str = TEXT) -> Manifest:
    return Registry().manifest(Source("a.mask", text), name)


def test_every_field() -> None:
    found = manifest()
    assert (found.name, found.path, found.kind, found.library, found.file) == ("picky", "picky", "mask", None, None)
    assert found.doc == "The first line.\nAnd the second."
    assert found.facts == ("size(blocks) * block >= size(position)", "block >= 1")
    assert found.source.startswith("mask picky(") and found.source.endswith("block >= 1")


def test_parameters_are_spelt_as_written() -> None:
    spelt = [parameter_text(p) for p in manifest().parameters]
    assert spelt == [
        "inner: mask", "pick: int[head, blocks, 3]", "one: int[]", "block: int = 64", "low: float = -1.5",
        "deep: float = 256 ** -0.5", "flag: bool = true", "none: float = -inf",
    ]  # fmt: skip
    assert [p.kind for p in manifest().parameters] == ["mask", "table", "table", *["constant"] * 5]
    assert [p.default for p in manifest().constants] == [64, -1.5, "256 ** -0.5", True, "-inf"]


def test_an_unknown_definition_is_named() -> None:
    with pytest.raises(MaskError, match="did you mean `picky`"):
        manifest("piky")


def test_the_shipped_library_has_manifests_for_machines() -> None:
    manifests = Registry().manifests()
    assert {m.path for m in manifests} >= {"base/causal", "local/sliding_window", "models/gemma2_local"}
    for one in manifests:
        assert one.doc and one.source and one.file
        assert Manifest.model_validate(json.loads(one.model_dump_json())) == one
