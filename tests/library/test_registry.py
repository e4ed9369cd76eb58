"""The registry: what a name means, what an import means, and what is said when neither means anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import process_time

import pytest

from maskdsl.ir.print import text
from maskdsl.ir.substitute import inline
from maskdsl.library.registry import Registry
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of the shipped library alone."""
    monkeypatch.delenv("MASKDSL_PATH", raising=False)
    return Registry()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(registry: Registry, name: str) -> str:
    """The text of the E0211 that a name gives."""
    with pytest.raises(MaskError) as caught:
        registry.find(name)
    assert [d.code for d in caught.value.diagnostics] == ["E0211"]
    return str(caught.value)


# ---------------------------------------------------------------- advice


def test_a_name_that_a_library_has_is_to_be_imported(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "a" / "causal.mask", "mask other = k < q")
    registry.register(tmp_path)
    text = "mask m = causal and gemma2_local or nowhere or other"
    found = registry.check(Source("m.mask", text)).diagnostics
    help = {d.span.text: d.help for d in found if d.span and d.code == "E0201"}
    assert help["causal"] == ("import it: `from base.causal import causal`",)
    assert help["gemma2_local"] == ("import it: `from gemma2 import gemma2_local`",)
    assert help["other"] == ("import it: `from a.causal import other`",)
    assert help["nowhere"] == ()
    lines = "\n".join(h[0].split("`")[1] for h in help.values() if h)
    assert not [d for d in registry.check(Source("n.mask", f"{lines}\nmask m = causal or other")).diagnostics if d.severity == "error"]


def test_advice_about_many_names_is_quick(registry: Registry) -> None:
    lines = [f"from nothing{i} import causal as c{i}" for i in range(2000)]
    lines += [f"mask alpha{i} = betaa{i}" for i in range(1000)]
    start = process_time()
    assert len(registry.check(Source("m.mask", "\n".join(lines))).diagnostics) >= 3000
    assert process_time() - start < 4.0


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("sliding_window", "local/sliding_window"),
        ("local/sliding_window", "local/sliding_window"),
        ("maskdsl/local/sliding_window", "local/sliding_window"),
        ("local/sliding_window/sliding_window", "local/sliding_window"),
        ("gemma2_local", "models/gemma2_local"),
        ("models/gemma2_local", "models/gemma2_local"),
        ("gemma2/gemma2_local", "models/gemma2_local"),
        ("models/gemma2/gemma2_global", "models/gemma2_global"),
    ],
)
def test_names_that_are_found(registry: Registry, name: str, path: str) -> None:
    assert registry.find(name).path == path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sliding_windw", "did you mean `sliding_window`?"),
        ("Causal", "did you mean `causal`?"),
        ("models/causal", "no variant is called `models/causal`"),
        ("", "no variant is called"),
        ("../etc/passwd", "no variant is called"),
        ("causal; import os", "no variant is called"),
        ("mask", "no variant is called `mask`"),
    ],
)
def test_names_that_are_not(registry: Registry, name: str, said: str) -> None:
    assert said in refused(registry, name)


def test_a_name_in_two_libraries_needs_more(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "base" / "causal.mask", "mask causal = k < q")
    registry.register(tmp_path / "mine")
    assert "mine/base/causal/causal" in refused(registry, "causal")
    assert "2 variants" in refused(registry, "base/causal")
    assert registry.find("mine/base/causal").source.text == "mask causal = k < q"
    assert registry.find("maskdsl/base/causal").path == "base/causal"


def test_a_word_in_a_comment_is_no_definition(registry: Registry) -> None:
    registry.register("# mask nothing here\nmask # a comment between\n  something = true # variant nothing")
    assert registry.find("something").source.name == "<registered 1>"
    refused(registry, "nothing")


# ---------------------------------------------------------------- where libraries come from


def test_register_takes_a_folder_a_file_and_text(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "lib" / "deep" / "one.mask", "mask one_of_folder = true")
    registry.register(str(tmp_path / "lib"))
    registry.register(write(tmp_path / "two.mask", "mask one_of_file = true"))
    registry.register("mask one_of_text = true")
    assert registry.find("one_of_folder").path == "deep/one_of_folder"
    assert registry.find("lib/deep/one_of_folder")
    assert registry.find("two/one_of_file")
    assert registry.find("one_of_text")


def test_register_refuses_what_does_not_parse(registry: Registry, tmp_path: Path) -> None:
    for what in ("mask broken = =", str(write(tmp_path / "broken.mask", "mask broken = ("))):
        with pytest.raises(MaskError) as caught:
            registry.register(what)
        assert caught.value.diagnostics[0].code.startswith("E01")
    with pytest.raises(MaskError) as caught:
        registry.register(tmp_path / "missing.mask")
    assert caught.value.diagnostics[0].code == "E0107"


def test_a_broken_file_of_a_folder_hides_only_itself(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "bad.mask", "mask bad = (")
    (tmp_path / "bytes.mask").write_bytes(b"\xff\xfe mask bytes")
    write(tmp_path / "good.mask", "mask good_one = true")
    registry.register(tmp_path)
    assert registry.find("good_one")
    assert "good_one" in {m.name for m in registry.manifests()}


def test_the_environment_adds_folders_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a" / "x.mask", "mask from_folder = true")
    file = write(tmp_path / "b" / "y.mask", "mask from_file = true")
    monkeypatch.setenv("MASKDSL_PATH", os.pathsep.join([str(tmp_path / "a"), str(file), str(tmp_path / "missing")]))
    registry = Registry()
    assert registry.find("a/from_folder")
    assert registry.find("y/from_file")


def test_a_file_reached_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.mask", "mask once = true")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.setenv("MASKDSL_PATH", os.pathsep.join([str(tmp_path), str(tmp_path / "link")]))
    assert Registry().find("once")


def test_entry_points_add_libraries_and_a_broken_one_warns(tmp_path: Path) -> None:
    write(tmp_path / "somemasks" / "__init__.py", "")
    write(tmp_path / "somemasks" / "z.mask", "mask from_package = true")
    write(
        tmp_path / "somemasks-1.0.dist-info" / "entry_points.txt",
        "[maskdsl.variants]\nsome = somemasks\nbroken = no_such_module_anywhere\n",
    )
    write(tmp_path / "somemasks-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: somemasks\nVersion: 1.0\n")
    code = "from maskdsl.library.registry import Registry; print(Registry().find('some/from_package').path)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.strip() == "from_package", done.stderr
    assert "broken was left out" in done.stderr


def test_new_files_and_edits_are_seen(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKDSL_PATH", str(tmp_path))
    refused(registry, "late")
    path = write(tmp_path / "late.mask", "mask late = true")
    assert registry.find("late").source.text == "mask late = true"
    write(path, "mask late = k <= q")
    assert registry.find("late").source.text == "mask late = k <= q"


# ---------------------------------------------------------------- imports


def imported(registry: Registry, importer: Source, module: str, local: bool = False) -> str | None:
    found = registry.load(tuple(module.split(".")), local, importer)
    return found.text if found else None


def test_the_importers_folder_comes_first(registry: Registry, tmp_path: Path) -> None:
    here = registry.read(write(tmp_path / "here.mask", "mask here = true"))
    assert "k <= q" in (imported(registry, here, "causal") or "")
    assert imported(registry, here, "causal", local=True) is None
    write(tmp_path / "causal.mask", "mask causal = near")
    write(tmp_path / "base" / "causal.mask", "mask causal = deeper")
    assert imported(registry, here, "causal") == "mask causal = near"
    assert imported(registry, here, "causal", local=True) == "mask causal = near"
    assert imported(registry, here, "base.causal") == "mask causal = deeper"


def test_libraries_answer_by_path_and_by_file_name(registry: Registry) -> None:
    text = Source("<text>", "")
    whole = imported(registry, text, "base.causal")
    assert whole and whole == imported(registry, text, "causal") == imported(registry, text, "maskdsl.base.causal")
    assert imported(registry, text, "local.causal") is None
    assert imported(registry, text, "no_such_module") is None


def test_the_importers_library_wins_and_a_tie_is_refused(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "x" / "causal.mask", "mask causal = mine")
    inside = registry.read(write(tmp_path / "mine" / "y" / "user.mask", "mask user = true"))
    registry.register(tmp_path / "mine")
    assert imported(registry, inside, "causal") == "mask causal = mine"
    with pytest.raises(MaskError) as caught:
        imported(registry, Source("<text>", ""), "causal")
    assert caught.value.diagnostics[0].code == "E0204"


def test_a_source_is_one_object_until_its_file_changes(registry: Registry, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mask", "mask a = true")
    assert registry.read(path) is registry.read(path)
    before = registry.read(path)
    write(path, "mask a = false")
    assert registry.read(path) is not before


def test_what_changes_far_below_is_seen_along_every_way(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "low.mask", "mask low = k <= q")
    write(tmp_path / "mid.mask", "from .low import low\nmask mid = low")
    for name in ("left", "right"):
        write(tmp_path / f"{name}.mask", f"from .mid import mid\nmask {name} = mid")
    top = "from .left import left\nfrom .right import right\nmask one = left\nmask two = right"
    source = registry.read(write(tmp_path / "top.mask", top))
    first = registry.check(source)
    assert registry.check(source) is first
    write(tmp_path / "low.mask", "mask low = k <= q + 100")
    changed = registry.check(source)
    assert [text(inline(changed.definitions[name].mask)) for name in ("one", "two")] == ["k <= q + 100"] * 2


def test_a_long_chain_of_files_is_checked_again(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "m0.mask", "mask x0 = k <= q")
    for i in range(1, 1200):
        write(tmp_path / f"m{i}.mask", f"from .m{i - 1} import x{i - 1}\nmask x{i} = k < q")
    last = registry.read(tmp_path / "m1199.mask")
    first = registry.check(last)
    assert not first.errors and registry.check(last) is first
