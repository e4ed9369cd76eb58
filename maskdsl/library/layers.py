"""Which layers of a model use a definition: the `## Layers: …` lines of its documentation, and what they mean.

A line is `## Layers: EXPR.`, a condition of the language over `layer`, counted from 0, and `layers`, their number. With
`## Layers (image): EXPR.` it holds for the model's kind `image` alone; several kinds are set apart by commas.
Not here: the definitions of a model (`models`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source, Span

if TYPE_CHECKING:
    from maskdsl.ir.nodes import Node, Variant
    from maskdsl.library.registry import Registry
    from maskdsl.syntax import ast

MOST_LAYERS = 100_000
_HEAD = "mask claims(layer: int, layers: int) =\n"
_LINE = re.compile(r"Layers(?: \(([^()]*)\))?: *(.*?)\.?")


class Layers(BaseModel):
    """One `## Layers` line: the condition `where`, as text, for one kind of the model (None: the model itself)."""

    model_config = ConfigDict(frozen=True)

    kind: str | None = None
    where: str

    @property
    def text(self) -> str:
        """The line as people read it, such as `layers: layer % 6 == 5` or `layers (image): layer % 6 == 5`."""
        return f"layers{'' if self.kind is None else f' ({self.kind})'}: {self.where}"


def split_doc(lines: list[str]) -> tuple[list[str], tuple[Layers, ...]]:
    """The lines of a documentation that say something else, and what its `Layers` lines say."""
    plain: list[str] = []
    found: list[Layers] = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            plain.append(line)
            continue
        kinds = [kind.strip() or None for kind in (match[1] or "").split(",")]
        found += [Layers(kind=kind, where=match[2]) for kind in kinds]
    return plain, tuple(found)


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked `Layers` line; `counted` says whether it reads the number of layers."""

    meaning: Variant
    counted: bool

    def holds(self, layer: int, layers: int | None = None) -> bool:
        """Whether it holds for a layer of so many (None: it does not matter). Raises MaskError E0410 for no value."""
        from maskdsl.meaning.constants import constant_value

        given = {"layer": layer, "layers": layer + 1 if layers is None else layers}
        body = _body(self.meaning)
        value = constant_value(body, {c: given[c.name] for c in self.meaning.constants})
        if value is None:
            message = f"`{body.span.text.strip()}` has no value for layer {layer}"
            raise MaskError(Diagnostic("E0410", message, body.span))
        return bool(value)


@cache
def read_condition(where: str, owner: str, registry: Registry) -> Condition:
    """The meaning of a `Layers` line of the definition `owner`.

    Raises MaskError: what is wrong with the condition, its spans in a text of its own; E0412 where it reads positions.
    """
    from maskdsl.ir.nodes import COORDINATES, LENGTHS, Symbol
    from maskdsl.ir.walk import topological

    module = registry.check(_source(where, owner))
    if module.errors:
        raise MaskError(module.errors)
    meaning = module.definitions["claims"]
    body = _body(meaning)
    places = (n for n in topological(body) if isinstance(n, Symbol) and n.name in (*COORDINATES, *LENGTHS))
    place = next(places, None)
    if place is not None:
        message, help = f"`{place.name}` is no part of a layer's number", "use `layer` and `layers`"
        raise MaskError(Diagnostic("E0412", message, place.span, help=(help,)))
    return Condition(meaning, _reads(body, "layers"))


def check_layers(file: ast.File, registry: Registry) -> list[Diagnostic]:
    """What is wrong with the `Layers` lines of a file, at their places in it."""
    from maskdsl.syntax import ast

    definitions = (d for d in file.definitions if not isinstance(d, ast.Example))
    return [d for definition in definitions for d in _check_lines(definition, registry)]


def _check_lines(definition: ast.Mask | ast.Score | ast.Variant, registry: Registry) -> Iterator[Diagnostic]:
    source = definition.span.source
    for line in definition.doc:
        for where in {layers.where for layers in split_doc([line])[1]}:
            try:
                read_condition(where, definition.name.text, registry)
            except MaskError as problem:
                start = source.text.rindex(line, 0, definition.span.start) + line.rindex(where)
                place = Span(source, start, start + len(where))
                yield from (_moved(d, place) for d in problem.diagnostics)


def _moved(problem: Diagnostic, condition: Span) -> Diagnostic:
    """A problem of the condition's own text, at the condition's place in its file."""
    if problem.span is None:
        return replace(problem, span=condition)
    first = len(_HEAD)
    start, end = (min(max(n - first, 0), len(condition.text)) for n in (problem.span.start, problem.span.end))
    span = Span(condition.source, condition.start + start, condition.start + max(start + 1, end))
    return replace(problem, span=span, also=())


def _source(where: str, owner: str) -> Source:
    """A mask of two constants in place of the condition, which stands on a line of its own."""
    facts = f"requires layers <= {MOST_LAYERS}, 0 <= layer < layers"
    return Source(f"the layers of {owner}", f"{_HEAD}{where}\n{facts}\n")


def _body(meaning: Variant) -> Node:
    from maskdsl.ir.substitute import inline

    assert meaning.mask is not None
    return inline(meaning.mask)


def _reads(body: Node, constant: str) -> bool:
    from maskdsl.ir.nodes import Use
    from maskdsl.ir.walk import topological

    return any(isinstance(n, Use) and n.constant.name == constant for n in topological(body))
