"""`maskdsl explain`: the page of a diagnostic, what a function does, or what becomes of a definition's tiles."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from maskdsl.cli.bounds import LONGEST, MOST_HEADS, MOST_ROWS, WIDEST
from maskdsl.cli.outcome import Format, print_json, wants_color
from maskdsl.source.codes import CODES
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.shipped import grammar_dir
from maskdsl.source.suggest import did_you_mean

if TYPE_CHECKING:
    from maskdsl.ir.ops import Function

FORMS = {
    "any": ("any(E for i in range(N))", "Whether E is true for some i from 0 to N - 1; unrolled when compiled."),
    "all": ("all(E for i in range(N))", "Whether E is true for every i from 0 to N - 1; unrolled when compiled."),
    "sum": ("sum(E for i in range(N))", "The sum of E over i from 0 to N - 1; unrolled when compiled."),
    "size": ("size(axis)", "The length of an axis: batch, head, kv_head, position, or one that a table names."),
    "ascending": ("ascending(table, axis)", "In `requires`: the table never decreases along the axis."),
    "at": ("E at (q = …, k = …)", "E at other coordinates; all of them move at once."),
    "if": ("x if condition else y", "One of two values of one type."),
    "where": ("mask m = E where a = …, b = …", "Names for parts of a definition; one may use those before it."),
    "requires": ("mask m(w: int) = E requires w >= 1, …", "Facts about constants and tables, on which proofs rest."),
    "then": ("score = alibi(slope) then softcap(30.0)", "In a variant: scores, applied from left to right."),
    "b": ("b", "The row of the batch, or the request, from 0."),
    "h": ("h", "The query head, from 0."),
    "kv_h": ("kv_h", "The key head that serves `h`, where a group of query heads shares one."),
    "q": ("q", "The position of the query in its own sequence, from 0."),
    "k": ("k", "The position of the key in its own sequence, from 0."),
    "q_len": ("q_len", "How many queries the current sequence has."),
    "kv_len": ("kv_len", "How many keys the current sequence has."),
    "score": ("score", "In a score: the incoming score, the dot product of query and key, already scaled."),
}
"""Words that are no functions: the forms of the language, the coordinates; their spelling and their meaning."""


def run(
    topic: Annotated[
        str, typer.Argument(metavar="CODE|FUNCTION|NAME", help="Such as E0305 or clamp; a definition with --tiles.")
    ],
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Say which tiles of a definition are skipped, and why not.")
    ] = False,
    set: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value.")] = None,
    length: Annotated[str, typer.Option(metavar="N|QxK", help="Tokens, or queries x keys.")] = "2048",
    heads: Annotated[int, typer.Option(min=1, max=MOST_HEADS, help="How many heads there are.")] = 4,
    block: Annotated[str, typer.Option(metavar="N|QxK", help="The sides of a tile.")] = "128",
    backend: Annotated[
        bool, typer.Option("--backend", help="Say which kernel runs a definition, and why not the others.")
    ] = False,
    device: Annotated[str, typer.Option(help="For --backend: cpu, cuda, or one such as cuda:sm_90.")] = "",
    dtype: Annotated[str, typer.Option(help="For --backend: the dtype of q, k and v.")] = "bfloat16",
    head_dim: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="For --backend: the width of a head.")] = 128,
    format: Annotated[Format, typer.Option(help="For people or for machines.")] = Format.TEXT,
) -> None:
    """Explain a diagnostic, a function, tiles, or a kernel choice."""
    if tiles:
        return _print_tiles(topic, set or [], (length, block), heads, format)
    if backend:
        return _print_backend(topic, set or [], (length, block), (heads, head_dim, dtype, device), format)
    page = page_of(topic.strip())
    if format is Format.JSON:
        print_json({"topic": topic.strip(), "page": page})
    else:
        _print_markdown(page)


def _print_tiles(what: str, settings: list[str], sides: tuple[str, str], heads: int, format: Format) -> None:
    from maskdsl.cli.target import parse_sides
    from maskdsl.cli.tiles import as_values, explain_tiles, text_lines

    length, block = parse_sides(sides[0], "--length", LONGEST), parse_sides(sides[1], "--block", WIDEST)
    trial, report = explain_tiles(what, settings, length, heads, block)
    if format is Format.JSON:
        print_json(as_values(trial, report))
    else:
        print("\n".join(text_lines(trial, report)))


def _print_backend(
    what: str, settings: list[str], sides: tuple[str, str], call: tuple[int, int, str, str], format: Format
) -> None:
    from maskdsl.cli.kernels import Call, as_values, explain_kernel, text_lines
    from maskdsl.cli.target import parse_sides
    from maskdsl.cli.tiles import make_tile_trial

    length, block = parse_sides(sides[0], "--length", LONGEST), parse_sides(sides[1], "--block", WIDEST)
    heads, head_dim, dtype, device = call
    trial = make_tile_trial(what, settings, length, heads)
    found = explain_kernel(trial, Call(length, heads, block, head_dim, dtype, device))
    if format is Format.JSON:
        print_json(as_values(found))
    else:
        print("\n".join(text_lines(found)))


def page_of(topic: str) -> str:
    """The Markdown that explains a code or a function. Raises MaskError E0201 for anything else."""
    if topic.upper() in CODES:
        return _code_page(topic.upper())
    if topic in FORMS:
        form, meaning = FORMS[topic]
        return f"# {topic}\n\n    {form}\n\n{meaning}\n"
    return _function_page(topic)


def _code_page(code: str) -> str:
    page = grammar_dir() / "errors" / f"{code}.md"
    return page.read_text(encoding="utf-8") if page.is_file() else f"# {code}: {CODES[code]}\n"


def _function_page(topic: str) -> str:
    from maskdsl.ir.ops import TABLE

    found = [f for f in TABLE if topic in (f.symbol, f.call)]
    if not found:
        spellings = [s for f in TABLE for s in (f.symbol, f.call) if s]
        close = did_you_mean(topic, [*spellings, *FORMS]) or did_you_mean(topic.upper(), CODES)
        told = f"`{topic}` is no diagnostic's code and no function"
        raise MaskError(Diagnostic("E0201", told, help=_as_name(topic) or close or _FURTHER))
    return f"# {topic}\n\n" + "\n".join(map(_describe, found))


_FURTHER = ("a topic is a function such as `clamp`, a word such as `requires`, or a code such as `E0402`",)


def _as_name(topic: str) -> tuple[str, ...]:
    """The advice for the name of a definition."""
    from maskdsl.library.registry import shared

    try:
        path = shared().find(topic).path
    except MaskError:
        return ()
    return (f"`maskdsl show {path}` draws it", f"`maskdsl explain --tiles {path}` tells which tiles kernels skip")


def _describe(function: Function) -> str:
    types = [f"    {_spelling(function, tuple(map(str, given)))} -> {result}" for given, result in function.signatures]
    more = "\nIt takes two or more arguments.\n" if function.variadic else ""
    return "\n".join(types) + f"\n\n{function.doc}\n{more}"


def _spelling(function: Function, types: tuple[str, ...]) -> str:
    if function.call or not function.symbol:
        return f"{function.call or function.name}({', '.join(types)})"
    left, right = types if len(types) == 2 else ("", types[0])
    return f"{left} {function.symbol} {right}".strip()


def _print_markdown(text: str) -> None:
    if not wants_color(sys.stdout):
        print(text.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
