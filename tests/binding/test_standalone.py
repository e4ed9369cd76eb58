"""The mods of `maskdsl compile` stand alone: with torch and nothing else they give what the reference gives."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from maskdsl.api import compile as compile_text
from maskdsl.backends import reference
from maskdsl.binding.standalone import standalone_mods
from maskdsl.cli.trial import Wish, checked_definition, make_trial
from maskdsl.library.registry import Registry

SIZES = {"q_len": 40, "kv_len": 40}


def make(factory: Any, tensors: dict[str, Any]) -> Any:
    """The mod of a factory, which takes tensors by the names of its parameters."""
    return factory(*(tensors[name] for name in inspect.signature(factory).parameters))


@pytest.mark.parametrize("name", ["packed_causal", "document", "prefix_lm", "sliding_window", "alibi"])
def test_the_text_alone_gives_the_reference(name: str) -> None:
    torch = pytest.importorskip("torch")
    registry = Registry()
    entry = registry.find(name)
    module, variant = checked_definition(entry.source, name, registry)
    trial = make_trial(module, variant, Wish(lengths=(40, 40), batch=2, examples=False))
    text = standalone_mods(trial.variant, {**trial.sizes, **SIZES})
    space: dict[str, Any] = {}
    exec(text, space)
    tensors = {t.name: torch.from_numpy(np.array(x)) for t, x in trial.tables.items()}
    if "derived_tables" in space:
        tensors |= space["derived_tables"](*(tensors[n] for n in inspect.signature(space["derived_tables"]).parameters))
    b, h, q, k = torch.meshgrid(*(torch.arange(n) for n in (2, 4, 40, 40)), indexing="ij")
    if variant.mask is not None:
        seen = make(space["make_mask_mod"], tensors)(b, h, q, k)
        wanted = reference.mask(trial.variant, b=2, h=4, q=40, k=40, tables=trial.tables, sizes=trial.sizes)
        assert np.array_equal(seen.expand(2, 4, 40, 40).numpy(), wanted)
    if variant.score is not None:
        score = torch.randn(2, 4, 40, 40)
        found = make(space["make_score_mod"], tensors)(score, b, h, q, k)
        assert np.allclose(found, reference.scores(
            trial.variant, score.double().numpy(), b=2, h=4, q=40, k=40, tables=trial.tables, sizes=trial.sizes
        ), atol=1e-4)  # fmt: skip


def test_a_table_that_a_pass_needs_is_made_in_the_text() -> None:
    registry = Registry()
    entry = registry.find("packed_causal")
    module, variant = checked_definition(entry.source, entry.name, registry)
    trial = make_trial(module, variant, Wish(lengths=(40, 40), examples=False))
    text = standalone_mods(trial.variant, {**trial.sizes, **SIZES})
    assert "def derived_tables(document):" in text and "import maskdsl" not in text


def test_the_source_of_a_program_and_of_a_bound_one_stands_alone() -> None:
    torch = pytest.importorskip("torch")
    text = "mask m(document: int[batch, position]) = document[b, q] == document[b, k] requires ascending(document, position)"
    program, document = compile_text(text), torch.tensor([[0, 0, 1, 1, 1, 4]])
    for source in (program.source, program.bind(document=document).source):
        space: dict[str, Any] = {}
        exec(source, space)
        made = {"document": document, **space["derived_tables"](document)}
        places = (torch.zeros(6, 6, dtype=torch.int64), torch.zeros(6, 6, dtype=torch.int64))
        q, k = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
        seen = make(space["make_mask_mod"], made)(*places, q, k)
        assert torch.equal(seen, document[0][q] == document[0][k])
