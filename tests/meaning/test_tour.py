"""A file that uses every construct of the language checks clean, its examples agree, and its definitions are as written."""

from __future__ import annotations

from pathlib import Path

import pytest
from meaning import HERE, loader

from maskdsl.ir.nodes import Call, Lookup, Moved, Op
from maskdsl.ir.verify import verify
from maskdsl.library.examples import run_examples
from maskdsl.meaning.instantiate import instantiate
from maskdsl.meaning.module import Module, check
from maskdsl.source.text import Source

TOUR = HERE / "programs" / "tour.mask"
CAUSAL = {"causal": "## Causal.\nmask causal = k <= q\nexample causal\n | x"}


@pytest.fixture(scope="module")
def tour() -> Module:
    return check(Source("tour.mask", TOUR.read_text(encoding="utf-8"), Path(TOUR)), loader(CAUSAL))


def test_it_has_no_diagnostics(tour: Module) -> None:
    assert tour.diagnostics == ()
    assert run_examples(tour) == []
    assert len(tour.examples) == len(tour.definitions) == 10


def test_every_definition_is_well_made_ir(tour: Module) -> None:
    for variant in tour.definitions.values():
        verify(variant)
        if not variant.holes:
            verify(instantiate(variant))


def test_kinds_parameters_defaults_docs(tour: Module) -> None:
    window, gpt = tour.definitions["sliding_window"], tour.definitions["gpt_oss_local"]
    assert (window.kind, window.doc) == ("mask", "A query sees itself and the `window - 1` keys before it.")
    assert [(p.name, type(p).__name__) for p in gpt.parameters] == [("sink_logit", "Table"), ("window", "Constant")]
    assert [(c.name, d.value) for c, d in gpt.defaults] == [("window", 128)]  # type: ignore[union-attr]
    assert window.span.text == "sliding_window"


def test_a_pipeline_moves_scores(tour: Module) -> None:
    outer = tour.definitions["capped_alibi"].score
    assert isinstance(outer, Moved) and isinstance(outer.body, Op) and outer.body.name == "logsigmoid"
    (name, inner), = outer.moves
    assert name == "score" and isinstance(inner, Moved) and isinstance(inner.body, Call)
    assert inner.body.target.name == "softcap"
    (_, first), = inner.moves
    assert isinstance(first, Call) and first.target.name == "alibi"


def test_a_chain_shares_its_middle(tour: Module) -> None:
    mask = tour.definitions["sliding_window"].mask
    assert isinstance(mask, Op) and mask.name == "and"
    left, right = mask.args
    assert isinstance(left, Op) and isinstance(right, Op) and left.args[1] is right.args[0]


def test_a_local_name_is_one_node(tour: Module) -> None:
    mask = tour.definitions["packed"].mask
    assert isinstance(mask, Op) and isinstance(mask.args[1], Moved)
    q, k = (value for _, value in mask.args[1].moves)
    assert isinstance(q, Op) and isinstance(k, Op) and q.args[1] is k.args[1]
    assert isinstance(q.args[1], Lookup) and q.args[1].hint == "first"
