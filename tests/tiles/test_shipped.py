"""Every shipped mask: `exact=True` is torch's own BlockMask tile for tile, and the plain analysis is as close to it as
`variants/precision.json` says: by `python -m tests.tiles.precision`, which says what is measured and how.
"""

from __future__ import annotations

import json

import pytest
from precision import FILE, FULL, MASKS, REASONS, VISITED, measure

STORED = json.loads(FILE.read_text(encoding="utf-8"))
STALE = "`python -m tests.tiles.precision` writes it anew"


@pytest.mark.parametrize("name", MASKS)
def test_shipped_mask(name: str) -> None:
    assert name in STORED, STALE
    assert measure(name) == STORED[name], STALE


def test_every_mask_is_listed_and_no_other() -> None:
    assert list(STORED) == sorted(MASKS), STALE


def test_what_is_far_from_the_truth_has_a_reason() -> None:
    far = {n for n, entry in STORED.items() if entry["visited"] > VISITED or entry["full"] < FULL}
    assert far == REASONS.keys(), "a reason too many, or one too few"
    assert all(entry["why"] == REASONS.get(name) for name, entry in STORED.items())
