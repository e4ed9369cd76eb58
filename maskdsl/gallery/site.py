"""The site: an index and a page for each definition, written as files that need nothing else.

Style and scripts stand in every file. The same pages give the same bytes.
Not here: what a page shows (`page`), packed pictures (`pack`), search data (`search`), programs (`usage`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from maskdsl.gallery.formula import breakable, catalogue_of, doc_html, formula_html, papers_of, plain_doc
from maskdsl.gallery.pack import pack_page, pack_thumbnail
from maskdsl.gallery.page import Kernel, Page
from maskdsl.gallery.search import search_entry, tags_of
from maskdsl.gallery.text import text_picture
from maskdsl.gallery.usage import layers_of, usages
from maskdsl.version import VERSION

TEMPLATES = Path(__file__).parent / "templates"
PAGES = "definitions"
"""The folder of the definitions' pages below the index."""

GENERATOR = '<meta name="generator" content="maskdsl gallery">'
HINTS = ("gemma3", "model:mistral", "window", "paper:press", "tag:per-head", "tag:sink", "kind:score", "family:vision")

Link = Mapping[str, str]


def write_site(pages: Sequence[Page], folder: Path) -> list[Path]:
    """Write the index and the pages into a folder and return their paths; pages of an earlier run that are no more go.

    Raises OSError when something cannot be written.
    """
    (folder / PAGES).mkdir(parents=True, exist_ok=True)
    texts = {folder / "index.html": index_html(pages)}
    texts |= {folder / PAGES / f"{key}.html": text for key, text in page_htmls(pages)}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    for old in sorted((folder / PAGES).glob("*.html")):
        if old not in texts and GENERATOR in old.read_text(encoding="utf-8", errors="replace"):
            old.unlink()
    return [*texts]


def index_html(pages: Sequence[Page]) -> str:
    """The index: families with a card for each definition, the thumbnails, and what is searched."""
    known = {p.key: p for p in pages}
    families = [_family(name, [*group]) for name, group in groupby(pages, key=lambda p: p.family)]
    return _render(
        "index.html", title="Attention masks and scores", description="A gallery of attention masks and scores",
        count=f"{len(pages):,}", version=VERSION, families=families, hints=HINTS,
        thumbnails=_json([pack_thumbnail(p) for p in pages]), entries=_json([search_entry(p, known) for p in pages]),
        script=_asset("index.js"),
    )  # fmt: skip


def page_htmls(pages: Sequence[Page]) -> Iterator[tuple[str, str]]:
    """The key and the text of every page, with links to those before and after it."""
    known = {p.key: p for p in pages}
    for number, page in enumerate(pages):
        before = _link(pages[number - 1]) if number else None
        after = _link(pages[number + 1]) if number + 1 < len(pages) else None
        yield page.key, _page_html(page, known, before, after)


def _page_html(page: Page, known: Mapping[str, Page], before: Link | None, after: Link | None) -> str:
    manifest = page.manifest
    layer = page.pictures[page.shown].layers[0] if page.pictures else None
    rows, state = catalogue_of(manifest.doc)
    beside = [_link(p) for p in known.values() if p.file == page.file and p.library == page.library and p is not page]
    return _render(
        "page.html", title=f"{manifest.name} – attention gallery", description=plain_doc(manifest.doc)[:200],
        page=page, manifest=manifest, doc=doc_html(manifest.doc, _addresses(page, known)), beside=beside,
        before=before, after=after,
        has_mask=layer is not None and layer.mask is not None, text=text_picture(page),
        has_score=layer is not None and layer.score is not None,
        formula=formula_html(manifest.source, _names(page, known)),
        parameters=_parameters(page), kernel=_kernel(page.kernel), usages=_usages(page), rows=rows, state=state,
        papers=papers_of(manifest.doc), tags=tags_of(page), data=_json(pack_page(page)), script=_asset("page.js"),
        layers=layers_of(page), models=_links(page.models, known), uses=_links(page.uses, known),
        used_by=_links([key for key in page.used_by if key not in page.models], known),
    )  # fmt: skip


def _names(page: Page, known: Mapping[str, Page]) -> dict[str, str]:
    """Where the names in a formula lead; a parameter's own name leads nowhere."""
    own = {p.name for p in page.manifest.parameters}
    return {name: _address(known[key]) for name, key in page.names if key in known and name not in own}


def _addresses(page: Page, known: Mapping[str, Page]) -> dict[str, str]:
    """Where definitions are by their names, as far as there is one of a name; not the page itself, nor a parameter."""
    own = {page.manifest.name, *(p.name for p in page.manifest.parameters)}
    counts = Counter(p.manifest.name for p in known.values())
    others = (p for p in known.values() if counts[p.manifest.name] == 1 and p.manifest.name not in own)
    return {p.manifest.name: _address(p) for p in others}


def _family(name: str, pages: Sequence[Page]) -> dict[str, Any]:
    return {"name": name, "anchor": name.replace("/", "-"), "rows": [_card(p) for p in pages]}


def _card(page: Page) -> dict[str, str]:
    about = plain_doc(page.manifest.doc).replace("`", "")
    return {"address": f"{PAGES}/{_address(page)}", "name": breakable(page.manifest.name), "about": about}


def _address(page: Page) -> str:
    return f"{page.key}.html"


def _link(page: Page) -> Link:
    return {"address": _address(page), "name": page.manifest.name}


def _links(keys: Sequence[str], known: Mapping[str, Page]) -> list[Link]:
    return [_link(known[key]) for key in keys if key in known]


ABOUT = {
    "constant": "fixed when compiled, part of the kernel", "table": "a tensor given at call time",
    "mask": "any mask: a name or a formula",
}  # fmt: skip


def _parameters(page: Page) -> list[dict[str, str]]:
    return [
        {
            "name": p.name, "type": p.type if p.axes is None else f"{p.type}[{', '.join(map(str, p.axes))}]",
            "default": _default(p.default),
            "about": ABOUT[p.kind],
        }
        for p in page.manifest.parameters
    ]  # fmt: skip


def _default(value: bool | int | float | str | None) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _usages(page: Page) -> list[dict[str, str]]:
    return [{"layout": u.layout, "about": doc_html(u.about, {}), "code": u.code} for u in usages(page)]


def _kernel(kernel: Kernel | None) -> dict[str, Any] | None:
    """The figures as they are printed."""
    if kernel is None:
        return None
    share = {n: 100 * getattr(kernel, n) / kernel.total for n in ("full", "partial", "empty")}
    about = [f", over {kernel.heads} heads" if kernel.heads > 1 else "", f"; {kernel.told}" if kernel.told else ""]
    return {
        "length": f"{kernel.length:,}", "block": kernel.block, "call": kernel.call, "about": "".join(about),
        **{n: f"{getattr(kernel, n):,}" for n in ("full", "partial", "empty")},
        "full_share": f"{share['full']:.2f}", "partial_share": f"{share['partial']:.2f}",
        "skipped": f"{share['empty']:.1f} %",
    }  # fmt: skip


# ---------------------------------------------------------------- files


def _render(template: str, **values: Any) -> str:
    values |= {"style": _asset("style.css"), "draw_script": _asset("draw.js")}
    return _templates().get_template(template).render(values)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


@cache
def _asset(name: str) -> Markup:
    """A stylesheet or script of ours, to stand in a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _json(value: Any) -> Markup:
    """JSON that may stand in a script element: no character of it can end one."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
