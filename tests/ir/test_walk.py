"""Walking and rewriting: each shared node once, any depth, nothing rebuilt without need."""

from __future__ import annotations

from expressions import CALLEE
from hypothesis import given, settings
from programs import Program, programs

from maskdsl.ir.nodes import Call, Literal, Lookup, Moved, Node, Op, Quantified, Symbol, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, INT, Constant, Table
from maskdsl.ir.walk import children, fold, rewrite, rewrite_variant, topological, with_children

Q, K = Symbol("q"), Symbol("k")
DEEP = 200_000


def chain(length: int) -> Node:
    """`q + 1 + 1 + …`."""
    node: Node = Q
    one = literal(1)
    for _ in range(length):
        node = make("add", node, one)
    return node


def test_children_come_before_parents_and_each_node_once() -> None:
    shared = make("sub", Q, K)
    root = make("mul", shared, make("add", shared, Q))
    order = list(topological(root))
    assert len(order) == len({id(n) for n in order}) == 5
    assert all(order.index(c) < order.index(n) for n in order for c in children(n))


def test_several_roots_share_one_walk() -> None:
    assert list(topological([Q, make("neg", Q)]))[0] is Q
    assert len(list(topological([Q, Q]))) == 1


def test_depth_costs_no_stack() -> None:
    root = chain(DEEP)
    assert fold(root, lambda node, below: 1 + max(below, default=0)) == DEEP + 1
    assert rewrite(root, lambda node: K if node is Q else None) is not root


def test_wide_sharing_is_not_expanded() -> None:
    node: Node = Q
    for _ in range(200):
        node = make("add", node, node)
    assert fold(node, lambda n, below: sum(below) or 1) == 2**200


def test_rewrite_keeps_what_does_not_change() -> None:
    left, right = make("add", Q, literal(1)), make("sub", K, literal(1))
    root = make("mul", left, right)
    assert rewrite(root, lambda node: None) is root
    changed = rewrite(root, lambda node: K if node is Q else None)
    assert isinstance(changed, Op) and changed.args[1] is right and changed.args[0] is not left


def every_kind() -> list[Node]:
    """One node of each class that has children, all children different."""
    a, b, c = (make("add", Q, literal(i)) for i in range(3))
    table, constant = Table("m", "t", INT, ("n",)), Constant("m", "w", INT)
    target = Variant("d", "mask", (constant, table), mask=literal(True))
    return [
        make("clamp", a, b, c), Lookup(table, (a,), INT), Moved(a, (("q", b), ("k", c)), INT),
        Quantified("sum", "i", a, b, c, INT), Call(target, ((constant, a), (table, table)), BOOL),
    ]  # fmt: skip


def test_with_children_puts_each_child_in_its_place() -> None:
    for node in every_kind():
        other = tuple(Symbol(f"x{i}") for i in range(len(children(node))))
        rebuilt = with_children(node, other)
        assert children(rebuilt) == other and type(rebuilt) is type(node) and rebuilt.type is node.type
        assert with_children(node, children(node)) is node


def test_a_variant_is_rewritten_whole() -> None:
    variant = Variant("m", "mask", mask=make("lt", Q, K), facts=(make("lt", Q, literal(3)),))
    after = rewrite_variant(variant, lambda root: literal(True))
    assert isinstance(after.mask, Literal) and isinstance(after.facts[0], Literal)


@given(programs())
@settings(max_examples=50, deadline=None)
def test_random_programs_come_back_unchanged(program: Program) -> None:
    assert all(v.name.startswith(CALLEE) for v in program.callees)
    for _, root in program.variant.roots:
        assert rewrite(root, lambda node: None) is root
