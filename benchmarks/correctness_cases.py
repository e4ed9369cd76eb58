"""The programs of the correctness run: those of the registry, and texts that together use every function and construct.

Not here: running and measuring them (`correctness`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sizes:
    """Batch rows, query heads, query and key lengths, key/value heads of a call."""

    b: int
    h: int
    q: int
    k: int
    kv: int = 2

    @property
    def position(self) -> int:
        """The length of a `position` axis."""
        return max(self.q, self.k)


Draw = Callable[[np.random.Generator, Sizes], dict[str, Array]]


@dataclass(frozen=True)
class Case:
    """One program: a registered `name` or a `text`; `tables` draws its tables, `constants` fixes its constants."""

    name: str
    text: str = ""
    tables: Draw = field(default=lambda rng, sizes: {})
    constants: dict[str, Any] = field(default_factory=dict)


def floats(name: str, *shape: int | str, scale: float = 1.0) -> Draw:
    """A table of normal floats; an axis is a length or a field of `Sizes`."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        return {name: (scale * rng.standard_normal(_lengths(shape, sizes))).astype(np.float32)}

    return draw


def ints(name: str, *shape: int | str, below: int | str, ascending: bool = False, dtype: Any = np.int32) -> Draw:
    """A table of ints from 0 to below `below`."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        top = getattr(sizes, below) if isinstance(below, str) else below
        values = rng.integers(0, top, _lengths(shape, sizes)).astype(dtype)
        return {name: np.sort(values, axis=-1) if ascending else values}

    return draw


def both(*draws: Draw) -> Draw:
    """The tables of several draws."""
    return lambda rng, sizes: {name: table for draw in draws for name, table in draw(rng, sizes).items()}


def _lengths(shape: tuple[int | str, ...], sizes: Sizes) -> list[int]:
    return [getattr(sizes, n) if isinstance(n, str) else n for n in shape]


INLINE: tuple[Case, ...] = (
    Case("integers", """
        mask integers = (abs(q - k) < 200 and max(q, k, 3) % 3 != 1 or min(q, k) // 7 == clamp(k, 5, 400) // 11)
            and sign(q - k) >= 0 and bit_length(q - k) < 9 and not (q - k == 5) or q ** 2 + k == 2 * k + q * -1"""),
    Case("bits", """
        mask bits = shift_right(bit_xor(q * 73856, k * 19349), 3) % 8 < 5
            and bit_and(shift_left(1, q % 20), bit_or(k, 4096)) != 1 or q == k"""),
    Case("numbers", """
        mask numbers = int(sqrt(float(q))) + int(1.5 * sin(0.1 * k)) >= int(log2(1.0 + k)) and trunc(k / 3.0) >= 0.0
            or ceil(k / 2) == floor(q / 2) or int(k < 4) == 1"""),
    Case("curves", """
        score curves = tanh(score / 3.0) * 2.0 + sigmoid(score) - 0.5 * exp(-abs(score)) + 0.1 * sin(score)
            + 0.2 * cos(0.5 * score) + log1p(abs(score)) * rsqrt(1.0 + score ** 2) + exp2(min(score, 2.0))"""),
    Case("distances", """
        score distances = score - log(1.0 + abs(q - k)) + sqrt(1.0 + float(q % 5)) * 0.1 + max(-1.0, -0.01 * abs(q - k))
            + 0.25 * log2(2.0 + k) + (0.5 if q % 2 == 0 else -0.5) + clamp(score, -1.0, 1.0) * sign(score)
            + 0.1 * floor(score) + 0.05 * ceil(score) + 0.02 * trunc(score) + pow(1.5, 0.5) + float(k // 100)"""),
    Case("sigmoid_attention", """
        score shifted(offset: float) = logsigmoid(score + offset)
        variant sigmoid_attention(offset: float = -4.0) {
            mask = k <= q and q % 7 != 3
            score = shifted(offset)
            normalize = false
        }"""),
    Case("quantified", """
        mask quantified(pick: int[head, blocks, r], block: int = 64) =
            k <= q and (q // block == k // block
                or any(pick[h, clamp(q // block, 0, size(blocks) - 1), i] == k // block for i in range(size(r))))
            and all(q - k != 3 * i + 1 for i in range(4)) and sum(int(k >= 100 * i) for i in range(10)) >= 0""",
         ints("pick", "h", 16, 2, below=16)),
    Case("rows", """
        mask rows(prefix: int[batch], keep: bool[batch, position], limit: int[]) =
            (k <= q or k < prefix[b]) and keep[b, k] and q - k < limit
            requires prefix[b] >= 0""",
         both(ints("prefix", "b", below="k"), lambda rng, s: {"keep": rng.random((s.b, s.position)) < 0.8},
              lambda rng, s: {"limit": np.array([300], np.int32)})),
    Case("blind", """mask blind(start: int[batch]) = k >= start[b] and k <= q and q % 4 != 2""",
         ints("start", "b", below="q")),
    Case("coarse", """
        mask inside(document: int[batch, position]) = document[b, q] == document[b, k]
            requires ascending(document, position)
        mask coarse(document: int[batch, position]) = inside(document) at (q = q // 2, k = k // 2) or k == q""",
         ints("document", "b", "position", below=6, ascending=True)),
    Case("twice", """
        score twice(bias: float[head, n]) = score + bias[h, clamp(q - k, 0, size(n) - 1)] * 0.5
            + bias[h, k % size(n)]""",
         floats("bias", "h", 7)),
    Case("pairs", """
        score pairs(bias: float[head, buckets], scale: float[kv_head]) =
            score * (1.0 + 0.1 * scale[kv_h]) + bias[h, clamp(k - q + 8, 0, 16)]
            requires size(buckets) == 17""", both(floats("bias", "h", 17), floats("scale", "kv"))),
    Case("per_head", """
        mask per_head(full: bool[head], window: int = 50) = k <= q and (full[h] or q - k < window)""",
         lambda rng, s: {"full": np.arange(s.h) % 2 == 0}),
    Case("scaled", """
        mask earlier(offset: int) = k <= q + offset
        score shift(by: float) = score + by * float(k % 2)
        score capped(cap: float) = cap * tanh(score / cap)
        variant scaled(sink_logit: float[head]) {
            mask = earlier(0) and k % 3 != 1
            score = shift(1.5) then capped(5.0)
            scale = 0.2
            sink = sink_logit[h]
        }""", floats("sink_logit", "h")),
)  # fmt: skip


BASICS = (
    "full", "causal", "causal_bottom_right", "sliding_window", "symmetric_local", "prefix_lm", "document", "packed",
    "packed_causal", "chunked", "dilated", "sink_window", "softcap", "alibi", "alibi_slopes", "relative_bias",
    "t5_bias", "t5_bias_causal", "gemma2_local", "gemma2_global", "gpt_oss_local", "gpt_oss_global", "mistral",
    "llama4_local",
)  # fmt: skip
"""The shipped definitions that others are built of or are like: those that every call is made of."""


def registered(names: Collection[str] = ()) -> tuple[Case, ...]:
    """Shipped definitions whose tables the tests know how to draw, all or these, with the last of the constants that
    the tests try.
    """
    import maskdsl

    known = {m.name for m in maskdsl.list() if not names or m.name in names}
    cases = []
    folder = Path(__file__).parent.parent / "tests" / "variants"
    sys.path.append(str(folder))
    for path in sorted(folder.glob("*_oracles.py")):
        oracles = importlib.import_module(path.stem).ORACLES
        for name, oracle in oracles.items():
            if name in known:
                constants = {**oracle.constants[-1], **oracle.masks}
                cases.append(Case(name, tables=oracle.inputs, constants=constants))
    return tuple(cases)


MOST_NODES = 2000
"""Larger formulas count as this large."""


class Unfit(Exception):
    """No tables make a call of these sizes one for the program."""


def fitting_tables(program: Any, case: Case, sizes: Sizes, seed: int = 1) -> dict[str, Array]:
    """The case's tables for a call, or random ones where those break the program's facts at its sizes.

    Oracles draw for as many key heads as heads: of such a table the first key heads are taken, for facts hold of every
    head. Raises Unfit where constants leave no tables for such lengths.
    """
    from maskdsl.library.sample import sample_tables
    from maskdsl.source.diagnostic import MaskError

    tables = {t.name: t for t in program.variant.tables}
    drawn = {n: _kv_heads(tables[n], x, sizes.kv) for n, x in case.tables(np.random.default_rng(seed), sizes).items()}
    axes = {"batch": sizes.b, "head": sizes.h, "kv_head": sizes.kv, "position": sizes.position}
    if _is_fine(program, drawn, axes):
        return drawn
    try:
        found = {table.name: x for table, x in sample_tables(program.variant, axes, seed=seed).items()}
    except MaskError as problem:
        raise Unfit(problem.diagnostics[0].message) from None
    if not _is_fine(program, found, axes):
        raise Unfit("the facts do not hold at these lengths")
    return found


def _kv_heads(table: Any, values: Array, count: int) -> Array:
    if "kv_head" not in table.axes:
        return values
    return np.take(values, np.arange(count), axis=table.axes.index("kv_head"))


def _is_fine(program: Any, tables: dict[str, Array], axes: dict[str, int]) -> bool:
    """Whether the tables satisfy all that the program requires, at these sizes."""
    from maskdsl.source.diagnostic import MaskError

    try:
        carried = program.bind(**tables).sizes
        program.bind(**tables, sizes={n: size for n, size in axes.items() if n not in carried})
    except MaskError:
        return False
    return all(carried.get(n, size) == size for n, size in axes.items() if n != "position")


def remaining(but: tuple[Case, ...]) -> tuple[Case, ...]:
    """Every other registered definition: its defaults, causal for its masks, random tables that fit its facts."""
    import maskdsl

    known = {case.name for case in but}
    return tuple(_sampled(m) for m in maskdsl.list() if m.library == "maskdsl" and m.name not in known)


def cost(case: Case) -> int:
    """How long a program's kernels take to compile, roughly and in no unit: the nodes of its formulas."""
    import maskdsl
    from maskdsl.ir.substitute import inline
    from maskdsl.ir.walk import topological
    from maskdsl.source.diagnostic import MaskError

    given = case.constants
    variant = (maskdsl.compile(case.text, **given) if case.text else maskdsl.get(case.name, **given)).variant
    try:
        return sum(1 for _ in topological([inline(root, MOST_NODES) for _, root in variant.roots]))
    except MaskError:
        return MOST_NODES


def _sampled(manifest: Any) -> Case:
    constants = {p.name: "causal" for p in manifest.parameters if p.kind == "mask"}

    def draw(rng: np.random.Generator, sizes: Sizes) -> dict[str, Array]:
        import maskdsl
        from maskdsl.library.sample import sample_tables

        axes = {"batch": sizes.b, "head": sizes.h, "kv_head": sizes.kv, "position": sizes.position}
        drawn = sample_tables(maskdsl.get(manifest.path, **constants).variant, axes, seed=int(rng.integers(1 << 30)))
        return {table.name: values for table, values in drawn.items()}

    return Case(manifest.path, tables=draw, constants=constants)
