"""The grammar file itself: no conflicts, one rule for every class of the tree, a sentence for every parser state."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from lark import Lark

from maskdsl.source.shipped import grammar_dir
from maskdsl.source.text import Source
from maskdsl.syntax import ast, grammar
from maskdsl.syntax.expectations import SINGLE, expectation
from maskdsl.syntax.parse import parse

GRAMMAR = (grammar_dir() / "mask.lark").read_text(encoding="utf-8")
# What keyword terminals match: alternatives of plain words.
KEYWORD = re.compile(r"\(?([a-z]+(?:\|[a-z]+)*)\)?\\b")


@pytest.fixture(scope="module")
def strict() -> Lark:
    """The grammar with every check that lark has: conflicts of rules and of terminals are errors."""
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", strict=True)


def states(lark: Lark) -> set[frozenset[str]]:
    """For every state of the parser, the terminals that it has an action for."""
    table = lark.parser.parser._parse_table.states  # type: ignore[attr-defined]
    return {frozenset(n for n in actions if n.isupper() or n == "$END") for actions in table.values()} - {frozenset()}


def keywords(lark: Lark) -> set[str]:
    """Every word that some terminal other than a name matches."""
    patterns = [KEYWORD.fullmatch(t.pattern.value) for t in lark.terminals]
    return {word for found in patterns if found for word in found[1].split("|")} | {"inf"}


# ---------------------------------------------------------------- rules and classes


def test_the_grammar_has_no_conflicts(strict: Lark) -> None:
    assert strict.parse("mask m = q").data == "start"


def test_every_class_of_the_tree_is_a_rule(strict: Lark) -> None:
    rules = {str(rule.alias or rule.origin.name) for rule in strict.rules} | {t.name.lower() for t in strict.terminals}
    classes = {name for name, thing in vars(ast).items() if isinstance(thing, type) and is_dataclass(thing)}
    snake = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in classes - {"File", "Span"}}
    assert snake - rules == set()


def test_every_word_is_bounded(strict: Lark) -> None:
    """`orb` is never read as `or b`: terminals that are words end at the end of a word."""
    for terminal in strict.terminals:
        assert not terminal.pattern.value.isalpha(), terminal.name


# ---------------------------------------------------------------- a sentence for every state


def test_every_terminal_has_words(strict: Lark) -> None:
    ignored = set(strict.ignore_tokens)
    assert {t.name for t in strict.terminals} - ignored | {"$END"} == set(SINGLE)


def test_every_state_has_a_sentence(strict: Lark, snapshot: Callable[[Path, str], None]) -> None:
    sentences = {expectation(state) for state in states(strict)}
    for sentence in sentences:
        assert sentence and not re.search(r"\b_?[A-Z]{2,}\b|\$|__", sentence), sentence
        assert len(sentence) < 160 and not re.search(r"\bor or\b|, ,", sentence), sentence
    snapshot(Path(__file__).parent / "expectations.txt", "\n".join(sorted(sentences)) + "\n")


def test_sentences_depend_on_what_came_before() -> None:
    assert expectation(frozenset({"NAME"}), "mask") == "the name of the mask"
    assert expectation(frozenset({"NAME"}), ",") == "a name"
    assert expectation(frozenset({"COMMA", "RPAR"})) == "`,` or `)`"


# ---------------------------------------------------------------- loading


def test_the_tables_are_stored_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load = grammar.load.__wrapped__
    assert load().parse("mask m = q")
    (file,) = (tmp_path / "maskdsl").iterdir()
    content = file.read_bytes()
    monkeypatch.setattr(grammar, "Lark", NoGrammar)
    assert load().parse("mask m = q")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file.write_bytes(content[:-100])
    assert load().parse("mask m = q")
    assert grammar._read(file) is not None


class NoGrammar:
    """Lark without the ability to read a grammar."""

    load = Lark.load


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert grammar.load.__wrapped__().parse("mask m = q")


def test_reading_is_quick() -> None:
    """20 lines take about 2 ms; the bound leaves room for a busy machine."""
    text = "## Text.\nmask m(w: int = 3, t: int[batch]) = 0 <= q - k < w and t[b] < k\n    requires w > 0\n\n" * 5
    parse(Source("test.mask", text))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        parse(Source("test.mask", text))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02


# ---------------------------------------------------------------- for editors


def matches(node: object) -> list[str]:
    """All regular expressions of a TextMate grammar."""
    if isinstance(node, list):
        return [found for item in node for found in matches(item)]
    if not isinstance(node, dict):
        return []
    here = [node["match"]] if "match" in node else []
    return here + [found for key, item in node.items() if key != "match" for found in matches(item)]


def test_the_editor_grammar_knows_the_same_words(strict: Lark) -> None:
    editor = json.loads((grammar_dir() / "mask.tmLanguage.json").read_text(encoding="utf-8"))
    words = {word for found in matches(editor) for group in re.findall(r"\\b\(([a-z|_]+)\)", found)
             for word in group.split("|")}  # fmt: skip
    coordinates = set("q k b h kv_h q_len kv_len".split())
    assert words - coordinates == keywords(strict)
    assert coordinates <= words


def test_the_editor_grammar_holds_regular_expressions() -> None:
    editor = json.loads((grammar_dir() / "mask.tmLanguage.json").read_text(encoding="utf-8"))
    assert all(re.compile(found) for found in matches(editor))
    included = set(re.findall(r'"include": "#(\w+)"', json.dumps(editor)))
    assert included == set(editor["repository"])


@pytest.mark.parametrize("row", ["| x . .", "|x.x", "| x  # note", "|\tx"])
def test_the_editor_grammar_sees_pictures(row: str) -> None:
    editor = json.loads((grammar_dir() / "mask.tmLanguage.json").read_text(encoding="utf-8"))
    assert re.match(editor["repository"]["picture"]["match"], row)


def test_no_tables_are_read_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    grammar.load.__wrapped__()
    (stored,) = (tmp_path / "here" / "maskdsl").iterdir()
    assert grammar._read(stored) is not None
    assert grammar._read(stored.relative_to(tmp_path)) is None
