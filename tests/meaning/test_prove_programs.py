"""The programs of proofs.txt: what is proven, and the twin that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskdsl.meaning.module import check
from maskdsl.source.text import Source

TEXT = (Path(__file__).parent / "proofs.txt").read_text(encoding="utf-8")


def read_cases(text: str) -> dict[str, dict[str, str]]:
    """The program of every tag (`proven`, a code) of every named case."""
    cases: dict[str, dict[str, str]] = {}
    name = tag = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.endswith(":") and "  " not in line:
            name = line[:-1]
            assert name not in cases
            cases[name] = {}
        elif line.startswith(" "):
            cases[name][tag] += " " + line.strip()
        else:
            tag, program = line.split(maxsplit=1)
            cases[name][tag] = program
    return cases


CASES = read_cases(TEXT)


def errors(text: str) -> set[str]:
    """The codes of the errors in a program."""
    module = check(Source("line.mask", text), lambda *_: None)
    return {d.code for d in module.diagnostics if d.severity == "error"}


def test_every_case_is_a_pair() -> None:
    assert all(len(case) == 2 and "proven" in case for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_what_is_proven_and_what_is_refused(name: str) -> None:
    for tag, program in CASES[name].items():
        assert errors(program) == (set() if tag == "proven" else {tag}), program
