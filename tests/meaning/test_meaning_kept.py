"""The checker gives back what a program means: the text of a random program, checked, computes what the program does."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from programs import Program, programs

from maskdsl.backends import reference
from maskdsl.ir.nodes import Variant
from maskdsl.ir.types import Table
from maskdsl.ir.verify import verify
from maskdsl.meaning.instantiate import instantiate
from maskdsl.meaning.module import Module, check
from maskdsl.source.render import render_text
from maskdsl.source.text import Source

SCORE = np.linspace(-9.0, 9.0, 7)
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def checked(program: Program) -> Module:
    """The program's text, checked; it has no errors, since its lookups are in bounds by construction."""
    module = check(Source("random.mask", program.text), lambda *_: None)
    assert not module.errors, "\n\n".join(map(render_text, module.errors)) + "\n" + program.text
    return module


def values(variant: Variant, tables: dict[Table, Any], sizes: dict[str, int]) -> list[np.ndarray[Any, Any]]:
    """The mask and the score on a small grid; a table is known by its name."""
    arrays = {t.name: a for t, a in tables.items()}
    place = {"b": sizes["batch"], "h": sizes["head"], "q": sizes["position"], "k": sizes["position"]}
    rest = {"tables": arrays, "sizes": sizes, "q_len": place["q"], "kv_len": place["k"]}
    score = np.resize(SCORE, tuple(place.values()))
    return [reference.mask(variant, **place, **rest), reference.scores(variant, score, **place, **rest)]


@given(program=programs())
@SETTINGS
def test_checked_text_computes_what_the_program_does(program: Program) -> None:
    lowered = checked(program).definitions["main"]
    verify(lowered)
    fixed = instantiate(lowered, {c.name: v for c, v in program.constants.items()})
    verify(fixed)
    assert {(t.name, t.type, t.axes) for t in fixed.tables} == {(t.name, t.type, t.axes) for t in program.variant.tables}
    found, wanted = (values(v, program.tables, program.sizes) for v in (fixed, program.fixed))
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@given(program=programs(kinds=("mask", "score")))
@SETTINGS
def test_every_node_points_into_the_text(program: Program) -> None:
    from maskdsl.ir.walk import topological

    module = checked(program)
    for variant in module.definitions.values():
        for node in topological([*(root for _, root in variant.roots), *variant.facts]):
            assert node.span.source is module.source and node.span.text
