"""What holds for every program: the text is understood as meant, spans are exact, the formatter keeps its laws."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from hypothesis import given, settings

from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast
from maskdsl.syntax.equality import same_tree
from maskdsl.syntax.format import format_file
from maskdsl.syntax.parse import parse
from tests.syntax.random_trees import Program, programs


def read(text: str) -> ast.File:
    file, diagnostics = parse(Source("test.mask", text))
    assert diagnostics == (), f"{[d.message for d in diagnostics]}\n{text}"
    return file


def nodes(tree: object) -> Iterator[object]:
    """Every dataclass below a node, spans left out."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from nodes(item)
    elif is_dataclass(tree) and not isinstance(tree, Span):
        yield tree
        for child in fields(tree):
            yield from nodes(getattr(tree, child.name))


def comments(text: str) -> list[str]:
    """The comments of a text, in order."""
    return [line.rstrip() for line in re.findall(r"#[^\n]*", text) if not re.match(r"##(?!#)", line)]


@settings(max_examples=200, deadline=None)
@given(programs())
def test_a_program_is_understood_as_meant(program: Program) -> None:
    assert same_tree(read(program.text), program.file), program.text


@settings(max_examples=60, deadline=None)
@given(programs())
def test_the_text_of_every_span_is_its_node(program: Program) -> None:
    file = read(program.text)
    for node in nodes(file.definitions):
        if isinstance(node, ast.Expression):
            again = read(f"mask m = {node.span.text}").definitions[0]
            assert isinstance(again, ast.Mask) and same_tree(again.body, node), node.span.text
        elif isinstance(node, ast.Name):
            assert node.span.text == node.text
        elif isinstance(node, ast.Definition):
            assert node.span.text.split()[0] == type(node).__name__.lower()


@settings(max_examples=200, deadline=None)
@given(programs())
def test_the_formatter_keeps_its_laws(program: Program) -> None:
    formatted = format_file(Source("test.mask", program.text))
    assert same_tree(read(formatted), program.file), formatted
    assert comments(formatted) == comments(program.text) == program.comments, formatted
    assert format_file(Source("test.mask", formatted)) == formatted
    verify_width(formatted)


def verify_width(text: str) -> None:
    """No line has more than 100 columns, its comment apart; only a single word or a picture may be wider."""
    for line in text.split("\n"):
        code = re.sub(r"#.*", "", line).strip()
        breakable = not code.startswith("|") and len(code.split()) > 4
        assert len(re.sub(r" *#.*", "", line)) <= 100 or not breakable, line


@settings(max_examples=60, deadline=None)
@given(programs())
def test_no_parentheses_are_needless(program: Program) -> None:
    file = read(format_file(Source("test.mask", program.text)))
    for node in nodes(file.definitions):
        if isinstance(node, ast.Expression) and node.span.text.startswith("(") and not isinstance(node, ast.Moved):
            verify_needed(node.span.source.text, node.span, file)


def verify_needed(text: str, span: Span, file: ast.File) -> None:
    """Without the parentheses at both ends of a span the text has another tree, if they belong together at all."""
    inner = text[span.start + 1 : span.end - 1]
    depths = [inner[:n].count("(") - inner[:n].count(")") for n in range(len(inner))]
    if not span.text.endswith(")") or "#" in inner or min(depths, default=0) < 0:
        return
    bare = f"{text[: span.start]} {inner} {text[span.end :]}"
    again, diagnostics = parse(Source("test.mask", bare))
    assert diagnostics or not same_tree(again, file), span.text
