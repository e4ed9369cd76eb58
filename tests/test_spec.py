"""The reference of the language: its examples check clean, and its tables say what the compiler does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fenced import Block, check_block, read_blocks

from maskdsl.ir.ops import BY_SYMBOL, PREFIX, TABLE, Function
from maskdsl.source.render import render_text
from maskdsl.source.shipped import grammar_dir

SPEC = grammar_dir() / "spec.md"
TEXT = SPEC.read_text(encoding="utf-8")
BLOCKS = [pytest.param(b, id=f"line {b.line}") for b in read_blocks(SPEC) if b.language == "mask"]
OPEN = "<!-- functions: written by tests/test_spec.py --accept -->\n"
CLOSE = "<!-- end of functions -->\n"


@pytest.mark.parametrize("block", BLOCKS)
def test_program_checks_clean(block: Block, tmp_path: Path) -> None:
    found = [d for d in check_block(block, (), tmp_path) if d.code not in ("W0804", "W0805")]
    assert not found, "\n\n".join(map(render_text, found))


def test_there_are_many_programs_and_no_other_fences() -> None:
    assert len(BLOCKS) >= 15
    assert {b.language for b in read_blocks(SPEC)} <= {"mask", "text"}


TRUE = """
7 // -2 == -4; -1 // 4 == -1; -7 % 3 == 2; 7 % -3 == -2; -2 ** 2 == -4; 2 ** -1 == 0.5; 2 ** 3 ** 2 == 512
int(-1.5) == -1; int(1e20) == 2147483647; int(sqrt(-1.0)) == 0; int(true) == 1; 1 / 0 == inf; 1 / 2 == 0.5
clamp(5, 3, 1) == 1; 2147483647 + 1 == -2147483648; abs(-2147483648) == -2147483648; 65536 * 65536 == 0
not sqrt(-1.0) == sqrt(-1.0); log(0.0) == -inf; bit_length(-5) == 3; shift_right(-8, 1) == -4; bit_length(0) == 0
shift_left(1, 31) == -2147483648; sum(1 for i in range(3, 3)) == 0; all(false for i in range(3, 1))
not any(true for i in range(0)); q - k at (q = k, k = q) == 0; (q - k) at (q = k, k = q) == 1; 1 < 2 == 2; k / 4 == 0.5
true or false and false; not false == true and true; (1 if true else 2 if false else 3) == 1
"""


@pytest.mark.parametrize("claim", re.split(r"[;\n]\s*", TRUE.strip()))
def test_arithmetic_is_as_the_page_says(claim: str, tmp_path: Path) -> None:
    place = "at (q = 1, k = 2)" if re.search(r"\b[qk]\b", claim) else ""
    block = Block("mask", frozenset(), f"mask m = {claim}\n\nexample m {place} == true\n", 1)
    found = check_block(block, (), tmp_path)
    assert not [d for d in found if d.severity == "error"], "\n\n".join(map(render_text, found))


# ---------------------------------------------------------------- tables that must agree with the compiler


def function_row(function: Function) -> str:
    """One line of the table of functions."""
    names = {1: "x", 2: "x, y", 3: "x, low, high"}
    if function.call.startswith("shift"):
        names[2] = "x, n"
    arguments = "x, y, …" if function.variadic else names[function.arity]
    signatures = "; ".join(f"{' and '.join(dict.fromkeys(map(str, a)))} → {r}" for a, r in function.signatures)
    return f"| `{function.call}({arguments})` | {signatures} | {function.doc} |\n"


def function_table() -> str:
    """The table of functions as the reference prints it."""
    rows = "".join(function_row(f) for f in TABLE if f.call)
    return f"| function | of → gives | value |\n|---|---|---|\n{rows}"


def test_functions_are_those_of_the_compiler(request: pytest.FixtureRequest) -> None:
    before, rest = TEXT.split(OPEN)
    printed, after = rest.split(CLOSE)
    if request.config.getoption("--accept"):
        SPEC.write_text(before + OPEN + function_table() + CLOSE + after, encoding="utf-8")
    else:
        assert printed == function_table()


def test_operators_are_those_of_the_compiler() -> None:
    table = TEXT[TEXT.index("| operators |") : TEXT.index("They read as in Python")]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|"))
    symbols = set(re.findall(r"(?<![\w…])(?:[-+*/%<>=!]+|and|or|not)(?!\w)", first_cells.replace("-x", "-")))
    assert symbols == {*BY_SYMBOL, *PREFIX}


def test_reserved_words_are_those_of_the_checker() -> None:
    scope = pytest.importorskip("maskdsl.meaning.scope")
    words = next(b.text for b in read_blocks(SPEC) if b.language == "text")
    assert set(words.split()) == set(scope.KEYWORDS)


def test_links_inside_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^## (.*)$", TEXT, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\(#([\w-]+)\)", TEXT)) <= anchors


def test_lines_are_short() -> None:
    assert all(len(line) <= 120 for line in TEXT.splitlines() if not line.startswith("|"))
