"""Where the documents that ship with maskdsl lie: the grammar with its pages, and the library of variants."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def grammar_dir() -> Path:
    """The folder of `mask.lark` and `errors/`: `grammar/` in a checkout, `maskdsl/_grammar` in a wheel."""
    return _shipped("grammar")


def variants_dir() -> Path:
    """The folder of the shipped `.mask` files: `variants/` in a checkout, `maskdsl/_variants` in a wheel."""
    return _shipped("variants")


def _shipped(name: str) -> Path:
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name
