"""Random programs: a syntax tree and, apart from the formatter, a text that says it with needless noise.

The text puts more parentheses than needed around operands, spaces, newlines and comments between any two tokens, commas
after the last of a list, and numbers in several spellings.
"""

from __future__ import annotations

import random

from hypothesis import strategies as st

from maskdsl.source.text import NOWHERE
from maskdsl.syntax import ast

NAMES = (
    "a b q k h w causal window q_len _x x1 X orb notx iffy at_ maskx inf_ infx trues range_ int float size scale sink "
    "normalize then_ document ascending very_long_name_of_a_parameter_indeed another_very_long_name"
).split()
AXES = ("batch", "head", "kv_head", "position", "n", "blocks")
SPACES = (" ",) * 12 + ("  ", "\n", "\n\n", "\t", "\r\n", "\n    ", " \n \n")
INTEGERS = ((0, "0"), (1, "1"), (7, "007"), (4096, "4_096"), (4096, "4096"), (2**31 - 1, "2147483647"))
FLOATS = ((0.5, "0.5"), (1.0, "1."), (1e-3, "1e-3"), (1500.0, "1.5E+3"), (float("inf"), "inf"), (1000.25, "1_000.25"))


class Program:
    """The tokens of a text as they come, and the comments put between them."""

    def __init__(self, seed: int, noise: float) -> None:
        self.random = random.Random(seed)
        self.noise = noise
        self.tokens: list[str] = []
        self.comments: list[str] = []
        self.file = ast.File(None, (), (), NOWHERE)

    def say(self, *tokens: str) -> None:
        for token in tokens:
            self.tokens += [token, self.space()]

    def space(self) -> str:
        if self.random.random() >= self.noise:
            return self.random.choice(SPACES)
        comment = f"# {len(self.comments)} " + self.random.choice(("", "note", "mask x = (", "é ≤", "x" * 90))
        self.comments.append(comment.rstrip())
        gap = "\n" * self.random.choice((1, 1, 2, 3))
        return self.random.choice((" ", "\n", "  ")) + comment + gap

    def line(self) -> None:
        """End the line, so that documentation or a picture's row may begin."""
        if "\n" not in self.tokens[-1]:
            self.tokens.append("\n")

    def __repr__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        return "".join(self.tokens)


# ---------------------------------------------------------------- expressions


def expression(p: Program, depth: int, tight: int = 0) -> ast.Expression:
    """A random expression; with `tight` above 0 it is an operand, in parentheses unless it is a single value."""
    leaf = depth <= 0 or p.random.random() < 0.3
    if leaf:
        return bracketed(p, lambda: value(p)) if p.random.random() < 0.05 else value(p)
    make = p.random.choice(COMPOUND)
    if tight or p.random.random() < 0.1:
        return bracketed(p, lambda: make(p, depth - 1))
    return make(p, depth - 1)


def bracketed(p: Program, make: object) -> ast.Expression:
    p.say("(")
    node: ast.Expression = make()  # type: ignore[operator]
    p.say(")")
    return node


def value(p: Program) -> ast.Expression:
    which = p.random.randrange(8)
    if which == 0:
        number, text = p.random.choice(INTEGERS)
        p.say(text)
        return ast.Integer(number, NOWHERE)
    if which == 1:
        real, text = p.random.choice(FLOATS)
        p.say(text)
        return ast.Float(real, NOWHERE)
    if which == 2:
        truth = p.random.choice((True, False))
        p.say("true" if truth else "false")
        return ast.Boolean(truth, NOWHERE)
    if which == 3:
        p.say("score")
        return ast.ScoreValue(NOWHERE)
    return ast.Call(name(p), (), False, NOWHERE)


def name(p: Program, among: tuple[str, ...] = tuple(NAMES)) -> ast.Name:
    text = p.random.choice(among)
    p.say(text)
    return ast.Name(text, NOWHERE)


def binary(p: Program, depth: int) -> ast.Expression:
    left = expression(p, depth, 1)
    sign = p.random.choice(("+", "-", "*", "/", "//", "%", "**"))
    p.say(sign)
    return ast.Binary(sign, left, expression(p, depth, 1), NOWHERE)


def compare(p: Program, depth: int) -> ast.Expression:
    operands, signs = [expression(p, depth, 1)], []
    for _ in range(p.random.randint(1, 3)):
        signs.append(p.random.choice(("<", "<=", ">", ">=", "==", "!=")))
        p.say(signs[-1])
        operands.append(expression(p, depth, 1))
    return ast.Compare(tuple(signs), tuple(operands), NOWHERE)


def logic(p: Program, depth: int) -> ast.Expression:
    word = p.random.choice(("and", "or"))
    operands = [expression(p, depth, 1)]
    for _ in range(p.random.randint(1, 4)):
        p.say(word)
        operands.append(expression(p, depth, 1))
    return (ast.And if word == "and" else ast.Or)(tuple(operands), NOWHERE)


def prefixed(p: Program, depth: int) -> ast.Expression:
    if p.random.random() < 0.5:
        p.say("not")
        return ast.Not(expression(p, depth, 1), NOWHERE)
    p.say("-")
    return ast.Negate(expression(p, depth, 1), NOWHERE)


def choice(p: Program, depth: int) -> ast.Expression:
    first = expression(p, depth, 1)
    p.say("if")
    condition = expression(p, depth, 1)
    p.say("else")
    return ast.Choice(first, condition, expression(p, depth, 1), NOWHERE)


def several(p: Program, make: object, least: int, most: int, comma: bool = True) -> list[object]:
    """So many things with commas between, perhaps one after the last."""
    made: list[object] = []
    for number in range(p.random.randint(least, most)):
        if number:
            p.say(",")
        made.append(make())  # type: ignore[operator]
    if made and comma and p.random.random() < 0.2:
        p.say(",")
    return made


def call(p: Program, depth: int) -> ast.Call:
    called = name(p)
    p.say("(")
    arguments = several(p, lambda: argument(p, depth), 0, 3)
    p.say(")")
    return ast.Call(called, tuple(arguments), True, NOWHERE)  # type: ignore[arg-type]


def argument(p: Program, depth: int) -> ast.Argument:
    if p.random.random() < 0.4:
        return ast.Argument(None, expression(p, depth), NOWHERE)
    label = name(p)
    p.say("=")
    return ast.Argument(label, expression(p, depth), NOWHERE)


def lookup(p: Program, depth: int) -> ast.Expression:
    table = name(p)
    p.say("[")
    indices = several(p, lambda: expression(p, depth), 1, 3, comma=False)
    p.say("]")
    return ast.Lookup(table, tuple(indices), NOWHERE)  # type: ignore[arg-type]


def listed(p: Program, depth: int) -> ast.Expression:
    p.say("[")
    items = several(p, lambda: expression(p, depth), 0, 4)
    p.say("]")
    return ast.ListValue(tuple(items), NOWHERE)  # type: ignore[arg-type]


def quantified(p: Program, depth: int) -> ast.Expression:
    kind = p.random.choice(("any", "all", "sum"))
    p.say(kind, "(")
    body = expression(p, depth)
    p.say("for")
    variable = name(p)
    p.say("in", "range", "(")
    ends = several(p, lambda: expression(p, depth), 1, 2, comma=False)
    p.say(")", ")")
    start = ends[0] if len(ends) == 2 else None
    return ast.Quantified(kind, body, variable, start, ends[-1], NOWHERE)  # type: ignore[arg-type]


def moved(p: Program, depth: int) -> ast.Expression:
    body = expression(p, depth, 1)
    return ast.Moved(body, place(p, depth), NOWHERE)


def place(p: Program, depth: int) -> tuple[ast.Coordinate, ...]:
    p.say("at", "(")
    coordinates = several(p, lambda: coordinate(p, depth), 1, 3)
    p.say(")")
    return tuple(coordinates)  # type: ignore[arg-type]


def coordinate(p: Program, depth: int) -> ast.Coordinate:
    is_size = p.random.random() < 0.2
    if is_size:
        p.say("size", "(")
    which = name(p, ("q", "k", "b", "h", "score", "head"))
    if is_size:
        p.say(")")
    p.say("=")
    return ast.Coordinate(which, expression(p, depth), NOWHERE, is_size)


COMPOUND = (binary, binary, binary, compare, compare, logic, logic, prefixed, prefixed, choice, call, lookup, listed,
            quantified, moved)  # fmt: skip


# ---------------------------------------------------------------- definitions


def documented(p: Program) -> tuple[str, ...]:
    count = p.random.choice((0, 0, 1, 3))
    lines = [p.random.choice(("Text.", "", "  indented", "with `code` # and hash")) for _ in range(count)]
    for line in lines:
        p.line()
        p.tokens += [p.random.choice(("", "  ")), f"## {line}".rstrip(), "\n"]
    return tuple(lines)


def parameters(p: Program, depth: int) -> tuple[ast.Parameter, ...]:
    if p.random.random() < 0.4:
        return ()
    p.say("(")
    made = several(p, lambda: parameter(p, depth), 0, 4)
    p.say(")")
    return tuple(made)  # type: ignore[arg-type]


def parameter(p: Program, depth: int) -> ast.Parameter:
    label = name(p)
    p.say(":")
    kind = type_of(p)
    if p.random.random() < 0.6:
        return ast.Parameter(label, kind, None, NOWHERE)
    p.say("=")
    return ast.Parameter(label, kind, expression(p, min(depth, 1)), NOWHERE)


def type_of(p: Program) -> ast.Type:
    word = p.random.choice(("bool", "int", "float", "mask"))
    p.say(word)
    if word == "mask" or p.random.random() < 0.5:
        return ast.Type(word, None, NOWHERE)
    p.say("[")
    axes = several(p, lambda: axis(p), 0, 4, comma=False)
    p.say("]")
    return ast.Type(word, tuple(axes), NOWHERE)  # type: ignore[arg-type]


def axis(p: Program) -> ast.Name | ast.Integer:
    if p.random.random() < 0.8:
        return name(p, AXES)
    p.say("16")
    return ast.Integer(16, NOWHERE)


def formula(p: Program, depth: int) -> ast.Definition:
    doc = documented(p)
    node, word = p.random.choice(((ast.Mask, "mask"), (ast.Score, "score")))
    p.say(word)
    label, given = name(p), parameters(p, depth)
    p.say("=")
    body = expression(p, depth)
    where: list[object] = []
    facts: list[object] = []
    if p.random.random() < 0.3:
        p.say("where")
        where = several(p, lambda: binding(p, depth), 1, 3, comma=False)
    if p.random.random() < 0.3:
        p.say("requires")
        facts = several(p, lambda: expression(p, depth), 1, 3, comma=False)
    return node(doc, label, given, body, tuple(where), tuple(facts), NOWHERE)  # type: ignore[arg-type]


def binding(p: Program, depth: int) -> ast.Binding:
    label = name(p)
    p.say("=")
    return ast.Binding(label, expression(p, depth), NOWHERE)


def variant(p: Program, depth: int) -> ast.Definition:
    doc = documented(p)
    p.say("variant")
    label, given = name(p), parameters(p, depth)
    p.say("{")
    fields = tuple(variant_field(p, depth) for _ in range(p.random.randint(0, 4)))
    p.say("}")
    return ast.Variant(doc, label, given, fields, NOWHERE)


def variant_field(p: Program, depth: int) -> ast.Field:
    word = p.random.choice(("mask", "score", "scale", "sink", "normalize"))
    p.say(word, "=")
    stages = [expression(p, depth)]
    while word == "score" and p.random.random() < 0.4:
        p.say("then")
        stages.append(expression(p, depth))
    return ast.Field(ast.Name(word, NOWHERE), tuple(stages), NOWHERE)


def example(p: Program, depth: int) -> ast.Definition:
    doc = documented(p)
    p.say("example")
    shown = call(p, depth) if p.random.random() < 0.7 else ast.Call(name(p), (), False, NOWHERE)
    where = place(p, depth) if p.random.random() < 0.4 else ()
    if p.random.random() < 0.5:
        p.say("==")
        return ast.Example(doc, shown, where, expression(p, depth), NOWHERE)
    rows = tuple(row(p) for _ in range(p.random.randint(1, 4)))
    spans = (NOWHERE,) * len(rows)
    return ast.Example(doc, shown, where, ast.Picture(rows, spans, NOWHERE), NOWHERE)


def row(p: Program) -> tuple[bool, ...]:
    marks = tuple(p.random.choice((True, False)) for _ in range(p.random.choice((1, 3, 4, 60))))
    text = p.random.choice(("", " ", "\t")).join("x" if mark else "." for mark in marks)
    p.line()
    start, end = p.random.choice(("|", "    |", "| ")), p.random.choice(("", "  "))
    p.tokens += [start, text, end, p.space()]
    p.line()
    return marks


def use(p: Program) -> ast.Use:
    p.say("from")
    local = p.random.random() < 0.4
    if local:
        p.say(".")
    module = [name(p)]
    while p.random.random() < 0.3:
        p.say(".")
        module.append(name(p))
    p.say("import")
    names = several(p, lambda: imported(p), 1, 3, comma=False)
    return ast.Use(local, tuple(module), tuple(names), NOWHERE)  # type: ignore[arg-type]


def imported(p: Program) -> ast.Imported:
    label = name(p)
    if p.random.random() < 0.6:
        return ast.Imported(label, None, NOWHERE)
    p.say("as")
    return ast.Imported(label, name(p), NOWHERE)


def whole_file(p: Program, depth: int = 3) -> ast.File:
    """A whole random file; its text and comments are then in `p`."""
    p.tokens.append(p.space())
    edition = None
    if p.random.random() < 0.2:
        p.say("language", "1")
        edition = ast.Integer(1, NOWHERE)
    uses = []
    for _ in range(p.random.choice((0, 0, 1, 2))):
        p.line()
        uses.append(use(p))
    definitions = []
    for _ in range(p.random.randint(0, 4)):
        p.line()
        definitions.append(p.random.choice((formula, formula, formula, variant, example))(p, depth))
    return ast.File(edition, tuple(uses), tuple(definitions), NOWHERE)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A random program: its `text`, its `comments`, and the `file` that it means."""
    p = Program(draw(st.integers(0, 2**32)), draw(st.sampled_from((0.0, 0.03, 0.2))))
    p.file = whole_file(p, draw(st.integers(0, 4)))
    return p
