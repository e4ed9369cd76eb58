"""Block lists on the GPU: a Triton kernel written from the verdict of a mask, one program per row of tiles.

One launch fills the partial and the full lists, those of the backward pass too where they are wanted: each program
walks its row in vectors of tiles, decides them by the verdict's formulas and writes the indices at a running count.
Nothing is read back by the host. The kernel of a verdict is compiled once, and once more for very long rows: lengths,
tables and their strides are run-time arguments.

Not here: the tables that the verdict reads (`tile_tables`), torch's BlockMask (`flex_blocks`).
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends.block_lists import Lists
from maskdsl.backends.statements import Dialect, Statements
from maskdsl.backends.tile_tables import Call
from maskdsl.ir.emission import support_for
from maskdsl.ir.ops_triton import TRITON_SUPPORT, triton_literal
from maskdsl.ir.types import Scalar, Table
from maskdsl.tiles.verdict import Verdict

VECTOR = 256
"""Tiles decided at once by a program, the best of 256 to 2048 on an H100."""

PRECOMPILED: dict[str, Any] = {}
"""Kernel functions that need no Triton, by the text of their module: artifacts bring them."""

LONG = 1024
"""Rows of more tiles are faster by programs of one warp, others by two."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled builder; with `both` it lists, for every tile of keys, the tiles of queries as well."""

    source: str
    tables: tuple[Table, ...]
    sizes: tuple[str, ...]
    both: bool
    function: Any

    def launch(self, verdict: Verdict, call: Call, tables: Mapping[Table, Tensor]) -> Launch:
        """What fills the lists of a call; `tables` holds the bound tables and the verdict's own."""
        q_tiles, k_tiles = -(-call.q_len // verdict.q_block), -(-call.kv_len // verdict.k_block)
        bound = [tables[t] for t in self.tables]
        strides = [s for t in bound for s in t.stride()]
        sizes = (call.sizes[s] for s in self.sizes)
        numbers = (call.q_len, call.kv_len, q_tiles, k_tiles, call.batch, call.heads, *strides, *sizes)
        rows, longest = (q_tiles + k_tiles, max(q_tiles, k_tiles)) if self.both else (q_tiles, k_tiles)
        return Launch(
            self.function, rows * call.batch * call.heads, (*bound, *numbers), warps=2 if longest <= LONG else 1
        )


@dataclass(slots=True)
class Launch:
    """A kernel with all of its arguments but the lists, for lists of one shape on one device.

    Triton looks up at every launch which compiled kernel fits the arguments. Here they stay the same but for the lists,
    which are int32 buffers of any alignment, so what the first launch found serves the others.
    """

    function: Any
    programs: int
    arguments: tuple[Any, ...]
    warps: int
    again: Callable[..., None] | None = None

    def __call__(self, *lists: Lists) -> None:
        """Fills the lists: those of the forward pass, and of a kernel of both those of the backward pass."""
        device = lists[0].partial.device
        buffers = [buffer for direction in lists for buffer in direction]
        if device.type == "cuda" and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):  # Triton launches on the current one
                return self._launch(buffers)
        return self._launch(buffers)

    def _launch(self, buffers: list[Tensor]) -> None:
        if self.again is not None:
            return self.again(*buffers, *self.arguments, VECTOR)
        grid = (self.programs, 1, 1)
        compiled = self.function[grid](*buffers, *self.arguments, VECTOR=VECTOR, num_warps=self.warps)
        if compiled is not None and _takes_constants():
            self.again = compiled[grid]
        return None


@cache
def _takes_constants() -> bool:
    """Whether a compiled kernel is called with its constants among the arguments, as in the releases looked at."""
    from triton import __version__

    return bool(__version__.startswith(("3.6.", "3.7.")))


def kernel_for(verdict: Verdict, both: bool) -> Kernel:
    """The kernel of a verdict; equal texts share one compiled kernel in a process."""
    written = Statements(TRITON)
    possible, certain = written.text_of(verdict.possible), written.text_of(verdict.certain)
    source = _module(possible, certain, written, verdict, both)
    function = PRECOMPILED.get(source) or compiled_by_triton(source)
    return Kernel(source, tuple(written.tables), tuple(written.sizes), both, function)


def bring(source: str, function: Any) -> None:
    """Let a function that was compiled before stand for the kernel of a module text in this process."""
    PRECOMPILED[source] = function


@cache
def compiled_by_triton(source: str) -> Any:
    """The kernel function of a module text; Triton reads the text again through `linecache`."""
    name = f"<maskdsl block lists {len(linecache.cache)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "maskdsl_block_lists"}
    exec(compile(source, name, "exec"), namespace)
    return namespace["build_lists"]


def _load_text(number: int, indices: list[str], scalar: Scalar) -> str:
    terms = [f"widen({text}) * stride_{number}_{axis}" for axis, text in enumerate(indices)]
    kept = {Scalar.BOOL: " != 0", Scalar.INT: ".to(tl.int32)", Scalar.FLOAT: ".to(tl.float32)"}[scalar]
    return f"tl.load({' + '.join([f'table_{number}', *terms])}){kept}"


TRITON = Dialect(triton_literal, lambda function: function.triton, _load_text)


BUFFERS = ("partial_counts", "partial", "full_counts", "full")


def _module(possible: str, certain: str, written: Statements, verdict: Verdict, both: bool) -> str:
    """The text of the kernel's module."""
    tables = [f"table_{n}" for n in range(len(written.tables))]
    strides = [f"stride_{n}_{axis}" for n, t in enumerate(written.tables) for axis in range(max(1, len(t.axes)))]
    sizes = [f"size_{n}" for n in range(len(written.sizes))]
    numbers = ["q_len", "kv_len", "q_tiles", "k_tiles", "batch", "heads", *strides, *sizes]
    body = "\n".join(f"        {line}" for line in written.lines)
    blocks, lengths = {"q": verdict.q_block, "k": verdict.k_block}, {"q": "q_len", "k": "kv_len"}
    passed = ", ".join([*tables, *numbers])
    functions, buffers = [], []
    for row, column in (("q", "k"), ("k", "q")) if both else (("q", "k"),):
        functions.append(_DIRECTION.format(
            row=row, column=column, row_block=blocks[row], column_block=blocks[column], row_length=lengths[row],
            column_length=lengths[column], passed=passed, body=body or "        pass", possible=possible,
            certain=certain,
        ))  # fmt: skip
        buffers.append([f"{row}_{name}" for name in BUFFERS])
    programs = ("tl.program_id(0)", "tl.program_id(0) - before")
    calls = [
        f"list_rows_of_{names[0][0]}({program}, {', '.join(names)}, {passed}, VECTOR)"
        for names, program in zip(buffers, programs, strict=False)
    ]
    return _MODULE.format(
        support=support_for(body, TRITON_SUPPORT),
        functions="\n\n\n".join(functions),
        numbers=numbers,
        pointers=[*(name for names in buffers for name in names), *tables],
        arguments=", ".join([*(name for names in buffers for name in names), passed]),
        calls=(_BOTH if both else "    {}").format(*calls),
    )


_DIRECTION = '''\
@triton.jit
def list_rows_of_{row}(line, partial_counts, partial, full_counts, full, {passed}, VECTOR: tl.constexpr):
    {row}_tile = line % {row}_tiles
    b = line // {row}_tiles // heads
    h = line // {row}_tiles % heads
    {row}_low = {row}_tile * {row_block}
    {row}_high = tl.minimum({row}_low + {row_block}, {row_length}) - 1
    row_inside = {row}_low + {row_block} <= {row_length}
    line = line.to(tl.int64)
    some = 0
    every = 0
    for begin in range(0, {column}_tiles, VECTOR):
        at = begin + tl.arange(0, VECTOR)
        here = at < {column}_tiles
        {column}_tile = tl.minimum(at, {column}_tiles - 1)
        {column}_low = {column}_tile * {column_block}
        {column}_high = tl.minimum({column}_low + {column_block}, {column_length}) - 1
        inside = here & row_inside & ({column}_low + {column_block} <= {column_length})
{body}
        possible = here & {possible}
        whole = possible & inside & {certain}
        part = possible & (whole == 0)
        packed = part.to(tl.int32) + (whole.to(tl.int32) << 16)
        places = tl.cumsum(packed, 0) - packed
        tl.store(partial + line * {column}_tiles + some + (places & 65535), at, mask=part)
        tl.store(full + line * {column}_tiles + every + (places >> 16), at, mask=whole)
        total = tl.sum(packed, 0)
        some += total & 65535
        every += total >> 16
    tl.store(partial_counts + line, some)
    tl.store(full_counts + line, every)
'''

_BOTH = """\
    before = q_tiles * batch * heads
    if tl.program_id(0) < before:
        {}
    else:
        {}"""

_MODULE = '''\
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def widen(x):
    return tl.cast(x, tl.int64)


{support}


{functions}

@triton.jit(do_not_specialize={numbers}, do_not_specialize_on_alignment={pointers})
def build_lists({arguments}, VECTOR: tl.constexpr):
{calls}
'''
