"""A definition with its constants fixed: what it says of itself, and what it offers without tables or with them.

Not here: the tensors (`bound`), where definitions come from (`maskdsl.api`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from maskdsl.binding.tables import BoundTables, Owner, bind_tables, spelt
from maskdsl.ir.nodes import LENGTHS, Variant
from maskdsl.ir.types import BUILT_IN_AXES, Table
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.tiles.limits import LONGEST

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask

    from maskdsl.backends.flex_kernels import Kernel
    from maskdsl.binding.arrangements import Arrangement
    from maskdsl.binding.bound import BlockSize, Bound
    from maskdsl.binding.lowered import Lowering
    from maskdsl.library.manifest import Manifest


class Program:
    """A mask, a score or a variant whose constants and mask parameters are fixed.

    Without tables it offers itself what `bind` gives: `mask_mod`, `score_mod`, `block_mask`, `attention`.
    """

    def __init__(
        self, variant: Variant, manifest: Callable[[], Manifest], constants: tuple[str, ...] = (),
        kernel: Kernel | None = None,
    ) -> None:  # fmt: skip
        self._variant = variant
        self._manifest = manifest
        self._constants = constants
        self._kernel = kernel
        self._lowering: Lowering | None = None
        self._bare: Bound | None = None

    def __repr__(self) -> str:
        tables = ", ".join(f"{t.name}: {spelt(t)}" for t in self._variant.tables)
        return f"<{self._variant.kind} {self._variant.name}({tables})>"

    @property
    def name(self) -> str:
        """The definition's name."""
        return self._variant.name

    @property
    def variant(self) -> Variant:
        """The definition as the compiler sees it, before any pass."""
        return self._variant

    @property
    def manifest(self) -> Manifest:
        """What the definition offers and needs: a pydantic model."""
        return self._manifest()

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that `bind` takes."""
        return tuple(t.name for t in self._variant.tables)

    @property
    def source(self) -> str:
        """The mods as Python text that needs torch alone. Raises MaskError E0609 where a size must be bound first."""
        lowering = self._lowered()
        if lowering.needed:
            raise MaskError(_needs_sizes(self._variant, sorted(lowering.needed)))
        from maskdsl.binding.standalone import standalone_text

        return standalone_text(lowering.at({}))

    @property
    def mask_mod(self) -> Callable[..., Tensor] | None:
        """`mask_mod(b, h, q_idx, kv_idx)` for FlexAttention; None for a score. Raises MaskError E0609 with tables."""
        return self._alone("mask_mod").mask_mod

    @property
    def score_mod(self) -> Callable[..., Tensor] | None:
        """`score_mod(score, b, h, q_idx, kv_idx)` for FlexAttention; None for a mask. MaskError E0609 likewise."""
        return self._alone("score_mod").score_mod

    def bind(self, /, **tables: Any) -> Bound:
        """The program over these tables: tensors, or arrays, lists and numbers, which are converted.

        `sizes={"head": 8}` gives sizes of axes, or `q_len` and `kv_len`, that neither a table nor a call will give.
        Raises MaskError: E0601 missing, E0602 shape, E0603 dtype, E0604 device, E0605 a fact that does not hold,
        E0606 unknown, E0607 an axis with two sizes.
        """
        bound_class = _bound_class()
        bound, sizes = self._checked(tables)
        own = () if self._kernel is None else (self._kernel,)
        return bound_class(self._lowered(), bound, sizes, *own)

    def block_mask(
        self, B: int | None, H: int | None, q_len: int, kv_len: int, *,
        device: torch.device | str | None = None, block_size: BlockSize = 128, kv_heads: int | None = None,
        exact: bool = False, transposed: bool = True, fresh: bool = False, out: BlockMask | None = None,
    ) -> BlockMask:
        """torch's BlockMask, as `Bound.block_mask` describes it. Raises MaskError E0609 with tables."""
        bare = self._alone("block_mask")
        return bare.block_mask(
            B, H, q_len, kv_len, device=device, block_size=block_size, kv_heads=kv_heads,
            exact=exact, transposed=transposed, fresh=fresh, out=out,
        )  # fmt: skip

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, *,
        block_size: BlockSize = 128, backend: str = "auto", precise: bool = False, tune: bool = False,
    ) -> Tensor:
        """Attention by a compiled kernel, as `Bound.attention` describes it. Raises MaskError E0609 with tables."""
        bare = self._alone("attention")
        return bare.attention(q, k, v, block_size=block_size, backend=backend, precise=precise, tune=tune)

    def arranged(self, layout: Arrangement) -> Bound:
        """The program in a layout, as `Bound.arranged` describes it. Raises MaskError E0609 with tables."""
        return self._alone("arranged").arranged(layout)

    def reference(self, /, q: ArrayLike, k: ArrayLike, v: ArrayLike, **tables: Any) -> NDArray[Any]:
        """The attention that the language defines, in NumPy: float64 [B, Hq, Q, Dv].

        Takes what `attention` takes, as arrays or tensors of any float dtype and on any device, and the tables by
        name. Raises MaskError as `bind` does, E0608 for shapes, E0607 where a table disagrees with them.
        """
        from maskdsl.binding.reference import reference

        bound, sizes = self._checked(tables)
        return reference(self._variant, (q, k, v), bound, tables, sizes)

    def _checked(self, given: dict[str, Any]) -> tuple[BoundTables, dict[str, int]]:
        sizes: Mapping[str, int] = {}
        if "sizes" not in self.tables and isinstance(given.get("sizes"), Mapping):
            sizes = given.pop("sizes")
        owner = Owner(self._variant.name, self._variant.span, self._variant.tables, self._constants)
        bound = bind_tables(owner, given)
        return bound, check_given_sizes(self._variant, sizes, bound.sizes)

    def _lowered(self) -> Lowering:
        if self._lowering is None:
            from maskdsl.binding.lowered import Lowering

            self._lowering = Lowering(self._variant)
        return self._lowering

    def _alone(self, wanted: str) -> Bound:
        """The program bound to no tables. Raises MaskError E0609 if it has some."""
        if self._variant.tables:
            raise MaskError(_needs_tables(self._variant, wanted))
        if self._bare is None:
            self._bare = self.bind()
        return self._bare


def check_given_sizes(variant: Variant, sizes: Mapping[str, Any], bound: Mapping[str, int]) -> dict[str, int]:
    """The sizes that a user gave by axis, beside those of the bound tables.

    Raises MaskError E0607 for an axis that is unknown, is not a positive int, or has another size in a table.
    """
    known = (*BUILT_IN_AXES, *LENGTHS)
    for axis, size in sizes.items():
        if axis not in known:
            message, help = f"`sizes` cannot give `{axis}`", f"it may give {', '.join(f'`{n}`' for n in known)}"
            notes = ("the sizes of other axes come from the tables",)
            raise MaskError(Diagnostic("E0607", message, variant.span, notes=notes, help=(help,)))
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LONGEST:
            what = "more than is possible" if isinstance(size, int) and size > LONGEST else "no positive int"
            message = f"`sizes` gives `{axis}` as {size!r}, which is {what}"
            raise MaskError(Diagnostic("E0607", message, variant.span))
        if axis != "position" and bound.get(axis, size) != size:
            table = next(t for t in variant.tables if axis in t.axes)
            message = f"`{axis}` is {bound[axis]} in `{table.name}`, and {size} in `sizes`"
            raise MaskError(Diagnostic("E0607", message, table.span))
    return dict(sizes)


def _bound_class() -> type[Bound]:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MaskError(Diagnostic(
            "E0704", "torch is not installed", notes=("mods, masks and kernels are torch's",),
            help=("`pip install torch` installs it",),
        )) from None
    from maskdsl.binding.bound import Bound

    return Bound


def _needs_tables(variant: Variant, wanted: str) -> Diagnostic:
    tables: tuple[Table, ...] = variant.tables
    named = ", ".join(f"{t.name}=…" for t in tables)
    return Diagnostic(
        "E0609", f"`{variant.name}` needs its tables before it has `{wanted}`", tables[0].span, "a table",
        help=(f"`.bind({named}).{wanted}`",),
    )


def _needs_sizes(variant: Variant, axes: list[str]) -> Diagnostic:
    listed = " and ".join(f"`size({axis})`" for axis in axes)
    return Diagnostic(
        "E0609", f"the text of `{variant.name}` depends on {listed}", variant.span,
        notes=("quantifiers are unrolled, and heads are numbers in a kernel",),
        help=("`.bind(…).source` has it once tables or `sizes` give the sizes",),
    )
