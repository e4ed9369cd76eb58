"""Running examples: what a definition computes at the place of its example, held against the picture or the value.

Not here: reading examples (`maskdsl.meaning.examples`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from maskdsl.backends.reference import evaluate
from maskdsl.ir.nodes import Node, Value, literal
from maskdsl.ir.substitute import inline, substitute
from maskdsl.library.picture import letter_rows
from maskdsl.library.sample_facts import hold, places_of
from maskdsl.meaning.examples import Example
from maskdsl.meaning.growth import unrolled_size
from maskdsl.meaning.module import Module
from maskdsl.source.diagnostic import Diagnostic, Label, MaskError
from maskdsl.source.text import Span

Array = np.ndarray[Any, Any]

RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""How far a float may be from the value in the file: kernels compute in float32."""

WIDEST = 40
"""Pictures of more columns or rows are not shown side by side."""


MOST_WORK = 100_000
"""What the examples of a file may take together: operations, those of a quantifier's body once a turn, and a picture's
once more for every 5,000 pairs, a fact's likewise. It is about a second.
"""


def run_examples(module: Module) -> list[Diagnostic]:
    """What the sound examples of a file show wrongly (E0501, E0502), broken facts (E0605), blind rows (W0806).

    E0406 where they take too long; those that follow are then not run.
    """
    found: list[Diagnostic] = []
    left = MOST_WORK
    for example in module.examples:
        left -= _work_of(example)
        if left < 0:
            return [*found, _too_much(example)]
        found += run_example(example)
    return found


def _work_of(example: Example) -> int:
    pairs = len(example.expected) * len(example.expected[0]) if isinstance(example.expected, tuple) else 1
    sizes = example.place.sizes
    work = sum(_steps_of(fact, sizes) * (1 + places_of(fact, sizes) // 5000) for fact in example.facts)
    return work + (0 if example.root is None else _steps_of(example.root, sizes) * (1 + pairs // 5000))


def _steps_of(node: Node, sizes: Mapping[str, int]) -> int:
    try:
        known = {axis: literal(size) for axis, size in sizes.items()}
        return unrolled_size(substitute(inline(node, MOST_WORK), sizes=known, limit=MOST_WORK))
    except MaskError:
        return MOST_WORK + 1


def _too_much(example: Example) -> Diagnostic:
    told = f"to run the examples up to this one takes more than {MOST_WORK:,} operations"
    advice = ("show fewer places, or a definition of a smaller size",)
    return Diagnostic("E0406", told, example.call_span, notes=("the examples that follow were not run",), help=advice)


def run_example(example: Example) -> list[Diagnostic]:
    """What one example shows wrongly; nothing when it agrees with its definition."""
    try:
        for fact in example.facts:
            if not hold([fact], example.tables, example.place.sizes):
                return [_broken(example, fact.span)]
        if isinstance(example.expected, tuple):
            return _compare_picture(example, np.array(example.expected, np.bool_), draw_picture(example))
        return _compare_value(example, example.expected, value_of(example))
    except MaskError as error:
        return list(error.diagnostics)


def draw_picture(example: Example) -> Array:
    """The pairs that the example's definition lets through, bool [rows, columns] of its picture.

    Raises MaskError E0406 for a definition that grows too large.
    """
    assert isinstance(example.expected, tuple)
    seen = np.zeros((len(example.expected), len(example.expected[0])), np.bool_)
    lengths = example.place.lengths
    rows, columns = min(seen.shape[0], lengths["q_len"]), min(seen.shape[1], lengths["kv_len"])
    if rows and columns:
        places = {"q": np.arange(rows, dtype=np.int32)[:, None], "k": np.arange(columns, dtype=np.int32)}
        seen[:rows, :columns] = True if example.root is None else _evaluate(example, places)
    return seen


def value_of(example: Example) -> Value:
    """The value at the example's place. Raises MaskError E0406 for a definition that grows too large."""
    if example.root is None:
        return True if isinstance(example.expected, bool) else float(example.place.score or 0.0)
    value = _evaluate(example, {}).reshape(-1)[0].item()
    assert isinstance(value, bool | int | float)
    return value


def _evaluate(example: Example, places: dict[str, Array]) -> Array:
    place = example.place
    assert example.root is not None
    return evaluate(
        example.root,
        coordinates={n: np.asarray(v, np.int32) for n, v in place.coordinates.items()} | places,
        tables=example.tables, constants={}, sizes=place.sizes,
        lengths={n: np.asarray(v, np.int32) for n, v in place.lengths.items()},
        score=None if place.score is None else np.asarray(place.score, np.float64),
    )


# ---------------------------------------------------------------- what differs


def _compare_picture(example: Example, written: Array, computed: Array) -> list[Diagnostic]:
    differs = written != computed
    if not differs.any():
        return _blind_rows(example, computed)
    q, k = (int(i) for i in np.argwhere(differs)[0])
    count = int(differs.sum())
    cells = "1 cell of the picture differs" if count == 1 else f"{count} cells of the picture differ"
    here = Label(_cell(example.row_spans[q], k), f"q = {q}, k = {k} is {'visible' if computed[q, k] else 'hidden'}")
    notes = (_side_by_side(written, computed, differs),) if max(written.shape) <= WIDEST else ()
    return [Diagnostic(
        "E0501", f"{cells} from what `{example.target.name}` computes", example.call_span, "", (here,), notes,
        ("mend the formula or the picture; `maskdsl show FILE --accept` draws it again",),
    )]  # fmt: skip


def _side_by_side(written: Array, computed: Array, differs: Array) -> str:
    """The picture of the file, the computed one, and where they differ."""
    columns = [
        ["in the file", *letter_rows(written)], ["computed", *letter_rows(computed)],
        ["they differ", *(" ".join("^" if d else " " for d in row) for row in differs.tolist())],
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in columns]
    lines = zip_longest(*columns, fillvalue="")
    return "\n".join("   ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cell(row: Span, column: int) -> Span:
    """The letter of a picture's row in a column."""
    places = [i for i, letter in enumerate(row.text) if letter in "x."]
    start = row.start + places[column]
    return Span(row.source, start, start + 1)


def _blind_rows(example: Example, seen: Array) -> list[Diagnostic]:
    blind = [q for q in range(min(len(seen), example.place.lengths["q_len"])) if not seen[q].any()]
    if not blind:
        return []
    which = f"query {blind[0]}" if len(blind) == 1 else f"{len(blind)} queries of the picture"
    told = f"{which} {'sees' if len(blind) == 1 else 'see'} no key"
    here = Label(example.row_spans[blind[0]], "nothing is visible")
    return [Diagnostic("W0806", told, example.call_span, "", (here,), ("the output of such a query is 0",))]


def _compare_value(example: Example, written: Value, computed: Value) -> list[Diagnostic]:
    if isinstance(written, bool) or isinstance(computed, bool):
        same = written is computed
    else:
        same = bool(np.isclose(computed, written, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))
    if same:
        return []
    shown = [str(v).lower() if isinstance(v, bool) else repr(v) for v in (computed, written)]
    told = f"`{example.target.name}` gives {shown[0]} here, not {shown[1]}"
    return [Diagnostic("E0502", told, example.expected_span, f"computed: {shown[0]}")]


def _broken(example: Example, fact: Span) -> Diagnostic:
    told = f"the example breaks what `{example.target.name}` requires: `{' '.join(fact.text.split())}`"
    return Diagnostic("E0605", told, example.call_span, "not so for these tables", (Label(fact, "required here"),))
