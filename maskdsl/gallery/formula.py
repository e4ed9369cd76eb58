"""Text as HTML: a definition's own text with its words coloured and its names linked, documentation with its code."""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

from maskdsl.ir.nodes import COORDINATES, LENGTHS

KEYWORDS = frozenset(
    "mask score variant requires where and or not if else for in range at then any all sum true false inf "
    "scale sink normalize".split()
)
TOKENS = re.compile(
    r"(?P<comment>#[^\n]*)|(?P<number>\d[\w.]*(?:(?<=e)-\d+)?)|(?P<word>[A-Za-z_]\w*)|(?P<other>.)", re.S
)

STATE = re.compile(r"\s*\bCatalogue (\d+(?:(?:,| and) \d+)*), (checked|from the (?:source|paper))\.\s*", re.S)
"""The last sentence of a shipped definition's documentation: rows of the catalogue, how the formula was verified."""

STATES = {
    "checked": "checked against the code that ships it",
    "from the source": "written from the source that it names",
    "from the paper": "written from the paper",
}

CITATION = re.compile(r"\(([^()]*\b(?:19|20)\d\d\b[^()=]*)\)|(arXiv \d{4}\.\d{4,5})")


def formula_html(text: str, links: Mapping[str, str]) -> Markup:
    """A definition's text: keywords, coordinates, numbers and comments in spans, names in `links` as links."""
    return Markup("").join(_token(m.lastgroup or "other", m.group(), links) for m in TOKENS.finditer(text))


def _token(kind: str, text: str, links: Mapping[str, str]) -> Markup:
    if kind == "word" and text in links:
        return Markup('<a href="{}">{}</a>').format(links[text], text)
    if kind == "word":
        kind = "keyword" if text in KEYWORDS else "place" if text in (*COORDINATES, *LENGTHS) else "other"
    return escape(text) if kind == "other" else Markup('<span class="{}">{}</span>').format(kind, text)


def doc_html(doc: str, links: Mapping[str, str]) -> Markup:
    """Documentation as one paragraph, what stands in backticks as code; words that `links` has are links, in backticks
    or with an underscore. The catalogue's sentence is left out."""
    parts = re.split(r"`([^`]*)`", plain_doc(doc))
    return Markup("").join(_code(p, links) if i % 2 else _prose(p, links) for i, p in enumerate(parts))


def _code(text: str, links: Mapping[str, str]) -> Markup:
    code = Markup("<code>{}</code>").format(text)
    return Markup('<a href="{}">{}</a>').format(links[text], code) if text in links else code


def _prose(text: str, links: Mapping[str, str]) -> Markup:
    words = re.split(r"\b([a-z]\w*_\w+)\b", text)
    return Markup("").join(_code(w, links) if i % 2 and w in links else escape(w) for i, w in enumerate(words))


def breakable(name: str) -> Markup:
    """A name that may be broken after its underscores, where a line ends."""
    return Markup("_<wbr>").join(name.split("_"))


def plain_doc(doc: str) -> str:
    """Documentation on one line, without the catalogue's sentence."""
    return " ".join(STATE.sub(" ", doc).split())


def catalogue_of(doc: str) -> tuple[str, str]:
    """The catalogue's rows, such as "23" or "48 and 49", and how the formula was verified; empty where not said."""
    found = STATE.search(doc)
    return (found[1], STATES[found[2]]) if found else ("", "")


def papers_of(doc: str) -> tuple[str, ...]:
    """The citations in a documentation: what stands in brackets with a year, and arXiv numbers."""
    return tuple(dict.fromkeys(" ".join((m[1] or m[2]).split()) for m in CITATION.finditer(doc)))
