"""Every text in `format/` beside its layout, and the laws on it; the laws on random programs are in `test_programs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskdsl.source.diagnostic import MaskError
from maskdsl.source.shipped import variants_dir
from maskdsl.source.text import Source
from maskdsl.syntax.document import Break, Document, Fill, Group, Indent, enclosed, flat, layout, separated
from maskdsl.syntax.equality import same_tree
from maskdsl.syntax.format import format_file
from maskdsl.syntax.parse import parse

FOLDER = Path(__file__).parent / "format"
FILES = sorted(FOLDER.glob("*.mask"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_layout_of_a_text(path: Path, snapshot: Callable[[Path, str], None]) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    formatted = format_file(source)
    snapshot(path.with_suffix(".txt"), formatted)
    assert format_file(Source("again.mask", formatted)) == formatted
    assert same_tree(parse(source)[0], parse(Source("again.mask", formatted))[0])


@pytest.mark.parametrize("path", sorted(variants_dir().rglob("*.mask")), ids=lambda path: path.stem)
def test_what_ships_is_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_file(Source(path.name, text)) == text


@pytest.mark.parametrize("text", ["", "\n", " \t\r\n", "\ufeff"])
def test_nothing_stays_nothing(text: str) -> None:
    assert format_file(Source("test.mask", text)) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a", "# a\n"),
        ("\n\n# a\n\n\n\n# b\n#c", "# a\n\n# b\n#c\n"),
        ("#\r\nmask m = q\r\n", "#\nmask m = q\n"),
        ("##\n##x\n##  y\t\nmask m = q", "##\n## x\n##  y\nmask m = q\n"),
    ],
)
def test_small_texts(text: str, expected: str) -> None:
    assert format_file(Source("test.mask", text)) == expected


def test_what_does_not_parse_is_refused() -> None:
    with pytest.raises(MaskError) as caught:
        format_file(Source("test.mask", "mask a = &\nmask b = )\n"))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0108", "E0101"]


# ---------------------------------------------------------------- documents

WORDS: Document = Group(("f", enclosed("(", separated(["one", "two", "three"]), ")")))


@pytest.mark.parametrize(
    ("document", "width", "expected"),
    [
        (WORDS, 16, "f(\n    one,\n    two,\n    three\n)"),
        (WORDS, 18, "f(one, two, three)"),
        ((WORDS, ";"), 18, "f(\n    one,\n    two,\n    three\n);"),
        (Fill(("one", "two", "three")), 8, "one,\ntwo,\nthree"),
        (Fill(("one", "two", "three")), 9, "one, two,\nthree"),
        (Group(("a", Indent((Break(), Group(("b", Break(), "c")))))), 4, "a\n    b\n    c"),
        (Group(("a", Indent((Break(), Group(("b", Break(), "c")))))), 7, "a b c"),
        ("longer than the width", 3, "longer than the width"),
    ],
)
def test_documents(document: Document, width: int, expected: str) -> None:
    assert layout(document, width=width) == expected
    assert "\n" not in flat(document)


def test_deep_lists_take_no_more_time_than_their_size() -> None:
    text = f"mask m(t: int[n]) = t[0] == q\n\nexample m(t = {'[' * 120}1{']' * 120})\n    | x\n"
    once = format_file(Source("test.mask", text))
    assert once.count("[") == 122
    assert format_file(Source("test.mask", once)) == once
