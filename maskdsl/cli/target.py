"""What a command is asked to work on (`NAME`, `FILE` or `FILE:NAME`), the values of `--set`, the sides of pictures."""

from __future__ import annotations

import ast as python
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from maskdsl.library.files import SUFFIX
from maskdsl.library.registry import Registry, unknown_definition
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source

WORDS = {"true": True, "false": False, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Target:
    """A definition's name and the source that it stands in."""

    source: Source
    name: str


def find_targets(text: str, registry: Registry) -> tuple[Target, ...]:
    """The definitions that the text means: all of a file, one of a file, a registered one, or those of a model.

    Raises MaskError: E0211 for unknown names, E0107 for files that cannot be read, the reader's own when one does not
    parse.
    """
    if os.path.isfile(text) or (text.endswith(SUFFIX) and ":" not in text):
        source = registry.read(Path(text))
        return tuple(Target(source, name) for name in registry.names(source))
    file, colon, name = text.rpartition(":")
    if not colon:
        return _registered(text, registry)
    if not file or not name:
        raise typer.BadParameter(f"{text!r} is not NAME, FILE or FILE:NAME")
    source = registry.read(Path(file))
    names = registry.names(source)
    if name not in names:
        raise MaskError(unknown_definition(name, source, list(names)))
    return (Target(source, name),)


def _registered(name: str, registry: Registry) -> tuple[Target, ...]:
    """The registered definition of that name, or else those that the layers of the model of that name use."""
    try:
        entry = registry.find(name)
    except MaskError as problem:
        from maskdsl.library.models import find_model

        try:
            model = find_model(name, registry)
        except MaskError:
            raise problem from None
        return tuple(Target(model.source, variant.name) for variant in model.variants)
    return (Target(entry.source, entry.name),)


def find_target(text: str, registry: Registry) -> Target:
    """The one definition that the text means. Raises MaskError as `find_targets` does, and E0211 for several."""
    targets = find_targets(text, registry)
    if len(targets) == 1:
        return targets[0]
    names = [t.name for t in targets]
    message = f"{text} defines {len(names)} things" if names else f"{text} defines nothing"
    first = f"{text}:{names[0]}" if os.path.isfile(text) else "".join(names[:1])
    ways = (f"say which: `{first}`",) if names else ()
    notes = (f"it defines {', '.join(f'`{n}`' for n in names)}",) if names else ()
    raise MaskError(Diagnostic("E0211", message, notes=notes, help=ways))


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """The values of `name=value` texts: numbers, true, false, inf, lists for tables; any other text is a mask's."""
    values: dict[str, Any] = {}
    for name, value in map(_parse_setting, settings):
        if name in values:
            raise typer.BadParameter(f"'{name}' is given twice", param_hint="--set")
        values[name] = value
    return values


def parse_sides(text: str, option: str, most: int) -> tuple[int, int]:
    """Two numbers from `N` or `QxK`, from 1 up to `most`. Raises BadParameter."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(_is_number(p) and 0 < int(p) <= most for p in parts):
        raise typer.BadParameter(f"{text!r} is not N or QxK with 1 to {most} tokens", param_hint=option)
    return int(parts[0]), int(parts[-1])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _parse_setting(setting: str) -> tuple[str, Any]:
    name, equals, text = (part.strip() for part in setting.partition("="))
    if not equals or not name.isidentifier() or not text:
        raise typer.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
    return name, _parse_value(text)


def _parse_value(text: str) -> Any:
    if text in WORDS:
        return WORDS[text]
    try:
        value = python.literal_eval(text.replace("true", "True").replace("false", "False"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float | list) else text
