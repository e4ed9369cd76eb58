"""From lark's tree of one definition to the nodes of `ast`, with spans and the limits on numbers and nesting.

Not here: which texts parse (`grammar/mask.lark`), what a name means (`meaning`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from lark import Token, Tree

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast
from maskdsl.syntax.stop import shorten

MAX_DEPTH = 200
MAX_INT = 2**31 - 1
EDITION = 1

Node = Any  # a lark Tree or Token, or None where an optional part is missing


@dataclass(slots=True)
class Build:
    """The source that a tree came from, and what is wrong with its numbers so far."""

    source: Source
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def span(self, start: Token, end: Token | None = None) -> Span:
        """From the first character of one token to the last of another, or of the same."""
        last = start if end is None else end
        assert start.start_pos is not None and last.end_pos is not None
        return Span(self.source, start.start_pos, last.end_pos)

    def report(self, code: str, message: str, span: Span, *help: str, label: str = "") -> None:
        """Note a mistake; the piece is refused when all of it has been built."""
        self.diagnostics.append(Diagnostic(code, message, span, label, help=help))


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk of a file says: its edition, its imports and its definitions."""

    edition: ast.Integer | None
    uses: tuple[ast.Use, ...]
    definitions: tuple[ast.Definition, ...]


def build_piece(tree: Tree[Token], source: Source) -> Piece:
    """The nodes of a parsed chunk; raises MaskError for what the grammar cannot refuse (numbers, depth, stray docs)."""
    build = Build(source)
    language, *rest = tree.children
    edition = _edition(build, language) if language is not None else None
    trees = [child for child in rest if isinstance(child, Tree)]
    uses = tuple(_use(build, child) for child in trees if child.data == "use")
    definitions = tuple(DEFINITIONS[child.data](build, child) for child in trees if child.data != "use")
    if build.diagnostics:
        raise MaskError(build.diagnostics)
    return Piece(edition, uses, definitions)


# ---------------------------------------------------------------- the head of a file


def _edition(build: Build, tree: Node) -> ast.Integer:
    edition = _integer_of(build, tree.children[1])
    if edition.value != EDITION and not build.diagnostics:
        build.report("E0109", f"edition {edition.value} of the language is unknown", edition.span,
                     f"this maskdsl reads edition {EDITION}: `language {EDITION}`")
    return edition


def _use(build: Build, tree: Node) -> ast.Use:
    keyword, module, *names = tree.children
    words = [child for child in module.children if child is not None and child.type == "NAME"]
    imported = tuple(_imported(build, child) for child in names)
    span = build.span(keyword).to(imported[-1].span)
    local = module.children[0] is not None
    return ast.Use(local, tuple(_name(build, word) for word in words), imported, span)


def _imported(build: Build, tree: Node) -> ast.Imported:
    name, alias = tree.children
    return ast.Imported(_name(build, name), _name(build, alias) if alias is not None else None,
                        build.span(name, alias))


def _name(build: Build, token: Token) -> ast.Name:
    return ast.Name(str(token), build.span(token))


# ---------------------------------------------------------------- definitions


def _formula(node: type[ast.Mask] | type[ast.Score]) -> Callable[[Build, Node], ast.Definition]:
    def build_formula(build: Build, tree: Node) -> ast.Definition:
        doc, keyword, name, signature, body, where, requires = tree.children
        value = expression(build, body, 1)
        bindings = tuple(_binding(build, child) for child in where.children) if where is not None else ()
        facts = tuple(expression(build, child, 1) for child in requires.children) if requires is not None else ()
        last = facts[-1] if facts else bindings[-1] if bindings else value
        span = build.span(keyword).to(last.span)
        return node(_doc(build, doc), _name(build, name), _parameters(build, signature), value, bindings, facts, span)

    return build_formula


def _variant(build: Build, tree: Node) -> ast.Definition:
    doc, keyword, name, signature, *fields, close = tree.children
    return ast.Variant(_doc(build, doc), _name(build, name), _parameters(build, signature),
                       tuple(_field(build, child) for child in fields), build.span(keyword, close))


def _example(build: Build, tree: Node) -> ast.Definition:
    doc, keyword, call, place, expected = tree.children
    shown = _call(build, call, 1)
    coordinates = _place(build, place, 1)[0] if place is not None else ()
    is_picture = expected.data == "picture"
    result = _picture(build, expected) if is_picture else expression(build, expected, 1)
    return ast.Example(_doc(build, doc), shown, coordinates, result, build.span(keyword).to(result.span))


def _doc(build: Build, tree: Node) -> tuple[str, ...]:
    for line in tree.children:
        before = build.source.text.rfind("\n", 0, line.start_pos) + 1
        if build.source.text[before : line.start_pos].strip("\ufeff \t\r\f"):
            build.report("E0101", "documentation stands on the lines above its definition", build.span(line),
                         "write `#` for a comment at the end of a line")
    return tuple(str(line)[2:].removeprefix(" ").rstrip() for line in tree.children)


def _parameters(build: Build, tree: Node) -> tuple[ast.Parameter, ...]:
    return tuple(_parameter(build, child) for child in tree.children if child is not None)


def _parameter(build: Build, tree: Node) -> ast.Parameter:
    name, type_tree, default = tree.children
    kind = _type(build, type_tree)
    value = expression(build, default, 1) if default is not None else None
    return ast.Parameter(_name(build, name), kind, value, build.span(name).to((value or kind).span))


def _type(build: Build, tree: Node) -> ast.Type:
    word = tree.children[0]
    axes = tree.children[1] if len(tree.children) > 1 else None
    if axes is None:
        return ast.Type(str(word), None, build.span(word))
    *inner, close = axes.children
    return ast.Type(str(word), tuple(_axis(build, axis) for axis in inner if axis is not None), build.span(word, close))


def _axis(build: Build, axis: Node) -> ast.Name | ast.Integer:
    return _name(build, axis) if isinstance(axis, Token) else _integer_of(build, axis.children[0])


def _binding(build: Build, tree: Node) -> ast.Binding:
    name, value = tree.children
    inner = expression(build, value, 1)
    return ast.Binding(_name(build, name), inner, build.span(name).to(inner.span))


def _field(build: Build, tree: Node) -> ast.Field:
    name, *stages = tree.children
    values = tuple(expression(build, stage, 1) for stage in stages)
    return ast.Field(_name(build, name), values, build.span(name).to(values[-1].span))


def _picture(build: Build, tree: Node) -> ast.Picture:
    rows = tuple(tuple(mark == "x" for mark in row if mark in "x.") for row in tree.children)
    spans = tuple(build.span(row) for row in tree.children)
    return ast.Picture(rows, spans, spans[0].to(spans[-1]))


DEFINITIONS: dict[str, Callable[[Build, Node], ast.Definition]] = {
    "mask": _formula(ast.Mask),
    "score": _formula(ast.Score),
    "variant": _variant,
    "example": _example,
}


# ---------------------------------------------------------------- expressions


def expression(build: Build, tree: Node, depth: int) -> ast.Expression:
    """The node of an expression's tree; raises MaskError where it nests deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise MaskError([too_deep(_first_token(build, tree))])
    return EXPRESSIONS[tree.data](build, tree.children, depth)


def too_deep(span: Span) -> Diagnostic:
    """The refusal of an expression that nests too deep at `span`."""
    return Diagnostic("E0105", f"this expression is nested more than {MAX_DEPTH} deep", span,
                      help=("give parts of it names with `where`",))


def _first_token(build: Build, tree: Node) -> Span:
    while not isinstance(tree, Token):
        tree = next(child for child in tree.children if child is not None)
    return build.span(tree)


def _integer(build: Build, children: list[Node], depth: int) -> ast.Integer:
    return _integer_of(build, children[0])


def _integer_of(build: Build, token: Token, largest: int = MAX_INT) -> ast.Integer:
    span = build.span(token)
    digits = token.replace("_", "").lstrip("0") or "0"
    if len(digits) > 10 or int(digits) > largest:
        build.report("E0106", f"`{shorten(str(token))}` does not fit in an int", span,
                     label=f"an int reaches from {-MAX_INT - 1:_} to {MAX_INT:_}")
        return ast.Integer(0, span)
    return ast.Integer(int(digits), span)


def _float(build: Build, children: list[Node], depth: int) -> ast.Float:
    span, text = build.span(children[0]), str(children[0])
    value = float(text)
    if value == float("inf") and text != "inf":
        build.report("E0106", f"`{shorten(text)}` does not fit in a float", span, "infinity is written `inf`")
    return ast.Float(value, span)


def _boolean(build: Build, children: list[Node], depth: int) -> ast.Boolean:
    return ast.Boolean(children[0] == "true", build.span(children[0]))


def _score_value(build: Build, children: list[Node], depth: int) -> ast.ScoreValue:
    return ast.ScoreValue(build.span(children[0]))


def _list_value(build: Build, children: list[Node], depth: int) -> ast.ListValue:
    start, *items, close = children
    return ast.ListValue(_each(build, items, depth), build.span(start, close))


def _each(build: Build, trees: list[Node], depth: int) -> tuple[ast.Expression, ...]:
    return tuple([expression(build, tree, depth + 1) for tree in trees if tree is not None])


def _group(build: Build, children: list[Node], depth: int) -> ast.Expression:
    start, inner, close = children
    # The parentheses belong to the span: the text of every span parses to its node again.
    return replace(expression(build, inner, depth + 1), span=build.span(start, close))


def _call_value(build: Build, children: list[Node], depth: int) -> ast.Call:
    name, arguments = children
    if arguments is None:
        return ast.Call(_name(build, name), (), False, build.span(name))
    *inner, close = arguments.children
    given = tuple([_argument(build, tree, depth + 1) for tree in inner if tree is not None])
    return ast.Call(_name(build, name), given, True, build.span(name, close))


def _call(build: Build, tree: Node, depth: int) -> ast.Call:
    return _call_value(build, tree.children, depth)


def _argument(build: Build, tree: Node, depth: int) -> ast.Argument:
    name, value = tree.children
    inner = expression(build, value, depth)
    if name is None:
        return ast.Argument(None, inner, inner.span)
    return ast.Argument(_name(build, name), inner, build.span(name).to(inner.span))


def _lookup(build: Build, children: list[Node], depth: int) -> ast.Lookup:
    table, *indices, close = children
    return ast.Lookup(_name(build, table), _each(build, indices, depth), build.span(table, close))


def _quantified(build: Build, children: list[Node], depth: int) -> ast.Quantified:
    kind, body, variable, first, second, close = children
    values = _each(build, [body, first, second], depth)
    start = values[1] if second is not None else None
    return ast.Quantified(str(kind), values[0], _name(build, variable), start, values[-1], build.span(kind, close))


def _moved(build: Build, children: list[Node], depth: int) -> ast.Moved:
    body = expression(build, children[0], depth + 1)
    coordinates, end = _place(build, children[1], depth + 1)
    return ast.Moved(body, coordinates, body.span.to(end))


def _place(build: Build, tree: Node, depth: int) -> tuple[tuple[ast.Coordinate, ...], Span]:
    *inner, close = tree.children
    return tuple([_coordinate(build, child, depth) for child in inner if child is not None]), build.span(close)


def _coordinate(build: Build, tree: Node, depth: int) -> ast.Coordinate:
    name, value, size_of = tree.children[-2], tree.children[-1], tree.data == "size"
    inner = expression(build, value, depth)
    return ast.Coordinate(_name(build, name), inner, build.span(tree.children[0]).to(inner.span), size_of)


def _negate(build: Build, children: list[Node], depth: int) -> ast.Negate:
    sign, value = children
    inner: ast.Expression
    if value.data == "integer":
        inner = _integer_of(build, value.children[0], MAX_INT + 1)
    else:
        inner = expression(build, value, depth + 1)
    return ast.Negate(inner, build.span(sign).to(inner.span))


def _not(build: Build, children: list[Node], depth: int) -> ast.Not:
    inner = expression(build, children[1], depth + 1)
    return ast.Not(inner, build.span(children[0]).to(inner.span))


def _binary(build: Build, children: list[Node], depth: int) -> ast.Binary:
    left, right = expression(build, children[0], depth + 1), expression(build, children[2], depth + 1)
    return ast.Binary(str(children[1]), left, right, left.span.to(right.span))


def _compare(build: Build, children: list[Node], depth: int) -> ast.Compare:
    operands = _each(build, children[::2], depth)
    return ast.Compare(tuple(map(str, children[1::2])), operands, operands[0].span.to(operands[-1].span))


def _and(build: Build, children: list[Node], depth: int) -> ast.And:
    operands = _each(build, children, depth)
    return ast.And(operands, operands[0].span.to(operands[-1].span))


def _or(build: Build, children: list[Node], depth: int) -> ast.Or:
    operands = _each(build, children, depth)
    return ast.Or(operands, operands[0].span.to(operands[-1].span))


def _choice(build: Build, children: list[Node], depth: int) -> ast.Choice:
    value, condition, otherwise = _each(build, children, depth)
    return ast.Choice(value, condition, otherwise, value.span.to(otherwise.span))


EXPRESSIONS: dict[str, Callable[[Build, list[Node], int], ast.Expression]] = {
    "integer": _integer, "float": _float, "boolean": _boolean, "score_value": _score_value, "list_value": _list_value,
    "group": _group, "call": _call_value, "lookup": _lookup, "quantified": _quantified, "moved": _moved,
    "negate": _negate, "not": _not, "binary": _binary, "compare": _compare, "and": _and, "or": _or, "choice": _choice,
}
