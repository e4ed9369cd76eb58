"""Definitions as plain values that JSON can hold, and back: what an artifact keeps of a program.

Every object stands once, in a list where parts come before what holds them; a reference is its place in the list.
Reading makes nothing but the classes named here, and the result is verified like any other definition.
Not here: the language's own text (`print`), which needs the library around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from maskdsl.ir.nodes import (
    Ascending,
    Call,
    Derived,
    Fill,
    Literal,
    Lookup,
    Moved,
    Op,
    Quantified,
    Size,
    Symbol,
    Use,
    Variant,
)
from maskdsl.ir.types import Constant, Hole, Scalar, Table
from maskdsl.ir.verify import verify
from maskdsl.source.text import Source, Span

CLASSES: dict[str, type[Any]] = {
    c.__name__: c
    for c in (
        Ascending, Call, Derived, Fill, Literal, Lookup, Moved, Op, Quantified, Size, Symbol, Use, Variant,
        Constant, Hole, Table, Source, Span,
    )
}  # fmt: skip

LEFT_OUT = {"Source": ("path",)}
"""Fields that mean nothing on another machine."""


def to_plain(variant: Variant) -> dict[str, Any]:
    """The definition with all it refers to, sources included: dicts, lists, strings and numbers."""
    places: dict[int, int] = {}
    objects: list[list[Any]] = []
    for value in _parts_first(variant):
        places[id(value)] = len(objects)
        kept = [getattr(value, name) for name in _names(type(value))]
        objects.append([type(value).__name__, *(_plain(x, places) for x in kept)])
    return {"fields": {name: _names(c) for name, c in CLASSES.items()}, "objects": objects}


def from_plain(plain: Mapping[str, Any]) -> Variant:
    """The definition that `to_plain` gave. Raises ValueError for what it cannot have given."""
    if plain.get("fields") != {name: _names(c) for name, c in CLASSES.items()}:
        raise ValueError("the definition was stored by another version of the compiler")
    made: list[Any] = []
    try:
        for name, *values in plain["objects"]:
            known = CLASSES[name]
            made.append(known(**dict(zip(_names(known), (_value(x, made) for x in values), strict=True))))
    except (KeyError, TypeError, IndexError) as problem:
        raise ValueError(f"the stored definition does not read: {problem}") from None
    if not made or not isinstance(made[-1], Variant):
        raise ValueError("no definition is stored")
    verify(made[-1])
    return made[-1]


def _names(known: type[Any]) -> list[str]:
    return [f.name for f in fields(known) if f.name not in LEFT_OUT.get(known.__name__, ())]


def _parts_first(root: Any) -> Iterator[Any]:
    """Every object below `root` and itself, each once and after its parts; of any depth."""
    seen: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        value, ready = stack.pop()
        if ready:
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack += [(part, False) for name in _names(type(value)) for part in _objects(getattr(value, name))]


def _objects(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for part in value:
            yield from _objects(part)
    elif is_dataclass(value):
        yield value


def _plain(value: Any, places: Mapping[int, int]) -> Any:
    match value:
        case Scalar():
            return {"scalar": value.value}
        case tuple():
            return [_plain(x, places) for x in value]
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
    return {"at": places[id(value)]}


def _value(plain: Any, made: list[Any]) -> Any:
    match plain:
        case {"scalar": name}:
            return Scalar(name)
        case {"float": text}:
            return float(text)
        case {"at": int(place)} if place >= 0:
            return made[place]
        case list():
            return tuple(_value(x, made) for x in plain)
        case None | bool() | int() | float() | str():
            return plain
    raise TypeError(f"what is {plain!r}?")
