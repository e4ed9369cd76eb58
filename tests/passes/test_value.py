"""Every pass keeps the value of every program, and leaves the IR well made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from programs import Program, programs

from maskdsl.backends import reference
from maskdsl.ir.nodes import Variant
from maskdsl.ir.verify import verify
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import PASSES, gone_after, run_passes

SCORE = np.linspace(-9.0, 9.0, 7)


def values(program: Program, variant: Variant) -> list[np.ndarray]:
    """The mask, the score and the sink of a definition on a small grid."""
    sizes = program.sizes
    position = sizes["position"]
    place = {"b": sizes["batch"], "h": sizes["head"], "q": position, "k": position}
    given_tables = {"tables": program.tables, "sizes": sizes, "q_len": position, "kv_len": position}
    score = np.resize(SCORE, tuple(place.values()))
    mask = reference.mask(variant, **place, **given_tables)
    found = [mask, reference.scores(variant, score, **place, **given_tables)]
    if variant.sink is not None:
        grid = reference.lay_out(variant, **place, **given_tables)
        found.append(grid.value(variant.sink, slice(0, 1)))
    return found


@pytest.mark.parametrize("name", [p.name for p in PASSES])
@given(program=programs())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_pass_keeps_the_value(name: str, program: Program) -> None:
    before = program.fixed
    after = run_passes(before, Context(program.sizes), after=name)
    verify(after, gone_after(name))
    for x, y in zip(values(program, before), values(program, after), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
