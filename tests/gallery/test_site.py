"""The gallery's files: every definition, sound HTML, no network, pictures that are what the files say, the same twice."""

from __future__ import annotations

import base64
import math
import os
import re
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from built import ROOT, Html, Site, bits

import maskdsl
from maskdsl.cli.gallery_pages import make_pages, page_keys, python_names
from maskdsl.gallery.page import Page
from maskdsl.gallery.site import index_html, page_htmls, write_site
from maskdsl.library.registry import Registry, shared

KEYS = sorted(page_keys(shared().entries()).values())
FEW = ("causal", "sliding_window", "packed", "alibi", "softcap", "gemma2_local", "swin_bias", "flashmask_full_4")


def nothing(done: int, total: int, name: str) -> None:
    """Says nothing."""


@cache
def few() -> list[Page]:
    """The pages of a few definitions of each kind."""
    return make_pages(shared(), nothing, FEW)


def all_files(site: Site) -> list[Html]:
    return [Html(path) for path in sorted(site.folder.rglob("*.html"))]


# ---------------------------------------------------------------- completeness


def test_every_definition_has_a_page_with_a_picture(site: Site) -> None:
    assert sorted(p.stem for p in (site.folder / "definitions").iterdir()) == KEYS
    assert len(KEYS) == len(maskdsl.list())
    assert f"{len(KEYS):,} definitions" in site.out
    assert "no picture" not in site.out
    for key in KEYS:
        data = Html(site.page(key)).json("data")
        assert data["pictures"] or data.get("curve"), key
        assert all(picture["layers"] for picture in data["pictures"]), key


def test_the_search_knows_every_definition(site: Site) -> None:
    index = Html(site.folder / "index.html")
    entries, links = index.json("entries"), [a["href"] for t, a in index.read.tags if t == "a"]
    cards = [link for link in links if str(link).startswith("definitions/")]
    assert len(entries) == len(cards) == len(index.json("thumbnails")) == len(KEYS)
    assert all(str(card).endswith(f".{e['name']}.html") for card, e in zip(cards, entries, strict=True))
    known = {m.path: m for m in maskdsl.list()}
    assert {e["path"] for e in entries} == known.keys()
    for entry in entries:
        manifest = known[entry["path"]]
        assert entry["kind"] in entry["tags"] and entry["family"] in entry["tags"]
        assert set(manifest.doc.split()[:3]) <= set(entry["doc"].split())
    by_name = {e["name"]: e for e in entries}
    assert {"gemma3", "gemma3_local", "mistral"} <= set(by_name["sliding_window"]["models"])
    assert by_name["gemma3_local"]["models"] == ["gemma3", "gemma3_local"]
    assert by_name["alibi"]["papers"] == ['Press et al. 2022, "Train Short, Test Long"']
    assert "per-head" in by_name["alibi"]["tags"] and "sink" in by_name["gpt_oss_local"]["tags"]


def test_small_and_quick(site: Site) -> None:
    assert sum(p.stat().st_size for p in site.folder.rglob("*")) <= 15e6
    # 30 s on a machine with nothing else to do; beside other tests the same work takes longer.
    assert site.seconds <= 60


# ---------------------------------------------------------------- HTML


def test_the_html_is_sound_and_needs_no_network(site: Site) -> None:
    files = all_files(site)
    there = {f.path.resolve() for f in files}
    for file in files:
        read, name = file.read, file.path.name
        assert file.text.startswith("<!DOCTYPE html>") and not read.wrong and not read.open, (name, read.wrong)
        ids = [a["id"] for _, a in read.tags if "id" in a]
        assert len(ids) == len(set(ids)), name
        for tag, attributes in read.tags:
            assert "src" not in attributes and tag not in ("iframe", "object", "embed", "base"), name
            assert attributes.get("for", ids[0] if ids else None) in ids or "-" in str(attributes.get("id")), name
            address = str(attributes.get("href", "#"))
            local, _, anchor = address.partition("#")
            if tag == "link":
                assert address == "data:,", name
            elif local:
                assert (file.path.parent / local).resolve() in there, (name, address)
            elif anchor and not anchor.startswith("q="):
                assert anchor in ids, (name, address)
        for style in re.findall(r"<style>(.*?)</style>", file.text, re.S):
            assert "url(" not in style and "@import" not in style
        scripts = re.sub(r'<script type="application/json".*?</script>', "", file.text, flags=re.S)
        assert not re.search(r"fetch\(|XMLHttpRequest|import\(|https?://", scripts), name


def test_text_is_escaped() -> None:
    registry = Registry()
    registry.register(
        '## <script>alert("doc")</script> & `<b>code</b>` (2020 <i>)\n'
        "mask wicked(w: int = 2) = 0 <= q - k < w  # </script><img src=x>\n    requires w >= 1\n"
    )
    pages = make_pages(registry, nothing, ("wicked",))
    ((key, text),) = page_htmls(pages)
    assert key == "registered.wicked"
    for html in (text, index_html(pages)):
        assert "<b>code" not in html and "<img" not in html and "<i>)" not in html
        assert "<script>alert" not in html and "</script><img" not in html
        assert "&lt;script&gt;alert(&#34;doc&#34;)&lt;/script&gt;" in html


def test_without_the_script_the_picture_is_text(site: Site) -> None:
    html = Html(site.page("local.sliding_window"))
    lines = html.read.texts["text"].splitlines()
    assert [line.replace(" ", "") for line in lines if line][1:3] == ["xx" + "." * 14, ".xx" + "." * 13][0:2]
    assert html.read.texts["call"] == "sliding_window(window = 2)"
    assert ("details", {"id": "text", "open": None}) in html.read.tags


# ---------------------------------------------------------------- pictures


def test_masks_are_those_of_the_examples(site: Site) -> None:
    compared = 0
    for file in all_files(site)[:-1]:
        data = file.json("data")
        for picture in data["pictures"]:
            place = re.search(r"arguments of the example at (\S+):(\d+)", picture["told"])
            if not place or "random" in picture["told"] or "mask" not in picture["layers"][0]:
                continue
            lines = (ROOT / "variants" / place[1]).read_text().splitlines()[int(place[2]) - 1 :]
            rows = re.match(r"(?:(?!\s*\|).*\n)*?((?:\s*\|[ x.]+\n?)+)", "\n".join(lines) + "\n")
            drawn = [re.sub(r"[^x.]", "", row) for row in rows[1].splitlines() if "|" in row] if rows else []
            if (len(drawn), len(drawn[0]) if drawn else 0) == (picture["q"], picture["k"]) and " at " not in lines[0]:
                seen = bits(picture["layers"][0]["mask"], picture["q"], picture["k"])
                assert ["".join(".x"[v] for v in row) for row in seen] == drawn, file.path.name
                compared += 1
    assert compared >= 60


def test_tiles_are_what_the_pairs_say(site: Site) -> None:
    kinds = set()
    for file in all_files(site)[:-1]:
        for picture in file.json("data")["pictures"]:
            for layer in picture["layers"]:
                if "tiles" in layer:
                    kinds |= check_tiles(picture, layer, file.path.name)
    assert kinds == set("0123"), "each kind of tile is somewhere"


def check_tiles(picture: dict[str, Any], layer: dict[str, str], name: str) -> set[str]:
    """Every digit against the pairs of its tile; the digits seen."""
    q, k, side = picture["q"], picture["k"], picture["block"]
    mask, columns = bits(layer["mask"], q, k), -(-k // side)
    assert len(layer["tiles"]) == -(-q // side) * columns, name
    for number, digit in enumerate(layer["tiles"]):
        top, left = number // columns * side, number % columns * side
        pairs = [v for row in mask[top : top + side] for v in row[left : left + side]]
        outside = len(pairs) < side * side
        truth = "2" if all(pairs) and not outside else "1" if any(pairs) else "0"
        assert digit == truth or (digit == "3" and truth != "1"), (name, number)
    return set(layer["tiles"])


def test_scores_are_a_heat_map(site: Site) -> None:
    picture = Html(site.page("bias.alibi")).json("data")["pictures"][0]
    assert len(picture["layers"]) == 2 and picture["tables"] == [["slope", "[1.0, 0.5]"]]
    for layer, slope in zip(picture["layers"], (1.0, 0.5), strict=True):
        n, low, high = picture["q"], layer["low"], layer["high"]
        assert (low, high) == (-slope * (n - 1), slope * (n - 1))
        levels = base64.b64decode(layer["score"])
        for i, level in enumerate(levels):
            wanted = -slope * (i // n - i % n)
            assert abs(low + (level - 1) / 254 * (high - low) - wanted) <= (high - low) / 254
    curve = Html(site.page("cap.softcap")).json("data")["curve"]
    assert all(
        abs(after - 50 * math.tanh(before / 50)) < 1e-2
        for before, after in zip(curve["before"], curve["after"], strict=True)
    )


def test_sizes_are_a_slider_and_tiles_of_a_kernel_are_counted(site: Site) -> None:
    file = Html(site.page("local.sliding_window"))
    assert [p["q"] for p in file.json("data")["pictures"]] == [8, 16, 32, 64]
    # 128 rows of tiles; a window of 4096 is 32 blocks: a diagonal tile and an edge tile are partial, 31 between are full.
    full = sum(min(i, 31) for i in range(128))
    partial = 128 + (128 - 32)
    assert f'<td class="n">{full:,}</td><td class="n">{partial:,}</td>' in file.text


# ---------------------------------------------------------------- files


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_site(few(), first)
    program = f"""if True:
        from pathlib import Path
        from maskdsl.cli.gallery_pages import make_pages
        from maskdsl.gallery.site import write_site
        from maskdsl.library.registry import shared
        write_site(make_pages(shared(), lambda *told: None, {FEW!r}), Path({str(second)!r}))
    """
    env = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=env)
    names = sorted(p.relative_to(first) for p in first.rglob("*.html"))
    assert names == sorted(p.relative_to(second) for p in second.rglob("*.html")) and len(names) == len(FEW) + 1
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_pages_that_are_no_more_go_and_other_files_stay(tmp_path: Path) -> None:
    write_site(few(), tmp_path)
    own = tmp_path / "definitions" / "notes.html"
    own.write_text("<p>mine</p>")
    write_site(few()[1:], tmp_path)
    assert own.exists() and not (tmp_path / "definitions" / f"{few()[0].key}.html").exists()


def test_a_definition_without_a_picture_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.mask").write_text("mask broken = k <= qq\n\nmask fine = k <= q\n")
    registry = Registry()
    registry.register(tmp_path)
    pages = make_pages(registry, nothing, ("broken", "fine"))
    assert all(p.problem.startswith("E02") for p in pages)
    assert all("There is no picture: E02" in text for _, text in page_htmls(pages))


def test_names_that_differ_in_capitals_alone_have_two_files(tmp_path: Path) -> None:
    registry = Registry()
    registry.register("mask twin_page = k <= q\n\nmask Twin_page = k < q\n\nmask causal = k <= q\n")
    keys = [key for e, key in page_keys(registry.entries()).items() if e.place.library == "registered"]
    assert len({k.lower() for k in keys}) == 3
    names = {n for e, n in python_names(registry.entries()).items() if e.name == "causal"}
    assert len(names) == 2 and "causal" not in names


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "maskdsl", "gallery", "-o", str(tmp_path / "file" / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "E0107" in done.stderr


def test_a_terminal_shows_how_far_it_is() -> None:
    program = """if True:
        from maskdsl.cli.progress import Bar
        with Bar() as bar:
            bar.tell(3, 7, "local/[sliding_window]")
        with Bar(quiet=True) as bar:
            bar.tell(5, 9, "never")
    """
    env = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    env.pop("NO_COLOR", None)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stderr)
    assert done.returncode == 0 and "3/7" in plain and "local/[sliding_window]" in plain
    assert done.stdout == "" and "never" not in plain


def test_the_help_stays_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import sys; sys.argv = ['maskdsl', '--help']; from maskdsl.cli import main; c = main(); "
    code += "assert not {'jinja2', 'numpy', 'torch'} & {*sys.modules}, 'heavy'; sys.exit(c)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "gallery" in done.stdout, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 1.0
