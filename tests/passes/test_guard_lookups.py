"""Guards: which stand where, that they change no value that is read, and that no lane anywhere reads past a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from programs import Program, programs

from maskdsl.backends import reference
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Quantified, Size, Symbol, Variant
from maskdsl.ir.ops import OPS
from maskdsl.ir.print import text
from maskdsl.ir.types import BOOL, FLOAT, INT
from maskdsl.ir.verify import verify
from maskdsl.ir.walk import topological
from maskdsl.meaning.facts import all_facts
from maskdsl.passes import guard_lookups
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.passes.shown import last_definition

PARAMETERS = "t: bool[n], u: bool[5], p: int[position], d: int[batch, position], s: float[head]"

GUARDS = [
    ("p[q] == p[k]", "p[min(q, 99)] == p[min(k, 99)]"),
    ("d[b, k] == 0", "d[b, min(k, 99)] == 0"),
    ("s[h] > 0.0", "s[h] > 0.0"),
    ("t[clamp(q - k, 0, size(n) - 1)]", "t[clamp(q - k, 0, size(n) - 1)]"),
    ("u[q % 5]", "u[q % 5]"),
    ("q < 5 and u[q]", "q < 5 and u[min(q, 4)]"),
    ("q < size(n) and t[q]", "q < size(n) and t[min(q, size(n) - 1)]"),
    ("q >= k and q < k + 5 and u[q - k]", "q >= k and q < k + 5 and u[clamp(q - k, 0, 4)]"),
    ("q < 5 and u[4 - q]", "q < 5 and u[max(4 - q, 0)]"),
    ("u[3 if k > q else 0]", "u[3 if k > q else 0]"),
    ("k > 0 and q % (k // 1) == 0", "k > 0 and q % (1 if k == 0 else k) == 0"),
    ("q % max(p[k], 1) == 0", "q % max(p[min(k, 99)], 1) == 0"),
    ("k < 32 and shift_left(1, k) > q", "k < 32 and shift_left(1, min(k, 31)) > q"),
    ("shift_right(q, k % 32) == 0", "shift_right(q, k % 32) == 0"),
]


def guarded(body: str, **sizes: int) -> str:
    variant = run_passes(last_definition(f"mask m({PARAMETERS}) = {body}"), after="simplify")
    after = guard_lookups.run(variant, Context({"position": 100, **sizes}))
    assert after.mask is not None
    return text(after.mask)


@pytest.mark.parametrize(("before", "after"), GUARDS)
def test_where_guards_stand(before: str, after: str) -> None:
    assert guarded(before) == after


def test_known_sizes_are_numbers_and_prove_more() -> None:
    assert guarded("q < size(n) and t[q]", n=4) == "q < size(n) and t[min(q, 3)]"
    assert guarded("size(n) > 3 and t[3 if k > q else 0]", n=4) == "size(n) > 3 and t[3 if k > q else 0]"
    assert guarded("size(n) > 3 and t[3]", n=3) == "size(n) > 3 and t[2]"


def test_facts_about_entries_hold_in_the_padding_too() -> None:
    program = "mask m(d: int[position], s: int[n]) = s[d[q]] <= k requires 0 <= d[q] < size(n)"
    variant = guard_lookups.run(last_definition(program), Context())
    assert text(variant.mask) == "s[d[min(q, size(position) - 1)]] <= k"


def test_shared_values_stay_shared() -> None:
    variant = last_definition("mask m(p: int[position]) = v < k and v > q - 9 where v = p[q]")
    after = guard_lookups.run(variant, Context())
    assert sum(isinstance(n, Lookup) for n in topological(after.mask)) == 1


def test_nothing_to_guard_changes_nothing() -> None:
    variant = last_definition("mask m(s: float[head]) = k <= q and q // 2 > k")
    assert guard_lookups.run(variant, Context()) is variant


# ---------------------------------------------------------------- every lane, read or not

DTYPES = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}


def strict(root: Node, program: Program, place: dict[str, Any]) -> Any:
    """The value in every lane, all branches computed; an index, divisor or shift count out of range fails."""
    values: dict[int, Any] = {}
    for node in topological(root):
        assert not isinstance(node, Quantified), "quantifiers are unrolled"
        match node:
            case Literal(value=value, type=kind):
                result: Any = np.asarray(value, DTYPES[kind])
            case Symbol(name=name):
                result = place[name]
            case Size(axis=axis):
                result = np.int32(program.sizes[axis])
            case Lookup(table=table, indices=indices):
                array = program.tables[table]
                for length, index in zip(array.shape, indices, strict=False):
                    assert np.all((values[id(index)] >= 0) & (values[id(index)] < length)), text(node)
                found = array[tuple(values[id(i)] for i in indices)] if indices else array[0]
                result = found.astype(DTYPES[table.type])
            case Op(name=name, args=args):
                below = [values[id(a)] for a in args]
                if node.type is INT and name in ("floordiv", "mod"):
                    assert np.all(below[1] != 0), text(node)
                if name in ("shift_left", "shift_right"):
                    assert np.all((below[1] >= 0) & (below[1] <= 31)), text(node)
                result = OPS[name].reference(*below)
        values[id(node)] = result
    return values[id(root)]


def lanes(program: Program, valid: bool) -> dict[str, Any]:
    """300 places: all within the sizes, or with q and k anywhere below 2**20."""
    random = np.random.default_rng(7)
    sizes = program.sizes
    far = sizes["position"] if valid else 2**20
    ends = {"b": sizes["batch"], "h": sizes["head"], "q": far, "k": far}
    place: dict[str, Any] = {name: random.integers(0, end, 300).astype(np.int32) for name, end in ends.items()}
    if not valid:
        place["q"][:150] %= 2 * sizes["position"] + 2
        place["k"][75:225] %= 2 * sizes["position"] + 2
    length = np.int32(sizes["position"])
    return {**place, "q_len": length, "kv_len": length, "score": random.normal(size=300)}


def ready(program: Program) -> Variant:
    before = replace(program.fixed, facts=all_facts(program.fixed))
    simple = run_passes(before, Context(program.sizes), after="simplify")
    return guard_lookups.run(simple, Context(program.sizes))


@given(program=programs())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_lane_leaves_its_table(program: Program) -> None:
    after = ready(program)
    verify(after)
    for _, root in after.roots:
        with np.errstate(all="ignore"):
            strict(root, program, lanes(program, valid=False))


@given(program=programs(kinds=("mask",)))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_where_it_is_read_nothing_changes(program: Program) -> None:
    place = lanes(program, valid=True)
    position = program.sizes["position"]
    grid = {"b": program.sizes["batch"], "h": program.sizes["head"], "q": position, "k": position}
    expected = reference.mask(program.fixed, **grid, tables=program.tables, sizes=program.sizes)
    with np.errstate(all="ignore"):
        found = np.broadcast_to(strict(ready(program).mask, program, place), place["q"].shape)
    np.testing.assert_array_equal(found, expected[place["b"], place["h"], place["q"], place["k"]])
