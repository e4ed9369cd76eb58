"""`Layers` lines are read by `maskdsl check`, and what is wrong with them is told where it stands."""

from __future__ import annotations

import pytest

from maskdsl.cli.check import check_source
from maskdsl.library.registry import Registry
from maskdsl.source.text import Source

TEXT = """
## Near.
## Layers: {where}.
## Layers (image): layer % 6 == 5.
mask near(window: int = 4) = 0 <= q - k < window
    requires window >= 1

example near(window = 1)
    | x .
    | . x
"""


@pytest.mark.parametrize(
    ("where", "code", "marked"),
    [
        ("layr % 6 == 0", "E0201", "layr"),
        ("layer % 6", "E0301", "layer % 6"),
        ("layer > 0 and q == 0", "E0412", "q"),
        ("layer > ", "E0101", "."),
        ("window == 1", "E0201", "window"),
    ],
)
def test_a_wrong_line_is_told_at_its_place(where: str, code: str, marked: str) -> None:
    found = check_source(Source("a.mask", TEXT.format(where=where)), Registry()).diagnostics
    assert [d.code for d in found] == [code]
    assert found[0].span is not None and found[0].span.text == marked
    assert found[0].span.source.position(found[0].span.start)[0] == 3


@pytest.mark.parametrize("where", ["true", "layer == layers - 1", "any(layer == i * i for i in range(9))"])
def test_a_right_line_is_no_matter(where: str) -> None:
    assert not check_source(Source("a.mask", TEXT.format(where=where)), Registry()).diagnostics
