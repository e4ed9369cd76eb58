"""Each pass on small programs: before and after in the language; limits; the order of the passes."""

from __future__ import annotations

import doctest
import importlib

import pytest

from maskdsl.ir.nodes import Literal, Quantified, Symbol, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL
from maskdsl.ir.walk import topological
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import PASSES, run_passes
from maskdsl.passes.shown import last_definition, shown
from maskdsl.source.diagnostic import MaskError

NAMES = [p.name for p in PASSES]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_a_pass_is_true(name: str) -> None:
    module = importlib.import_module(f"maskdsl.passes.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0, "a pass shows before and after"


def body(name: str, text: str, **sizes: int) -> str:
    """The body of `mask m = text`, or `score m = text` where it reads the score, after the named pass."""
    kind = "score" if "score" in text else "mask"
    return shown(f"{kind} m(t: int[n], f: float[4], p: bool[4]) = {text}", name, **sizes).split(" = ", 1)[1]


MOVES = [
    ("(k <= q) at (q = k, k = q)", "q <= k"),
    ("((k <= q) at (q = q - 1)) at (q = q // 2)", "k <= q // 2 - 1"),
    ("(q + k == 0) at (q = k, k = k + 1)", "k + (k + 1) == 0"),
    ("(any(i < q for i in range(3))) at (q = q - k)", "any(i < q - k for i in range(3))"),
]


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_moves(before: str, after: str) -> None:
    assert body("inline_moves", before) == after


LAWS = [
    ("not not (k < q)", "k < q"),
    ("not (k < q)", "k >= q"),
    ("not (k == q)", "k != q"),
    ("k < q and true", "k < q"),
    ("k < q or true", "true"),
    ("k < q and not p[0] and k < q", "k < q and not p[0]"),
    ("p[0] and (p[0] or k < q)", "p[0]"),
    ("p[0] or not p[0]", "true"),
    ("p[0] and not p[0]", "false"),
    ("p[0] == true", "p[0]"),
    ("p[0] != true", "not p[0]"),
    ("int(p[0]) == 1", "p[0]"),
    ("int(p[0]) == 0", "not p[0]"),
    ("k < q if true else p[0]", "k < q"),
    ("p[0] if not (k < q) else k > 1", "p[0] if k >= q else k > 1"),
    ("p[0] if not p[1] else k > 1", "k > 1 if p[1] else p[0]"),
    ("true if k < q else p[0]", "k < q or p[0]"),
    ("false if p[1] else p[0]", "not p[1] and p[0]"),
    ("p[0] if k < q else false", "k < q and p[0]"),
    ("q + 0 < k * 1", "q < k"),
    ("q * 0 < k - k", "false"),
    ("q + 1 - 3 < k", "q - 2 < k"),
    ("q - 2 + 2 < k", "q < k"),
    ("q + k - k < 5", "q < 5"),
    ("(q - t[0]) - (k - t[0]) < 5", "q - k < 5"),
    ("0 - q < k", "-q < k"),
    ("q - -k < 5", "q + k < 5"),
    ("q * -1 < k", "-q < k"),
    ("q ** 2 < k", "q * q < k"),
    ("q ** 0 < k", "1 < k"),
    ("bit_and(q, 0) < bit_or(k, 0)", "0 < k"),
    ("shift_left(q, 0) < bit_xor(k, k)", "q < 0"),
    ("q // 1 < k % 1", "q < 0"),
    ("min(q, q) < k", "q < k"),
    ("0 <= q - k < 4", "0 <= q - k < 4"),
    ("q < q", "false"),
    ("f[0] < f[0]", "f[0] < f[0]"),
    ("not f[0] < f[1]", "not f[0] < f[1]"),
    ("f[0] - f[0] < 1.0", "f[0] - f[0] < 1.0"),
    ("f[0] * 0.0 < 1.0", "f[0] * 0.0 < 1.0"),
    ("f[0] + 0.0 < 1.0", "f[0] + 0.0 < 1.0"),
    ("score - 0.0", "score"),
    ("score * 1.0 / 1.0", "score"),
    ("score / 4.0", "score * 0.25"),
    ("score / 3.0", "score / 3.0"),
    ("score ** 2.0", "score * score"),
    ("--score", "score"),
]


@pytest.mark.parametrize(("before", "after"), LAWS)
def test_laws(before: str, after: str) -> None:
    found = body("simplify", before, n=2)
    assert after == found or after == _without_where(found)


def _without_where(text: str) -> str:
    """The text with its `where` names written out (shared leaves of the expected texts are spelled twice)."""
    first, *lines = [line.strip().removeprefix("where ").rstrip(",") for line in text.splitlines()]
    for line in reversed(lines):
        name, value = line.split(" = ", 1)
        first = first.replace(name, value)
    return first


def test_what_may_fault_is_not_folded() -> None:
    zero = literal(0)
    for name, args in (("floordiv", (1, 0)), ("mod", (1, 0)), ("shift_left", (1, 32)), ("pow", (2, -1))):
        node = make("eq", make(name, *map(literal, args)), zero)
        after = run_passes(Variant("m", "mask", mask=node), after="simplify")
        assert any(getattr(n, "name", "") == name for n in topological(after.mask)), name


def test_folding_wraps_as_int32_does() -> None:
    assert body("fold_constants", "2147483647 + 1 == k") == "-2147483648 == k"
    assert body("fold_constants", "-7 // 2 == k % 4") == "-4 == k % 4"


def test_a_size_that_a_table_carries_is_kept() -> None:
    assert body("fold_constants", "t[size(n) - 1] == k", n=4) == "t[size(n) - 1] == k"
    assert body("unroll_quantifiers", "any(t[i] == k for i in range(size(n)))", n=1) == "t[0] == k"


def test_a_quantifier_over_an_unknown_size_is_kept() -> None:
    assert "for i in range(size(n))" in body("unroll_quantifiers", "any(t[i] == k for i in range(size(n)))")


def test_quantifiers_over_nothing() -> None:
    assert body("unroll_quantifiers", "any(i == k for i in range(0))") == "false"
    assert body("unroll_quantifiers", "all(i == k for i in range(3, 1))") == "true"
    assert body("unroll_quantifiers", "sum(i + q for i in range(0)) == k") == "0 == k"


def test_known_floats_are_added_in_order() -> None:
    """Ten times 0.1 is 1.0 in a balanced tree, and 0.9999999999999999 one after another, as the reference adds."""
    total = sum([0.1] * 10)
    assert total < 1.0
    assert body("unroll_quantifiers", "sum(0.1 for i in range(10)) <= k") == f"{total} <= k"
    assert body("unroll_quantifiers", "sum(0.1 * i for i in range(0)) <= k") == "0.0 <= k"


def test_nested_quantifiers() -> None:
    text = "any(all(q + i < k + j for j in range(2)) for i in range(2))"
    parts = [f"(q + {i} < k + 0 and q + {i} < k + 1)" for i in range(2)]
    assert _without_where(body("unroll_quantifiers", text)) == " or ".join(parts).replace("(", "").replace(")", "")


def test_unrolled_trees_are_shallow() -> None:
    variant = run_passes(last_definition("mask m = any(q * i == k for i in range(4096))"))
    depth: dict[int, int] = {}
    for node in topological(variant.mask):
        depth[id(node)] = 1 + max((depth[id(a)] for a in getattr(node, "args", ())), default=0)
    assert depth[id(variant.mask)] <= 16


def quantifier(count: int, body_length: int = 1) -> Variant:
    """`any` over `count` numbers of a comparison of a sum of `body_length` terms."""
    total = Symbol("i")
    for _ in range(body_length):
        total = make("add", make("mul", total, Symbol("i")), Symbol("q"))
    node = Quantified("any", "i", literal(0), literal(count), make("eq", total, Symbol("k")), BOOL)
    return Variant("m", "mask", mask=node)


@pytest.mark.parametrize(("count", "length", "code"), [(4097, 1, "E0403"), (10**9, 1, "E0403"), (4096, 10, "E0406")])
def test_limits(count: int, length: int, code: str) -> None:
    with pytest.raises(MaskError) as error:
        run_passes(quantifier(count, length))
    assert error.value.diagnostics[0].code == code


def test_only_what_reads_the_variable_is_copied() -> None:
    variant = run_passes(quantifier(100), after="unroll_quantifiers")
    assert len({id(n) for n in topological(variant.mask) if isinstance(n, Symbol)}) == 2


def test_equal_parts_become_one_node_across_fields() -> None:
    def distance() -> object:
        return make("sub", Symbol("q"), Symbol("k"))

    variant = Variant(
        "m", "variant", mask=make("lt", distance(), literal(3)), score=make("to_float", distance())
    )  # fmt: skip
    shared = run_passes(variant, after="share")
    assert shared.mask.args[0] is shared.score.args[0]


def test_swapped_operands_are_shared_only_where_exact() -> None:
    q, k = Symbol("q"), Symbol("k")
    same = [("add", "add", True), ("sub", "sub", False), ("lt", "gt", True), ("le", "ge", True), ("min", "min", True)]
    for first, second, expected in same:
        x, y = make(first, q, k), make(second, k, q)
        pair = make("eq", x, y)
        after = run_passes(Variant("m", "mask", mask=pair), after="share").mask
        is_one = isinstance(after, Literal) or (len(after.args) == 2 and after.args[0] is after.args[1])
        assert is_one is expected, first


def test_every_pass_has_a_name_of_its_own_and_no_other_name_is_known() -> None:
    assert len(set(NAMES)) == len(NAMES)
    with pytest.raises(AssertionError):
        run_passes(quantifier(1), Context(), after="nothing")


