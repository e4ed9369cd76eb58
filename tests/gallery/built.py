"""The site as a test reads it: built once, each file parsed by Python's own HTML parser."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Reader(HTMLParser):
    """Collects tags, ids, addresses, and the text of each element that has an id; finds tags that do not match."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for name in ("title", *(a["id"] for _, a in self.open if "id" in a), *(t for t, _ in self.open[-1:])):
            self.texts[str(name)] = self.texts.get(str(name), "") + data


@dataclass(frozen=True)
class Site:
    """The folder, what the command printed, and the processor seconds that it took."""

    folder: Path
    out: str
    seconds: float

    def page(self, key: str) -> Path:
        """The file of a definition."""
        return self.folder / "definitions" / f"{key}.html"


@dataclass
class Html:
    """A file of the site."""

    path: Path
    text: str = field(init=False)

    def __post_init__(self) -> None:
        self.text = self.path.read_text(encoding="utf-8")

    @cached_property
    def read(self) -> Reader:
        """The file, parsed."""
        reader = Reader()
        reader.feed(self.text)
        reader.close()
        return reader

    def json(self, name: str) -> Any:
        """The data in the script element with that id, cut out by its tags alone."""
        found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', self.text, re.S)
        assert found, name
        return json.loads(found[1])


def bits(text: str, rows: int, columns: int) -> list[list[bool]]:
    """A packed mask as rows, read as one long number in base two."""
    packed = base64.b64decode(text)
    digits = f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}"[: rows * columns]
    return [[d == "1" for d in digits[i * columns : (i + 1) * columns]] for i in range(rows)]
