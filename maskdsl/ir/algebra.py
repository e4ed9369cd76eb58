"""Constructors that keep bounds small: literals fold, neutral elements vanish, known conditions choose.

Not here: the simplification of programs (`passes`), which works on whole graphs.
"""

from __future__ import annotations

from functools import partial

from maskdsl.ir.nodes import Literal, Node, Op, literal
from maskdsl.ir.ops_reference import INT_MAX, INT_MIN
from maskdsl.ir.types import FLOAT

TRUE, FALSE = literal(True), literal(False)

_OPPOSITE = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le", "eq": "ne", "ne": "eq"}


def build(name: str, *args: Node) -> Node:
    """The row `name` applied to `args`, or a smaller node of the same value."""
    from maskdsl.ir import ops  # the table's column of bounds is made of these constructors

    if all(isinstance(a, Literal) for a in args):
        return literal(ops.fold_literals(name, *(a for a in args if isinstance(a, Literal))))
    return _smaller(name, args) or ops.make(name, *args)


def _smaller(name: str, args: tuple[Node, ...]) -> Node | None:
    match name:
        case "and" | "or":
            return _smaller_logic(name, *args)
        case "not":
            return _smaller_not(args[0])
        case "choose":
            return _smaller_choice(*args)
    if args[0].type is FLOAT:  # float laws have exceptions at NaN, infinity and -0
        return args[0] if name in ("min", "max") and args[0] is args[1] else None
    return _smaller_int(name, args) if len(args) == 2 else None


def _smaller_int(name: str, args: tuple[Node, ...]) -> Node | None:
    x, y = args
    if x is y and name in _OF_EQUALS:
        return _OF_EQUALS[name] or x
    match name, _value(x), _value(y):
        case ("add" | "sub" | "shift_left" | "shift_right" | "bit_or" | "bit_xor", _, 0):  # x + 0 = x
            return x
        case ("add" | "bit_or" | "bit_xor", 0, _):
            return y
        case ("mul" | "floordiv", _, 1):  # x * 1 = x
            return x
        case ("mul", 1, _):
            return y
        case ("mul", 0, _) | ("mul", _, 0) | ("bit_and", 0, _) | ("bit_and", _, 0) | ("mod", _, 1):  # x * 0 = 0
            return literal(0)
        case ("bit_and", _, -1) | ("min", _, 2147483647) | ("max", _, -2147483648):
            return x
        case ("bit_and", -1, _) | ("min", 2147483647, _) | ("max", -2147483648, _):
            return y
    return _smaller_comparison(name, _value(x), _value(y))


_OF_EQUALS: dict[str, Node | None] = {
    "sub": literal(0), "bit_xor": literal(0), "min": None, "max": None, "bit_and": None, "bit_or": None,
    "lt": FALSE, "gt": FALSE, "ne": FALSE, "le": TRUE, "ge": TRUE, "eq": TRUE,
}  # fmt: skip
"""The value of a row at two equal ints: None is that int."""


def _smaller_comparison(name: str, x: int | None, y: int | None) -> Node | None:
    # INT_MIN <= x <= INT_MAX
    match name:
        case "le" if x == INT_MIN or y == INT_MAX:
            return TRUE
        case "ge" if x == INT_MAX or y == INT_MIN:
            return TRUE
        case "lt" if x == INT_MAX or y == INT_MIN:
            return FALSE
        case "gt" if x == INT_MIN or y == INT_MAX:
            return FALSE
    return None


def _smaller_logic(name: str, x: Node, y: Node) -> Node | None:
    neutral = name == "and"
    if x is y or _truth(y) is neutral:
        return x
    if _truth(x) is neutral:
        return y
    if _truth(x) is not None or _truth(y) is not None:  # false and y = false
        return literal(not neutral)
    return None


def _smaller_not(x: Node) -> Node | None:
    match x:
        case Op(name="not", args=(inner,)):  # not not x = x
            return inner
        case Op(name=name, args=args) if name in _OPPOSITE and args[0].type is not FLOAT:  # not x < y = x >= y
            return build(_OPPOSITE[name], *args)
    return None


def _smaller_choice(condition: Node, x: Node, y: Node) -> Node | None:
    if x is y or (isinstance(x, Literal) and isinstance(y, Literal) and x.value == y.value):
        return x
    match _truth(condition):
        case None:
            return None
        case known:
            return x if known else y


def _value(node: Node) -> int | None:
    return int(node.value) if isinstance(node, Literal) and isinstance(node.value, int) else None


def _truth(node: Node) -> bool | None:
    return bool(node.value) if isinstance(node, Literal) else None


add, sub, mul, div = (partial(build, n) for n in ("add", "sub", "mul", "div"))
floordiv, mod, neg, power = (partial(build, n) for n in ("floordiv", "mod", "neg", "pow"))
lt, le, gt, ge, eq = (partial(build, n) for n in ("lt", "le", "gt", "ge", "eq"))
both, either, negate = (partial(build, n) for n in ("and", "or", "not"))
choose, lesser, greater = (partial(build, n) for n in ("choose", "min", "max"))
