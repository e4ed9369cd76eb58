"""Remembers between runs which files were found clean, so that only what changed is checked again.

A file is clean still when its text, every text that it imports, and maskdsl itself are the same. What had a
diagnostic is never remembered.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from maskdsl.library.registry import Registry
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.shipped import grammar_dir
from maskdsl.source.text import Source
from maskdsl.syntax.grammar import cache_dir


@dataclass(frozen=True, slots=True)
class Import:
    """What an import of the file `importer` means: the file `target` with that text; all as texts."""

    importer: str
    module: str
    local: bool
    target: str
    digest: str


@dataclass(frozen=True, slots=True)
class Clean:
    """A file without diagnostics: the digest of its text, how much is in it, and all that it imports, however deep."""

    digest: str
    definitions: int
    examples: int
    imports: tuple[Import, ...] = ()


class CleanFiles:
    """The files that were clean when they were last checked; a broken or missing store is an empty one."""

    def __init__(self, registry: Registry, store: Path | None = None) -> None:
        self._registry = registry
        self._store = store or cache_dir() / "clean.json"
        self._known = dict(_read(self._store))
        self._changed = False

    def find(self, source: Source) -> Clean | None:
        """What is remembered of a file, if all of it still holds."""
        known = self._known.get(str(source.path)) if source.path is not None else None
        if known is None or known.digest != digest(source) or not all(map(self._holds, known.imports)):
            return None
        return known

    def add(self, source: Source, definitions: int, examples: int) -> None:
        """Remember a file that the registry has just checked and found clean; texts that are no files are forgotten."""
        imports = tuple(self._imports(source))
        if source.path is not None and all(i is not None for i in imports):
            found = Clean(digest(source), definitions, examples, tuple(i for i in imports if i is not None))
            self._known[str(source.path)] = found
            self._changed = True

    def save(self) -> None:
        """Write the store if something was added; a folder that cannot be written is no error."""
        if self._changed:
            files = {path: asdict(clean) for path, clean in self._known.items()}
            _write(self._store, {"program": program(), "files": files})

    def _imports(self, source: Source) -> Iterator[Import | None]:
        """Everything that a source imports, directly or not; None for what is no file."""
        seen, waiting = {source}, [source]
        while waiting:
            importer = waiting.pop()
            for (module, local), target in self._registry.imports(importer).items():
                if target is None or target.path is None:
                    yield None
                    continue
                yield Import(str(importer.path), ".".join(module), local, str(target.path), digest(target))
                waiting += [] if target in seen else [target]
                seen.add(target)

    def _holds(self, known: Import) -> bool:
        try:
            importer = self._registry.read(Path(known.importer))
            target = self._registry.load(tuple(known.module.split(".")), known.local, importer)
        except MaskError:
            return False
        return target is not None and str(target.path) == known.target and digest(target) == known.digest


def digest(source: Source) -> str:
    """A short name of a text that no other text has."""
    return sha256(source.text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def program() -> str:
    """A short name of maskdsl as it is now: its files, the grammar, and the Python that runs it."""
    package = Path(__file__).resolve().parent.parent
    files = sorted([*package.rglob("*.py"), grammar_dir() / "mask.lark"])
    states = [(str(f), s.st_mtime_ns, s.st_size) for f in files for s in (f.stat(),)]
    return sha256(repr((sys.version, states)).encode()).hexdigest()


def _read(store: Path) -> Iterator[tuple[str, Clean]]:
    try:
        content = json.loads(store.read_text(encoding="utf-8"))
        if content["program"] == program():
            for path, found in content["files"].items():
                imports = tuple(Import(**i) for i in found.pop("imports"))
                yield path, Clean(**found, imports=imports)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _write(store: Path, content: dict[str, Any]) -> None:
    beside = store.with_name(f"{store.name}.{os.getpid()}")
    if not store.is_absolute():
        return
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(content), encoding="utf-8")
        os.replace(beside, store)
    except OSError:
        return
