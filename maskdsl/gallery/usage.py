"""How a definition is used in Python: a program text for each layout of queries and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskdsl.gallery.page import Page
from maskdsl.library.manifest import ParameterManifest

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
    return (Usage("dense", "queries and keys as tensors of one length for all batch rows.", dense(page)),)


def dense(page: Page) -> str:
    """The program for q, k and v as tensors [batch, heads, tokens, head_dim]."""
    lines = ["import maskdsl", "", *_program(page), *_bind(page), ""]
    lines += ["# q, k, v: [batch, heads, tokens, head_dim]", f"out = {_owner(page)}.attention(q, k, v)"]
    return "\n".join(lines)


def _owner(page: Page) -> str:
    return "bound" if page.manifest.tables else "program"


def _program(page: Page) -> list[str]:
    """The lines that get the program, its constants and masks given."""
    given = [text for p in page.manifest.parameters if (text := _argument(p, dict(page.constants)))]
    return _call("program = maskdsl.get", [repr_of(page.name), *given])


def _call(start: str, arguments: list[str]) -> list[str]:
    """A call on one line if it is short, else with its arguments on the next."""
    line = f"{start}({', '.join(arguments)})"
    return [line] if len(line) <= WIDEST else [f"{start}(", f"    {', '.join(arguments)},", ")"]


def _argument(parameter: ParameterManifest, shown: dict[str, Any]) -> str:
    """A constant with its default, else the example's value; a mask as text; nothing for a table."""
    if parameter.kind == "table":
        return ""
    if parameter.kind == "mask":
        return f"{parameter.name}={repr_of(str(shown.get(parameter.name, 'causal')))}"
    if isinstance(parameter.default, str):
        return ""
    value = shown.get(parameter.name) if parameter.default is None else parameter.default
    return f"{parameter.name}={value!r}"


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
