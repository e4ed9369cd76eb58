"""`# allow W0806: …`: what it silences, where, and what is said of one that silences nothing."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import pytest

from maskdsl.cli.check import check_source
from maskdsl.library.registry import Registry
from maskdsl.meaning.allowances import settle
from maskdsl.meaning.module import check
from maskdsl.source.codes import CODES
from maskdsl.source.text import Source
from maskdsl.syntax.format import format_file

PICTURE = "example m\n    | . .\n    | x .\n"


def codes(text: str) -> list[tuple[str, int]]:
    """The code and line of everything that `maskdsl check` reports of a file."""
    found = check_source(Source("page.mask", text, Path("page.mask")), Registry()).diagnostics
    return [(d.code, d.span.source.position(d.span.start)[0]) for d in found if d.span]


@pytest.mark.parametrize(
    "lines",
    [
        "# allow W0806: meant\n",
        "#allow W0806: meant\n",
        "# another comment\n# allow W0806: meant\n# and one more\n",
        "    # allow   W0806 :  meant, and long # so\n",
        "# allow W0806: meant\n## What it shows.\n",
        "## What it shows.\n# allow W0806: meant\n## Said in two lines.\n",
    ],
)
def test_a_lint_is_silent_where_it_is_allowed(lines: str) -> None:
    text = f"## Earlier keys.\nmask m = k < q\n\n{lines}{PICTURE}"
    assert codes(text) == []
    assert codes(format_file(Source("page.mask", text))) == []


@pytest.mark.parametrize(
    ("above", "lint"),
    [
        ("", "mask m(n: int = 1) = k <= q"),
        ("", "mask m = k < 0"),
        ("## Doc.\n", "mask m(t: int[batch, position]) = t[b, q] == t[b, k]"),
        ("## Doc.\n", "mask m = k <= q"),
    ],
)
def test_every_lint_of_a_definition_can_be_allowed(above: str, lint: str) -> None:
    found = {code for code, _ in codes(f"{above}{lint}\n")}
    assert found and all(code in CODES for code in found)
    allowed = "".join(f"# allow {code}: meant\n" for code in sorted(found))
    assert codes(f"{allowed}{above}{lint}\n") == []
    for code in found:
        left = "".join(f"# allow {other}: meant\n" for other in found - {code})
        assert [c for c, _ in codes(f"{left}{above}{lint}\n")] == [code]


def test_only_that_place_is_silent() -> None:
    text = f"## Earlier keys.\nmask m = k < q\n\n# allow W0806: meant\n{PICTURE}\n{PICTURE}"
    assert codes(text) == [("W0806", 9)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("# allow W0801: nothing unused", "`W0801` is not reported here"),
        ("# allow W0899: what", "`W0899` is no lint"),
        ("# allow w0806: small", "`w0806` is no lint"),
        ("# allow E0402: an error", "`E0402` cannot be allowed"),
        ("# allow W0807: this one", "`W0807` cannot be allowed"),
    ],
)
def test_what_allows_nothing_is_told(line: str, told: str) -> None:
    text = f"## Keys.\n{line}\nmask m = k <= q\n\nexample m\n    | x .\n    | x x\n"
    report = check_source(Source("page.mask", text, Path("page.mask")), Registry())
    (found,) = report.diagnostics
    assert (found.code, found.message, found.span and found.span.text) == ("W0807", told, line)


@pytest.mark.parametrize("line", ["# allow W0806", "# allow W0806:", "# allow W0806:   ", "# allow W0806 meant"])
def test_a_reason_is_asked_for(line: str) -> None:
    assert codes(f"## Earlier keys.\nmask m = k < q\n\n{line}\n{PICTURE}") == [("W0807", 4)]


def test_a_line_apart_is_about_nothing() -> None:
    text = f"## Earlier keys.\nmask m = k < q\n\n# allow W0806: meant\n\n{PICTURE}"
    assert sorted(codes(text)) == [("W0806", 6), ("W0807", 4)]
    assert codes(f"{text}# allow W0806: meant\n")[-1] == ("W0807", 9)


def test_a_comment_that_speaks_of_allowing_is_a_comment() -> None:
    assert codes("# allow the first token\n# we allow W0806: everywhere\n## K.\nmask m = k <= q\nexample m\n    | x\n") == []


def test_many_allowances_are_settled_soon() -> None:
    text = "\n".join(f"# allow W0804: meant\n# allow W0805: meant\nmask m{i} = k <= q" for i in range(1500))
    module = check(Source("page.mask", text, Path("page.mask")), lambda *_: None)
    assert module.file is not None and len(module.diagnostics) == 3000
    start = process_time()
    assert settle(module.file, module.diagnostics) == ()
    assert process_time() - start < 1.0


def test_many_allowances_of_one_definition_are_read_soon() -> None:
    text = "# allow W0802: never\n" * 5000 + "## D.\nmask m = k <= q\nexample m\n    | x\n"
    module = check(Source("page.mask", text, Path("page.mask")), lambda *_: None)
    assert module.file is not None
    start = process_time()
    assert len(settle(module.file, module.diagnostics)) == 5000
    assert process_time() - start < 2.0


def test_errors_are_reported_without_talk_of_allowances() -> None:
    assert codes("## D.\n# allow W0806: meant\nmask m = nope\n\nexample m\n    | x\n") == [("E0201", 3)]
