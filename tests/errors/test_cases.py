"""Programs with many mistakes: a comment `#: CODE CODE` stands on each line where diagnostics of these codes begin."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fenced import Block, check_block

from maskdsl.source.render import render_text

HERE = Path(__file__).parent / "cases"
CASES = sorted(HERE.glob("*.mask"))
ALSO = {"lints": {"W0801", "W0802", "W0804", "W0805", "W0806"}, "differs": {"W0806"}}
"""Which lints a case is about, beside errors."""


def expected(text: str) -> Counter[tuple[int, str]]:
    """The line and code of every diagnostic that the comments announce."""
    lines = enumerate(text.split("\n"), 1)
    return Counter((n, code) for n, line in lines if "#: " in line for code in line.split("#: ")[1].split())


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.stem)
def test_every_mistake_is_found_where_it_is(case: Path, tmp_path: Path, snapshot: Callable[[Path, str], None]) -> None:
    text = case.read_text(encoding="utf-8")
    found = check_block(Block("mask", frozenset(), text, 1), (), tmp_path)
    told = [d for d in found if d.severity == "error" or d.code in ALSO.get(case.stem, ())]
    assert Counter((d.span.source.position(d.span.start)[0], d.code) for d in told if d.span) == expected(text)
    shown = re.sub(r" +#: .*", "", "\n\n".join(map(render_text, told)))
    snapshot(case.with_suffix(".txt"), shown.replace("page.mask", case.name) + "\n")


def test_no_expected_text_without_a_case() -> None:
    assert {p.stem for p in HERE.glob("*.txt")} <= {p.stem for p in CASES}
