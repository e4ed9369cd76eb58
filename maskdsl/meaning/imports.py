"""Files and the files that they import: read once each, in an order in which imported files come first.

Not here: where a module's file is (the caller's `Loader` knows), what a file defines (`module`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from maskdsl.meaning.findings import MOST_ADVISED, Findings
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast
from maskdsl.syntax.parse import parse

Loader = Callable[[tuple[str, ...], bool, Source], Source | None]
"""`load(module, local, importer)`: the source that an import means (`local`: only near the importer), or None.

It may raise a MaskError, whose diagnostics are then the import's.
"""

Known = Callable[[Source], ast.File | None]
"""What a file parsed to when it was checked; None for one that was not."""


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A file, what is wrong with its text and its imports, and the file that each import means (None: reported).

    Of one that is `known` already, neither is looked for again.
    """

    source: Source
    file: ast.File
    findings: Findings
    modules: list[Parsed | None] = field(default_factory=list)
    known: bool = False


@dataclass(frozen=True, slots=True)
class Library:
    """What there is to import, asked for when a name is not known: the names of modules; and of a definition's name
    the line that imports it, "" where no module, or more than one, has such a definition.
    """

    modules: Callable[[], Iterable[str]] = list
    line_for: Callable[[str], str] = lambda name: ""


NOTHING = Library()


def gather(
    source: Source, load: Loader, known: Known = lambda source: None, library: Library = NOTHING
) -> list[Parsed]:
    """The file and all that it imports, imported files first; files that are known are not parsed, nor their imports
    followed.
    """
    reader = _Reader(load, known, library)
    root = reader.read(source)
    done: list[Parsed] = []
    path: list[tuple[Parsed, Iterator[ast.Use]]] = [(root, iter(root.file.uses))]
    while path:
        parsed, rest = path[-1]
        use = next(rest, None)
        if use is None:
            done.append(path.pop()[0])
            continue
        target = reader.follow(parsed, use)
        on_path = [p for p, _ in path]
        if target in on_path:
            _refuse_circle(parsed, use, on_path[on_path.index(target) :])
            target = None
        parsed.modules.append(target)
        if target is not None and target not in done:
            path.append((target, iter(() if target.known else target.file.uses)))
    return done


class _Reader:
    """The files of one run, each parsed once."""

    def __init__(self, load: Loader, known: Known, library: Library) -> None:
        self.load = load
        self.known = known
        self.library = library
        self.parsed: dict[object, Parsed] = {}

    def read(self, source: Source) -> Parsed:
        key = source if source.path is None else str(source.path.resolve())
        if key not in self.parsed:
            file = self.known(source)
            self.parsed[key] = Parsed(source, file, Findings(), known=True) if file else self._parse(source)
        return self.parsed[key]

    def _parse(self, source: Source) -> Parsed:
        file, diagnostics = parse(source)
        findings = Findings(line_for=self.library.line_for)
        for diagnostic in diagnostics:
            findings.add(diagnostic)
        return Parsed(source, file, findings)

    def follow(self, parsed: Parsed, use: ast.Use) -> Parsed | None:
        """The file that an import means; None after reporting that there is none."""
        names = tuple(name.text for name in use.module)
        try:
            source = self.load(names, use.local, parsed.source)
        except MaskError as error:
            for diagnostic in error.diagnostics:
                parsed.findings.add(diagnostic if diagnostic.span else replace(diagnostic, span=_module_span(use)))
            return None
        if source is None:
            _refuse_unknown(parsed, use, self.library)
        return None if source is None else self.read(source)


def _refuse_unknown(parsed: Parsed, use: ast.Use, library: Library) -> None:
    name = ("." if use.local else "") + ".".join(n.text for n in use.module)
    where = "in this file's own folder" if use.local else "near this file, nor among the registered libraries"
    known = () if use.local or parsed.findings.errors >= MOST_ADVISED else library.modules()
    advice = did_you_mean(use.module[-1].text, known)
    parsed.findings.tell("E0204", f"no module `{name}` {where}", _module_span(use), help=advice)


def _module_span(use: ast.Use) -> Span:
    """Where an import names its module."""
    return use.module[0].span.to(use.module[-1].span)


def _refuse_circle(parsed: Parsed, use: ast.Use, circle: list[Parsed]) -> None:
    span = _module_span(use)
    if len(circle) == 1:
        advice = ("leave the import out: its names are known",)
        return parsed.findings.tell("E0206", "a module imports itself", span, help=advice)
    names = " imports ".join(f"`{p.source.name}`" for p in (*circle, circle[0]))
    return parsed.findings.tell(
        "E0206", "modules import each other", span, notes=(names,), help=("move what both need into a third file",),
    )
