"""What the index knows of a definition and searches in: names, documentation, models, papers, tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskdsl.gallery.formula import catalogue_of, papers_of, plain_doc
from maskdsl.gallery.page import Page

KIND_TAGS = {"bool": "bool-table", "int": "int-table", "float": "float-table"}


def search_entry(page: Page, pages: Mapping[str, Page]) -> dict[str, Any]:
    """The entry of a page, as plain values; `pages` has every page by its key."""
    manifest = page.manifest
    return {
        "name": manifest.name, "path": manifest.path, "kind": manifest.kind, "family": page.family,
        "doc": plain_doc(manifest.doc), "papers": list(papers_of(manifest.doc)), "models": models_of(page, pages),
        "tags": tags_of(page), "parameters": [p.name for p in manifest.parameters],
    }  # fmt: skip


def models_of(page: Page, pages: Mapping[str, Page]) -> list[str]:
    """The models that use a definition, by their files and definitions; a model's own too."""
    keys = [*page.models, *([page.key] if page.folder.rpartition("/")[2] == "models" else [])]
    users = [pages[key] for key in keys if key in pages]
    stems = (u.file.rpartition("/")[2].removesuffix(".mask") for u in users)
    return list(dict.fromkeys([*stems, *(u.manifest.name for u in users)]))


def tags_of(page: Page) -> list[str]:
    """Kind, family, what it takes, what it depends on, and how its formula was verified."""
    manifest = page.manifest
    tags = [manifest.kind, page.family]
    tags += [KIND_TAGS[t.type] for t in manifest.tables]
    tags += ["takes-a-mask"] if any(p.kind == "mask" for p in manifest.parameters) else []
    tags += ["constants"] if manifest.constants else []
    tags += ["no-parameters"] if not manifest.parameters else []
    tags += [tag for name, tag in (("h", "per-head"), ("b", "per-row")) if name in page.depends]
    tags += [name for name, _ in page.fields]
    tags += ["same-everywhere"] if page.curve else []
    state = catalogue_of(manifest.doc)[1]
    tags += [state.split()[0] if state.startswith("checked") else f"from-the-{state.split()[3]}"] if state else []
    return list(dict.fromkeys(tags))
