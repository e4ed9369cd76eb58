"""Substitution and inlining: simultaneous, hygienic, memoised, bounded; equal in value to what they replace."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from programs import Program, programs

from maskdsl.ir.nodes import Call, Fill, Lookup, Moved, Node, Quantified, Size, Symbol, Use, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.print import text
from maskdsl.ir.substitute import axis_sizes, binding, inline, inline_calls, inline_moves, substitute
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Table
from maskdsl.ir.verify import verify
from maskdsl.ir.walk import topological
from maskdsl.passes.share import unique
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source, Span

B, H, Q, K, SCORE = Symbol("b"), Symbol("h"), Symbol("q"), Symbol("k"), Symbol("score", FLOAT)


def lt(x: Node, y: Node) -> Node:
    return make("lt", x, y)


def moved(body: Node, **moves: Node) -> Moved:
    return Moved(body, tuple(moves.items()), body.type)


def count(variable: str, body: Node, stop: Node | None = None) -> Quantified:
    return Quantified("any", variable, literal(0), stop or literal(4), body, BOOL)


# ---------------------------------------------------------------- coordinates


def test_replacements_happen_at_once() -> None:
    assert text(substitute(lt(Q, K), coordinates={"q": K, "k": Q})) == "k < q"
    assert text(inline(moved(lt(Q, K), q=K, k=Q))) == "k < q"


def test_moves_compose_from_the_outside_in() -> None:
    inner = moved(lt(Q, K), q=make("sub", Q, literal(1)))
    assert text(inline(moved(inner, q=make("mul", Q, literal(2))))) == "q * 2 - 1 < k"
    assert text(inline(moved(inner, k=Q))) == "q - 1 < q"


def test_a_substituted_coordinate_is_not_captured_by_a_move() -> None:
    inner = moved(make("add", Q, K), q=make("sub", Q, literal(1)))
    assert text(substitute(inner, coordinates={"k": Q})) == "q - 1 + q"


def test_quantifier_variables_are_renamed_apart() -> None:
    body = count("i", lt(Symbol("i"), Q))
    assert text(substitute(body, coordinates={"q": Symbol("i")})) == "any(i_2 < i for i_2 in range(4))"
    assert text(substitute(lt(Symbol("i"), Q), coordinates={"i": literal(3)})) == "3 < q"


def test_a_bound_variable_is_not_replaced() -> None:
    after = substitute(count("i", lt(Symbol("i"), Q)), coordinates={"i": literal(9)})
    assert text(after) == "any(i < q for i in range(4))"


def test_score_is_a_coordinate_too() -> None:
    double = make("mul", SCORE, literal(2.0))
    assert text(inline(moved(double, score=make("add", SCORE, literal(1.0))))) == "(score + 1.0) * 2.0"


def test_unchanged_parts_stay_the_same_objects() -> None:
    left, right = make("add", Q, literal(1)), make("add", K, literal(1))
    after = substitute(lt(left, right), coordinates={"k": B})
    assert after.args[0] is left


# ---------------------------------------------------------------- parameters

WINDOW, INNER = Constant("band", "w", INT), Hole("outer", "inner")
BAND = Variant("band", "mask", (WINDOW,), mask=lt(make("sub", Q, K), Use(WINDOW, INT)))
OUTER = Variant("outer", "mask", (INNER,), mask=moved(Fill(INNER), q=make("floordiv", Q, literal(2))))


def call(target: Variant, *arguments: Node | Table) -> Call:
    kind = BOOL if target.kind == "mask" else FLOAT
    return Call(target, tuple(zip(target.parameters, arguments, strict=True)), kind)


def test_constants_holes_and_tables() -> None:
    table, other = Table("m", "t", INT, ("n",)), Table("m", "u", INT, ("x",))
    node = make("and", lt(Lookup(table, (Q,), INT), Use(WINDOW, INT)), Fill(INNER))
    after = substitute(node, constants={WINDOW: literal(3)}, tables={table: other}, holes={INNER: lt(K, Q)})
    assert text(after) == "u[q] < 3 and k < q"
    assert text(substitute(lt(Q, Size("n")), sizes={"n": Size("x")})) == "q < size(x)"


def test_a_call_becomes_its_body_at_the_arguments() -> None:
    assert text(inline(call(BAND, literal(8)))) == "q - k < 8"
    assert text(inline(moved(call(BAND, literal(8)), q=K))) == "k - k < 8"


def test_a_mask_argument_moves_with_the_place_where_it_is_filled() -> None:
    node = call(OUTER, lt(K, Q))
    assert text(inline(node)) == "k < q // 2"
    assert text(inline(moved(node, q=make("add", Q, literal(4))))) == "k < (q + 4) // 2"
    (step,) = inline_calls([node])
    assert text(step) == "(k < q) at (q = q // 2)"
    assert text(inline_moves([step])[0]) == "k < q // 2"


def test_a_mask_argument_keeps_the_names_of_the_caller() -> None:
    w = Constant("main", "w", INT)
    argument = count("i", lt(Symbol("i"), Use(w, INT)))
    target = Variant("t", "mask", (INNER,), mask=count("i", make("and", Fill(INNER), lt(Symbol("i"), Q))))
    assert text(inline(call(target, argument))) == "any(any(i_2 < w for i_2 in range(4)) and i < q for i in range(4))"


def test_a_variable_of_the_caller_reaches_the_filled_mask() -> None:
    target = Variant("t", "mask", (INNER,), mask=count("i", make("and", Fill(INNER), lt(Symbol("i"), Q))))
    around = count("i", call(target, lt(Symbol("i"), K)))
    assert text(inline(around)) == "any(any(i < k and i_2 < q for i_2 in range(4)) for i in range(4))"


def test_substitution_moves_calls_as_a_whole() -> None:
    node = call(OUTER, lt(K, Q))
    assert text(substitute(node, coordinates={"q": B})) == "outer(k < q) at (q = b)"
    assert text(inline(substitute(node, coordinates={"q": B}))) == "k < b // 2"
    assert text(substitute(Fill(INNER), coordinates={"q": B, "score": SCORE})) == "inner at (q = b)"


def test_axes_of_the_callee_become_those_of_the_caller() -> None:
    mine, theirs = Table("d", "start", INT, ("batch", "n")), Table("main", "cut", INT, ("batch", "m"))
    fixed = Table("main", "three", INT, ("batch", 3))
    target = Variant("d", "mask", (mine,), mask=lt(Lookup(mine, (B, literal(0)), INT), Size("n")))
    assert text(inline(call(target, theirs))) == "cut[b, 0] < size(m)"
    assert text(inline(call(target, fixed))) == "three[b, 0] < 3"
    assert list(axis_sizes({mine: mine})) == []
    assert [str(n.axis) for n in binding(call(target, theirs)).sizes.values()] == ["m"]  # type: ignore[union-attr]


def test_a_score_reads_the_score_of_its_place() -> None:
    cap = Variant("cap", "score", score=make("tanh", SCORE))
    pipeline = moved(call(cap), score=moved(call(cap), score=make("neg", SCORE)))
    assert text(inline(pipeline)) == "tanh(tanh(-score))"


# ---------------------------------------------------------------- size


def nested(depth: int, *, same: bool) -> Call:
    """Calls of calls, two each: of one node, or at two places that never coincide."""
    variant = Variant("d0", "mask", mask=lt(K, Q))
    for i in range(1, depth):
        again = call(variant)
        other: Node = again if same else moved(call(variant), q=make("sub", make("mul", Q, literal(3)), literal(i)))
        variant = Variant(f"d{i}", "mask", mask=make("and", again, other))
    return call(variant)


def test_equal_calls_are_inlined_once() -> None:
    assert len(list(topological(inline(nested(100, same=True))))) < 110


def test_growth_is_an_error_with_a_place() -> None:
    place = Span(Source("m", "nested()"), 0, 8)
    big = nested(40, same=False)
    with pytest.raises(MaskError) as error:
        inline(Call(big.target, (), BOOL, place))
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "E0406" and diagnostic.span == place


def test_depth_costs_no_stack() -> None:
    node: Node = Q
    for _ in range(20_000):
        node = make("add", node, literal(1))
    assert substitute(node, coordinates={"q": K}, limit=10**6) is not node


@given(programs())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_inlining_is_both_steps(program: Program) -> None:
    for _, root in program.fixed.roots:
        both = inline(root)
        (step,) = inline_moves(inline_calls([root]))
        assert text(*unique([both])) == text(*unique([step]))
        assert not any(isinstance(n, Call | Moved | Fill) for n in topological(both))
        verify(Variant("x", "mask" if root.type is BOOL else "score", program.fixed.parameters,
                       **{"mask" if root.type is BOOL else "score": both}))  # fmt: skip
