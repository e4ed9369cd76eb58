"""How an expression is written: with the fewest parentheses, and with places where it may break.

Not here: definitions and comments (`format`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maskdsl.syntax import ast
from maskdsl.syntax.document import Break, Document, Fill, Group, Indent, enclosed, separated
from maskdsl.syntax.stop import lexemes

# How tight an expression binds, loosest first: the rules of `grammar/mask.lark` from `expr` down to `atom`.
CHOICE, OR, AND, NOT, COMPARISON, SUM, PRODUCT, UNARY, POWER, POSTFIX, ATOM = range(11)
_BINARY = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT, "**": POWER}


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of an expression that gets its own line where the expression breaks; `[start, end)` are offsets."""

    document: Document
    start: int
    end: int


def spell(node: ast.Expression, tightness: int = CHOICE) -> Document:
    """The document of an expression that stands where only those at least as tight may stand bare."""
    if binding(node) < tightness:
        return enclosed("(", spell(node), ")")
    lines = parts(node)
    if len(lines) > 1:
        return Group(separated([part.document for part in lines], ""))
    return lines[0].document


def binding(node: ast.Expression) -> int:
    """How tight the outermost operator of an expression binds, from `CHOICE` to `ATOM`."""
    match node:
        case ast.Choice():
            return CHOICE
        case ast.Or():
            return OR
        case ast.And():
            return AND
        case ast.Not():
            return NOT
        case ast.Compare():
            return COMPARISON
        case ast.Negate():
            return UNARY
        case ast.Moved():
            return POSTFIX
        case ast.Binary(operator):
            return _BINARY[operator]
        case _:
            return ATOM


def parts(node: ast.Expression) -> tuple[Part, ...]:
    """The lines of an expression broken at its loosest operators; a single one where it has none to break at."""
    match node:
        case ast.And(operands):
            return _joined(operands, ["and "] * len(operands), AND + 1)
        case ast.Or(operands):
            return _joined(operands, ["or "] * len(operands), OR + 1)
        case ast.Compare(operators, operands):
            return _joined(operands, ["", *(f"{sign} " for sign in operators)], COMPARISON + 1)
        case ast.Binary("+" | "-" | "*" | "/" | "//" | "%"):
            return _operated(node)
        case ast.Choice():
            return _chosen(node)
        case _:
            return (Part(_spell_bare(node), node.span.start, node.span.end),)


def _joined(operands: tuple[ast.Expression, ...], signs: list[str], tightness: int) -> tuple[Part, ...]:
    """One part for every operand, with the sign before it; the first has none."""
    rest = zip(operands[1:], signs[1:], strict=True)
    return (_part(operands[0], "", tightness), *(_part(operand, sign, tightness) for operand, sign in rest))


def _part(operand: ast.Expression, sign: str, tightness: int) -> Part:
    spelled = spell(operand, tightness)
    # A bare chain inside a chain breaks further in, so that the eye sees which operator is the looser.
    document = Indent(spelled) if binding(operand) in range(tightness, UNARY) else spelled
    return Part((sign, document), operand.span.start, operand.span.end)


def _operated(node: ast.Binary) -> tuple[Part, ...]:
    """`a + b - c` as `a`, `+ b`, `- c`: operators of one tightness, which group to the left."""
    level, backwards = binding(node), []
    left: ast.Expression = node
    while isinstance(left, ast.Binary) and binding(left) == level:
        backwards.append(_part(left.right, f"{left.operator} ", level + 1))
        left = left.left
    return (_part(left, "", level), *reversed(backwards))


def _chosen(node: ast.Choice) -> tuple[Part, ...]:
    """`a if b else c if d else e` as `a if b`, `else c if d`, `else e`."""
    lines: list[Part] = []
    rest: ast.Expression = node
    while isinstance(rest, ast.Choice):
        value, condition = spell(rest.value, OR), spell(rest.condition, OR)
        document: Document = Group(("else " if lines else "", value, Indent((Break(), "if ", condition))))
        lines.append(Part(document, rest.value.span.start, rest.condition.span.end))
        rest = rest.otherwise
    return (*lines, Part(("else ", spell(rest)), rest.span.start, rest.span.end))


def _spell_bare(node: ast.Expression) -> Document:
    match node:
        case ast.Integer() | ast.Float():
            return _as_written(node)
        case ast.Boolean(value):
            return "true" if value else "false"
        case ast.ScoreValue():
            return "score"
        case ast.ListValue(items):
            return Group(("[", Indent((Break(""), Fill(tuple(spell(item) for item in items)))), Break(""), "]"))
        case ast.Call():
            return spell_call(node)
        case ast.Lookup(table, indices):
            return (table.text, enclosed("[", separated([spell(index) for index in indices]), "]"))
        case ast.Quantified():
            return _spell_quantified(node)
        case ast.Moved(body, coordinates):
            return (spell(body, POSTFIX), " ", spell_place(coordinates))
        case ast.Negate(value):
            return ("-", spell(value, UNARY))
        case ast.Not(value):
            return ("not ", spell(value, NOT))
        case ast.Binary("**", left, right):
            return (spell(left, POSTFIX), " ** ", spell(right, UNARY))
        case _:
            raise AssertionError(f"{type(node).__name__} has operators to break at")


def _as_written(node: ast.Integer | ast.Float) -> str:
    # The span of a number in parentheses includes them.
    span = node.span
    return next(found.text for found in lexemes(span.source, span.start, span.end) if found.text != "(")


def spell_call(call: ast.Call) -> Document:
    """`name`, `name()` or `name(first, window = 4)`."""
    if not call.parens or not call.arguments:
        return call.name.text + "()" * call.parens
    given: list[Document] = [_spell_argument(argument) for argument in call.arguments]
    return (call.name.text, enclosed("(", separated(given), ")"))


def _spell_argument(argument: ast.Argument) -> Document:
    return spell(argument.value) if argument.name is None else (f"{argument.name.text} = ", spell(argument.value))


def spell_place(coordinates: tuple[ast.Coordinate, ...]) -> Document:
    """`at (q = 0, size(head) = 8)`."""
    given: list[Document] = [(f"{_coordinate(c)} = ", spell(c.value)) for c in coordinates]
    return ("at ", enclosed("(", separated(given), ")"))


def _coordinate(coordinate: ast.Coordinate) -> str:
    return f"size({coordinate.name.text})" if coordinate.size_of else coordinate.name.text


def _spell_quantified(node: ast.Quantified) -> Document:
    ends = [node.stop] if node.start is None else [node.start, node.stop]
    counted = enclosed("(", separated([spell(end) for end in ends]), ")")
    inner = (spell(node.body), Break(), f"for {node.variable.text} in range", counted)
    return (node.kind, enclosed("(", inner, ")"))
