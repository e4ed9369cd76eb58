"""The values of constant expressions, computed by the reference of the table of functions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maskdsl.ir import ops
from maskdsl.ir.nodes import Literal, Node, Op, Quantified, Symbol, Use, Value
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Scalar
from maskdsl.ir.walk import topological
from maskdsl.meaning.findings import Findings, quoted

LARGEST_INT = 2**31 - 1


MOST_STEPS = 50_000
"""Quantifiers in a constant are computed as far as they take no more evaluations of nodes than this."""


def constant_value(root: Node, constants: Mapping[Constant, Value] | None = None) -> Value | None:
    """The value of an expression of literals, functions, quantifiers and the given constants; None for any other.

    None also where there is no value: `//` or `%` of ints by zero, an int to a negative power, shifts out of range,
    ints that pass 32 bits.
    """
    known = _Evaluation(dict(constants or {})).value(root, {})
    return None if known is None else known.value


def verify_value(findings: Findings, root: Node) -> bool:
    """Whether no operation below a constant is known to have no value; else report the first (E0410)."""
    part = valueless_part(root)
    if part is not None:
        findings.tell("E0410", f"{quoted(part.span)} has no value", part.span, _reason(part))
    return part is None


def valueless_part(root: Node, constants: Mapping[Constant, Value] | None = None) -> Node | None:
    """The first operation below a constant whose operands are known and that has no value; None if there is none."""
    evaluation = _Evaluation(dict(constants or {}))
    values: dict[int, Literal | None] = {}
    for node in topological(root):
        known = values[id(node)] = evaluation.step(node, {}, values)
        if known is None and isinstance(node, Op) and all(values[id(a)] is not None for a in node.args):
            return node
        if known is not None and isinstance(known.value, float) and math.isnan(known.value):
            return node
    return None


@dataclass(slots=True)
class _Evaluation:
    """One evaluation: the constants, and how many evaluations of nodes are left."""

    constants: Mapping[Constant, Value]
    left: int = MOST_STEPS

    def value(self, root: Node, variables: Mapping[str, Literal]) -> Literal | None:
        """The value of an expression; recursion goes no deeper than quantifiers stand inside each other."""
        values: dict[int, Literal | None] = {}
        for node in topological(root):
            values[id(node)] = self.step(node, variables, values)
        return values[id(root)]

    def step(
        self, node: Node, variables: Mapping[str, Literal], values: Mapping[int, Literal | None]
    ) -> Literal | None:
        """The value of a node whose children's are known."""
        match node:
            case Literal():
                return node
            case Symbol(name=name):
                return variables.get(name)
            case Use(constant=constant, type=kind):
                return Literal(self.constants[constant], kind) if constant in self.constants else None
            case Op(name=name, args=args, type=kind):
                known = [v for a in args if (v := values[id(a)]) is not None]
                if len(known) == len(args) and _has_value(name, known):
                    return Literal(ops.fold_literals(name, *known), kind)
            case Quantified(start=start, stop=stop):
                first, last = values[id(start)], values[id(stop)]
                if first is not None and last is not None:
                    return self._quantified(node, range(int(first.value), int(last.value)), variables)
        return None

    def _quantified(self, node: Quantified, steps: range, variables: Mapping[str, Literal]) -> Literal | None:
        name = {"any": "or", "all": "and", "sum": "add"}[node.kind]
        whole = Literal({"any": False, "all": True, "sum": 0}[node.kind], node.type)
        size = sum(1 for _ in topological(node.body))
        for step in steps:
            self.left -= size
            value = self.value(node.body, {**variables, node.variable: Literal(step, INT)}) if self.left > 0 else None
            if value is None or not _has_value(name, [whole, value]):
                return None
            whole = Literal(ops.fold_literals(name, whole, value), node.type)
        return whole


def _has_value(name: str, args: list[Literal]) -> bool:
    ints = [int(a.value) for a in args if a.type is INT]
    if len(ints) != len(args):
        return True
    match name:
        case "floordiv" | "mod":
            return ints[1] != 0 and _in_range(ints[0] // ints[1])
        case "shift_left" | "shift_right":
            return 0 <= ints[1] <= 31
        case "pow":
            return ints[1] >= 0 and _power_in_range(ints[0], ints[1])
        case "add" | "sub" | "mul" | "neg" | "abs":
            return _in_range(_EXACT[name](*ints))
    return True


_EXACT: dict[str, Callable[..., int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg, "abs": abs,
}


def _in_range(value: int) -> bool:
    return -LARGEST_INT - 1 <= value <= LARGEST_INT


def _power_in_range(base: int, exponent: int) -> bool:
    return abs(base) <= 1 or (exponent <= 31 and _in_range(base**exponent))


def _reason(node: Node) -> str:
    match node:
        case Op(name="floordiv" | "mod", args=(_, Literal(value=0))):
            return "the divisor is 0"
        case Op(name="shift_left" | "shift_right"):
            return "the shift is not within 0 to 31"
        case Op(type=Scalar.INT):
            return "no int (32 bits) has this value"
    return "this is no number"


def fits(value: Value, kind: Scalar) -> bool:
    """Whether a value of Python is one of the scalar type as it is (an int is no float here, a bool is no int)."""
    match kind:
        case Scalar.BOOL:
            return isinstance(value, bool)
        case Scalar.INT:
            return isinstance(value, int) and not isinstance(value, bool) and -LARGEST_INT - 1 <= value <= LARGEST_INT
    return isinstance(value, float) and not math.isnan(value)


def kind_of(value: Value) -> Scalar:
    """The scalar type that a Python value has."""
    return BOOL if isinstance(value, bool) else INT if isinstance(value, int) else FLOAT
