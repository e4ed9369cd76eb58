"""What every test may use: `snapshot`, the flag `--accept` that rewrites the expected texts, and kept kernels.

Random tests draw the same cases every time; `--hypothesis-profile search` draws others.
Compiled kernels stay on disk between runs, where nobody chose another place: one costs 5 to 20 s, and about 2 s if kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", print_blob=True)
settings.load_profile("fixed")

# Both are read when Inductor is imported.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "inductor"))
if "PYTEST_XDIST_WORKER" in os.environ:  # else every worker would start as many compilers as there are cores
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--accept`."""
    parser.addoption("--accept", action="store_true", help="rewrite the expected texts; review the difference as prose")


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """`snapshot(path, text)`: the file at `path` holds `text` (with `--accept` it is written)."""

    def verify(path: Path, text: str) -> None:
        if request.config.getoption("--accept"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.name} is missing; run pytest with --accept and read what it writes"
        assert text == path.read_text(encoding="utf-8")

    return verify
