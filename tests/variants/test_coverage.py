"""The coverage page is what the files say; a definition without doc, picture or oracle fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import coverage_page
import pytest
from collected import ORACLES
from test_catalogue import SHIPPED

from maskdsl.library.manifest import Manifest

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date(snapshot: Callable[[Path, str], None]) -> None:
    snapshot(coverage_page.PAGE, coverage_page.page())


def test_the_readme_states_the_counts(snapshot: Callable[[Path, str], None]) -> None:
    """The numbers where they stand; --accept puts in the new ones."""
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    stated = re.compile(coverage_page.SENTENCE.format(*[r"\d+"] * 4).replace(" ", r"\s+"))
    assert len(stated.findall(readme)) == 1 and "](variants/COVERAGE.md)" in readme
    numbers = iter(re.findall(r"\d+", coverage_page.sentence()))
    snapshot(path, stated.sub(lambda found: re.sub(r"\d+", lambda _: next(numbers), found[0]), readme))


@pytest.mark.parametrize("one", SHIPPED, ids=lambda m: m.path)
def test_a_definition_has_doc_picture_and_oracle(one: Manifest) -> None:
    assert coverage_page.lacking(one, coverage_page.examples_of(one), ORACLES) == []


def test_what_is_lacking_is_noticed() -> None:
    mask, score = (next(m for m in SHIPPED if m.kind == kind) for kind in ("mask", "score"))
    pictures, values = coverage_page.examples_of(mask), coverage_page.examples_of(score)
    assert coverage_page.lacking(mask.model_copy(update={"doc": ""}), [], ()) == ["doc", "picture", "oracle"]
    assert coverage_page.lacking(mask, values, ORACLES) == ["picture"]
    assert coverage_page.lacking(score, pictures, ORACLES) == ["picture"]
    other = [replace(pictures[0], expected=values[0].expected)]
    assert coverage_page.lacking(mask, other, ORACLES) == ["picture"]


def test_the_precision_of_every_mask_is_known_and_of_nothing_else() -> None:
    if not coverage_page.PRECISION.exists():
        pytest.skip("no variants/precision.json")
    masks = {name for name, oracle in ORACLES.items() if oracle.mask is not None}
    assert set(coverage_page.precision()) == masks
    for name, entry in coverage_page.precision().items():
        assert entry["visited"] >= 1 and 0 <= entry["full"] <= 1, name
