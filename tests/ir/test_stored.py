"""Definitions as plain values: what is read back means and prints the same, and what was tampered with is refused."""

from __future__ import annotations

import json

import pytest

import maskdsl
from maskdsl.ir.print import text
from maskdsl.ir.stored import from_plain, to_plain
from maskdsl.library.registry import shared
from maskdsl.meaning.facts import all_facts


def test_definitions_of_the_library_come_back() -> None:
    registry = shared()
    for entry in registry.entries()[::7]:
        variant = registry.check(entry.source).definitions[entry.name]
        again = from_plain(json.loads(json.dumps(to_plain(variant), allow_nan=False)))
        assert text(again) == text(variant)
        assert [text(f) for f in all_facts(again)] == [text(f) for f in all_facts(variant)]
        assert again.span.text == variant.span.text


def test_shared_values_stay_shared() -> None:
    variant = maskdsl.compile("mask m = x < k and x < 3 where x = q * q").variant
    again = from_plain(to_plain(variant))
    assert again.mask is not None and again.mask.args[0].args[0] is again.mask.args[1].args[0]  # type: ignore[union-attr]


def test_numbers_keep_their_type() -> None:
    variant = maskdsl.compile("score s = score + (-inf if q < k else 1.0) * 2").variant
    assert text(from_plain(json.loads(json.dumps(to_plain(variant))))) == text(variant)


@pytest.mark.parametrize(
    "harm",
    [
        lambda p: p.update(fields={}),
        lambda p: p["objects"].pop(),
        lambda p: p.update(objects=[]),
        lambda p: p["objects"].__setitem__(0, ["Path", "x"]),
        lambda p: p["objects"].__setitem__(-1, p["objects"][-1][:3]),
        lambda p: p["objects"][-1].__setitem__(1, {"at": -1}),
        lambda p: p["objects"][-1].__setitem__(1, {"at": 10**6}),
    ],
)
def test_what_was_not_stored_so_is_refused(harm: object) -> None:
    plain = to_plain(maskdsl.get("causal").variant)
    harm(plain)  # type: ignore[operator]
    with pytest.raises(ValueError):
        from_plain(plain)
