"""Manifests: what a definition offers and needs, for people and for machines.

Made from the syntax alone, so that a whole library can be listed without checking it.
Not here: where libraries are (`registry`).
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from maskdsl.library.layers import Layers, split_doc
from maskdsl.source.text import Source
from maskdsl.syntax import ast


class ParameterManifest(BaseModel):
    """A parameter: a `constant` (fixed when compiled), a `table` (a tensor given at call time) or a `mask`.

    `axes` is None unless it is a table; `int[]`, a tensor of one element, has no axes. `default` is the value, or the
    text of the expression that gives it (`256 ** -0.5`, `inf`).
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["constant", "table", "mask"]
    type: Literal["bool", "int", "float", "mask"]
    axes: tuple[str | int, ...] | None = None
    default: bool | int | float | str | None = None


class Manifest(BaseModel):
    """A definition of a `.mask` file.

    `path` is its name with the folder it stands in ("models/gemma2_local"), `library` names where that folder is,
    `doc` is without the `Layers` lines, which are `layers`: the layers of a model that use the definition. `facts` are
    the texts of `requires`, `source` is the definition's own text, `file` the file's path (None: no file).
    """

    model_config = ConfigDict(frozen=True)

    name: str
    path: str
    library: str | None = None
    kind: Literal["mask", "score", "variant"]
    doc: str = ""
    layers: tuple[Layers, ...] = ()
    parameters: tuple[ParameterManifest, ...] = ()
    facts: tuple[str, ...] = ()
    source: str = ""
    file: str | None = None

    @property
    def constants(self) -> tuple[ParameterManifest, ...]:
        """The parameters fixed when the variant is compiled."""
        return tuple(p for p in self.parameters if p.kind == "constant")

    @property
    def tables(self) -> tuple[ParameterManifest, ...]:
        """The parameters that are tensors, given at call time."""
        return tuple(p for p in self.parameters if p.kind == "table")

    @property
    def signature(self) -> str:
        """The name with its parameters, as the definition writes them."""
        return f"{self.name}({', '.join(map(parameter_text, self.parameters))})" if self.parameters else self.name


def parameter_text(parameter: ParameterManifest) -> str:
    """The parameter in the language's own spelling, such as `window: int = 4096` or `slope: float[head]`."""
    axes = "" if parameter.axes is None else f"[{', '.join(map(str, parameter.axes))}]"
    default = "" if parameter.default is None else f" = {_shown(parameter.default)}"
    return f"{parameter.name}: {parameter.type}{axes}{default}"


def describe(definition: ast.Mask | ast.Score | ast.Variant, path: str = "", library: str | None = None) -> Manifest:
    """The manifest of a parsed definition; `path` defaults to its name."""
    source = definition.span.source
    doc, layers = split_doc(doc_lines(definition.doc))
    return Manifest(
        name=definition.name.text,
        path=path or definition.name.text,
        library=library,
        kind=_kind(definition),
        doc="\n".join(doc).strip(),
        layers=layers,
        parameters=tuple(map(_parameter, definition.parameters)),
        facts=tuple(_one_line(f.span.text) for f in getattr(definition, "requires", ())),
        source=_without_doc(definition, source),
        file=str(source.path) if source.path is not None else None,
    )


def doc_lines(lines: tuple[str, ...]) -> list[str]:
    """Documentation without its `##` marks, a line each."""
    return [line.strip().removeprefix("##").strip() for line in lines]


def definitions_of(file: ast.File) -> tuple[ast.Mask | ast.Score | ast.Variant, ...]:
    """The definitions of a parsed file, its examples left out."""
    return tuple(d for d in file.definitions if not isinstance(d, ast.Example))


def _kind(definition: ast.Mask | ast.Score | ast.Variant) -> Literal["mask", "score", "variant"]:
    match definition:
        case ast.Mask():
            return "mask"
        case ast.Score():
            return "score"
        case ast.Variant():
            return "variant"


def _parameter(parameter: ast.Parameter) -> ParameterManifest:
    axes = parameter.type.axes
    return ParameterManifest.model_validate({
        "name": parameter.name.text,
        "kind": "mask" if parameter.type.name == "mask" else "constant" if axes is None else "table",
        "type": parameter.type.name,
        "axes": None if axes is None else tuple(a.text if isinstance(a, ast.Name) else a.value for a in axes),
        "default": None if parameter.default is None else _default(parameter.default),
    })


def _default(value: ast.Expression) -> bool | int | float | str:
    match value:
        case ast.Boolean(value=v) | ast.Integer(value=v):
            return v
        case ast.Float(value=v) if math.isfinite(v):
            return v
        case ast.Negate(value=ast.Integer(value=v) | ast.Float(value=v)) if math.isfinite(v):
            return -v
    return _one_line(value.span.text)


def _shown(default: bool | int | float | str) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _without_doc(definition: ast.Mask | ast.Score | ast.Variant, source: Source) -> str:
    lines = definition.span.text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.strip().startswith("##")), 0)
    return "\n".join(lines[first:]).strip()
