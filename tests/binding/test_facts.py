"""Facts about tables: those that hold, and where the others fail first."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest
import torch

from maskdsl.binding.facts import broken_facts, sizes_needed, split_facts
from maskdsl.binding.tables import axis_sizes
from maskdsl.ir.nodes import Variant
from maskdsl.library.registry import Registry
from maskdsl.meaning.facts import all_facts
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.text import Source


def definition(text: str) -> Variant:
    module = Registry().check(Source("test.mask", text))
    assert not module.errors, module.errors
    return list(module.definitions.values())[-1]


def broken(text: str, sizes: dict[str, int] | None = None, **tables: Any) -> list[Diagnostic]:
    variant = definition(text)
    tensors = {t: torch.as_tensor(tables[t.name]) for t in variant.tables}
    known = {**axis_sizes(tensors), **(sizes or {})}
    ready, waiting = split_facts(all_facts(variant), known)
    assert not waiting
    return broken_facts(ready, tensors, known)


PREFIX = "mask m(prefix: int[batch]) = k < prefix[b] requires prefix[b] >= 0"
PACKED = """
mask m(document: int[batch, position], start: int[batch, n]) = k >= start[b, document[b, q]]
    requires 0 <= document[b, q] < size(n), start[b, document[b, q]] <= q, start[b, 0] == 0
"""
RISING = "mask m(document: int[batch, position]) = document[b, q] == document[b, k] requires ascending(document, position)"
FLOATS = "mask m(f: float[position]) = f[q] == f[k] requires ascending(f, position)"
BLOCKS = """
mask m(seen: bool[rows], block: int[]) = seen[clamp(q // 4, 0, size(rows) - 1)] or block == k
    requires size(rows) * 4 >= size(position)
"""


@pytest.mark.parametrize(
    ("text", "tables", "message", "label", "notes"),
    [
        (PREFIX, {"prefix": [3, 0, -2]}, "`prefix[b] >= 0` does not hold", "false at b = 2", ("`prefix[b]` is -2",)),
        (PACKED, {"document": [[0, 0, 3]], "start": [[0, 2]]}, "`0 <= document[b, q] < size(n)` does not hold",
         "false at b = 0, q = 2", ("`document[b, q]` is 3", "`size(n)` is 2")),
        (PACKED, {"document": [[0, 0, 1]], "start": [[0, 5]]}, "`start[b, document[b, q]] <= q` does not hold",
         "false at b = 0, q = 2", ("`document[b, q]` is 1", "`start[b, document[b, q]]` is 5")),
        (RISING, {"document": [[0, 0], [4, 3]]}, "`document` decreases along `position`",
         "required here", ("`document[1, 0]` is 4 and `document[1, 1]` is 3",)),
        (RISING, {"document": [[0, 1, 2**32]]}, "`document` decreases along `position`", "required here",
         ("`document[0, 1]` is 1 and `document[0, 2]` is 0", "ints are int32: other values are cut to 32 bits")),
        (FLOATS, {"f": [1.0, float("nan"), 1.0]}, "`f` decreases along `position`", "required here",
         ("`f[0]` is 1.0 and `f[1]` is nan",)),
    ],
)  # fmt: skip
def test_broken(text: str, tables: dict[str, Any], message: str, label: str, notes: tuple[str, ...]) -> None:
    (found,) = broken(text, **tables)
    assert (found.code, found.message, found.label, found.notes) == ("E0605", message, label, notes)
    assert found.span is not None and found.span.text in text


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        (PREFIX, {"prefix": [3, 0]}),
        (PACKED, {"document": [[0, 0, 1]], "start": [[0, 2]]}),
        (RISING, {"document": [[0, 0, 5], [-3, 3, 3]]}),
        (RISING, {"document": [[7]]}),
        (FLOATS, {"f": [float("-inf"), float("-inf"), 0.0, float("inf"), float("inf")]}),
    ],
)
def test_holding(text: str, tables: dict[str, Any]) -> None:
    assert broken(text, **tables) == []


def test_a_fact_about_sizes_waits_for_them() -> None:
    variant = definition(BLOCKS)
    (fact,) = all_facts(variant)
    assert sizes_needed(fact) == {"rows", "position"}
    assert split_facts((fact,), {"rows": 2}) == ((), (fact,))
    tables = {"seen": [True, False], "block": [0]}
    assert broken(BLOCKS, {"position": 8}, **tables) == []
    (found,) = broken(BLOCKS, {"position": 9}, **tables)
    assert found.notes == ("`size(rows)` is 2", "`size(position)` is 9")


def test_slabs_find_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskdsl.binding import facts

    document = torch.zeros(3, 5, dtype=torch.int32)
    document[2, 4] = 9
    monkeypatch.setattr(facts, "CASES_AT_ONCE", 1)
    (found,) = broken(PACKED, document=document, start=[[0]] * 3)
    assert found.label == "false at b = 2, q = 4"


def test_facts_of_callees_are_about_the_callers_tables() -> None:
    (found,) = broken(f"{PREFIX}\nmask outer(length: int[batch]) = k <= q or m(length)", length=[-1])
    assert found.notes == ("`prefix[b]` is -1",)
    assert [label.span.text for label in found.also] == ["length: int[batch]"]


def test_q_and_k_run_to_the_longer_length() -> None:
    """Under a cache of keys `q` counts from the sequence's start, so it may pass the number of queries."""
    text = "mask m(seen: bool[rows, columns]) = seen[q, k] requires q < size(rows), k < size(columns)"
    (found,) = broken(text, {"position": 3}, seen=[[True, False, True]])
    assert (found.code, found.label) == ("E0605", "false at q = 1")
    assert broken(text, {"position": 3}, seen=[[True] * 3] * 3) == []


def test_facts_about_pairs_of_places_are_proven_not_counted() -> None:
    sizes = {"batch": 1, "head": 1, "kv_head": 1, "position": 1 << 20}
    start = process_time()
    assert not broken("mask m = k <= q requires q - k < 2000000, q // 64 < 20000, b < 3", sizes)
    (one,) = broken("mask m = k <= q requires q - k < 1000", sizes)
    assert one.code == "E0605" and one.label == "false at q = 1000, k = 0"
    assert process_time() - start < 2.0
