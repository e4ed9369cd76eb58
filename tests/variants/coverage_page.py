"""The coverage page, `variants/COVERAGE.md`: each row of the catalogue, its definitions, and what each is held against.

Made from the definitions' own files, the oracles, the comparisons with other packages, `unsaid.toml` and
`precision.json`. Not here: comparing (`test_definitions`, `test_peers`), whether a row is missing (`test_catalogue`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from collected import MODULE_OF, ORACLES
from test_catalogue import CATALOGUE, SHIPPED, VERIFIED, last_line, said, unsaid
from test_peers import PEERS

from maskdsl.library.manifest import Manifest
from maskdsl.library.registry import Registry
from maskdsl.source.shipped import variants_dir
from maskdsl.syntax import ast
from maskdsl.syntax.parse import parse

PAGE = variants_dir() / "COVERAGE.md"
PRECISION = variants_dir() / "precision.json"
ROW_FILE = Path(__file__).parent / "catalogue_rows.txt"
MODELS = "models/"
UNKNOWN = "–"
SENTENCE = "{} of the catalogue's {} rows are said, by {} definitions in {} files"


@cache
def row_names() -> dict[int, str]:
    """The rows' names by number."""
    lines = ROW_FILE.read_text(encoding="utf-8").splitlines()
    return {int(number): name.removeprefix(VERIFIED) for number, _, name in (line.partition(" ") for line in lines)}


@cache
def precision() -> dict[str, dict[str, Any]]:
    """What the tile analysis reaches, by definition: `visited` and `full` ratios, and `why` it is no closer."""
    return dict(json.loads(PRECISION.read_text(encoding="utf-8"))) if PRECISION.exists() else {}


@cache
def peers_of() -> dict[str, list[str]]:
    """The functions of other packages that a definition is compared with."""
    found = defaultdict(list)
    for peer in PEERS:
        found[peer.definition].append(f"{peer.package} `{peer.function.partition(':')[2]}`")
    return found


def origin(one: Manifest) -> str:
    """How the formula is known, as the last line of the definition's documentation says it."""
    line = last_line(one)
    return line.rpartition(", ")[2].rstrip(".") if CATALOGUE.fullmatch(line) else ""


def sentence() -> str:
    """The counts, as the README states them."""
    files = len({m.file for m in SHIPPED})
    return SENTENCE.format(len(said()), len(row_names()), len(SHIPPED), files)


# ---------------------------------------------------------------- what a definition must have


def examples_of(one: Manifest) -> list[ast.Example]:
    """The examples of a definition in its own file."""
    assert one.file is not None
    file, _ = parse(Registry().read(Path(one.file)))
    return [d for d in file.definitions if isinstance(d, ast.Example) and d.call.name.text == one.name]


def lacking(one: Manifest, examples: Iterable[ast.Example], oracles: Iterable[str]) -> list[str]:
    """What a definition does not have of documentation, a picture (a value, for a score) and an oracle."""
    pictures = [isinstance(e.expected, ast.Picture) for e in examples]
    shown = not all(pictures) if one.kind == "score" else any(pictures)
    has = {"doc": bool(one.doc), "picture": shown, "oracle": one.name in oracles}
    return [part for part, there in has.items() if not there]


# ---------------------------------------------------------------- the page


def page() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_rows(), *_models(), *_further(), *_unsaid(), *_counts()])


def _head() -> Iterator[str]:
    yield "# Coverage"
    yield ""
    yield "<!-- Made by tests/variants/coverage_page.py: pytest tests/variants/test_coverage.py --accept -->"
    yield ""
    yield f"{sentence()}; [the others and why](#not-said) are below."
    yield ""
    yield "- Oracle: the formula written again in NumPy, apart from the definition; it stands in `tests/variants`. Where"
    yield "  another package publishes the function, its own code is compared too, and named after the oracle."
    yield "- Tiles: tiles visited for each that holds a visible pair, and the part of the full ones that is found, by the"
    yield "  analysis without a look at the matrix. 1.00 is the truth; scores without a mask have no tiles."
    yield "- Formula: `checked` was run against the code that ships it, `from the source` is read in that code,"
    yield "  `from the paper` was written from a publication."
    yield ""


def _rows() -> Iterator[str]:
    yield "## Rows"
    yield ""
    yield "| row | pattern | definition | oracle | visited | full | formula |"
    yield "|---:|---|---|---|---:|---:|---|"
    by_name = {m.name: m for m in SHIPPED}
    for number, name in row_names().items():
        for definition in sorted(said().get(number, ()), key=list(by_name).index):
            one = by_name[definition]
            yield _line(str(number), name, _link(one), _oracle(one), *_tiles(one), origin(one))
    yield ""


def _models() -> Iterator[str]:
    yield "## Models"
    yield ""
    yield "| definition | oracle | visited | full |"
    yield "|---|---|---:|---:|"
    for one in SHIPPED:
        if one.path.startswith(MODELS):
            yield _line(_link(one), _oracle(one), *_tiles(one))
    yield ""


def _further() -> Iterator[str]:
    yield "## Where tiles are further from the truth"
    yield ""
    known = {name: entry for name, entry in precision().items() if entry.get("why")}
    if not known:
        yield "Not measured."
    for name, entry in sorted(known.items()):
        yield f"- `{name}`: {entry['visited']:.2f} visited, {entry['full']:.2f} full: {entry['why']}"
    yield ""


def _unsaid() -> Iterator[str]:
    yield "## Not said"
    yield ""
    yield "| row | pattern | kind | why |"
    yield "|---:|---|---|---|"
    entries = sorted(unsaid()["rows"].items(), key=lambda item: int(item[0]))
    for number, entry in entries:
        if "part" not in entry:
            yield _line(number, row_names()[int(number)], entry["kind"], entry["reason"])
    yield ""
    yield "Said but for a part:"
    yield ""
    for number, entry in entries:
        if "part" in entry:
            yield f"- {number}, {row_names()[int(number)]}: {entry['part']}. {entry['reason']}"
    yield ""
    yield "Outside of masks and scores altogether:"
    yield ""
    for name, entry in unsaid()["outside"].items():
        yield f"- {name} ({entry['kind']}): {entry['reason']}"
    yield ""


def _counts() -> Iterator[str]:
    yield "## Counts"
    yield ""
    yield "| family | files | definitions | masks | scores | variants | with a peer's function |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    families = sorted({m.path.partition("/")[0] for m in SHIPPED})
    for family in (*families, "all"):
        members = [m for m in SHIPPED if family in ("all", m.path.partition("/")[0])]
        kinds = Counter(m.kind for m in members)
        compared = sum(m.name in peers_of() for m in members)
        numbers = (len({m.file for m in members}), len(members), kinds["mask"], kinds["score"], kinds["variant"])
        yield _line(family, *map(str, numbers), str(compared))
    origins = Counter(origin(m) for m in SHIPPED if origin(m))
    yield ""
    yield "Formulas: " + ", ".join(f"{origins[o]} {o}" for o in ("checked", "from the source", "from the paper")) + "."
    yield ""


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _link(one: Manifest) -> str:
    assert one.file is not None
    return f"[{one.name}]({Path(one.file).relative_to(variants_dir().resolve()).as_posix()})"


def _oracle(one: Manifest) -> str:
    oracle = ORACLES.get(one.name)
    if oracle is None:
        return "none"
    parts = dict.fromkeys(f.__name__ for f in (oracle.mask, oracle.score) if f is not None)
    own = f"{MODULE_OF[one.name]}: {', '.join(f'`{p}`' for p in parts)}"
    return "; ".join([own, *peers_of().get(one.name, ())])


def _tiles(one: Manifest) -> tuple[str, str]:
    oracle, entry = ORACLES.get(one.name), precision().get(one.name)
    if oracle is not None and oracle.mask is None:
        return "", ""
    return (UNKNOWN, UNKNOWN) if entry is None else (f"{entry['visited']:.2f}", f"{entry['full']:.2f}")
