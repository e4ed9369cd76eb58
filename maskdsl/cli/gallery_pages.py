"""The pages of the gallery: a definition's place, its names, who uses whom, and what was computed of it.

Not here: its pictures and tiles (`gallery_pictures`), the site that shows the pages (`maskdsl.gallery`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from maskdsl.cli.gallery_pictures import draw
from maskdsl.gallery.page import Page
from maskdsl.ir.nodes import Call, Variant
from maskdsl.ir.walk import topological
from maskdsl.library.files import SUFFIX
from maskdsl.library.places import SHIPPED
from maskdsl.library.registry import Entry, Registry
from maskdsl.meaning.module import Module
from maskdsl.source.diagnostic import Diagnostic, MaskError

MODELS = "models"
"""The folder of a library whose definitions are what models use."""

Keys = Mapping[Entry, str]


@dataclass(frozen=True, slots=True)
class Relations:
    """Keys of pages by key: the definitions in a formula, those that have it in theirs, the models that reach it.

    `names` are what a formula calls the definitions in it, each with its key.
    """

    uses: Mapping[str, Sequence[str]]
    names: Mapping[str, Sequence[tuple[str, str]]]
    used_by: Mapping[str, Sequence[str]]
    models: Mapping[str, Sequence[str]]


def make_pages(registry: Registry, tell: Callable[[int, int, str], None], only: Sequence[str] = ()) -> list[Page]:
    """A page for each registered definition (or those called `only`), by family and name.

    `tell` gets how many are done, how many there are, and the name of the next. A definition whose file has errors, or
    for which no arguments are found, has a page that says so.
    """
    everything = registry.entries()
    keys, names = page_keys(everything), python_names(everything)
    entries = [e for e in everything if not only or e.name in only]
    modules = {e: registry.check(e.source) for e in entries}
    related = find_relations(modules, keys)
    pages = []
    for number, entry in enumerate(entries):
        tell(number, len(entries), entry.path)
        pages.append(_make_page(registry, entry, modules[entry], keys[entry], names[entry], related))
    return sorted(pages, key=lambda p: (p.library != SHIPPED, p.family, p.manifest.name, p.key))


def _make_page(registry: Registry, entry: Entry, module: Module, key: str, name: str, related: Relations) -> Page:
    manifest, file = registry.manifest(entry.source, entry.name), below_library(entry)
    line, _ = entry.source.position(max(0, entry.source.text.find(manifest.source)))
    page = Page(
        key, name, manifest, entry.place.library, "/".join(entry.place.folders), file, line,
        uses=(*related.uses.get(key, ()),), used_by=(*related.used_by.get(key, ()),),
        models=(*related.models.get(key, ()),), names=(*related.names.get(key, ()),),
    )  # fmt: skip
    if module.errors:
        return replace(page, problem=_told(module.errors[0]))
    try:
        drawn = draw(module, module.definitions[entry.name], file)
    except MaskError as problem:
        return replace(page, problem=_told(problem.diagnostics[0]))
    return replace(
        page, pictures=drawn.pictures, shown=drawn.shown, curve=drawn.curve, curve_of=drawn.curve_of,
        kernel=drawn.kernel, fields=drawn.fields, constants=drawn.constants, depends=drawn.depends,
    )  # fmt: skip


def _told(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.code}: {diagnostic.message}"


# ---------------------------------------------------------------- names


def below_library(entry: Entry) -> str:
    """The file's path below its library, such as `local/sliding_window.mask`."""
    return "/".join((*entry.place.folders, entry.place.stem)) + SUFFIX


def page_keys(entries: Sequence[Entry]) -> dict[Entry, str]:
    """A file name for each definition, no two alike where capitals do not count, such as `local.sliding_window`."""
    taken: set[str] = set()
    keys = {}
    for entry in entries:
        key = ".".join((*([] if entry.place.library == SHIPPED else [entry.place.library]), *entry.path.split("/")))
        if key.lower() in taken:
            key = entry.full_path.replace("/", ".")
        number, free = 2, key
        while free.lower() in taken:
            number, free = number + 1, f"{key}.{number}"
        taken.add(free.lower())
        keys[entry] = free
    return keys


def python_names(entries: Sequence[Entry]) -> dict[Entry, str]:
    """The shortest name by which `maskdsl.get` finds each definition."""
    namesakes: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        namesakes[entry.name].append(entry)
    return {e: next(n for n in _ways(e) if n == e.full_path or _means(n, namesakes[e.name]) == [e]) for e in entries}


def _ways(entry: Entry) -> tuple[str, str, str]:
    return (entry.name, entry.path, entry.full_path)


def _means(way: str, namesakes: Sequence[Entry]) -> list[Entry]:
    """The definitions of one name that a way of saying it may mean."""
    folders = (*way.split("/")[:-1],)
    return [e for e in namesakes if e.place.holds(folders)]


# ---------------------------------------------------------------- who uses whom


def find_relations(modules: Mapping[Entry, Module], keys: Keys) -> Relations:
    """Who uses whom among the definitions without errors."""
    variants = {m.definitions[e.name]: e for e, m in modules.items() if e.name in m.definitions}
    names = {keys[e]: _names_in(v, variants, keys) for v, e in variants.items()}
    uses = {user: sorted({key for _, key in called}) for user, called in names.items()}
    used_by, models = defaultdict(list), defaultdict(list)
    for user, used in uses.items():
        for key in used:
            used_by[key].append(user)
    for entry in variants.values():
        if entry.place.folders[-1:] == (MODELS,):
            for key in _reached(keys[entry], uses):
                models[key].append(keys[entry])
    return Relations(uses, names, used_by, models)


def _names_in(variant: Variant, variants: Mapping[Variant, Entry], keys: Keys) -> list[tuple[str, str]]:
    """What a formula calls the definitions in it, and their keys."""
    calls = [n for n in topological([node for _, node in variant.roots]) if isinstance(n, Call)]
    return sorted({(_called(c), keys[variants[c.target]]) for c in calls if c.target in variants})


def _called(call: Call) -> str:
    """The name that stands where a definition is used: an import may have given it another."""
    word = re.match(r"\w+", call.span.text)
    return word[0] if word else call.target.name


def _reached(start: str, uses: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys that one leads to, itself left out."""
    found: dict[str, None] = {}
    waiting = [*uses.get(start, ())]
    while waiting:
        if (key := waiting.pop()) not in found:
            found[key] = None
            waiting += uses.get(key, ())
    return [key for key in found if key != start]
