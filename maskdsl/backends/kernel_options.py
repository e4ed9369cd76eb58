"""The options that Triton's kernels run with where torch's own choice is not the best: one table, and what to search.

A row says where it holds and what it sets; the first row that sets an option wins. Options that a call cannot do
without (small pages, bias tables) are in `flex_limits` and win over all rows. Times are in `why`, from one H100 with
torch 2.11 in bfloat16; a row without one was not timed. Not here: searching and remembering (`tuning`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maskdsl.backends.kernel_choice import WHOLE, Machine, Request

Options = tuple[tuple[str, int | bool | str], ...]

HALVES = ("bfloat16", "float16")

FEW, MANY = 6, 12
"""Tiles that a row of queries visits: below the first small tiles are the fastest, from the second on loads by TMA."""


@dataclass(frozen=True, slots=True)
class Row:
    """Options for a kind of call: "decode" or "main", a compute capability, dtypes, head_dims and layouts.

    Rows for "main" are for blocks that are multiples of 128, or, `narrow`, for smaller ones of keys beside 128 queries:
    those have tiles as wide as the block (`flex_limits`), and a row may say how many queries such a tile has.
    The layout "paged pairs" is "paged" where some table is read by query and key at once.
    `crowded` rows are for calls with more batch rows times key/value heads than the device has multiprocessors; `whole`
    ones for lengths that are multiples of 128; `busy` ones for queries that are known to visit many tiles, `calm` ones
    for those that are known to visit few.
    """

    kernel: str
    capability: tuple[int, int]
    options: Options
    why: str
    dtypes: tuple[str, ...] = HALVES
    head_dims: tuple[int, int] = (1, 256)
    layouts: tuple[str, ...] = ("dense", "packed", "paged", "paged pairs")
    crowded: bool = False
    whole: bool = False
    narrow: bool = False
    busy: bool = False
    calm: bool = False

    def holds(self, kernel: str, machine: Machine, request: Request) -> bool:
        """Whether the row is for this call."""
        lengths = (request.q_len, request.kv_len)
        return (
            (kernel, machine.capability) == (self.kernel, self.capability)
            and (kernel == "decode" or self._tiles(*request.block))
            and request.dtype in self.dtypes
            and request.layout in self.layouts
            and self.head_dims[0] <= request.head_dim <= self.head_dims[1]
            and (not self.crowded or 0 < machine.multiprocessors < request.rows)
            and (not self.whole or not any(n % WHOLE for n in lengths))
            and (not self.busy or request.visits[0] >= MANY)
            and (not self.calm or request.visits[1] < FEW)
        )

    def _tiles(self, queries: int, keys: int) -> bool:
        return queries % 128 == 0 and (keys % 128 > 0) == self.narrow


TABLE: tuple[Row, ...] = (
    Row("decode", (9, 0), (("fwd_num_stages", 3),),
        "torch takes 1 stage by an oversight. 64 requests x 8192 keys, 32/8 heads: 0.73 ms against 0.99 with pages of "
        "16; 0.45 against 0.50 with pages of 128 and lengths from 256 to 8192"),
    Row("decode", (9, 0), (("SPLIT_KV", 4),), "torch takes 1 where the rows alone fill the device, so that the longest "
        "row is what a call waits for", layouts=("dense",), crowded=True),
    Row("main", (9, 0), (("fwd_BLOCK_M", 128), ("fwd_BLOCK_N", 128), ("fwd_num_warps", 8)),
        "4 x 2048 new tokens on 6144 cached ones, 32/8 heads, pages of 128: 425 TFLOP/s against 402; at a head_dim of "
        "64 torch's 4 warps spill 832 bytes of registers, 8 none (compiled, not timed)",
        head_dims=(16, 128), layouts=("paged",)),
    Row("main", (9, 0), (("fwd_BLOCK_M", 64), ("fwd_BLOCK_N", 64), ("fwd_num_warps", 4), ("fwd_num_stages", 2)),
        "what is looked up by query and key at once is a tile that the kernel holds as well: of 232,448 bytes of "
        "shared memory it wants 361,472 with tiles of 128 x 128, 98,304 with these (compiled, not timed)",
        layouts=("paged pairs",)),
    Row("main", (9, 0), (("fwd_BLOCK_M", 128), ("fwd_num_warps", 8), ("fwd_num_stages", 3)),
        "402 TFLOP/s with tiles of 128 x 64 on pages of 128. Of 64 queries torch's 8 warps would take half of the keys "
        "each: products of 64 x 8 with pages of 16, where a tensor core takes 64 x 256 (compiled, not timed)",
        head_dims=(16, 128), layouts=("paged",), narrow=True),
    Row("main", (9, 0), (("fwd_BLOCK_M", 128), ("fwd_num_warps", 8), ("fwd_num_stages", 2)),
        "the same with one stage less, for the tile that is looked up by query and key at once: 131,584 bytes of "
        "shared memory with pages of 64 (compiled, not timed)",
        head_dims=(16, 128), layouts=("paged pairs",), narrow=True),
    Row("main", (9, 0), (("fwd_BLOCK_M", 128), ("fwd_BLOCK_N", 64), ("fwd_num_warps", 4), ("fwd_num_stages", 3)),
        "chunks of 1024 tokens, 8192 tokens, 32/8 heads: 237 TFLOP/s against 217 (an H200)",
        head_dims=(64, 64), layouts=("dense", "packed"), calm=True),
    Row("main", (9, 0), (("fwd_BLOCK_M", 128), ("fwd_BLOCK_N", 64), ("fwd_num_warps", 4), ("fwd_num_stages", 2)),
        "chunks of 1024 tokens, 8192 tokens, 32/8 heads: 288 TFLOP/s against 263; with 3 stages 208 (an H200)",
        head_dims=(128, 128), layouts=("dense", "packed"), calm=True),
    Row("main", (9, 0), (("bwd_BLOCK_M1", 64), ("bwd_BLOCK_N1", 64), ("bwd_BLOCK_M2", 64), ("bwd_BLOCK_N2", 64),
                         ("bwd_num_warps", 4), ("bwd_num_stages", 3)),
        "8192 tokens, 32/8 heads: 294 TFLOP/s against 261 of a causal mask, 204 against 190 of chunks of 1024; torch "
        "takes tiles of 64 x 128 by 8 warps (an H200)", head_dims=(64, 64), layouts=("dense", "packed")),
    Row("main", (9, 0), (("fwd_USE_TMA", True),),
        "causal, 8192 tokens, 32/8 heads, head_dim 128: 419 TFLOP/s against 389; of few tiles it makes less: chunks of "
        "1024 tokens 232 against 263, a window of 128 68 against 76. torch does without where a stride is no multiple "
        "of 16 bytes. Other head_dims were not timed: `tune` tries it", head_dims=(128, 128),
        layouts=("dense",), whole=True, busy=True),
)  # fmt: skip


def options_of(kernel: str, machine: Machine, request: Request) -> Options:
    """What the table sets for a call of the kernel "decode" or "main"."""
    found: dict[str, int | bool | str] = {}
    for row in TABLE:
        if row.holds(kernel, machine, request):
            found = {**dict(row.options), **found}
    return tuple(found.items())


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to try: the sides of a block, and options beside those of the table (None: without the table's)."""

    block: tuple[int, int]
    options: Options = ()
    plain: bool = False

    @property
    def told(self) -> str:
        """The candidate in words."""
        parts = [f"blocks of {self.block[0]} x {self.block[1]}", *(f"{n}={v}" for n, v in self.options)]
        return ", ".join([*parts, *(["torch's own options"] if self.plain else [])])


def candidates(kernel: str, machine: Machine, request: Request) -> tuple[Candidate, ...]:
    """What tuning tries for a call, at most ten; the first is what runs without tuning."""
    block = request.block
    first = Candidate(block)
    if machine.device == "cpu":
        sides = [s for s in (32, 64, 128, 256) if (s, s) != block]
        return (first, *(Candidate((s, s)) for s in sides))
    if kernel == "flash":
        # FlashAttention-4's own tiles for narrow heads on Hopper have 192 queries, which a block must be a multiple of.
        taller = machine.capability == (9, 0) and request.head_dim <= 96 and not request.gradients
        return (first, Candidate((192, block[1]))) if taller else (first,)
    if kernel == "decode":
        stages = tuple(Candidate(block, (("fwd_num_stages", s), ("fwd_num_warps", w))) for s in (2, 3) for w in (2, 4))
        splits = tuple(Candidate(block, (("SPLIT_KV", n),)) for n in (2, 8, 32))
        return (first, Candidate(block, plain=True), *stages, *splits)
    tiles = ((128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 4, 3), (128, 64, 8, 3), (64, 128, 4, 3), (64, 64, 4, 3))
    fitting = [t for t in tiles if not (block[0] % t[0] or block[1] % t[1])]
    by_tma = Candidate(block, (("fwd_USE_TMA", True),), plain=True)
    return (first, Candidate(block, plain=True), by_tma, *(Candidate(block, _main(*t)) for t in fitting))


def _main(rows: int, columns: int, warps: int, stages: int) -> Options:
    names = ("fwd_BLOCK_M", "fwd_BLOCK_N", "fwd_num_warps", "fwd_num_stages")
    return tuple(zip(names, (rows, columns, warps, stages), strict=True))
