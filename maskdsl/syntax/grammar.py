"""The parser that lark makes of `grammar/mask.lark`, loaded once and cached between runs."""

from __future__ import annotations

import os
import sys
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from lark import Lark, UnexpectedInput, __version__

from maskdsl.source.shipped import grammar_dir

_DIGEST = 32


@cache
def load() -> Lark:
    """The LALR(1) parser of the language; its tables come from the user's cache folder when they are there."""
    text = (grammar_dir() / "mask.lark").read_text(encoding="utf-8")
    key = sha256(f"{__version__} {sys.version_info[:2]} {text}".encode()).hexdigest()[:16]
    file = cache_dir() / f"grammar-{key}.bin"
    stored = _read(file)
    if stored is not None:
        return Lark.load(BytesIO(stored))
    lark = Lark(text, parser="lalr", lexer="contextual")
    tables = BytesIO()
    lark.save(tables)
    _write(file, tables.getvalue())
    return lark


def can_parse(text: str) -> bool:
    """Whether the grammar accepts the text."""
    try:
        load().parse(text)
    except UnexpectedInput:
        return False
    return True


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/maskdsl`, by default `~/.cache/maskdsl`; it need not exist."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "maskdsl"
    return Path(os.path.expanduser("~")) / ".cache" / "maskdsl"


def _read(file: Path) -> bytes | None:
    """The tables stored in `file`, or None where it is missing, unreadable or damaged.

    They are a pickle, which can run code: none is read from where one happens to work.
    """
    if not file.is_absolute():
        return None
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, tables = content[:_DIGEST], content[_DIGEST:]
    return tables if sha256(tables).digest() == digest else None


def _write(file: Path, tables: bytes) -> None:
    """Store the tables if the folder allows it: beside first, then renamed, so that nobody reads half a file."""
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    if not file.is_absolute():
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(sha256(tables).digest() + tables)
        os.replace(beside, file)
    except OSError:
        return
