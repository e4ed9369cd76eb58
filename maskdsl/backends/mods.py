"""Emits `mask_mod` and `score_mod` of a variant as a Python module that needs torch alone.

The module defines `make_mask_mod(tables…)` and `make_score_mod(tables…)`. Constants are numbers in the text; tables and
lengths are what the inner functions close over, so that other tables need no other text, and no other code object.
Not here: how an expression is written (`mods_text`), what runs the mods (`flex`).
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from maskdsl.backends.mods_gradients import with_spread_indices
from maskdsl.backends.mods_strength import Strength
from maskdsl.backends.mods_text import LONG, TORCH, Body, Dialect, Leaves, safe_name, tidy
from maskdsl.ir.emission import support_for
from maskdsl.ir.nodes import LENGTHS, Literal, Lookup, Node, Size, Symbol, Variant
from maskdsl.ir.print import text
from maskdsl.ir.types import BOOL, FLOAT, Table
from maskdsl.ir.walk import topological
from maskdsl.tiles.limits import Ranges

if TYPE_CHECKING:
    from torch import Tensor

Mod = Callable[..., Any]
Tensors = Mapping[Table, "Tensor"]
Lengths = Mapping[str, "Tensor"]

COORDINATES = {"b": "b", "h": "h", "q": "q_idx", "k": "kv_idx"}
"""The parameters of a mod that hold the coordinates."""

OPERATORS = "torch.ops.maskdsl."
"""What the text of operators of `fast_math` begins with."""

READS_SCORE = "# k is never negative: on the CPU, torch 2.13 compiles scores that do not read `score` wrongly."


@dataclass(frozen=True, slots=True)
class Capture:
    """A parameter of a factory: the tensor of `table`, or the lengths `q_len` or `kv_len` (int32, [1] or [B])."""

    name: str
    table: Table | None = None
    length: str = ""


@dataclass(frozen=True, slots=True)
class Emitted:
    """A module's text, and what its two factories take, in order.

    Without a mask `make_mask_mod` makes one that is true everywhere; without a score there is no `make_score_mod`.
    """

    source: str
    mask_captures: tuple[Capture, ...]
    score_captures: tuple[Capture, ...]
    has_mask: bool
    has_score: bool
    mask_reads: frozenset[str]

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that a mod reads, each once."""
        captures = (*self.mask_captures, *self.score_captures)
        return tuple(dict.fromkeys(c.table for c in captures if c.table is not None))

    def make_mask_mod(self, tensors: Tensors, lengths: Lengths | None = None) -> Mod:
        """`mask_mod(b, h, q_idx, kv_idx)` over these tensors; `lengths` has `q_len` and `kv_len` if read."""
        return self._make("make_mask_mod", self.mask_captures, tensors, lengths or {})

    def make_score_mod(self, tensors: Tensors, lengths: Lengths | None = None) -> Mod | None:
        """`score_mod(score, b, h, q_idx, kv_idx)` over these tensors; None without a score."""
        if not self.has_score:
            return None
        return self._make("make_score_mod", self.score_captures, tensors, lengths or {})

    def _make(self, factory: str, captures: Sequence[Capture], tensors: Tensors, lengths: Lengths) -> Mod:
        given = [tensors[c.table] if c.table is not None else lengths[c.length] for c in captures]
        made: Mod = load(self.source)[factory](*given)
        return made


@functools.cache
def load(source: str) -> dict[str, Any]:
    """The namespace of an emitted module, executed once for every text: its code objects stay the same."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    file = f"<maskdsl {digest}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = ModuleType(f"maskdsl_mods_{digest}")
    # torch.compile finds the globals of a function by importing its module.
    sys.modules[module.__name__] = module
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def emit(
    variant: Variant, dialect: Dialect = TORCH, *,
    per_batch_lengths: bool = False, formula: str = "", ranges: Ranges | None = None,
) -> Emitted:
    """The module of a variant that went through all passes, with every size known that none of its tables has.

    `per_batch_lengths` says that `q_len` and `kv_len` are given as [B] instead of [1]; `formula` is what the comment at
    the top shows instead of the variant after the passes; `ranges` are what facts say of the values of int tables.
    Raises Unwritable for a function that the dialect lacks.
    """
    strength = Strength(ranges or {}, dialect.shifts, dialect.vectors) if dialect.terse else None
    in_masks = replace(dialect, writer=dialect.in_masks or dialect.writer)
    mask = _Function("mask_mod", variant, per_batch_lengths, in_masks, strength)
    parts = [mask.written(variant.mask or Literal(True, BOOL))]
    score = _Function("score_mod", variant, per_batch_lengths, dialect, strength)
    if variant.score is not None:
        parts.append(score.written(variant.score))
    support = support_for("\n".join(parts), dialect.support)
    approximates = any(OPERATORS in part for part in (support, *parts))
    imports = "import torch" + ("\n\nimport maskdsl.backends.fast_math" if approximates else "")
    pieces = [_header(variant, formula, imports), imports, *([support] if support else []), *parts]
    return Emitted(
        "\n\n\n".join(p.strip("\n") for p in pieces).replace("\n\n\nimport", "\n\nimport", 1) + "\n",
        mask.captures, score.captures, variant.mask is not None, variant.score is not None, mask.reads,
    )  # fmt: skip


def _header(variant: Variant, formula: str, imports: str) -> str:
    # The first two lines are fixed: a comment there could change the file's encoding (PEP 263).
    shown = formula or text(variant)
    needs = "torch alone" if imports == "import torch" else "torch and maskdsl"
    return "\n".join([f"# Generated by maskdsl. It needs {needs}.", "#", *map(_comment, shown.splitlines())])


def _comment(line: str) -> str:
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return f"# {printable}".rstrip()


class _Function:
    """One mod and its factory."""

    def __init__(
        self, name: str, variant: Variant, per_batch_lengths: bool, dialect: Dialect, strength: Strength | None
    ) -> None:
        self.name = name
        self.variant = variant
        self.per_batch_lengths = per_batch_lengths
        self.dialect = dialect
        self.strength = strength
        self.captures: tuple[Capture, ...] = ()
        self.reads: frozenset[str] = frozenset()
        self.clones: dict[str, str] = {}
        self.places: dict[int, str] = {}

    def written(self, root: Node) -> str:
        """The text of the factory; sets `captures` and `reads`."""
        if self.strength is not None:
            root = self.strength.reduced(root)
        if self.name == "score_mod" and self.dialect.trains:
            root = with_spread_indices(root)
        self.captures = _captures(root, self.variant)
        taken = {c.name for c in self.captures}
        self._name_places(root, taken)
        body = Body(self.dialect, self._leaves(root), taken)
        if self.strength is not None:
            body.natural = self.strength.is_natural
        (result,) = body.add([root])
        if len(result.text) > LONG:
            result = replace(result, text=body.named(result.text, "result"))
        returned = self._returned(body, root, result.text)
        if body.read & set(LENGTHS) and self.per_batch_lengths:
            body.read.add("b")
        if body.constants or (isinstance(root, Literal) and root.type is BOOL):
            body.read.add("q")
        if READS_SCORE in body.lines:
            body.read.add("k")
        self.reads = frozenset(body.read & COORDINATES.keys())
        return self._assembled(body, returned)

    def _name_places(self, root: Node, taken: set[str]) -> None:
        """Gives every place where a float table is looked up a tensor of its own: flex's backward allows one each."""
        names = {c.table: c.name for c in self.captures if c.table is not None}
        seen: set[str] = set()
        for node in topological(root):
            if not isinstance(node, Lookup):
                continue
            name = names[node.table]
            if name in seen and node.type is FLOAT and self.name == "score_mod":
                clone = safe_name(name, taken)
                taken.add(clone)
                self.clones[clone] = name
                self.places[id(node)] = clone
            seen.add(name)

    def _leaves(self, root: Node) -> Leaves:
        names = {c.table: c.name for c in self.captures if c.table is not None}
        lengths = {c.length: (c.name, "b" if self.per_batch_lengths else "") for c in self.captures if c.length}
        symbols = {n: n for n in (*COORDINATES, "score")}
        sizes = {
            axis: f"{names[table]}.shape[{place}]"
            for table in names for place, axis in enumerate(table.axes) if isinstance(axis, str)
        }  # fmt: skip
        return Leaves(symbols, lengths, sizes, lambda node: self.places.get(id(node), names[node.table]))

    def _returned(self, body: Body, root: Node, result: str) -> str:
        if self.name == "mask_mod":
            return tidy(self.dialect.constant(result, BOOL) if isinstance(root, Literal) else result)
        if "score" in body.read:
            return tidy(f"{result}.to(dtype)")
        body.lines.append(READS_SCORE)
        return tidy(f"torch.where(k < 0, score, {result}).to(dtype)")

    def _assembled(self, body: Body, returned: str) -> str:
        cast = self.dialect.coordinate
        casts = [f"{n} = {cast.format(COORDINATES[n])}" for n in COORDINATES if n in self.reads]
        if self.name == "score_mod":
            casts += ["dtype = score.dtype", *(["score = score.to(torch.float32)"] if "score" in body.read else [])]
        first = "score, " if self.name == "score_mod" else ""
        names = ", ".join(c.name for c in self.captures)
        clones = [f"    {new} = {old}.clone() if {old}.requires_grad else {old}" for new, old in self.clones.items()]
        head = [f"def make_{self.name}({names}):", *clones, *([""] if clones else [])]
        inner = [f"    def {self.name}({first}b, h, q_idx, kv_idx):", *(f"        {x}" for x in (*casts, *body.lines))]
        return "\n".join([*head, *inner, f"        return {returned}", "", f"    return {self.name}"])


def _captures(root: Node, variant: Variant) -> tuple[Capture, ...]:
    """The tables and lengths that an expression reads, tables in the order of the definition."""
    nodes = list(topological(root))
    read = {n.table for n in nodes if isinstance(n, Lookup)}
    known = (*variant.tables, *(d.table for d in variant.derived))
    for axis in {n.axis: None for n in nodes if isinstance(n, Size)}:
        if not any(axis in t.axes for t in read):
            read.add(next(t for t in known if axis in t.axes))
    lengths = [name for name in LENGTHS if any(isinstance(n, Symbol) and n.name == name for n in nodes)]
    captures: list[Capture] = []
    for table in (t for t in known if t in read):
        captures.append(Capture(safe_name(table.name, {c.name for c in captures}), table))
    return (*captures, *(Capture(name, None, name) for name in lengths))
