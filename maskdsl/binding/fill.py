"""Fixes what a user gave for constants and mask parameters: Python values, names, texts, other programs.

Not here: checking the values of constants (`meaning.instantiate`), tables (`tables`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from maskdsl.binding.tables import spelt
from maskdsl.ir.nodes import Node, Variant
from maskdsl.ir.substitute import inline, substitute
from maskdsl.ir.types import Hole, Table
from maskdsl.meaning.instantiate import instantiate
from maskdsl.source.diagnostic import Diagnostic, Label, MaskError

Find = Callable[[str], Variant]
"""The fixed definition that a name or a text stands for. Raises MaskError."""


def fill(variant: Variant, given: Mapping[str, Any], find: Find) -> Variant:
    """The definition with its constants and mask parameters fixed; its parameters are tables alone.

    A mask is given as a program, as a fixed definition, or as what `find` understands. Its tables join those of the
    definition; two of one name are one table. Raises MaskError: those of `instantiate`, E0303 for what is no mask,
    E0309 where two tables of one name differ.
    """
    masks: dict[str, Node] = {}
    for hole in (h for h in variant.holes if h.name in given):
        inner = _mask(hole, given[hole.name], find)
        shared = _shared_tables(variant, inner)
        assert inner.mask is not None
        masks[hole.name] = inline(substitute(inner.mask, tables=shared))
        own = tuple(t for t in inner.tables if t not in shared)
        facts = tuple(substitute(f, tables=shared) for f in inner.facts)
        variant = replace(variant, parameters=(*variant.parameters, *own), facts=(*variant.facts, *facts))
    constants = {name: value for name, value in given.items() if name not in masks}
    return instantiate(variant, constants, masks)


def _mask(hole: Hole, given: Any, find: Find) -> Variant:
    inner = find(given) if isinstance(given, str) else getattr(given, "variant", given)
    if not isinstance(inner, Variant):
        raise MaskError(Diagnostic(
            "E0303", f"`{hole.name}` is a mask, and a `{type(given).__name__}` was given", hole.span, "a mask",
            help=("give the name of a mask, the text of one, or what `maskdsl.get` returns",),
        ))
    if inner.mask is None or inner.kind != "mask":
        raise MaskError(Diagnostic(
            "E0303", f"`{hole.name}` is a mask, and `{inner.name}` is a {inner.kind}", hole.span, "a mask",
            also=(Label(inner.span, "given for it"),),
        ))
    return inner


def _shared_tables(outer: Variant, inner: Variant) -> dict[Table, Table]:
    """The tables of the inner definition that are the outer one's by name."""
    known = {t.name: t for t in outer.tables}
    shared = {t: known[t.name] for t in inner.tables if t.name in known}
    for mine, theirs in shared.items():
        if (mine.type, mine.axes) != (theirs.type, theirs.axes):
            raise MaskError(Diagnostic(
                "E0309", f"`{mine.name}` is `{spelt(mine)}` in `{inner.name}` and `{spelt(theirs)}` in `{outer.name}`",
                mine.span, also=(Label(theirs.span, "the other one"),),
                notes=("tables of one name are one table once a mask is filled in",),
            ))
    return shared
