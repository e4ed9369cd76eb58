"""Checks what a definition `requires` of its tables, once, when they are bound.

Not here: conditions on constants (`meaning.instantiate`), dtypes and shapes (`tables`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maskdsl.ir.nodes import LENGTHS, Ascending, Lookup, Node, Size, Symbol, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import INT, Table
from maskdsl.ir.walk import topological
from maskdsl.meaning.constants import LARGEST_INT
from maskdsl.meaning.prove import prove
from maskdsl.source.diagnostic import Diagnostic, Label

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]

RANGES = {"b": "batch", "h": "head", "q": "position", "k": "position"}
"""A fact holds for every value of the coordinates in it: these axes say how far they reach."""

CASES_AT_ONCE = 1 << 24


def sizes_needed(fact: Node) -> frozenset[str]:
    """The axes and lengths whose sizes must be known before the fact can be checked."""
    nodes = list(topological(fact))
    axes = {n.axis for n in nodes if isinstance(n, Size)}
    symbols = {n.name for n in nodes if isinstance(n, Symbol)}
    return frozenset(axes | {RANGES[s] for s in symbols if s in RANGES} | (symbols & set(LENGTHS)))


def split_facts(facts: Sequence[Node], sizes: Mapping[str, int]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """The facts that can be checked when only these sizes are known, and those that wait for a call."""
    ready = tuple(f for f in facts if sizes_needed(f) <= sizes.keys())
    return ready, tuple(f for f in facts if f not in ready)


def broken_facts(
    facts: Sequence[Node], tensors: Mapping[Table, Tensor], sizes: Mapping[str, int]
) -> list[Diagnostic]:
    """E0605 for every fact that the tables break, with the first place where it fails.

    `sizes` must hold what `sizes_needed` names. Facts that look up with what another table holds are left out once
    another fact is broken: that one may be what keeps their indices in bounds.
    """
    arrays = {t: as_array(tensors[t]) for t in _tables(facts)}
    found: list[Diagnostic] = []
    for fact in sorted(facts, key=_looks_up_twice):
        broken = None if found and _looks_up_twice(fact) else _broken(fact, arrays, sizes)
        found += [broken] if broken else []
    return found


def as_array(tensor: Tensor) -> Array:
    """The values of a tensor as NumPy knows them; bfloat16 widens to float32."""
    import torch

    values = tensor.detach().cpu()
    array: Array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return array


def _broken(fact: Node, arrays: Mapping[Table, Array], sizes: Mapping[str, int]) -> Diagnostic | None:
    if isinstance(fact, Ascending):
        return _descent(fact, arrays[fact.table])
    if not _tables([fact]) and _is_proven(fact, sizes):
        return None
    for place in _places(fact, sizes):
        holds = np.broadcast_to(_value(fact, place, arrays, sizes), _extent(place))
        if not holds.all():
            first = np.unravel_index(int(np.argmin(holds)), holds.shape)
            at = {name: int(values.flat[first[i]]) for i, (name, values) in enumerate(place.items())}
            return _failing(fact, at, arrays, sizes)
    return None


def _is_proven(fact: Node, sizes: Mapping[str, int]) -> bool:
    """Whether a fact about coordinates and sizes needs no look at its places, which may be all pairs of tokens."""
    axes = sorted(sizes_needed(fact) - {*LENGTHS})
    known = [make("eq", Size(axis), literal(min(sizes[axis], LARGEST_INT))) for axis in axes]
    return prove(fact, known)


def _places(fact: Node, sizes: Mapping[str, int]) -> Iterator[dict[str, Array]]:
    """The coordinates in the fact, each along its own axis, a slab of the first one at a time."""
    read = [n for n in RANGES if any(isinstance(s, Symbol) and s.name == n for s in topological(fact))]
    ends = [sizes[RANGES[name]] for name in read]
    step = max(1, CASES_AT_ONCE // int(np.prod(ends[1:] or [1])))
    for start in range(0, ends[0] if ends else 1, step):
        spans = [(0 if i else start, end if i else min(start + step, end)) for i, end in enumerate(ends)]
        yield {name: _along(np.arange(*spans[i], dtype=np.int32), i, len(read)) for i, name in enumerate(read)}


def _along(values: Array, axis: int, count: int) -> Array:
    return values.reshape([-1 if i == axis else 1 for i in range(count)])


def _extent(place: Mapping[str, Array]) -> tuple[int, ...]:
    return np.broadcast_shapes(*(v.shape for v in place.values()))


def _value(node: Node, place: Mapping[str, Array], arrays: Mapping[Table, Array], sizes: Mapping[str, int]) -> Array:
    from maskdsl.backends.reference import evaluate

    lengths = {name: np.asarray(sizes[name], np.int32) for name in LENGTHS if name in sizes}
    return evaluate(node, coordinates=place, tables=arrays, constants={}, sizes=sizes, lengths=lengths)


def _failing(fact: Node, at: Mapping[str, int], arrays: Mapping[Table, Array], sizes: Mapping[str, int]) -> Diagnostic:
    where = ", ".join(f"{name} = {value}" for name, value in at.items())
    place = {name: np.asarray(value, np.int32) for name, value in at.items()}
    looked_up = [n for n in topological(fact) if isinstance(n, Lookup) and not _reads_variables(n)]
    values = tuple(f"`{_text(n)}` is {_value(n, place, arrays, sizes).item()}" for n in looked_up)
    axes = tuple(f"`size({n.axis})` is {sizes[n.axis]}" for n in topological(fact) if isinstance(n, Size))
    also = tuple(Label(t.span, "the table") for t in dict.fromkeys(n.table for n in looked_up))
    return Diagnostic(
        "E0605", f"`{_text(fact)}` does not hold", fact.span, f"false at {where}" if where else "false",
        also=also, notes=(*values, *axes),
    )


def _descent(fact: Ascending, values: Array) -> Diagnostic | None:
    """The first place where a table, as the language reads it, decreases along an axis; NaN stands in no order."""
    table, size = fact.table, values.shape[fact.axis]
    held = values.astype(np.int32) if table.type is INT else values
    rises = np.take(held, range(1, size), fact.axis) >= np.take(held, range(size - 1), fact.axis)
    if rises.all():
        return None
    before = np.unravel_index(int(np.argmin(rises)), rises.shape)
    after = tuple(i + (axis == fact.axis) for axis, i in enumerate(before))
    spots = (f"`{table.name}[{', '.join(str(int(i)) for i in spot)}]` is {held[spot]}" for spot in (before, after))
    wide = ("ints are int32: other values are cut to 32 bits",) if (held != values).any() and table.type is INT else ()
    return Diagnostic(
        "E0605", f"`{table.name}` decreases along `{table.axes[fact.axis]}`", fact.span, "required here",
        also=(Label(table.span, "the table"),), notes=(" and ".join(spots), *wide),
    )


def _tables(facts: Sequence[Node]) -> set[Table]:
    return {n.table for f in facts for n in topological(f) if isinstance(n, Lookup | Ascending)}


def _looks_up_twice(fact: Node) -> bool:
    """Whether an index in the fact comes from a table."""
    indices = [i for n in topological(fact) if isinstance(n, Lookup) for i in n.indices]
    return any(isinstance(n, Lookup) for n in topological(indices))


def _reads_variables(node: Node) -> bool:
    """Whether a quantifier's variable is in the node, which has no value of its own outside."""
    known = {*RANGES, *LENGTHS}
    return any(isinstance(n, Symbol) and n.name not in known for n in topological(node))


def _text(node: Node) -> str:
    return " ".join(node.span.text.split()) or "this fact"
