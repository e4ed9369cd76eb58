"""What is read and what is refused: spellings side by side, Python's precedence, limits, and recovery."""

from __future__ import annotations

import ast as python
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.text import NOWHERE, Source
from maskdsl.syntax import ast
from maskdsl.syntax.equality import same_tree
from maskdsl.syntax.parse import MAX_ERRORS, parse

SPELLINGS = [line.split(maxsplit=1) for line in (Path(__file__).parent / "spellings.txt").read_text().split("\n")[1:-1]]


def read(text: str) -> tuple[ast.File, tuple[Diagnostic, ...]]:
    return parse(Source("test.mask", text))


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in read(text)[1]]


def names(file: ast.File) -> list[str]:
    return [d.name.text for d in file.definitions if not isinstance(d, ast.Example)]


@pytest.mark.parametrize(("verdict", "program"), SPELLINGS, ids=[f"{n}" for n in range(2, len(SPELLINGS) + 2)])
def test_spellings(verdict: str, program: str) -> None:
    diagnostics = read(program)[1]
    assert (verdict == "yes") == (not diagnostics), [d.message for d in diagnostics]
    assert len(diagnostics) <= 1 and all(d.span is not None for d in diagnostics)


# ---------------------------------------------------------------- precedence, against Python's own parser

OPERATORS = {
    python.Add: "+", python.Sub: "-", python.Mult: "*", python.Div: "/", python.FloorDiv: "//", python.Mod: "%",
    python.Pow: "**", python.Lt: "<", python.LtE: "<=", python.Gt: ">", python.GtE: ">=", python.Eq: "==",
    python.NotEq: "!=",
}  # fmt: skip


def from_python(node: python.expr) -> ast.Expression:
    """Python's tree in the classes of this language."""
    match node:
        case python.Name(text):
            return ast.Call(ast.Name(text, NOWHERE), (), False, NOWHERE)
        case python.Constant(int(number)):
            return ast.Integer(number, NOWHERE)
        case python.UnaryOp(python.USub(), operand):
            return ast.Negate(from_python(operand), NOWHERE)
        case python.UnaryOp(python.Not(), operand):
            return ast.Not(from_python(operand), NOWHERE)
        case python.BinOp(left, operator, right):
            return ast.Binary(OPERATORS[type(operator)], from_python(left), from_python(right), NOWHERE)
        case python.Compare(left, operators, rest):
            signs = tuple(OPERATORS[type(operator)] for operator in operators)
            return ast.Compare(signs, tuple(map(from_python, [left, *rest])), NOWHERE)
        case python.BoolOp(operator, values):
            joined = ast.And if isinstance(operator, python.And) else ast.Or
            return joined(tuple(map(from_python, values)), NOWHERE)
        case python.IfExp(condition, value, otherwise):
            return ast.Choice(*map(from_python, (value, condition, otherwise)), NOWHERE)
    raise AssertionError(python.dump(node))


def expression_text(rng: random.Random) -> str:
    """Operands and operators without order, sometimes no expression at all."""
    pieces: list[str] = []
    opened = 0
    for _ in range(rng.randint(1, 9)):
        pieces += rng.choices(["", "not", "-", "- -", "("], [10, 2, 2, 1, 2])
        opened += pieces[-1] == "("
        pieces.append(rng.choice("abcd123"))
        if opened and rng.random() < 0.3:
            pieces.append(")")
            opened -= 1
        pieces.append(rng.choice("+ - * / // % ** < <= > >= == != and or if else".split()))
    return " ".join([*pieces, rng.choice("abcd123"), *[")"] * opened]).strip()


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32))
def test_expressions_group_as_in_python(seed: int) -> None:
    text = expression_text(random.Random(seed))
    file, diagnostics = read(f"mask m = {text}")
    try:
        expected = from_python(python.parse(text, mode="eval").body)
    except SyntaxError:
        assert diagnostics, text
        return
    assert not diagnostics, (text, diagnostics[0].message)
    assert isinstance(file.definitions[0], ast.Mask)
    assert same_tree(file.definitions[0].body, expected), text


# ---------------------------------------------------------------- layout and recovery


def test_layout_is_free() -> None:
    text = "mask m(w:int)=a and b where c=1 requires d variant v{mask=m(3)score=s then t}example m(w=2)\n| x .\n"
    spread = text.replace("(", " ( \r\n\t").replace("=", "\f=\n\n# note (\n").replace("\n|", " #\n  |")
    one, two = read(text), read("\ufeff" + spread)
    assert one[1] == two[1] == ()
    assert same_tree(one[0], two[0])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends(newline: str) -> None:
    file, diagnostics = read(newline.join(["## one", "##  two ", "mask m = a # c", "example m", "  | x", "| ."]))
    assert diagnostics == ()
    mask, example = file.definitions
    assert mask.doc == ("one", " two")
    assert isinstance(example, ast.Example) and isinstance(example.expected, ast.Picture)
    assert example.expected.rows == ((True,), (False,))
    assert [span.text for span in example.expected.row_spans] == ["| x", "| ."]


def test_all_errors_of_a_file_in_one_run() -> None:
    text = "mask a = &\n\nmask b = q < k\n## doc\nscore c = )\nexample b\n| y\nvariant d { }\nfrom x import y z\n"
    file, diagnostics = read(text)
    assert [d.code for d in diagnostics] == ["E0108", "E0101", "E0101", "E0101"]
    assert names(file) == ["b", "d"]
    assert file.broken == ("a", "c", "y", "z")


def test_what_comes_out_of_order_is_read_all_the_same() -> None:
    file, diagnostics = read("mask a = q\nfrom x import y\nlanguage 1\nmask b = k\n")
    assert [d.code for d in diagnostics] == ["E0101", "E0101"]
    assert (names(file), len(file.uses), file.broken) == (["a", "b"], 1, ())


def test_at_a_definition_that_begins_inside_another() -> None:
    file, diagnostics = read("mask a = (q +\nmask b = q\n")
    assert names(file) == ["b"]
    (diagnostic,) = diagnostics
    assert diagnostic.span is not None and diagnostic.span.text == "("


def test_words_of_the_language_inside_definitions_cut_nothing() -> None:
    text = """variant v(
mask: mask, score: mask) {
score =
score scale = 2.0
mask = mask
}
score s = (
score if q < k else
score)
"""
    assert read(text)[1] == ()


def test_many_errors_are_cut_short() -> None:
    file, diagnostics = read("mask broken = &\n" * 3000 + "mask fine = q\n")
    assert len(diagnostics) == MAX_ERRORS
    assert file.broken.count("broken") == 3000 and file.broken[-1] == "fine"


# ---------------------------------------------------------------- limits

LONG = {
    "large": ("# " + "x" * 10_000_000, "E0104"),
    "many signs": ("mask m = f(" + "1," * 30_000 + ")", "E0104"),
    "many definitions": ("mask m=a\n" * 20_000, "E0104"),
    "many signs in one": ("mask n = a\n\nmask m = " + "a or " * 3_000 + "a", "E0104"),
    "brackets": ("mask m = " + "(" * 10_000 + "a" + ")" * 10_000, "E0104"),
    "fewer brackets": ("mask m = " + "(" * 1_900 + "a" + ")" * 1_900, "E0105"),
    "open brackets": ("mask m = " + "[" * 3_000, "E0105"),
    "lists": ("mask m = " + "[" * 300 + "]" * 300, "E0105"),
    "calls": ("mask m = " + "f(" * 300 + ")" * 300, "E0105"),
    "nots": ("mask m = " + "not " * 3_900 + "a", "E0105"),
    "more nots": ("mask m = " + "not " * 10_000 + "a", "E0104"),
    "broken nots": ("mask m = " + "not " * 3_900 + "a )", "E0101"),
    "signs": ("mask m = " + "-" * 3_900 + "a", "E0105"),
    "powers": ("mask m = " + "a ** " * 1_900 + "a", "E0105"),
    "choices": ("mask m = " + "a if b else " * 900 + "a", "E0105"),
    "sums": ("mask m = " + "1 + " * 1_900 + "1", "E0105"),
    "moves": ("mask m = a" + " at (q = 1)" * 600, "E0105"),
    "digits": ("mask m = q < " + "9" * 10_000, "E0106"),
    "zeros": ("mask m = q < " + "0" * 10_000 + "1", None),
    "float digits": ("mask m = q < " + "9" * 10_000 + ".0", "E0106"),
    "small float": ("mask m = q < 0." + "0" * 10_000 + "1", None),
    "range": ("mask m = any(q == i for i in range(10 ** 9))", None),
    "name": ("mask " + "m" * 100_000 + " = q &", "E0108"),
    "word": ("m" * 100_000, "E0101"),
    "row": ("example m\n| " + "x " * 100_000 + "\n", None),
    "conditions": ("mask m = " + "a or b and " * 900 + "a", None),
    "rows": ("example m\n" + "| x . x . x .\n" * 5_000, None),
    "documentation": ("## text\n" * 15_000 + "mask m = q", None),
    "lonely documentation": ("## text\n\nfrom a import b\n" * 2_000, "E0101"),
    "blank lines": ("\n" * 200_000 + "mask m = q", None),
    "comments": ("# mask m = &\n" * 15_000 + "mask m = q", None),
    "spaces": ("mask m =" + " " * 200_000 + "&", "E0108"),
    "bars": ("|" * 3_900, "E0101"),
    "dots": ("mask m = a" + "." * 3_900, "E0108"),
    "dotted": ("mask m = a" + ".b" * 1_900, "E0108"),
    "quotes": ("mask m = " + '"' * 200_000, "E0104"),
    "ampersands": ("mask m = a " + "& b " * 1_900, "E0108"),
}


@pytest.mark.parametrize("name", LONG)
def test_large_texts_are_read_or_refused_quickly(name: str) -> None:
    text, expected = LONG[name]
    start = time.process_time()
    found = codes(text)
    assert time.process_time() - start < 2.0
    assert found[:1] == ([expected] if expected else [])


def test_an_expression_of_the_allowed_depth() -> None:
    assert codes("mask m = " + "1 + " * 190 + "1 < 2") == []
    assert codes("mask m = " + "(" * 195 + "q" + ")" * 195 + " < k") == []


def test_numbers_are_read_exactly() -> None:
    file, diagnostics = read("score s = -2147483648 + 1_0.5e1 + inf + 2147483647")
    assert diagnostics == ()
    assert isinstance(file.definitions[0], ast.Score)
    assert file.definitions[0].body.span.text == "-2147483648 + 1_0.5e1 + inf + 2147483647"


def test_the_wide_int_is_only_allowed_below_a_minus() -> None:
    assert codes("mask m = q > -(2147483648)") == ["E0106"]
    assert codes("mask m = q > 2147483648 - 2147483648 and q < 99999999999") == ["E0106"] * 3
