"""The gallery in a headless Chromium: the slider, the search, the pictures, no message on the console, no request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from built import Site

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome", "chrome") if (p := shutil.which(n))), None)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PIXELS = """canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add(data.slice(i, i + 4).join());
  return [...seen];
}"""
"""The colours of a canvas."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium: the machine's own, or playwright's."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        path = CHROMIUM or started.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium is installed")
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Window:
    """A page of the site in a window, with everything that went wrong in it, and its requests."""

    def __init__(self, browser: Any, site: Site, width: int = 1280, **options: Any) -> None:
        self.page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
        self.site, self.said, self.requests = site, [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda problem: self.said.append(str(problem)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> Any:
        """Open a file; the page."""
        self.page.goto(path.as_uri())
        return self.page

    def colours(self, selector: str) -> set[str]:
        """The colours of a canvas."""
        return set(self.page.eval_on_selector(selector, PIXELS))

    def close(self) -> None:
        """Nothing was said, and nothing but files was asked for; no page is wider than the window."""
        # The test itself reads pixels back; a page never does.
        assert not [text for text in self.said if "willReadFrequently" not in text]
        assert all(url.startswith(("file:", "data:")) for url in self.requests)
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        self.page.context.close()


def shown(page: Any) -> list[str]:
    """The names of the cards that are shown."""
    return [c.inner_text() for c in page.query_selector_all(".cards li:not([hidden]) a") if c.is_visible()]


@pytest.mark.parametrize("width", [1280, 360])
def test_the_index_searches(browser: Any, site: Site, width: int) -> None:
    window = Window(browser, site, width)
    page = window.open(site.folder / "index.html")
    everything = len(shown(page))
    assert everything == len(list((site.folder / "definitions").iterdir()))
    for number in (0, 40, 200):
        assert len(set(page.locator(".cards canvas").nth(number).evaluate(PIXELS))) >= 2
    page.keyboard.press("/")
    page.keyboard.type("sliding window")
    names = shown(page)
    assert "sliding_window" in names and 0 < len(names) < everything / 4
    assert page.inner_text("#found") == f"{len(names)} of {everything} definitions"
    page.fill("#search", "model:gemma3")
    assert {"sliding_window", "causal", "gemma3_local"} <= set(shown(page))
    page.fill("#search", "paper:press kind:score")
    assert "alibi" in shown(page) and "causal" not in shown(page)
    page.fill("#search", "tag:per-head family:bias")
    assert "alibi" in shown(page)
    page.fill("#search", "no such thing")
    assert shown(page) == [] and page.inner_text("#found").startswith("0 of")
    page.keyboard.press("Escape")
    assert len(shown(page)) == everything
    window.close()


def test_a_tag_leads_to_the_index(browser: Any, site: Site) -> None:
    window = Window(browser, site)
    page = window.open(site.page("bias.alibi"))
    page.click(".tags a:has-text('per-head')")
    page.wait_for_url("**/index.html#q=*")
    assert page.input_value("#search") == "tag:per-head" and "alibi" in shown(page)
    page.click(".cards li:not([hidden]) a:text-is('alibi')")
    assert page.inner_text("h1").startswith("alibi")
    window.close()


def test_the_nearest_names_come_first(browser: Any, site: Site) -> None:
    window = Window(browser, site)
    page = window.open(site.folder / "index.html")
    order = shown(page)
    page.fill("#search", "mistral")
    assert shown(page)[0] == "mistral"
    counts = [c.inner_text() for c in page.query_selector_all("main section:not([hidden]) .count")]
    assert counts[0].startswith("1 of ") and sum(int(c.split()[0]) for c in counts) == len(shown(page))
    page.fill("#search", "swin bias")
    assert shown(page)[0] == "swin_bias"
    page.fill("#search", "model:gemma 3")
    assert shown(page)[0].startswith("gemma3")
    page.fill("#search", "")
    assert shown(page) == order
    page.goto((site.folder / "index.html").as_uri() + "#q=%")
    assert page.input_value("#search") == "%"
    window.close()


def test_the_picture_stays_where_the_window_holds_it(browser: Any, site: Site) -> None:
    window = Window(browser, site)
    page = window.open(site.page("local.sliding_window"))
    page.mouse.wheel(0, 700)
    page.wait_for_function("scrollY > 500")
    assert page.locator("#mask").bounding_box()["y"] > 0
    page = window.open(site.page("models.deberta"))
    page.mouse.wheel(0, 700)
    page.wait_for_function("scrollY > 500")
    assert page.locator("#mask").bounding_box()["y"] < 0, "two pictures are higher than the window"
    window.close()


def test_controls_and_legends_are_those_that_the_picture_needs(browser: Any, site: Site) -> None:
    window = Window(browser, site)
    page = window.open(site.page("bias.swin_bias"))
    assert not page.is_visible("#size"), "it has one size"
    page = window.open(site.page("local.sliding_window"))
    told = [li.inner_text() for li in page.query_selector_all("#tile-legend li") if li.is_visible()]
    assert told == ["partial tile"]
    window.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_a_mask_at_every_size(browser: Any, site: Site, width: int) -> None:
    window = Window(browser, site, width)
    page = window.open(site.page("local.sliding_window"))
    sizes, pictures = set(), set()
    page.focus("#size")
    page.keyboard.press("Home")
    for _ in range(4):
        sizes.add(page.inner_text("#size-out"))
        pictures.add(page.eval_on_selector("#mask", "c => c.toDataURL()"))
        assert len(window.colours("#mask")) >= 2
        page.keyboard.press("ArrowRight")
    assert sizes == {"8 × 8", "16 × 16", "32 × 32", "64 × 64"} and len(pictures) == 4
    assert "127 of 4096 pairs visible" in page.inner_text("#pairs")
    with_tiles = window.colours("#mask")
    page.uncheck("#tiles")
    assert window.colours("#mask") < with_tiles and not page.is_visible("#tile-legend")
    window.close()


def test_what_stands_under_pointer_and_cursor(browser: Any, site: Site) -> None:
    window = Window(browser, site)
    page = window.open(site.page("local.sliding_window"))
    box = page.locator("#mask").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 2.5 / 16, box["y"] + box["height"] * 3.5 / 16)
    assert page.inner_text("#readout") == "q = 3, k = 2: visible, partial tile"
    page.focus("#mask")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout") == "q = 3, k = 3: visible, partial tile"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout") == "q = 3, k = 4: hidden, empty tile"
    window.close()


def test_scores_are_a_heat_map_for_each_head(browser: Any, site: Site) -> None:
    window = Window(browser, site, 360)
    page = window.open(site.page("bias.alibi"))
    assert len(window.colours("#score")) > 20 and len(window.colours("#ramp")) > 100
    assert (page.inner_text("#low"), page.inner_text("#high")) == ("-15", "15")
    page.focus("#head")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#head-out") == "h = 1" and page.inner_text("#high") == "7.5"
    window.close()


def test_a_curve_in_both_schemes(browser: Any, site: Site) -> None:
    seen = []
    for scheme in ("light", "dark"):
        window = Window(browser, site, color_scheme=scheme)
        page = window.open(site.page("cap.softcap"))
        assert len(window.colours("#curve")) >= 3
        seen.append(page.eval_on_selector("#curve", "c => [...c.getContext('2d').getImageData(0, 0, 1, 1).data]"))
        window.close()
    assert min(seen[0][:3]) > 200 and max(seen[1][:3]) < 80, "the ground is light, and dark"


def test_on_paper_the_page_is_light_and_the_picture_within_its_frame(browser: Any, site: Site) -> None:
    window = Window(browser, site, color_scheme="dark")
    page = window.open(site.page("models.gemma2_local"))
    page.emulate_media(media="print")
    page.wait_for_function("getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
    frame = page.locator("figure").bounding_box()
    for picture in ("#mask", "#curve"):
        box = page.locator(picture).bounding_box()
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] and abs(box["width"] - box["height"]) < 2
    assert not page.is_visible("#controls") and page.is_visible("#call")
    window.close()


def test_without_scripts(browser: Any, site: Site) -> None:
    window = Window(browser, site, java_script_enabled=False)
    page = window.open(site.page("local.sliding_window"))
    assert page.is_visible("#text pre") and page.inner_text("#text pre").startswith("x . .")
    assert not page.is_visible("#controls")
    page = window.open(site.folder / "index.html")
    assert not page.is_visible("#search") and page.is_visible("a[href$='local.sliding_window.html']")
    window.page.context.close()


def test_every_page_draws_without_a_message(browser: Any, site: Site) -> None:
    """Opens one page in fifteen, and looks whether what should be drawn is."""
    window = Window(browser, site)
    for path in sorted((site.folder / "definitions").iterdir())[::15]:
        page = window.open(path)
        kinds = [c.get_attribute("id") for c in page.query_selector_all("figure canvas")]
        assert kinds, path.name
        assert not [text for text in window.said if "willReadFrequently" not in text], path.name
        for kind in kinds:
            assert window.colours(f"#{kind}"), (path.name, kind)
        if page.query_selector("#size"):
            page.focus("#size")
            page.keyboard.press("End")
            page.keyboard.press("Home")
    window.close()
