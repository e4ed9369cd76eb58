"""Every code has a page, and every program on a page does what the page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fenced import Block, check_block, read_blocks, run_block

import maskdsl.source
from maskdsl.source.codes import CODES
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.render import render_text
from maskdsl.source.shipped import grammar_dir

HERE = Path(__file__).parent
PAGES = sorted((grammar_dir() / "errors").glob("*.md"))
WITHOUT_PROGRAM = {"E0001", "E0705"}  # faults of our own and of torch: whatever we know to cause them is mended
# A program on a page need not carry documentation and examples, nor skip tiles, unless that is its subject.
QUIET = {"W0803", "W0804", "W0805"}


def test_codes_and_pages_are_the_same() -> None:
    assert {p.stem for p in PAGES} == set(CODES)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_page_has_its_parts(page: Path) -> None:
    text, blocks = page.read_text(encoding="utf-8"), read_blocks(page)
    assert text.startswith(f"# {page.stem}: {CODES[page.stem]}\n\n")
    assert all(len(line) <= 120 for line in text.splitlines())
    tags = [tag for block in blocks for tag in ("wrong", "right") if tag in block.tags]
    assert tags == ([] if page.stem in WITHOUT_PROGRAM else ["wrong", "right"])
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    assert 100 < len(prose) < 1500


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_blocks_are_tagged_in_words_that_the_tests_know(page: Path) -> None:
    known = {"wrong", "right", "needs=cuda", "without=cuda", "without=torch"}
    for block in read_blocks(page):
        assert block.language in ("mask", "python")
        assert all(tag in known or tag.startswith("file=") for tag in block.tags)


def diagnose(page: Path, block: Block, folder: Path) -> tuple[Diagnostic, ...]:
    """What maskdsl says about a block of a page."""
    if block.language == "python":
        return run_block(block)
    return check_block(block, tuple(b for b in read_blocks(page) if b.tag("file")), folder)


def codes(page: Path, found: tuple[Diagnostic, ...]) -> set[str]:
    """The codes that count on this page: no lints on the page of an error, except those the page is about."""
    if page.stem.startswith("E"):
        return {d.code for d in found if d.severity == "error"}
    return {d.code for d in found}


def require_reporter(code: str) -> None:
    """Skip the test while no module reports the code."""
    package = Path(maskdsl.source.__file__).parent.parent
    files = (p for p in package.rglob("*.py") if p.name != "codes.py")
    if not any(code in p.read_text(encoding="utf-8") for p in files):
        pytest.skip(f"nothing reports {code}")


def tagged(tag: str) -> list[pytest.param]:
    """The blocks of all pages with a tag."""
    return [pytest.param(p, b, id=p.stem) for p in PAGES for b in read_blocks(p) if tag in b.tags]


@pytest.mark.parametrize(("page", "block"), tagged("wrong"))
def test_the_wrong_program_has_exactly_this_mistake(page: Path, block: Block, tmp_path: Path) -> None:
    require_reporter(page.stem)
    found = diagnose(page, block, tmp_path)
    assert codes(page, found) == {page.stem}, "\n\n".join(map(render_text, found))


@pytest.mark.parametrize(("page", "block"), tagged("right"))
def test_the_right_program_has_no_mistake(page: Path, block: Block, tmp_path: Path) -> None:
    found = diagnose(page, block, tmp_path)
    quiet = QUIET if page.stem.startswith("E") else set()
    assert {d.code for d in found} <= quiet, "\n\n".join(map(render_text, found))


@pytest.mark.parametrize(("page", "block"), tagged("wrong"))
def test_the_mistake_is_told_well(page: Path, block: Block, tmp_path: Path) -> None:
    for found in diagnose(page, block, tmp_path):
        if found.code == page.stem:
            assert found.message[0].islower() or found.message[0] in "`0123456789"
            assert not found.message.endswith(".") and "\n" not in found.message
            for text in (found.message, found.label, *found.notes, *found.help):
                assert not re.search(r"Traceback|\b(?!MASKDSL_PATH)[A-Z]{4,}_|__\w+__|<lark|Token\(", text), text


@pytest.mark.parametrize(("page", "block"), tagged("wrong"))
def test_the_message_reads_as_expected(
    page: Path, block: Block, tmp_path: Path, snapshot: Callable[[Path, str], None]
) -> None:
    require_reporter(page.stem)
    found = [d for d in diagnose(page, block, tmp_path) if d.code == page.stem]
    text = "\n\n".join(map(render_text, found)).replace(f"{tmp_path}/", "")
    snapshot(HERE / "pages" / f"{page.stem}.txt", text + "\n")


def test_no_message_without_a_page() -> None:
    assert {p.stem for p in (HERE / "pages").glob("*.txt")} <= set(CODES) - WITHOUT_PROGRAM
