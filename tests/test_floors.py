"""The house rules that a machine can check: floors, sizes, names, docstrings, and what starts without torch."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "maskdsl"
FLOORS = (
    ("source", "version"), ("syntax", "ir"), ("meaning",), ("passes",), ("tiles",), ("layouts",), ("backends",), ("library",),
    ("binding",), ("serving",), ("api",),
    ("cli", "gallery", "editor", "integrations", "pytest_plugin", "__init__", "__main__"),
)  # fmt: skip
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
TORCHLESS = ("source", "syntax", "ir", "meaning", "passes", "tiles", "layouts", "library")
MODULES = sorted(PACKAGE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    """The path as messages print it."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path) -> str:
    """The folder or module directly below the package that the file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(node: ast.AST, module: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted names that a node imports by itself; `module` is the package that relative imports start from."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = module[: len(module) - node.level + 1] if node.level else ()
        start = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{start}.{alias.name}" for alias in node.names)


def at_top(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: not the bodies of functions, nor what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not isinstance(child, Function) and not typing_only:
            yield child
            yield from at_top(child)


# ---------------------------------------------------------------- floors


def may_import(importer: str, imported: str) -> bool:
    """Whether a file of one folder may import from another."""
    if importer == imported:
        return True
    entry = ("__init__", "__main__")
    if importer in (*entry, "cli") and imported not in entry:
        return True
    return FLOOR[imported] < FLOOR[importer]


def test_the_rule_itself() -> None:
    assert may_import("meaning", "ir") and may_import("cli", "api") and may_import("cli", "editor")
    assert not may_import("ir", "syntax") and not may_import("syntax", "ir")
    assert not may_import("ir", "meaning") and not may_import("api", "cli") and not may_import("editor", "cli")


def test_relative_imports_are_understood() -> None:
    statement = ast.parse("from ..ir import nodes").body[0]
    assert list(imports(statement, ("maskdsl", "meaning"))) == ["maskdsl.ir.nodes"]


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_imports_only_from_the_left(path: Path) -> None:
    here, package = place(path), ("maskdsl", *path.relative_to(PACKAGE).parts[:-1])
    assert here in FLOOR, f"{here} is on no floor"
    for node in ast.walk(tree(path)):
        for name in imports(node, package):
            parts = name.split(".")
            if parts[0] == "maskdsl" and len(parts) > 1 and parts[1] in FLOOR:
                assert may_import(here, parts[1]), f"line {node.lineno}: {here} may not import {name}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", [p for p in MODULES if place(p) in (*TORCHLESS, "api", "__init__")], ids=short)
def test_no_torch_at_the_top(path: Path) -> None:
    heavy = ("torch", "triton", "matplotlib")
    for node in at_top(tree(path)):
        for name in imports(node):
            assert name.split(".")[0] not in heavy, f"line {node.lineno} imports {name}"  # type: ignore[attr-defined]


# ---------------------------------------------------------------- sizes


def functions(path: Path) -> list[Function]:
    """All functions and methods of a module, nested ones too."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def length(function: Function) -> int:
    """The lines of a function without its docstring."""
    assert function.end_lineno is not None
    doc = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    return function.end_lineno - function.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)  # type: ignore[operator]


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{lines} lines"
    for function in functions(path):
        assert length(function) <= 60, f"{function.name} has {length(function)} lines"


def test_most_functions_are_very_short() -> None:
    lengths = sorted(length(f) for path in MODULES for f in functions(path))
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.9 * len(lengths))] <= 30


# ---------------------------------------------------------------- names and docstrings

VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_file_names_say_what_is_inside(path: Path) -> None:
    assert not VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)


def public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """The functions and classes, and their methods, whose names do not start with an underscore."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_public_names_have_docstrings(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "the module does not say what it owns"
    # The classes of the syntax tree are the rules of grammar/mask.lark, which documents them.
    rules = short(path) == "maskdsl/syntax/ast.py"
    missing = [n.name for n in public(tree(path).body) if not ast.get_docstring(n) and not rules]
    assert not missing, f"no docstring: {', '.join(missing)}"


# ---------------------------------------------------------------- what may stand in the tree

TEXTS = set(".py .md .mask .lark .txt .toml .json .yml .yaml .cfg .sh .html .js .ts".split()) | {""}
SKIPPED = {".venv", ".git", ".whl", ".fa4", "build", "dist", "demo", "__pycache__", "node_modules"}
# What belongs to the making of the project and not to the project; in pieces, so that this file itself is clean.
PRIVATE = "|".join(
    ("/wor" "k/", "/tmp/DES" "IGN", "house" r"\.md", "language" r"\.md", "flex-" "facts", "mask-" "draft",
     "helper " "agent", "AI " "agent", "this " "session", "a " "session of", "issues " "show", r"issue \d+ ite" "m")
)  # fmt: skip


def tracked() -> list[Path]:
    """The files that git knows, or, outside a checkout, all files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    return [p for p in ROOT.rglob("*") if p.is_file() and not SKIPPED & set(p.relative_to(ROOT).parts)]


def test_nothing_private_in_the_tree() -> None:
    found = []
    for path in tracked():
        if path.suffix in TEXTS and path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [f"{short(path)}:{n}: {line}" for n, line in enumerate(lines, 1) if re.search(PRIVATE, line, re.I)]
    assert not found, "\n".join(found)


# ---------------------------------------------------------------- what starts without torch


def run_without_torch(statement: str) -> None:
    """Run a statement in a fresh interpreter and see that torch stayed out."""
    code = f"import sys\n{statement}\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def has(module: str) -> bool:
    """Whether the module exists."""
    return (PACKAGE / f"{module}.py").exists() or (PACKAGE / module / "__init__.py").exists()


def test_importing_the_package_leaves_torch_out() -> None:
    run_without_torch("import maskdsl")


@pytest.mark.parametrize("folder", [f for f in TORCHLESS if has(f)])
def test_importing_a_floor_leaves_torch_out(folder: str) -> None:
    files = [p for p in MODULES if place(p) == folder]
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files]
    run_without_torch(f"import {', '.join(names)}")


def test_the_numpy_meaning_leaves_torch_out() -> None:
    if (PACKAGE / "backends" / "reference.py").exists():
        run_without_torch("import maskdsl.backends.reference")


@pytest.mark.skipif(not has("api"), reason="no api")
def test_listing_leaves_torch_out() -> None:
    run_without_torch("import maskdsl\nassert maskdsl.list()")


LIGHT = ("--help", "list", "check variants/base", "fmt --check variants/base", "explain E0305")


@pytest.mark.skipif(not has("cli"), reason="no command line")
@pytest.mark.parametrize("arguments", LIGHT)
def test_light_commands_leave_torch_out(arguments: str) -> None:
    program = f"""
sys.argv = {["maskdsl", *arguments.split()]!r}
from maskdsl.cli import main
try:
    main()
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
"""
    run_without_torch(program)
