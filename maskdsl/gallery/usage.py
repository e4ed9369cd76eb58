"""How a definition is used in Python: a program text for each layout of queries and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskdsl.gallery.page import Page
from maskdsl.library.files import SUFFIX
from maskdsl.library.manifest import ParameterManifest

ALL = "true"
"""The condition of every layer."""

WIDEST = 66
"""Characters of a line that a page shows without scrolling."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A layout's name, one sentence about it, and the program."""

    layout: str
    about: str
    code: str


def usages(page: Page) -> tuple[Usage, ...]:
    """The programs of a page, one for each layout."""
    goes_on = f"; goes on from `{_owner(page)}`"
    made = (
        Usage("dense", "queries and keys as tensors of one length for all batch rows.", dense(page)),
        Usage("packed", f"requests one after another in one row, for training and prefill{goes_on}.", packed(page)),
        Usage("paged", f"the steps of a serving engine, keys in the pages of a cache{goes_on}.", paged(page)),
        Usage("sharded", f"a rank's queries of a longer sequence, and all of its keys{goes_on}.", sharded(page)),
    )
    by_layer = (Usage("by layer", "the program of one of its model's layers.", layer(page)),) if layers_of(page) else ()
    return (*made, *by_layer)


def dense(page: Page) -> str:
    """The program for q, k and v as tensors [batch, heads, tokens, head_dim]."""
    lines = ["import maskdsl", "", *_program(page), *_bind(page), ""]
    lines += ["# q, k, v: [batch, heads, tokens, head_dim]", f"out = {_owner(page)}.attention(q, k, v)"]
    return "\n".join(lines)


def packed(page: Page) -> str:
    """What follows the program's first lines where the tokens of all requests stand in one row."""
    return f"""\
# cu_seqlens: int[requests + 1], where each request begins
packed = {_owner(page)}.arranged(maskdsl.Packed(cu_seqlens))

# q, k, v: [1, heads, tokens of all requests, head_dim]
out = packed.attention(q, k, v)"""


def paged(page: Page) -> str:
    """What follows the program's first lines in a serving engine."""
    return f"""\
from maskdsl.serving import PagedAttention

paged = PagedAttention(
    {_owner(page)}, max_requests=64, max_tokens=4096, num_pages=8192,
    page_size=16, max_pages_per_request=512,
    heads=32, kv_heads=8, head_dim=128,
)
# once a step: int[requests, pages], int[requests], int[requests + 1]
paged.plan(page_table, seq_lens, query_start)
# once a layer: k, v [tokens, kv_heads, head_dim] into the caches
paged.append(k, v, k_cache, v_cache)
out = paged.run(q, k_cache, v_cache)  # q: [tokens, heads, head_dim]"""


def sharded(page: Page) -> str:
    """What follows the program's first lines on a rank of a group that splits the sequence."""
    return f"""\
# of 2 * ranks chunks of the queries, one from the front and one from the back
shard = {_owner(page)}.arranged(maskdsl.Sharded(
    heads=32, kv_heads=8, rank=rank, ranks=ranks,
    order="zigzag", length=tokens // ranks,
))

# q: [1, heads, tokens // ranks, head_dim]
# k, v: [1, kv_heads, tokens, head_dim]
out = shard.attention(q, k, v)"""


def layer(page: Page) -> str:
    """How a model's layer leads to the definition."""
    model, (first, *_) = page.file.rpartition("/")[2].removesuffix(SUFFIX), page.manifest.layers
    kind = [f"kind={repr_of(first.kind)}"] if first.kind else []
    given = [repr_of(model), *kind, *(_arguments(page) if _needs_values(page) else [])]
    made = "\n".join(_call("model = maskdsl.model", given))
    told = "every layer" if first.where == ALL else f"this one where {first.where}"
    return f"{made}\n# {told}\nprogram = model.layer(layer, total=layers)"


def layers_of(page: Page) -> list[str]:
    """The layers of its model that use a definition, as its documentation says them."""
    told = [(one.kind, "all" if one.where == ALL else one.where) for one in page.manifest.layers]
    return [f"{kind}: {where}" if kind else where for kind, where in told]


def _owner(page: Page) -> str:
    return "bound" if page.manifest.tables else "program"


def _program(page: Page) -> list[str]:
    """The lines that get the program, its constants and masks given."""
    return _call("program = maskdsl.get", [repr_of(page.name), *_arguments(page)])


def _arguments(page: Page) -> list[str]:
    """The constants and masks as keyword arguments."""
    texts = (_argument(p, dict(page.constants), _needs_values(page)) for p in page.manifest.parameters)
    return [text for text in texts if text]


def _needs_values(page: Page) -> bool:
    """Whether a constant has no default; all are then the example's: a default need not go with another's value."""
    return any(p.default is None for p in page.manifest.constants)


def _call(start: str, arguments: list[str]) -> list[str]:
    """A call on one line if it is short, else with its arguments on the next ones, as many as fit."""
    line = f"{start}({', '.join(arguments)})"
    if len(line) <= WIDEST:
        return [line]
    rows = ["   "]
    for argument in arguments:
        if rows[-1].strip() and len(f"{rows[-1]} {argument},") > WIDEST:
            rows.append("   ")
        rows[-1] += f" {argument},"
    return [f"{start}(", *rows, ")"]


def _argument(parameter: ParameterManifest, shown: dict[str, Any], whole: bool) -> str:
    """A constant with its default, or the example's value; a mask as text; nothing for a table."""
    if parameter.kind == "table":
        return ""
    if parameter.kind == "mask":
        return f"{parameter.name}={repr_of(str(shown.get(parameter.name, 'causal')))}"
    value = shown.get(parameter.name, parameter.default) if whole else parameter.default
    # A default that is an expression has no Python text of its own.
    return "" if isinstance(value, str) else f"{parameter.name}={value!r}"


def _bind(page: Page) -> list[str]:
    """The lines that bind the tables, with their types."""
    tables = page.manifest.tables
    if not tables:
        return []
    types = [f"# {t.name}: {t.type}[{', '.join(map(str, t.axes or ()))}]" for t in tables]
    return [*types, *_call("bound = program.bind", [f"{t.name}={t.name}" for t in tables])]


def repr_of(text: str) -> str:
    """A Python string with double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
