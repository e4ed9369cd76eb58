"""The forms that the analysis reads: what becomes of conditions, and that none changes its meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_structured import FACTS, HEADER, conditions, draw_tables

import maskdsl
from maskdsl.ir.nodes import Node
from maskdsl.ir.print import text
from maskdsl.meaning.facts import all_facts
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.tiles.arrays import derived_arrays
from maskdsl.tiles.contract import contract
from maskdsl.tiles.evaluate import evaluate
from maskdsl.tiles.limits import Limits, known_limits, ranges_of_facts
from maskdsl.tiles.normalize import normalize

NORMAL = """
q - k + 5 - q < 9                            | 0 < k + 4
q // 3 + k <= q // 3 + q                     | k <= q
q - t[q] <= k - t[q]                         | q <= k
50 * t[q] + q < t[q] * 50 + k                | t1 + q < t1 + k
2 * q - 2 * k < 10 - k                       | 2 * q - 2 * k < 10 - k
q % 8 == k % 8                               | (q - k) % 8 == 0
q % 8 == k % 4                               | q % 8 == k % 4
(q - k) % 8 == 3                             | (q - k - 3) % 8 == 0
(q - k) % 8 == 0                             | (q - k) % 8 == 0
(q % 8 - 3) % 8 < 4                          | (q - 3) % 8 < 4
q - k <= t[q]                                | q - t[q] <= k
k + t[k] < q                                 | k + t[k] < q
bit_and(q - k, q - k - 1) == 0               | t1 == 0 or bit_length(t1 - 1) < bit_length(t1)
bit_and(q - k, q - k - 2) == 0               | bit_and(t1, t1 - 2) == 0
k * 70000 < q * 70000                        | k * 70000 < q * 70000
f[q] - f[k] <= 0.0                           | f[q] - f[k] <= 0.0
int(-1073741824 + size(position) >= size(position)) < t[q] | 0 < t[q]
t[q] < k and not -1073741824 + size(position) >= size(position) | t[q] < k
"""

CONTRACTED = """
q < 5 and q % 3 == 1                         | q < 5 and (min(q, 4) - 1) % 3 == 0
q < 8 and q % 3 == 0                         | q < 8 and q % 3 == 0
0 <= q - k < 6 and (q - k) % 3 == 0          | 0 <= t1 < 6 and min(max(t1, 0), 5) % 3 == 0
k <= q and (q - k < 4 or (q - k) % 3 == 0)   | k <= q and (t1 < 4 or max(t1, 0) % 3 == 0)
q > 6 and (k < 3 or k // 2 < q // 3)         | q > 6 and (k < 3 or k // 2 < max(q, 7) // 3)
(q % 3 < 1 if q < 5 else q % 3 > 1)          | min(q, 4) % 3 < 1 if q < 5 else max(q, 5) % 3 > 1
q - k % 3 == 1 and k <= q                    | k <= q and q - k % 3 == 1
k % 3 == 1 or k > 4                          | (k - 1) % 3 == 0 or k > 4
t[q] <= k and k < t[q] * 2           | k >= (t_q if t2 else 2147483647) and k <= (t1 if t2 else -2147483648)
t[q] <= k and k <= q                 | k <= q and t[q] <= k
t[q] >= 0 and t[q] <= t[k]                   | t1 and (t_q if t1 else 2147483647) <= t[k]
"""


def cases(table: str) -> list[tuple[str, str]]:
    """The lines `before | after`."""
    return [(a.strip(), b.strip()) for a, b in (line.split("|") for line in table.strip().splitlines())]


def ready(formula: str) -> Node:
    """A condition after the passes."""
    program = maskdsl.compile(f"mask m(t: int[position], f: float[position]) = {formula}")
    mask = run_passes(program.variant, Context({"position": 64}, padded=False)).mask
    assert mask is not None
    return mask


def shown(node: Node) -> str:
    """A condition in the language, without the lines that name its parts."""
    return text(node).split("\n")[0]


@pytest.mark.parametrize(("before", "after"), cases(NORMAL))
def test_normal_forms(before: str, after: str) -> None:
    assert shown(normalize(ready(before), Limits())) == after


@pytest.mark.parametrize(("before", "after"), cases(CONTRACTED))
def test_conditions_know_one_another(before: str, after: str) -> None:
    assert shown(contract(normalize(ready(before), Limits()), Limits(), 4, 4)) == after


def test_new_conditions_point_into_the_text() -> None:
    mask = ready("k < 9 and q % 8 == k % 8")
    for node in (normalize(mask, Limits()), contract(mask, Limits(), 4, 4)):
        assert node.span.text.replace(" ", "") == "k<9andq%8==k%8"


@given(text=conditions(3), seed=st.integers(0, 9999), blocks=st.tuples(st.integers(1, 6), st.integers(1, 6)))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_pair_changes(text: str, seed: int, blocks: tuple[int, int]) -> None:
    program, position = maskdsl.compile(HEADER + text + FACTS), 12
    variant = replace(program.variant, facts=all_facts(program.variant))
    tables = draw_tables(np.random.default_rng(seed), position)
    arrays = {t: tables[t.name] for t in variant.tables}
    sizes = {"batch": 2, "head": 2, "position": position, "blocks": 5, "n": 2}
    after = run_passes(variant, Context(sizes, padded=False))
    assert after.mask is not None
    arrays |= derived_arrays(after.derived, arrays)
    limits = known_limits(ranges_of_facts(variant.facts), ())
    place = dict(zip("bhqk", np.ix_(*(np.arange(n) for n in (2, 2, position, position))), strict=True))
    normal = normalize(after.mask, limits)
    forms = [after.mask, normal, contract(normal, limits, *blocks)]
    with np.errstate(all="ignore"):
        values = [np.broadcast_to(evaluate(f, place, arrays, sizes), (2, 2, position, position)) for f in forms]
    np.testing.assert_array_equal(values[1], values[0])
    np.testing.assert_array_equal(values[2], values[0])
