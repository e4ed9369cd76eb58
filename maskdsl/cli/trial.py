"""A definition with arguments to try it with: those given, those of its examples, its defaults, random tables.

Not here: what it then looks like (`view`), how random tables are found (`library.sample`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.binding.fill import fill
from maskdsl.ir.nodes import Literal, Value, Variant
from maskdsl.ir.types import BUILT_IN_AXES, FLOAT, Table
from maskdsl.library.manifest import Manifest
from maskdsl.library.registry import Registry, shared
from maskdsl.library.sample import sample_tables
from maskdsl.library.sample_facts import about_sizes, decidable, hold
from maskdsl.library.sample_styles import cast
from maskdsl.meaning.examples import Example
from maskdsl.meaning.facts import all_facts
from maskdsl.meaning.module import Module
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Source

Arrays = Mapping[Table, NDArray[Any]]

DEFAULT_SIZE, DEFAULT_HEADS = 16, 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for: values by parameter, the lengths of query and key (None: open), the sizes of axes.

    `examples` says whether what is left open may come from the definition's example.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    lengths: tuple[int, int] | None = None
    batch: int = 1
    heads: int | None = None
    kv_heads: int | None = None
    examples: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A definition without open constants or masks, and the tables for it.

    `manifest` describes the definition as written; `sizes` has the lengths of all axes; `told` says where the
    arguments come from, empty when they are the user's.
    """

    variant: Variant
    manifest: Manifest
    constants: Mapping[str, Value]
    tables: Arrays
    sizes: Mapping[str, int]
    q_len: int
    kv_len: int
    told: str = ""

    @property
    def title(self) -> str:
        """The name and its constants, as a call in the language."""
        given = ", ".join(f"{n} = {_spelt(v)}" for n, v in self.constants.items())
        return f"{self.variant.name}({given})" if given else self.variant.name


def _spelt(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def checked_definition(source: Source, name: str, registry: Registry) -> tuple[Module, Variant]:
    """A file without errors, and the definition of that name. Raises MaskError with the errors of the file."""
    module = registry.check(source)
    if module.errors:
        raise MaskError(module.errors)
    return module, module.definitions[name]


def make_trial(module: Module, variant: Variant, wish: Wish) -> Trial:
    """Arguments for a definition: what is wished for, else what an example of it has, else defaults and random tables.

    Raises MaskError for values that do not fit, and E0605 when no tables satisfy the facts.
    """
    example = find_example(module, variant) if wish.examples else None
    shown = shown_values(example)
    fixed = fill(variant, {**shown, **_fillers(variant, wish.values)}, _find)
    verify_names(variant, fixed, wish.values)
    given = {t: _array(t, wish.values[t.name]) for t in fixed.tables if t.name in wish.values}
    q_len, kv_len = wish.lengths or _lengths(fixed, given, example, wish)
    position = max(q_len, kv_len)
    verify_tables(fixed, given, {**_sizes(given, example, wish, position), "position": position})
    own = _example_tables(fixed, example, given, wish, position)
    sizes = _sizes({**own, **given}, example, wish, position)
    drawn = sample_tables(fixed, sizes, {**own, **given})
    kept = bool(own.keys() - given) or any(name not in wish.values for name in shown)
    told = _told(example, kept, sorted(t.name for t in drawn))
    tables = {t: array for t, array in {**own, **given, **drawn}.items() if t in fixed.tables}
    constants = constants_of(variant, {**shown, **wish.values})
    manifest = shared().manifest(module.source, variant.name)
    return Trial(fixed, manifest, constants, tables, {**sizes, **_lengths_of(drawn)}, q_len, kv_len, told)


def find_example(module: Module, variant: Variant) -> Example | None:
    """The first example that shows the definition, one with a picture before one with a value."""
    own = [e for e in module.examples if e.target is variant]
    return next((e for e in own if isinstance(e.expected, tuple)), next(iter(own), None))


def full_example(module: Module, variant: Variant) -> Example | None:
    """The example whose constants are those of a real size: the first one with a value that gives all that have no
    default; without one, the example that is shown."""
    needed = {*variant.constants} - {c for c, _ in variant.defaults}
    full = (e for e in module.examples if e.target is variant and not isinstance(e.expected, tuple))
    found = next((e for e in full if needed and needed <= e.constants.keys()), None)
    return found or find_example(module, variant)


def full_values(module: Module, variant: Variant) -> dict[str, Any]:
    """Constants and masks for a definition at full size: the defaults, and what the example of a real size says; else
    what the example that is shown says of those without a default."""
    example, defaults = full_example(module, variant), constants_of(variant, {})
    shown = shown_values(example)
    return {**shown, **defaults} if example is find_example(module, variant) else {**defaults, **shown}


def verify_names(variant: Variant, fixed: Variant, values: Mapping[str, Any]) -> None:
    """Raise MaskError E0208 for a value whose name no parameter has, nor a table of a mask that was filled in."""
    names = list(dict.fromkeys(p.name for p in (*variant.parameters, *fixed.parameters)))
    for name in values:
        if name not in names:
            have = f"its parameters are {', '.join(f'`{n}`' for n in names)}" if names else "it has no parameters"
            message = f"`{variant.name}` has no parameter `{name}`"
            raise MaskError(Diagnostic("E0208", message, variant.span, notes=(have,), help=did_you_mean(name, names)))


def verify_tables(fixed: Variant, given: Arrays, sizes: Mapping[str, int]) -> None:
    """Raise MaskError E0607 for tables whose axes disagree, also with the lengths, and E0605 for broken facts."""
    known = {name: size for name, size in sizes.items() if name in ("batch", "head", "position")}
    for table, array in given.items():
        for axis, size in zip(table.axes, array.shape, strict=False):
            wanted = known.setdefault(str(axis), axis if isinstance(axis, int) else size)
            if size != wanted and not (axis == "position" and size > wanted):
                message = f"`{axis}` is {size} in `{table.name}`, and {wanted} elsewhere"
                raise MaskError(Diagnostic("E0607", message, table.span))
    lengths = {**sizes, **_lengths_of(given)}
    for fact in decidable(all_facts(fixed), given, lengths):
        if not hold([fact], given, lengths):
            what = "of the tables given" if about_sizes([fact]) == [] else "at these sizes"
            told = f"`{' '.join(fact.span.text.split())}` does not hold {what}"
            raise MaskError(Diagnostic("E0605", told, fact.span, "required here"))


def constants_of(variant: Variant, values: Mapping[str, Any]) -> dict[str, Value]:
    """The value of every constant, the defaults for those not given; an int becomes a float where one is wanted."""
    defaults = {c.name: node.value for c, node in variant.defaults if isinstance(node, Literal)}
    return {
        c.name: float(value) if c.type is FLOAT else value
        for c in variant.constants
        if (value := values.get(c.name, defaults.get(c.name))) is not None
    }


# ---------------------------------------------------------------- arguments


def shown_values(example: Example | None) -> dict[str, Any]:
    """The constants and masks of an example, by name; none without an example."""
    if example is None:
        return {}
    masks = {h.name: Variant(h.name, "mask", mask=node, span=h.span) for h, node in example.masks.items()}
    return {**{c.name: v for c, v in example.constants.items()}, **masks}


def _fillers(variant: Variant, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not for tables."""
    names = {c.name for c in variant.constants} | {h.name for h in variant.holes}
    return {name: value for name, value in values.items() if name in names}


def _find(what: str) -> Variant:
    """The mask that a registered name stands for, or that the text of an expression is."""
    from maskdsl import api

    named = all(part.isidentifier() for part in what.split("/"))
    return (api.get(what) if named else api.compile(f"mask given = {what}")).variant


def _array(table: Table, value: Any) -> NDArray[Any]:
    """The table of a value. Raises MaskError E0602 for the wrong shape, E0603 for the wrong type."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise MaskError(Diagnostic("E0602", f"the rows of `{table.name}` differ in length", table.span)) from None
    if array.dtype.kind not in {"bool": "b", "int": "iu", "float": "fiu"}[table.type.value]:
        raise MaskError(Diagnostic("E0603", f"`{table.name}` is a table of {table.type}s", table.span))
    if array.ndim != max(1, len(table.axes)) and (table.axes or array.size != 1):
        message = f"`{table.name}` has {len(table.axes)} axes, and {array.ndim} were given"
        raise MaskError(Diagnostic("E0602", message, table.span))
    return cast(array.reshape(1) if not table.axes else array, table.type)


# ---------------------------------------------------------------- sizes


def _lengths(fixed: Variant, given: Arrays, example: Example | None, wish: Wish) -> tuple[int, int]:
    """The lengths of the user's tables, those of an example where they matter, or the usual.

    They matter with tables, with a picture that is no square, and where the facts forbid the usual ones.
    """
    if "position" in (own := _lengths_of(given)):
        return own["position"], own["position"]
    if example is None:
        return DEFAULT_SIZE, DEFAULT_SIZE
    rows, columns = _lengths_shown(example)
    sizes = _sizes({}, example, wish, DEFAULT_SIZE)
    usual = hold(decidable(all_facts(fixed), (), sizes), {}, sizes)
    drawn = isinstance(example.expected, tuple) and bool(example.tables or rows != columns)
    return (rows, columns) if drawn or not usual else (DEFAULT_SIZE, DEFAULT_SIZE)


def _lengths_shown(example: Example) -> tuple[int, int]:
    if isinstance(example.expected, tuple):
        return len(example.expected), len(example.expected[0])
    return example.place.sizes["position"], example.place.sizes["position"]


def _example_tables(
    fixed: Variant, example: Example | None, given: Arrays, wish: Wish, position: int
) -> Arrays:
    """The example's tables if they reach over all positions, agree with the user's own, and satisfy the facts."""
    tables = example.tables if example else {}
    lengths, others = _lengths_of(tables), _lengths_of(given)
    if lengths.get("position", position) < position or any(others.get(a, n) != n for a, n in lengths.items()):
        return {}
    both = {**tables, **given}
    sizes = {**_sizes(both, example, wish, position), **_lengths_of(both)}
    return tables if hold(decidable(all_facts(fixed), both, sizes), both, sizes) else {}


def _lengths_of(tables: Arrays) -> dict[str, int]:
    pairs = (pair for t, array in tables.items() for pair in zip(t.axes, array.shape, strict=False))
    return {axis: size for axis, size in pairs if isinstance(axis, str)}


def _sizes(tables: Arrays, example: Example | None, wish: Wish, position: int) -> dict[str, int]:
    """The length of every axis that is known before tables are drawn."""
    placed = example.place.sizes if example else {}
    carried = {*BUILT_IN_AXES, *_lengths_of(example.tables if example else {})}
    free = {axis: size for axis, size in placed.items() if axis not in carried}
    known = {**free, **_lengths_of(tables)}
    return {"batch": wish.batch, "position": position, **_heads(known, placed, wish), **known}


def _heads(known: Mapping[str, int], placed: Mapping[str, int], wish: Wish) -> dict[str, int]:
    """Numbers of query and key/value heads that go together. Raises MaskError E0607 where both are fixed and do not."""
    heads, groups = known.get("head", wish.heads), known.get("kv_head", wish.kv_heads)
    if heads is None:
        heads = placed.get("head", groups or DEFAULT_HEADS)
        heads = heads if heads % (groups or 1) == 0 else groups or heads
    if groups is None:
        groups = placed.get("kv_head", heads)
        groups = groups if heads % groups == 0 else heads
    if heads % groups:
        raise MaskError(Diagnostic("E0607", f"{heads} heads cannot share {groups} key/value heads evenly"))
    return {"head": heads, "kv_head": groups}


def _told(example: Example | None, used: bool, drawn: list[str]) -> str:
    """Where the arguments come from."""
    parts = []
    if example is not None and used:
        line, _ = example.span.source.position(example.span.start)
        parts.append(f"arguments of the example at {example.span.source.name}:{line}")
    if drawn:
        parts.append(f"random {' and '.join(f'`{n}`' for n in drawn)} such that the facts hold")
    return "; ".join(parts)
