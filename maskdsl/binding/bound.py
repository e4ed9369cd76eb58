"""A definition with its tables bound: its mods, its BlockMask, its attention.

Not here: checking tables (`tables`, `facts`), the definition without its tables (`program`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends import flex
from maskdsl.backends.flex_blocks import Shape
from maskdsl.backends.flex_kernels import Kernel, call
from maskdsl.backends.flex_limits import require_device
from maskdsl.backends.kernel_choice import Machine
from maskdsl.backends.mods import Emitted
from maskdsl.backends.mods_text import TORCH
from maskdsl.backends.tile_plan import Builder
from maskdsl.backends.torch_statements import torch_function
from maskdsl.binding.bound_texts import elsewhere, not_ours, sizes_unknown
from maskdsl.binding.choice import Choices, Settled, Wish, machine_of
from maskdsl.binding.derived import derived_tables
from maskdsl.binding.device import build_device
from maskdsl.binding.facts import broken_facts, split_facts
from maskdsl.binding.kept import Kept
from maskdsl.binding.lowered import Lowered, Lowering
from maskdsl.binding.shapes import Lengths, check_call, check_lengths, check_sizes, sides_of
from maskdsl.binding.standalone import standalone_text
from maskdsl.binding.tables import BoundTables
from maskdsl.binding.tile_masks import Formula, Prepared, TileMasks
from maskdsl.ir.nodes import LENGTHS, Node, Variant
from maskdsl.ir.types import Table
from maskdsl.meaning.facts import all_facts
from maskdsl.source.diagnostic import MaskError

if TYPE_CHECKING:
    from maskdsl.binding.arrangements import Arrangement

BlockSize = int | tuple[int, int]

F = TypeVar("F", bound=Callable[..., Any])


def outside_graphs(function: F) -> F:
    """The function, which torch.compile does not trace into: what is compiled in it has graphs of its own.

    Dynamo, whose import takes seconds, is not imported for it: where nobody has, nothing is traced.
    """
    hidden: list[F] = []

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not hidden:
            hidden.append(torch.compiler.disable(function))
        return hidden[0](*args, **kwargs)

    return cast("F", called)


class Bound:
    """A definition with its constants fixed and its tables bound.

    Tables are captured, not copied (but for those that were not contiguous): what is written into one shows in the next
    call, and what `requires` says of it is not checked again, unless by `check`.
    """

    def __init__(
        self, lowering: Lowering, tables: BoundTables, sizes: Mapping[str, int], kernel: Kernel = call
    ) -> None:
        self._lowering = lowering
        self._kernel = kernel
        self._variant = lowering.variant
        self._bound = tables
        self._sizes = {**tables.sizes, **sizes}
        self._carriers = {axis: t for t in tables.tensors for axis in t.axes if isinstance(axis, str)}
        self._moved: dict[torch.device, dict[Table, Tensor]] = {}
        self._masks = TileMasks()
        self._calls: Kept[tuple[flex.Mods, Formula]] = Kept()
        self._ready: Kept[tuple[Callable[..., Tensor] | None, Prepared]] = Kept()
        self._derived: Kept[dict[Table, Tensor]] = Kept()
        self._forms: Kept[flex.Mods] = Kept()
        self._choices = Choices(self._variant.span)
        self.layout = "dense"
        ready, self._waiting = split_facts(all_facts(self._variant), self._sizes)
        self._settled: set[frozenset[tuple[str, int]]] = set()
        self._check_facts(ready, self._sizes)

    def __repr__(self) -> str:
        tables = ", ".join(f"{t.name}={tuple(x.shape)}" for t, x in self._bound.tensors.items())
        return f"<{self._variant.kind} {self._variant.name} bound to ({tables})>"

    @property
    def tables(self) -> dict[str, Tensor]:
        """The bound tensors by name."""
        return {t.name: tensor for t, tensor in self._bound.tensors.items()}

    @property
    def variant(self) -> Variant:
        """The definition as the compiler sees it, before any pass."""
        return self._variant

    @property
    def bound_tables(self) -> BoundTables:
        """The bound tensors by table."""
        return self._bound

    def check(self) -> None:
        """Checks again what `requires` says of the tables, after somebody wrote into them. Raises MaskError E0605.

        Nothing is right of a mask whose facts do not hold: kernels skip tiles by them.
        """
        ready, _ = split_facts(all_facts(self._variant), self._sizes)
        self._check_facts(ready, self._sizes)
        for sizes in self._settled:
            self._check_facts(self._waiting, dict(sizes))

    @property
    def sizes(self) -> dict[str, int]:
        """The lengths of axes that tables or `bind(sizes=…)` gave."""
        return dict(self._sizes)

    def arranged(self, layout: Arrangement) -> Bound:
        """The same meaning in a layout's physical coordinates, such as `maskdsl.Packed(cu_seqlens)`.

        What it offers, mods, BlockMasks and attention, is then for q, k and v as they stand in memory; `batch` and
        `position` of tables go on meaning the request and the logical place.
        """
        from maskdsl.binding.arranged import arranged

        return arranged(self, layout)

    @property
    def source(self) -> str:
        """The mods as Python text that needs torch alone, with what computes the tables that passes add.

        Raises MaskError E0609 where a size is missing.
        """
        self._require(self._lowering.needed)
        return standalone_text(self._lowering.at(self._sizes))

    @property
    def mask_mod(self) -> Callable[..., Tensor] | None:
        """`mask_mod(b, h, q_idx, kv_idx)` for FlexAttention, over the bound tables; None without a mask.

        Raises MaskError E0609 when it depends on sizes or lengths that neither the tables nor `bind(sizes=…)` give.
        """
        made = self._mods_alone().make_mask_mod
        return made() if made is not None else None

    @property
    def score_mod(self) -> Callable[..., Tensor] | None:
        """`score_mod(score, b, h, q_idx, kv_idx)` for FlexAttention, over the bound tables; None without a score.

        Raises MaskError E0609 as `mask_mod` does.
        """
        made = self._mods_alone().make_score_mod
        return made() if made is not None else None

    @outside_graphs
    def block_mask(
        self, B: int | None, H: int | None, q_len: int, kv_len: int, *,
        device: torch.device | str | None = None, block_size: BlockSize = 128, kv_heads: int | None = None,
        exact: bool = False, transposed: bool = True, fresh: bool = False, out: BlockMask | None = None,
    ) -> BlockMask:
        """torch's BlockMask for B batch rows and H query heads (None: 1) over `kv_heads` (None: H), lengths in tokens.

        The tiles are decided from the formula's bounds: no pair is evaluated, unless `exact` asks for the pairs of the
        tiles that the bounds leave open. `transposed` adds the lists of the backward pass. A mask is kept while nobody
        writes into its tables; `fresh` makes its lists anew. Writes that torch does not count, through NumPy, `.data`,
        a kernel of one's own or a CUDA graph that is replayed, go unnoticed but by `out`.
        Its lists have one batch row or one head where the mask is the same for all. The device is that of the tables,
        or the accelerator, if None. `out` is a mask that an earlier call of this very object gave for the same lengths
        and blocks: its lists are filled anew, in place, from what the tables hold now; on CUDA nothing is read back, so
        a CUDA graph may capture it. Int tables whose values lay within ±2**26 must keep to that then.
        Raises MaskError E0607 where tables or `out` disagree, E0610 for impossible sizes, E0701 for a GPU that is not
        there.
        """
        heads = 1 if H is None else H
        lengths = Lengths(1 if B is None else B, heads, heads if kv_heads is None else kv_heads, q_len, kv_len)
        block = sides_of(block_size, self._variant.span)
        if out is not None:
            return self._refilled(out, lengths, block, exact)
        where = build_device(device, self._bound.tensors.values())
        if where not in self._moved:
            require_device(where, self._variant.span)
        prepare = partial(self._prepared, lengths, block, where)
        with _plain_tensors():
            mask_mod, ready = self._ready.get((lengths, block, where), self._tensors(where).values(), prepare)
            return self._masks.get_of(ready, mask_mod, transposed, exact=exact, fresh=fresh)

    def _prepared(
        self, lengths: Lengths, block: tuple[int, int], device: torch.device
    ) -> tuple[Callable[..., Tensor] | None, Prepared]:
        """The mask mod of a call, and what its masks are made of."""
        lengths = check_lengths(lengths, self._variant.span)
        mods, formula = self._mods(lengths, device)
        batch, heads = (lengths.batch if "b" in mods.reads else 1), (lengths.head if "h" in mods.reads else 1)
        shape = Shape(batch, heads, lengths.q_len, lengths.kv_len, *block)
        return _mask_mod(mods), self._masks.prepared(formula, shape, device)

    def _refilled(self, out: BlockMask, lengths: Lengths, block: tuple[int, int], exact: bool) -> BlockMask:
        """The mask `out` after its lists were filled anew."""
        made = self._masks.made.get(out)
        if made is None or out.BLOCK_SIZE != block or not made.is_for(lengths):
            raise MaskError(not_ours(self._variant.name, out, lengths, block, self._variant.span))
        with _plain_tensors():
            self._masks.refill(out, exact=exact)
        return out

    @outside_graphs
    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, *,
        block_size: BlockSize = 128, backend: str = "auto", precise: bool = False, tune: bool = False,
    ) -> Tensor:
        """Attention by a compiled FlexAttention kernel: [B, Hq, Q, Dv] in q's dtype; rows that see nothing are 0.

        q is [B, Hq, Q, D], k [B or 1, Hkv, K, D], v [B or 1, Hkv, K, Dv], float32, bfloat16 or float16, Hq a multiple
        of Hkv. Gradients reach q, k, v and float tables on CUDA.
        `backend` is "flash" (FlashAttention-4), "triton", "cpu", or "auto": the first of them that can do the call. On
        CUDA in half precision, tanh and the like in scores are the GPU's approximations unless the call is `precise`.
        `tune` tries a few block sizes and options once and remembers the fastest, on disk as well.
        Raises MaskError: E0607 and E0608 for shapes, E0604 for tables on another device, E0605 for a fact that only the
        call's sizes decide, E0702, E0703 and E0705 for what the kernel cannot do. Inside a function under torch.compile
        this is a graph break; `mask_mod`, `score_mod` and `block_mask` serve flex_attention there.
        """
        lengths, block = check_call(q, k, v, self._variant.span), sides_of(block_size, self._variant.span)
        if q.device.type == "cpu" and backend in ("auto", "cpu") and not tune:
            mods, formula = self._mods(lengths, q.device)
            return flex.attention(mods, (q, k, v), self._blocks(formula, mods), block=block)
        backend = "triton" if backend == "auto" and self._kernel is not call else backend  # what is compiled is its
        learned = tuple(t for t, x in self._bound.tensors.items() if x.requires_grad)

        def run() -> Tensor:
            wish = Wish(backend, precise, block, self.layout, learned, guarded=self._kernel is not call)
            mods, blocks, settled = self.planned(lengths, (q, k, v), wish, machine_of(q.device))
            settled = self._choices.tuned(mods, (q, k, v), blocks, settled) if tune else settled
            return flex.attention(mods, (q, k, v), blocks, block=settled.block, plan=settled.plan)
        return self._choices.or_by_triton(backend, run)

    def planned(
        self, lengths: Lengths, qkv: tuple[Tensor, Tensor, Tensor], wish: Wish, machine: Machine
    ) -> tuple[flex.Mods, flex.Blocks, Settled]:
        """How a call runs on a machine, which may be another than the tensors': its mods, BlockMasks, kernel.

        Raises MaskError as `attention` does.
        """
        mods, formula = self._mods(lengths, qkv[0].device)
        visits = partial(self._masks.visits, formula, wish.block, lengths)
        settled = self._choices.settled(lengths, qkv, wish, self._lowering.at(formula.sizes), machine, visits)
        mods = self._in_dialect(mods, formula, settled, (lengths, qkv[0].device))
        return mods, self._blocks(formula, mods), settled

    def _blocks(self, formula: Formula, mods: flex.Mods) -> flex.Blocks:
        return partial(self._masks.get, formula, _mask_mod(mods))

    def list_builder(self, mods: flex.Mods, lengths: Lengths, qkv: tuple[Tensor, Tensor, Tensor],
                     block: tuple[int, int]) -> Builder:  # fmt: skip
        """What makes the lists of a call's BlockMask."""
        _, formula = self._mods(lengths, qkv[0].device)
        shape = flex.mask_shape(mods, qkv[0], qkv[1], block)
        return self._masks.prepared(formula, shape, qkv[0].device).builder

    # ---------------------------------------------------------------- sizes, facts, devices

    def _require(self, names: frozenset[str]) -> None:
        missing = sorted(names - self._sizes.keys())
        if missing:
            raise MaskError(sizes_unknown(self._variant.name, missing, self._variant.span))

    def _check_facts(self, facts: tuple[Node, ...], sizes: Mapping[str, int]) -> None:
        wrong = broken_facts(facts, self._bound.tensors, sizes)
        if wrong:
            raise MaskError(wrong)

    def _settle_facts(self, sizes: Mapping[str, int]) -> None:
        """Check the facts that needed the call's sizes, once for each set of sizes."""
        key = frozenset(sizes.items())
        if self._waiting and key not in self._settled:
            self._check_facts(self._waiting, sizes)
            self._settled.add(key)

    def _tensors(self, device: torch.device) -> dict[Table, Tensor]:
        """The tables on a device: those that were given as arrays or lists move there, tensors must be there."""
        if device not in self._moved:
            for table, tensor in self._bound.tensors.items():
                if table not in self._bound.converted and tensor.device != device:
                    raise MaskError(elsewhere(table, tensor, device))
            self._moved[device] = {t: x.to(device) for t, x in self._bound.tensors.items()}
        return self._moved[device]

    # ---------------------------------------------------------------- mods and masks

    def _mods_alone(self) -> flex.Mods:
        """The mods without a call: what is not in the tables comes from `bind(sizes=…)`."""
        self._require(self._lowering.needed | self._lowering.lengths)
        return self._made(self._sizes, build_device(None, self._bound.tensors.values()))[0]

    def _mods(self, lengths: Lengths, device: torch.device) -> tuple[flex.Mods, Formula]:
        """The mods of a call with these sizes, and the formula of its tiles."""
        tensors = self._tensors(device)
        mods, formula = self._calls.get((lengths, device), tensors.values(), partial(self._of_call, lengths, device))
        if mods.sink is not None and any(t.requires_grad for t in tensors.values()):
            # A backward pass frees what it went through: every call has a sink of its own.
            sink = _sink(self._lowering.at(formula.sizes), formula.tables, formula.sizes, device)
            return replace(mods, sink=sink), formula
        return mods, formula

    def tables_of_call(self, lengths: Lengths, device: torch.device) -> Mapping[Table, Tensor]:
        """The bound tables and those made of them: the very tensors that a call of these sizes captures."""
        return self._mods(lengths, device)[1].tables

    def _of_call(self, lengths: Lengths, device: torch.device) -> tuple[flex.Mods, Formula]:
        sizes = check_sizes(lengths, self._sizes, self._carriers, self._variant.span)
        sizes |= {"q_len": lengths.q_len, "kv_len": lengths.kv_len}
        self._settle_facts(sizes)
        return self._made(sizes, device)

    def _in_dialect(
        self, mods: flex.Mods, formula: Formula, settled: Settled, of_call: tuple[Lengths, torch.device]
    ) -> flex.Mods:
        """The same mods, written in the dialect of a call's kernel."""
        if settled.dialect is TORCH:
            return mods

        def build() -> flex.Mods:
            emitted = self._lowering.at(formula.sizes).form(settled.dialect, settled.inside)
            return replace(mods, **self._code(emitted, formula.tables, formula.sizes, of_call[1]))

        made = self._forms.get((of_call, settled.dialect.name, settled.inside), formula.tables.values(), build)
        return made if made.sink is mods.sink else replace(made, sink=mods.sink)

    def _code(
        self, emitted: Emitted, tensors: Mapping[Table, Tensor], sizes: Mapping[str, int], device: torch.device
    ) -> dict[str, Any]:
        """What of `Mods` is code, over these tensors."""
        lengths = {name: _one_element(sizes[name], device) for name in LENGTHS if name in sizes}
        return {
            "text": emitted.source,
            "make_mask_mod": partial(emitted.make_mask_mod, tensors, lengths) if emitted.has_mask else None,
            "make_score_mod": partial(emitted.make_score_mod, tensors, lengths) if emitted.has_score else None,
            "captured": tuple(tensors[t] for t in emitted.tables),
        }

    def _made(self, sizes: Mapping[str, int], device: torch.device) -> tuple[flex.Mods, Formula]:
        lowered = self._lowering.at(sizes)
        tensors = self._tensors(device)
        if lowered.variant.derived:
            build = partial(derived_tables, lowered.variant.derived, tensors)
            tensors = tensors | self._derived.get((lowered.emitted.source, device), tensors.values(), build)
        emitted = lowered.emitted
        mods = flex.Mods(
            name=self._variant.name, span=self._variant.span, reads=emitted.mask_reads & {"b", "h"},
            scale=lowered.scale, sink=_sink(lowered, tensors, sizes, device), normalize=lowered.normalize,
            kernel=self._kernel, **self._code(emitted, tensors, sizes, device),
        )  # fmt: skip
        mask = partial(self._lowering.tile_mask_at, sizes)
        return mods, Formula(mask, emitted.source, tensors, sizes, self._lowering.ranges, lowered.variant.derived)


def _plain_tensors() -> AbstractContextManager[None]:
    """Where tensors are made that any pass may keep, and nothing is recorded."""
    return _outside_inference() if torch.is_inference_mode_enabled() else torch.no_grad()


@contextmanager
def _outside_inference() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad():
        yield


def _mask_mod(mods: flex.Mods) -> Callable[..., Tensor] | None:
    return mods.make_mask_mod() if mods.make_mask_mod is not None else None


def _sink(
    lowered: Lowered, tensors: Mapping[Table, Tensor], sizes: Mapping[str, int], device: torch.device
) -> Tensor | None:
    """The sink of every head, float32 [1, Hq]; gradients reach its table."""
    if lowered.variant.sink is None or not lowered.normalize or "head" not in sizes:
        return None
    heads = torch.arange(sizes["head"], dtype=torch.int32, device=device)
    (values,) = torch_function([lowered.variant.sink], ("h",))({"h": heads}, tensors, sizes)
    return values.float().expand(sizes["head"])[None]


@cache
def _one_element(value: int, device: torch.device) -> Tensor:
    """A length as the mods capture it, int32 [1]; never an inference tensor, which no backward pass could keep."""
    with torch.inference_mode(False):
        return torch.full((1,), value, dtype=torch.int32, device=device)
