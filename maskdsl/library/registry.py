"""The registry: which libraries there are, what a name in them means, and which file an import means.

Not here: where libraries are (`places`), reading files (`files`), what a definition offers (`manifest`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from maskdsl.library.files import SUFFIX, located, read_source, shown_path
from maskdsl.library.places import Place, find_registered_places, places_in
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Source

if TYPE_CHECKING:
    from maskdsl.library.manifest import Manifest
    from maskdsl.meaning.module import Module
    from maskdsl.syntax import ast

@dataclass(frozen=True, slots=True)
class Entry:
    """A definition of a registered library."""

    name: str
    place: Place
    source: Source

    @property
    def path(self) -> str:
        """The name with the folders that lead to it, such as `models/gemma2_local`."""
        return "/".join((*self.place.folders, self.name))

    @property
    def full_path(self) -> str:
        """The name with its library, its folders and its file: what tells it from every other."""
        return "/".join((self.place.library, *self.place.folders, self.place.stem, self.name))


class Registry:
    """The libraries of one process; files are looked for once and read again only when they change."""

    def __init__(self) -> None:
        self._registered: list[tuple[Place, Path | Source]] = []
        self._found: dict[Path, Place] | None = None
        self._read: dict[Path, tuple[tuple[int, int], Source]] = {}
        self._parsed: dict[Source, ast.File] = {}
        self._modules: dict[Source, Module] = {}
        self._imports: dict[Source, dict[tuple[tuple[str, ...], bool], Source | None]] = {}

    def register(self, what: str | os.PathLike[str]) -> None:
        """Add a folder, a file, or the text of definitions.

        Raises MaskError: E0107 for a path that does not exist, the reader's own when a file or text does not parse.
        """
        path = Path(what)
        if isinstance(what, str) and not os.path.exists(what) and any(mark in what for mark in "={\n"):
            self._register_text(what)
        elif os.path.isdir(path):
            self._registered += [(place, file) for file, place in places_in(path, located(path).name)]
        else:
            self._parse(self.read(path))
            self._registered.append((Place(located(path).parent.name, (), path.stem), located(path)))
        self._found = None

    def sources(self) -> Iterator[tuple[Place, Source]]:
        """Every readable file and text of every library, in the order of the libraries."""
        for place, what in self._everything():
            try:
                yield place, what if isinstance(what, Source) else self.read(what)
            except MaskError:
                continue

    def read(self, path: Path) -> Source:
        """The source of a file: the same object until the file changes. Raises MaskError E0107."""
        path = located(path)
        try:
            state = path.stat()
        except (OSError, ValueError):
            return read_source(path, shown_path(path))
        stamp = (state.st_mtime_ns, state.st_size)
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, read_source(path, shown_path(path)))
        return known[1]

    def find(self, name: str) -> Entry:
        """The one definition called `name` or `folder/name`. Raises MaskError E0211 when there is none, or several."""
        *folders, last = name.strip("/").split("/")
        entries = self._answers(tuple(folders), last)
        if not entries:
            self._found = None
            entries = self._answers(tuple(folders), last)
        if len(entries) == 1:
            return entries[0]
        raise MaskError(self._ambiguous(name, entries) if entries else self._unknown(name))

    def entries(self) -> tuple[Entry, ...]:
        """Every definition of every library that parses."""
        return tuple(
            Entry(d.name.text, place, source) for place, source in self.sources() for d in self._definitions(source)
        )

    def names(self, source: Source) -> tuple[str, ...]:
        """The names that a source defines, in its order. Raises MaskError when it does not parse."""
        from maskdsl.library.manifest import definitions_of

        return tuple(dict.fromkeys(d.name.text for d in definitions_of(self._parse(source))))

    def manifests(self) -> tuple[Manifest, ...]:
        """The manifest of every definition, by library and path."""
        from maskdsl.library.manifest import describe

        return tuple(
            describe(d, "/".join((*place.folders, d.name.text)), place.library)
            for place, source in self.sources()
            for d in self._definitions(source)
        )

    def manifest(self, source: Source, name: str) -> Manifest:
        """The manifest of a definition of any source, registered or not. Raises MaskError when there is none."""
        from maskdsl.library.manifest import describe

        place = next((p for p, s in self.sources() if s is source), None)
        for definition in self._definitions(source):
            if definition.name.text == name:
                path = "/".join((*place.folders, name)) if place else name
                return describe(definition, path, place.library if place else None)
        raise MaskError(unknown_definition(name, source, [d.name.text for d in self._definitions(source)]))

    def load(self, module: tuple[str, ...], local: bool, importer: Source) -> Source | None:
        """The source that an import means, or None: a file near the importer, else (unless local) a library's file.

        Files of the importer's own library win over others. Raises MaskError E0204 when several answer.
        """
        if importer.path is not None:
            near = importer.path.parent.joinpath(*module).with_suffix(SUFFIX)
            if os.path.isfile(near):
                return self.read(near)
        if local:
            return None
        answers = [(place, what) for place, what in self._everything() if place.answers_to(module)]
        own = {place.library for place, what in self._everything() if what in (importer.path, importer)}
        answers = [a for a in answers if a[0].library in own] or answers
        found = [what if isinstance(what, Source) else self.read(what) for _, what in answers]
        if len(found) > 1:
            raise MaskError(_ambiguous_module(module, found))
        return found[0] if found else None

    def check(self, source: Source) -> Module:
        """The checked meaning of a source; it and its imports are checked again only when one of them has changed."""
        from maskdsl.meaning.imports import Library
        from maskdsl.meaning.module import Checked, check

        self._forget_changed(source)
        library = Library(self._module_names, self._import_of)
        return check(source, self._load_and_note, Checked(self._modules), library)

    def _import_of(self, name: str) -> str:
        """The line that imports the one registered definition of a name, "" where there is none, or several."""
        entries = self._answers((), name)
        if len(entries) != 1:
            return ""
        place = entries[0].place
        alone = sum(p.answers_to((place.stem,)) for p, _ in self._everything()) == 1
        return f"from {'.'.join((*(() if alone else place.folders), place.stem))} import {name}"

    def _module_names(self) -> list[str]:
        return sorted({place.stem for place, _ in self._everything()})

    def imports(self, source: Source) -> Mapping[tuple[tuple[str, ...], bool], Source | None]:
        """What the imports of a checked source mean, by module and whether it is local."""
        return self._imports.get(source, {})

    def _register_text(self, text: str) -> None:
        count = sum(isinstance(what, Source) for _, what in self._registered)
        source = Source(f"<registered {count + 1}>", text)
        self._parse(source)
        self._registered.append((Place("registered", (), f"text{count + 1}"), source))

    def _load_and_note(self, module: tuple[str, ...], local: bool, importer: Source) -> Source | None:
        found = self.load(module, local, importer)
        self._imports.setdefault(importer, {})[module, local] = found
        return found

    def _forget_changed(self, root: Source) -> None:
        """Drop the modules, among those that a source reaches, that import what now means another text, however far."""
        importers: dict[Source, list[Source]] = {root: []}
        waiting = [root]
        while waiting:
            source = waiting.pop()
            for target in self.imports(source).values():
                if target is not None:
                    waiting += [] if target in importers else [target]
                    importers.setdefault(target, []).append(source)
        changed = {s for s in importers if not self._imports_hold(s)}
        waiting = list(changed)
        while waiting:
            fresh = [s for s in importers[waiting.pop()] if s not in changed]
            changed.update(fresh)
            waiting += fresh
        for source in changed:
            self._modules.pop(source, None)
            self._imports.pop(source, None)

    def _imports_hold(self, source: Source) -> bool:
        """Whether every import of a source still means the text that it meant."""
        try:
            return all(self.load(*name, source) is found for name, found in self.imports(source).items())
        except MaskError:
            return False

    def _everything(self) -> Iterator[tuple[Place, Path | Source]]:
        """The files of every library, not read, and the texts that were registered."""
        yield from ((place, path) for path, place in self._files().items())
        yield from ((place, what) for place, what in self._registered if isinstance(what, Source))

    def _files(self) -> dict[Path, Place]:
        if self._found is None:
            found: dict[Path, Place] = {}
            for path, place in (*find_registered_places(), *self._registered_files()):
                found.setdefault(path, place)
            self._found = found
        return self._found

    def _registered_files(self) -> Iterator[tuple[Path, Place]]:
        yield from ((what, place) for place, what in self._registered if isinstance(what, Path))

    def _parse(self, source: Source) -> ast.File:
        """The syntax of a source. Raises MaskError when it does not parse."""
        from maskdsl.syntax.parse import parse

        if source not in self._parsed:
            file, diagnostics = parse(source)
            if diagnostics:
                raise MaskError(diagnostics)
            self._parsed[source] = file
        return self._parsed[source]

    def _definitions(self, source: Source) -> tuple[ast.Mask | ast.Score | ast.Variant, ...]:
        from maskdsl.library.manifest import definitions_of

        try:
            return definitions_of(self._parse(source))
        except MaskError:
            return ()

    def _answers(self, folders: tuple[str, ...], name: str) -> list[Entry]:
        if not name.isidentifier():
            return []
        # Only a file where a definition's keyword stands before the name can define it: the others need no parsing.
        defines = re.compile(rf"\b(?:mask|score|variant)(?:\s|#[^\n]*\n)+{name}\b", re.ASCII)
        candidates = [(p, s) for p, s in self.sources() if p.holds(folders) and defines.search(s.text)]
        return [Entry(name, p, s) for p, s in candidates if any(d.name.text == name for d in self._definitions(s))]

    def _unknown(self, name: str) -> Diagnostic:
        known = self.entries()
        close = did_you_mean(name.rpartition("/")[2], [e.name for e in known])
        close = close or did_you_mean(name, [e.path for e in known])
        rest = "`maskdsl list` prints every name; MASKDSL_PATH adds folders of `.mask` files"
        return Diagnostic("E0211", f"no variant is called `{name}`", help=(*close, rest))

    def _ambiguous(self, name: str, entries: list[Entry]) -> Diagnostic:
        paths = [e.path for e in entries]
        ways = paths if len(set(paths)) == len(paths) else [e.full_path for e in entries]
        return Diagnostic(
            "E0211",
            f"{len(entries)} variants are called `{name}`",
            notes=tuple(f"`{way}` is in {e.source.name}" for way, e in zip(ways, entries, strict=True)),
            help=(f"say which: {' or '.join(f'`{way}`' for way in ways)}",),
        )


@cache
def shared() -> Registry:
    """The registry of this process."""
    return Registry()


def unknown_definition(name: str, source: Source, names: list[str]) -> Diagnostic:
    """What to say when a file was asked for a definition that it does not have."""
    there = f"it defines {', '.join(f'`{n}`' for n in names)}" if names else "it defines nothing"
    close = did_you_mean(name, names)
    return Diagnostic("E0211", f"{source.name} does not define `{name}`", notes=(there,), help=close)


def _ambiguous_module(module: tuple[str, ...], sources: list[Source]) -> Diagnostic:
    return Diagnostic(
        "E0204",
        f"several files answer to the module `{'.'.join(module)}`",
        notes=tuple(s.name for s in sources),
        help=("write more of the path, such as `from base.causal import …`",),
    )
