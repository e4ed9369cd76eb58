"""The rules of `simplify` for bools and comparisons. Operands are shared: equal values are the same node."""

from __future__ import annotations

from collections.abc import Callable

from maskdsl.ir.nodes import Literal, Node, Op, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, FLOAT

Rule = Callable[[Op], Node | None]

OPPOSITE = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le", "eq": "ne", "ne": "eq"}


def truth(node: Node) -> bool | None:
    """The value of a bool literal, None for anything else."""
    return bool(node.value) if isinstance(node, Literal) and node.type is BOOL else None


def _join_with_literal(node: Op) -> Node | None:
    # x and true = x, x and false = false; x or false = x, x or true = true
    neutral = node.name == "and"
    for x, y in (node.args, node.args[::-1]):
        if truth(x) is not None:
            return y if truth(x) is neutral else literal(not neutral, node.span)
    return None


def _join_with_itself(node: Op) -> Node | None:
    # x and x = x, x or x = x
    x, y = node.args
    return x if x is y else None


def _join_with_opposite(node: Op) -> Node | None:
    # x and not x = false, x or not x = true
    x, y = node.args
    if _denies(x, y) or _denies(y, x):
        return literal(node.name == "or", node.span)
    return None


def _denies(x: Node, y: Node) -> bool:
    return isinstance(x, Op) and x.name == "not" and x.args[0] is y


def _absorb(node: Op) -> Node | None:
    # x and (x or y) = x, x or (x and y) = x; (x and y) and x = x and y
    for x, y in (node.args, node.args[::-1]):
        if isinstance(y, Op) and y.name in ("and", "or") and x in y.args:
            return y if y.name == node.name else x
    return None


def _negate_twice(node: Op) -> Node | None:
    # not not x = x
    match node.args[0]:
        case Op(name="not", args=(x,)):
            return x
    return None


def _negate_comparison(node: Op) -> Node | None:
    # not (x < y) = x >= y of ints; not (x == y) = x != y of everything (NaN equals nothing, not even itself)
    match node.args[0]:
        case Op(name=name, args=(x, y)) if name in ("eq", "ne") or (name in OPPOSITE and x.type is not FLOAT):
            return make(OPPOSITE[name], x, y, span=node.span, hint=node.hint)
    return None


def _compare_with_itself(node: Op) -> Node | None:
    # x == x, x <= x, x >= x are true, x != x, x < x, x > x false, but for NaN
    x, y = node.args
    return literal(node.name in ("eq", "le", "ge"), node.span) if x is y and x.type is not FLOAT else None


def _compare_bool_with_literal(node: Op) -> Node | None:
    # (x == true) = x, (x == false) = not x; != the other way round
    for x, y in (node.args, node.args[::-1]):
        if truth(y) is not None:
            return x if truth(y) is (node.name == "eq") else make("not", x, span=node.span)
    return None


def _compare_int_of_bool(node: Op) -> Node | None:
    # (int(x) == 1) = x, (int(x) == 0) = not x of a bool x; != the other way round
    for x, y in (node.args, node.args[::-1]):
        match x, y:
            case Op(name="to_int", args=(inner,)), Literal(value=0 | 1 as number) if inner.type is BOOL:
                return inner if (number == 1) is (node.name == "eq") else make("not", inner, span=node.span)
    return None


def _choose_known(node: Op) -> Node | None:
    # (x if true else y) = x, (x if false else y) = y, (x if c else x) = x
    condition, x, y = node.args
    known = truth(condition)
    if known is not None:
        return x if known else y
    return x if x is y else None


def _choose_by_negation(node: Op) -> Node | None:
    # (x if not c else y) = (y if c else x)
    match node.args:
        case (Op(name="not", args=(condition,)), x, y):
            return make("choose", condition, y, x, span=node.span, hint=node.hint)
    return None


def _choose_between_bools(node: Op) -> Node | None:
    # (true if c else y) = c or y, (false if c else y) = not c and y, (x if c else true) = not c or x, (x if c else
    # false) = c and x
    condition, x, y = node.args
    if truth(x) is None and truth(y) is None:
        return None
    here, there = (x, y) if truth(x) is not None else (y, x)
    same = truth(here) is (here is x)
    side = condition if same else make("not", condition, span=node.span)
    return make("or" if truth(here) else "and", side, there, span=node.span, hint=node.hint)


_JOIN = (_join_with_literal, _join_with_itself, _join_with_opposite, _absorb)
_COMPARE = (_compare_with_itself,)

LOGIC_RULES: dict[str, tuple[Rule, ...]] = {
    "and": _JOIN,
    "or": _JOIN,
    "not": (_negate_twice, _negate_comparison),
    "eq": (_compare_with_itself, _compare_bool_with_literal, _compare_int_of_bool),
    "ne": (_compare_with_itself, _compare_bool_with_literal, _compare_int_of_bool),
    **dict.fromkeys(("lt", "le", "gt", "ge"), _COMPARE),
    "choose": (_choose_known, _choose_by_negation, _choose_between_bools),
}
