"""Imports: unknown modules and names, circles, order, files checked once."""

from __future__ import annotations

from pathlib import Path

import pytest
from meaning import checked, codes, loader, marked

from maskdsl.meaning.imports import Library
from maskdsl.meaning.module import Checked, check
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source
from maskdsl.syntax.parse import parse


def test_names_and_aliases() -> None:
    module = checked("from a import x, y as z\nmask m = x and z", {"a": "mask x = q < k\nmask y = q > 3"})
    assert list(module.definitions) == ["m"] and not module.diagnostics


def test_unknown_modules_and_names() -> None:
    assert marked("from zork import x\nmask m = x and k < q") == [("E0204", "zork")]
    source = Source("m", "from zork import x\nmask m = x and k < q")
    module = check(source, loader({}), library=Library(lambda: ["zorg", "a"]))
    assert module.diagnostics[0].help == ("did you mean `zorg`?",)
    assert marked("from .a.b import x\nmask m = x and k < q") == [("E0204", "a.b")]
    found = checked("from a import causl\nmask m = causl", {"a": "mask causal = k <= q"}).diagnostics
    assert [(d.code, d.help) for d in found] == [("E0205", ("did you mean `causal`?",))]


def test_names_that_could_be_imported() -> None:
    source = Source("m", "mask m = causal or k < windw where window = 3\nmask n = squiggle")
    lines = {"causal": "from base.causal import causal"}
    found = check(source, loader({}), library=Library(line_for=lambda name: lines.get(name, ""))).diagnostics
    help = [d.help for d in found if d.code == "E0201"]
    assert help == [("import it: `from base.causal import causal`",), ("did you mean `window`?",), ()]


def test_a_module_offers_its_own_definitions() -> None:
    files = {"a": "from c import x\nmask y = x", "c": "mask x = k <= q"}
    assert marked("from a import x\nmask m = x and k < 3", files) == [("E0205", "x")]


def test_the_loader_says_whether_an_import_is_local_and_who_asks() -> None:
    asked: list[tuple[tuple[str, ...], bool, str]] = []

    def load(module: tuple[str, ...], local: bool, importer: Source) -> Source | None:
        asked.append((module, local, importer.name))
        return Source("a", "mask x = k <= q")

    check(Source("main", "from .a import x\nfrom b.c import x as y\nmask m = x and y"), load)
    assert asked == [(("a",), True, "main"), (("b", "c"), False, "main")]


def test_what_the_loader_raises_is_told() -> None:
    def load(module: tuple[str, ...], local: bool, importer: Source) -> Source | None:
        raise MaskError(Diagnostic("E0107", "cannot be read"))

    module = check(Source("main", "from a import x\nmask m = x and k < q"), load)
    assert [d.code for d in module.diagnostics] == ["E0107"]


def test_errors_of_imports_come_after_the_files_own() -> None:
    files = {"a": "mask x = zork\n", "c": "from a import x\nmask y = x"}
    text = "from c import y\nfrom a import x\nmask m = x and y and nope"
    found = checked(text, files).diagnostics
    assert [(d.code, d.span.source.name) for d in found if d.span] == [("E0201", "test.mask"), ("E0201", "a.mask")]


def test_what_is_wrong_with_finding_a_module_points_to_the_import() -> None:
    def load(module: tuple[str, ...], local: bool, importer: Source) -> Source | None:
        raise MaskError(Diagnostic("E0204", "several files answer"))

    (found,) = check(Source("m", "from causal import x\nfrom base.causal import y\nmask m = x"), load).diagnostics[:1]
    assert found.span is not None and found.span.text == "causal"
    spans = [d.span.text for d in check(Source("m", "from a import x\nfrom b.c import y"), load).diagnostics if d.span]
    assert spans == ["a", "b.c"]


def test_lints_of_imports_are_not_told() -> None:
    assert codes("from a import x\nmask m = x(1) and k < q", {"a": "mask x(w: int) = k <= q"}) == []


@pytest.mark.parametrize("files", [
    {"a": "from a import x as y\nmask x = k <= q"},
    {"a": "from c import y\nmask x = y", "c": "from a import x\nmask y = x"},
    {"a": "from c import y\nmask x = y", "c": "from d import z\nmask y = z", "d": "from a import x\nmask z = x"},
])  # fmt: skip
def test_circles_of_modules(files: dict[str, str]) -> None:
    assert codes("from a import x\nmask m = x and k < 3", files) == ["E0206"]


def test_a_file_that_imports_itself_through_others() -> None:
    main = Source("main.mask", "from a import x\nmask m = k <= q")
    load = loader({"a": "from main import m\nmask x = m"})
    module = check(main, lambda name, local, importer: main if name == ("main",) else load(name, local, importer))
    assert [d.code for d in module.errors] == ["E0206"] and list(module.definitions) == ["m"]
    assert module.errors[0].notes == ("`main.mask` imports `a.mask` imports `main.mask`",)


def test_two_readings_of_one_path_are_one_file() -> None:
    def load(module: tuple[str, ...], local: bool, importer: Source) -> Source | None:
        text = {"a": "from c import y\nmask x = y", "c": "from a import x\nmask y = x"}[module[0]]
        return Source(f"{module[0]}.mask", text, Path(f"/nowhere/{module[0]}.mask"))

    assert [d.code for d in check(Source("m", "from a import x\nmask m = x and k < 3"), load).errors] == ["E0206"]


def test_each_file_is_checked_once() -> None:
    files = {"m0": "mask x = k < q\nmask y = q < k"} | {
        f"m{i}": f"from m{i - 1} import x as a, y as c\nmask x = a and c\nmask y = a or c" for i in range(1, 30)
    }
    load, known = loader(files), Checked()
    first = check(Source("one", "from m29 import x, y\nmask m = x or y"), load, known)
    assert not first.errors and len(known.modules) == 31
    modules = dict(known.modules)
    check(Source("two", "from m29 import x\nfrom m3 import y\nmask m = x or y"), load, known)
    assert all(known.modules[s] is m for s, m in modules.items()) and len(known.modules) == 32


def test_each_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr("maskdsl.meaning.imports.parse", lambda s: (texts.append(s.name), parse(s))[1])
    load, known = loader({"a": "from b import x\nmask y = x", "b": "mask x = k <= q and"}), Checked()
    for name in ("first", "second"):
        module = check(Source(name, "from a import y\nfrom b import x\nmask m = y and x"), load, known)
        assert [d.code for d in module.errors] == ["E0102"]
    assert texts == ["first", "a.mask", "b.mask", "second"]


def test_long_chains_of_files() -> None:
    files = {f"m{i}": f"from m{i - 1} import x as y\nmask x = y or k < {i}" for i in range(1, 400)} | {"m0": "mask x = k < q"}
    assert codes("from m399 import x\nmask m = x and k < 3", files) == []
