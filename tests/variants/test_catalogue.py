"""The catalogue is whole: every row is said by a definition or has a reason, and every definition is documented.

`catalogue_rows.txt` lists the rows: number, ✔ where the formula was run against the code that ships it, and name. A
definition names its rows in the last line of its documentation, and how its formula is known.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_peers import PEERS

import maskdsl
from maskdsl.cli.list import first_sentence
from maskdsl.library.manifest import Manifest
from maskdsl.library.registry import Registry
from maskdsl.source.shipped import grammar_dir, variants_dir
from maskdsl.syntax import ast
from maskdsl.syntax.parse import parse

VERIFIED = "✔ "
LINES = (Path(__file__).parent / "catalogue_rows.txt").read_text(encoding="utf-8").splitlines()
ROWS = [int(line.split()[0]) for line in LINES]
RUN = {int(line.split()[0]) for line in LINES if line.partition(" ")[2].startswith(VERIFIED)}
CATALOGUE = re.compile(r"Catalogue (\d+(?:(?:, | and )\d+)*), (?:checked|from the source|from the paper)\.")
KINDS = {"layout", "at", "several calls", "activation", "softmax", "selection", "sum", "vectors", "random"}
SHIPPED = [m for m in maskdsl.list() if m.library == "maskdsl"]


@cache
def unsaid() -> dict[str, Any]:
    """What no definition says, with reasons."""
    return tomllib.loads((variants_dir() / "unsaid.toml").read_text(encoding="utf-8"))


@cache
def said() -> dict[int, set[str]]:
    """The definitions of every row that has some."""
    found = defaultdict(set)
    for one in SHIPPED:
        for number in rows_of(one):
            found[number].add(one.name)
    return found


def rows_of(one: Manifest) -> list[int]:
    """The rows that a definition names; none for a model's."""
    line = CATALOGUE.fullmatch(last_line(one))
    return [] if line is None else [int(n) for n in re.findall(r"\d+", line[1])]


def last_line(one: Manifest) -> str:
    """The end of a definition's documentation; empty without one."""
    return next(iter(one.doc.splitlines()[::-1]), "")


def test_the_rows_are_numbered_without_gaps() -> None:
    assert list(range(1, 190)) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_said_or_has_a_reason(row: int) -> None:
    reason = unsaid()["rows"].get(str(row))
    assert row in said() or reason is not None, "no definition names the row, and unsaid.toml has no reason"
    if row in said() and reason is not None:
        assert reason.get("part"), f"{said()[row]} say the row, and unsaid.toml does not tell which part is missing"
    elif reason is not None:
        assert "part" not in reason, "no definition says the rest of the row"


def test_no_definition_and_no_reason_names_a_row_that_there_is_not() -> None:
    assert {*said(), *map(int, unsaid()["rows"])} <= {*ROWS}


@pytest.mark.parametrize("place", ["rows", "outside"])
def test_reasons_are_sentences_of_a_known_kind(place: str) -> None:
    for name, entry in unsaid()[place].items():
        assert entry.keys() - {"part"} == {"kind", "reason"}, name
        assert entry["kind"] in KINDS, name
        assert entry["reason"][0].isupper() and entry["reason"].endswith("."), name


def test_the_specification_names_what_stands_outside() -> None:
    text = " ".join((grammar_dir() / "spec.md").read_text(encoding="utf-8").replace("*", "").lower().split())
    chapter = text[text.index("## what cannot be said"):]
    assert not [name for name in unsaid()["outside"] if name.lower() not in chapter]


def test_reasons_name_definitions_that_exist() -> None:
    names = {m.name for m in SHIPPED}
    for entry in unsaid()["rows"].values():
        for name in re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", entry["reason"]):
            assert name in names | {"kv_head", "kv_h"}, name


@pytest.mark.parametrize("one", SHIPPED, ids=lambda m: m.path)
def test_documentation_is_short_and_names_its_rows(one: Manifest) -> None:
    lines = one.doc.splitlines()
    assert 1 <= len(lines) <= 4
    assert all(0 < len(line) <= 117 for line in lines)
    assert one.doc[0] not in "abcdefghijklmnopqrstuvwxyz" and one.doc.endswith((".", ").", "`."))
    assert (CATALOGUE.fullmatch(lines[-1]) is not None) != one.path.startswith("models/")
    assert len(lines) > 1 or one.path.startswith("models/")


@pytest.mark.parametrize("one", SHIPPED, ids=lambda m: m.path)
def test_documentation_stands_alone(one: Manifest) -> None:
    """It is read in a list or on a page of its own, where nothing stands before it."""
    assert not re.match(r"(The same|It|They|This)\b", one.doc)
    assert not re.search(r"\bas (above|before|below)\b", one.doc)
    assert CATALOGUE.search(first_sentence(one.doc)) is None


@pytest.mark.parametrize("one", [m for m in SHIPPED if rows_of(m)], ids=lambda m: m.path)
def test_checked_is_what_was_run_against_the_code_that_ships_it(one: Manifest) -> None:
    """Beside a peer's function here, or where the row's formula was collected."""
    run = one.name in {peer.definition for peer in PEERS}
    if one.doc.endswith(", checked."):
        assert run or RUN & {*rows_of(one)}
    else:
        assert not run, "it is compared with a peer's function: its last line should say so"


@pytest.mark.parametrize("one", SHIPPED, ids=lambda m: m.path)
def test_masks_have_a_picture_and_scores_a_value(one: Manifest) -> None:
    assert one.file is not None
    file, _ = parse(Registry().read(Path(one.file)))
    examples = [d for d in file.definitions if isinstance(d, ast.Example) and d.call.name.text == one.name]
    pictures = [e.expected for e in examples if isinstance(e.expected, ast.Picture)]
    if one.kind == "score":
        assert len(pictures) < len(examples)
    else:
        assert any(len(p.rows) <= 16 for p in pictures)
