"""What pages show: pictures with something in them, figures at a real size, documentation that leads on."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from built import Html, Site

import maskdsl
from maskdsl.cli.trial import full_example
from maskdsl.gallery.formula import breakable, doc_html
from maskdsl.library.registry import shared

ALL_VISIBLE = {"full", "modernbert_global"}
"""Masks that hide nothing, without a score to show."""

NO_KERNEL = {"swin", "swin_shifted", "swin_v2"}
"""Variants inside one window of a few tokens."""


def test_a_thumbnail_shows_something(site: Site) -> None:
    """Both visible and hidden pairs, or more than one score."""
    index = Html(site.folder / "index.html")
    for entry, drawn in zip(index.json("entries"), index.json("thumbnails"), strict=True):
        if "curve" not in drawn and entry["name"] not in ALL_VISIBLE:
            assert shades(drawn) > 1, entry["name"]


def shades(drawn: dict[str, Any]) -> int:
    """How many different pairs a thumbnail has."""
    if "score" in drawn:
        return len(set(base64.b64decode(drawn["score"])))
    packed = base64.b64decode(drawn["mask"])
    return len({*f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}"[: drawn["q"] * drawn["k"]]})


def test_every_mask_has_the_figures_of_a_kernel(site: Site) -> None:
    lacking = {
        entry["name"]
        for entry in Html(site.folder / "index.html").json("entries")
        if entry["kind"] != "score"
        and "Tiles of a kernel" not in Html(site.page(entry["path"].replace("/", "."))).text
    }
    assert lacking == NO_KERNEL


@pytest.mark.parametrize("name", ["natten", "gna_2d", "batchify", "sta_3d"])
def test_constants_without_a_default_are_those_of_a_real_size(site: Site, name: str) -> None:
    """In the figures of the kernel and in the program; the picture keeps the small ones."""
    page = Html(site.page(next(m.path for m in maskdsl.list() if m.name == name).replace("/", ".")))
    entry = next(e for e in shared().entries() if e.name == name)
    module = shared().check(entry.source)
    example = full_example(module, module.definitions[name])
    assert example is not None and not isinstance(example.expected, tuple)
    for constant, value in example.constants.items():
        if constant.name in {p.name for p in shared().manifest(entry.source, name).constants if p.default is None}:
            assert f"{constant.name}={value!r}" in page.text and f"{constant.name} = {value}" in page.text
    assert page.json("data")["pictures"][0]["q"] <= 16


def test_documentation_leads_to_other_definitions(site: Site) -> None:
    text = Html(site.page("local.sliding_window")).text
    assert '<a href="local.lookback_window.html"><code>lookback_window</code></a>' in text
    assert "local.sliding_window.html" not in text, "not to itself"
    links = {"other_name": "there.html", "window": "w.html"}
    assert str(doc_html("see `window`, other_name and `x < 1`", links)) == (
        'see <a href="w.html"><code>window</code></a>, <a href="there.html"><code>other_name</code></a> and '
        "<code>x &lt; 1</code>"
    )


def test_names_break_after_underscores() -> None:
    assert str(breakable("a_long_name<")) == "a_<wbr>long_<wbr>name&lt;"
