"""What every test may use: `snapshot`, and the flag `--accept` that rewrites the expected texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


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
