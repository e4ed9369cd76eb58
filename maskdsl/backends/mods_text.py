"""Readable statements from expression graphs: what is shared, long or named by the user gets a line of its own.

A dialect says how literals, lookups and constants are written; the table of functions (`ir.ops`) says the rest.
Not here: modules with `mask_mod` and `score_mod` (`mods`), terse statements for machines (`statements`).
"""

from __future__ import annotations

import ast
import keyword
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from maskdsl.ir.emission import Argument, Writer
from maskdsl.ir.names import fresh, stem
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Size, Symbol, Value
from maskdsl.ir.ops import OPS, Function
from maskdsl.ir.ops_flash import FLASH_SUPPORT
from maskdsl.ir.ops_inductor import INDUCTOR_SUPPORT
from maskdsl.ir.ops_torch import TORCH_SUPPORT, torch_literal
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar
from maskdsl.ir.walk import children, topological

LONG = 72
"""An expression of more characters than this gets a line of its own."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a language writes what is no row of the table.

    `lookup` takes the table's text, the indices' texts and the type; `constant` the text of a literal or of a length
    that must be a tensor, and its type. `support` are the functions that its expressions may call. A `terse` dialect
    takes its text from the program in its cheapest form (`mods_strength`). `repeats` says which rows write an argument
    more than once: they get names. `coordinate` makes an int32 of a coordinate's text. `in_masks` is the `writer` of
    masks, if they have their own. `trains` says that gradients may reach float tables, `shifts` that ints have them,
    `vectors` that what one coordinate decides is computed once for a row or a column of a tile, not for every pair.
    """

    literal: Callable[[Value], str]
    writer: Callable[[Function], Writer]
    lookup: Callable[[str, list[str], Scalar], str]
    constant: Callable[[str, Scalar], str]
    support: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    terse: bool = False
    repeats: Callable[[Function], bool] = lambda function: False
    coordinate: str = "{}.to(torch.int32)"
    in_masks: Callable[[Function], Writer] | None = None
    trains: bool = True
    shifts: bool = True
    vectors: bool = False


@dataclass(frozen=True, slots=True)
class Leaves:
    """The texts of what expressions read: symbols by name, sizes by axis, and the table of each lookup.

    A length is a table and the text of its index, "" if it has one element.
    """

    symbols: Mapping[str, str]
    lengths: Mapping[str, tuple[str, str]]
    sizes: Mapping[str, str]
    table: Callable[[Lookup], str]


@dataclass(slots=True)
class Body:
    """Straight-line code: `lines` grow with the values asked for; `taken` are names in use, `read` the symbols read.

    `natural` tells of a node whether it is an int known to be at least 0.
    """

    dialect: Dialect
    leaves: Leaves
    taken: set[str]
    lines: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    values: dict[int, Argument] = field(default_factory=dict)
    constants: dict[tuple[str, Scalar], str] = field(default_factory=dict)
    gathered: dict[str, str] = field(default_factory=dict)
    count: int = 0
    natural: Callable[[Node], bool] = lambda node: False

    def add(self, roots: Sequence[Node]) -> list[Argument]:
        """The values of some expressions; each node is written once, however often they share it."""
        nodes = list(topological(roots))
        uses = Counter(id(c) for n in nodes for c in children(n))
        for node in nodes:
            if isinstance(node, Size):
                continue  # written where it is used: `size(n) - 1` needs no tensor of `size(n)`
            made = self._written(node)
            if isinstance(node, Op | Lookup) and _deserves_a_line(node, made, uses[id(node)]):
                made = replace(made, text=self.named(made.text, stem(node)))
            self.values[id(node)] = made
        return [self.value(r) for r in roots]

    def value(self, node: Node) -> Argument:
        """The value of a node that has been written, or of a size."""
        if isinstance(node, Size):
            return Argument(self._constant(self.leaves.sizes[node.axis], INT, f"size_{node.axis}"), INT)
        return self.values[id(node)]

    def named(self, text: str, wanted: str) -> str:
        """The name of a new line that holds the value of `text`."""
        if not wanted:
            self.count += 1
        name = safe_name(wanted or f"t{self.count}", self.taken)
        self.taken.add(name)
        self.lines.append(f"{name} = {tidy(text)}")
        return name

    def tensor(self, value: Argument) -> str:
        """The text of a value as a tensor; literals become one."""
        if not value.is_literal:
            return value.text
        return self._constant(value.text, value.type, "zero" if value.value == 0 else f"at_{value.text}")

    def zero(self) -> str:
        """The text of a tensor of 0: the index of what has one element."""
        return self._constant("0", INT, "zero")

    def _constant(self, text: str, scalar: Scalar, wanted: str) -> str:
        if (text, scalar) not in self.constants:
            self.constants[text, scalar] = self.named(self.dialect.constant(text, scalar), wanted)
        return self.constants[text, scalar]

    def _symbol(self, name: str) -> str:
        self.read.add(name)
        if name in self.leaves.symbols:
            return self.leaves.symbols[name]
        if name not in self.gathered:
            table, index = self.leaves.lengths[name]
            self.gathered[name] = self.named(self.dialect.lookup(table, [index or self.zero()], INT), f"{name}gth")
        return self.gathered[name]

    def _written(self, node: Node) -> Argument:
        match node:
            case Literal(value=value):
                return Argument(self.dialect.literal(value), node.type, value)
            case Symbol(name=name):
                return Argument(self._symbol(name), node.type)
            case Lookup(indices=indices):
                texts = [self.tensor(self.value(i)) for i in indices] or [self.zero()]
                return Argument(self.dialect.lookup(self.leaves.table(node), texts, node.type), node.type)
            case Op(name="sub", args=(Size(axis=axis), Literal(value=1))):
                return Argument(self._constant(f"{self.leaves.sizes[axis]} - 1", INT, f"last_{axis}"), INT)
            case Op(name=name, args=args):
                given = self._arguments(args, named=self.dialect.repeats(OPS[name]))
                return Argument(self.dialect.writer(OPS[name])(*given), node.type)
        raise AssertionError(f"{type(node).__name__} has no place after the passes")

    def _arguments(self, args: Sequence[Node], named: bool) -> list[Argument]:
        """The arguments' texts, at least one of them no literal: the rows need a tensor."""
        for arg in args if named else ():
            value = self.value(arg)
            if not value.is_literal and not value.text.isidentifier():
                self.values[id(arg)] = replace(value, text=self.named(value.text, ""))
        texts = [replace(self.value(a), natural=self.natural(a)) for a in args]
        if all(t.is_literal for t in texts):
            texts[0] = Argument(self.tensor(texts[0]), texts[0].type)
        return texts


def emit_expression(node: Node, leaves: Leaves, dialect: Dialect, taken: Iterable[str] = ()) -> list[str]:
    """The statements that compute a node; the last of them gives its value a name."""
    body = Body(dialect, leaves, {*taken, *leaves.symbols.values()})
    (result,) = body.add([node])
    body.named(result.text, "value")
    return body.lines


def _deserves_a_line(node: Op | Lookup, made: Argument, uses: int) -> bool:
    return uses > 1 or (uses == 1 and bool(node.hint)) or (uses == 1 and len(made.text) > LONG)


def tidy(text: str) -> str:
    """The same expression with no more parentheses than Python needs."""
    return ast.unparse(ast.parse(text, mode="eval"))


RESERVED = frozenset(keyword.kwlist) | frozenset(keyword.softkwlist) | frozenset({
    *INDUCTOR_SUPPORT, *FLASH_SUPPORT, "maskdsl", "torch", "b", "h", "q", "k", "q_idx", "kv_idx", "score", "dtype",
    "q_len", "kv_len", "mask_mod", "score_mod",
    "make_mask_mod", "make_score_mod",
})  # fmt: skip
"""Names that emitted Python uses for itself."""


def safe_name(wanted: str, taken: Iterable[str]) -> str:
    """A Python name like `wanted` that means nothing else: no keyword, no name of the module, not taken."""
    plain = wanted.strip("_") if wanted.isascii() and wanted.isidentifier() else ""
    plain = plain if plain.isidentifier() else "value"
    return fresh(f"{plain}_" if plain in RESERVED else plain, taken)


def torch_lookup(table: str, indices: list[str], scalar: Scalar) -> str:
    """A gather; ints become int32 and floats float32 after it, whatever the table stores."""
    gathered = f"{table}[{', '.join(indices)}]"
    return gathered if scalar is BOOL else f"{gathered}.to({TORCH_DTYPES[scalar]})"


TORCH_DTYPES = {BOOL: "torch.bool", INT: "torch.int32", FLOAT: "torch.float32"}


def torch_constant(text: str, scalar: Scalar) -> str:
    """A tensor of one value, shaped like the coordinate `q`."""
    if scalar is INT:
        return "torch.zeros_like(q)" if text == "0" else f"torch.full_like(q, {text})"
    return f"torch.full_like(q, {text}, dtype={TORCH_DTYPES[scalar]})"


def flash_constant(text: str, scalar: Scalar) -> str:
    """As `torch_constant`, but no constant to the compiler: CuteDSL loads nothing from an index that is one.

    A mask that is a constant is taken for none, so `false` is a comparison.
    """
    if scalar is INT:
        return f"torch.where(q < 0, q, {text})"
    return "(q < 0)" if text == "False" else torch_constant(text, scalar)


TORCH = Dialect(
    torch_literal, lambda f: f.torch, torch_lookup, torch_constant, TORCH_SUPPORT, "torch",
    coordinate="{}.long().int()",
)  # fmt: skip
"""The textbook form: for eager calls, and for the CPU.

torch traces coordinates as int32, so that `.int()` alone is nothing, but the CPU's kernels hold them in 64 bits.
"""

INDUCTOR_PRECISE = Dialect(
    torch_literal, lambda f: f.inductor if f.inductor and f.signatures[0][1] is INT else f.torch, torch_lookup,
    torch_constant, INDUCTOR_SUPPORT, "inductor precise", terse=True, vectors=True,
)  # fmt: skip
"""What Inductor turns into Triton: functions of floats as in the textbook, ints in the GPU's fast forms."""

INDUCTOR = replace(
    INDUCTOR_PRECISE, writer=lambda f: f.inductor or f.torch, name="inductor", in_masks=INDUCTOR_PRECISE.writer
)
"""The same with the GPU's fast forms of floats, but in masks: they are off by more than the bounds of tiles allow for,
and what is nearly visible must not be visible.
"""


def _written_often(function: Function) -> bool:
    """The rows whose forms for CuteDSL write an argument more than once."""
    return function.name in ("min", "max", "clamp")


FLASH_PRECISE = Dialect(
    torch_literal, lambda f: f.flash or f.torch, torch_lookup, flash_constant, FLASH_SUPPORT, "flash precise",
    terse=True, repeats=_written_often, trains=False, shifts=False,
)  # fmt: skip
"""What Inductor turns into CuteDSL, for FlashAttention-4."""

FLASH = replace(
    FLASH_PRECISE, writer=lambda f: f.flash_fast or f.flash or f.torch, name="flash", in_masks=FLASH_PRECISE.writer
)
"""The same in the GPU's fast forms, but for masks."""

DIALECTS = (TORCH, INDUCTOR, INDUCTOR_PRECISE, FLASH, FLASH_PRECISE)
"""Every dialect of mods."""
