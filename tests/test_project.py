"""The project itself: what the wheel holds, what the pins pin, and that the files which start everything are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed, without this checkout on its path."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MASKDSL_PATH")}
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel in it; everything else is this environment's own."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=home)
    return python


def test_the_wheel_holds_the_grammar_and_the_variants(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {"maskdsl/py.typed", "maskdsl/_grammar/mask.lark", "maskdsl/_grammar/errors/E0305.md"}
    inside |= {f"maskdsl/_{p.relative_to(ROOT)}" for p in (ROOT / "variants").rglob("*.mask")}
    inside |= {str(p.relative_to(ROOT)) for p in (ROOT / "maskdsl").rglob("*.py")}
    inside |= {str(p.relative_to(ROOT)) for p in (ROOT / "maskdsl" / "gallery" / "templates").iterdir()}
    assert not inside - names
    assert all(n.startswith(("maskdsl/", "maskdsl-")) for n in names)


def test_the_installed_package_works_by_itself(installed: Path, tmp_path: Path) -> None:
    code = """if True:
        import sys, maskdsl
        print(maskdsl.__file__)
        assert "torch" not in sys.modules
        assert {"causal", "gemma2_local"} <= {m.name for m in maskdsl.list()}
        assert maskdsl.get("models/gemma2_local", window=3).manifest.kind == "variant"
        print(maskdsl.list()[0].file)
    """
    package, file = run(installed, "-c", code, cwd=tmp_path).split()
    assert installed.parent.parent in Path(package).parents
    assert Path(package).parent / "_variants" in Path(file).parents


def test_the_installed_command_works(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "own.mask").write_text("## Causal, narrow.\nmask own = 0 <= q - k < 2\nexample own\n  | x .\n  | x x\n")
    command = installed.parent / "maskdsl"
    assert "1 file, 1 definition, 1 example: no problems" in run(command, "check", "own.mask", cwd=tmp_path)
    assert "an index of the wrong axis" in run(command, "explain", "E0305", cwd=tmp_path)


# ---------------------------------------------------------------- the files around it


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonical(line.split("==")[0]) for line in lines if "==" in line}
    assert "torch==2.13.0" in lines
    extras = PROJECT["project"]["optional-dependencies"]
    asked = re.findall(r"\w+", re.search(r"maskdsl\[(.*?)\]", " ".join(extras["dev"]))[1])
    wanted = [PROJECT["project"]["dependencies"], *(extras[name] for name in ("dev", "examples", *asked))]
    names = {canonical(re.split(r"[<>=!\[; ]", w)[0]) for group in wanted for w in group}
    assert {"lark", "playwright", "transformers"} <= names
    assert names <= pinned | {"maskdsl"}


def test_the_oldest_versions_are_stated() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert "torch>=2.11" in PROJECT["project"]["dependencies"]


def test_the_readme_names_the_two_commands_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme and "make test" in readme
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "make test" in ci.read_text(encoding="utf-8")


def test_the_readme_shows_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", readme):
        assert "://" in target or (ROOT / target).exists(), target


def test_make_knows_its_targets() -> None:
    shown = subprocess.run(["make", "-n", "demo", "test", "lint"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "maskdsl compile variants/models/gemma2.mask:gemma2_local" in shown.stdout
