"""Laws of layouts: in physical coordinates a program says what it says of the logical pair that a physical one stands for.

What stands where is written here again, as plain loops over requests, pages and ranks. It is asked of the emitted mods,
of hand-written closures that a layout rewrites, and of the lists of a BlockMask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends.mods_text import INDUCTOR_PRECISE
from maskdsl.binding.arrangements import Arrangement
from maskdsl.binding.shapes import check_call
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import NOWHERE

HEADS, CAPACITY, REQUESTS = 2, 48, 3

Mod = Callable[..., torch.Tensor]

Place = tuple[int, int, int, int, int, int] | None
"""Request, head, query, key and the two lengths of a physical pair; None where it stands for none."""


@dataclass(frozen=True)
class Formula:
    """A program, and the same in Python: of `b h q k q_len kv_len`, the tables and, for a score, the score."""

    text: str
    mask: Callable[..., Any] = lambda b, h, q, k, ql, kl, t: True
    score: Callable[..., Any] | None = None


FORMULAS = {
    "causal": Formula("mask m = k <= q", lambda b, h, q, k, ql, kl, t: k <= q),
    "window by head": Formula(
        "mask m(reach: int[head]) = 0 <= q - k < reach[h]", lambda b, h, q, k, ql, kl, t: 0 <= q - k < t["reach"][h]
    ),
    "prefix": Formula("mask m(first: int[batch]) = k <= q or k < first[b]", lambda b, h, q, k, ql, kl, t: k <= q or k < t["first"][b]),
    "documents": Formula(
        "mask m(group: int[batch, position]) = group[b, q] == group[b, k]",
        lambda b, h, q, k, ql, kl, t: t["group"][b, q] == t["group"][b, k],
    ),
    "lengths": Formula("mask m = k + 5 >= kv_len or q * 2 < q_len", lambda b, h, q, k, ql, kl, t: k + 5 >= kl or q * 2 < ql),
    "bias": Formula(
        "score s(bias: float[batch, head, position]) = score * 2.0 - bias[b, h, k] * (q - k)",
        score=lambda s, b, h, q, k, ql, kl, t: s * 2 - t["bias"][b, h, k] * (q - k),
    ),
}  # fmt: skip


def tables_of(program: maskdsl.Program, heads: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Random tables over the logical axes."""
    axes = {"batch": REQUESTS, "head": heads, "position": CAPACITY}
    made = {}
    for table in program.variant.tables:
        shape = [axes[a] for a in table.axes]
        drawn = rng.standard_normal(shape) if str(table.type) == "float" else rng.integers(0, 12, shape)
        made[table.name] = torch.from_numpy(drawn.astype(np.float32 if str(table.type) == "float" else np.int32))
    return made


@dataclass(frozen=True)
class Case:
    """A layout, the physical batch rows and lengths that it is tried on, and what stands at a physical pair."""

    layout: Arrangement
    batch: int
    q_len: int
    kv_len: int
    place: Callable[[int, int, int, int], Place]
    heads: int = HEADS


def shifted() -> Case:
    """Batch rows with cached keys."""
    offset = (5, 0, 17)
    return Case(
        maskdsl.Dense(torch.tensor(offset)), 3, 20, 40,
        lambda b, h, q, k: (b, h, q + offset[b], k, 20 + offset[b], 40),
    )  # fmt: skip


def bottom_right() -> Case:
    """The last query stands where the last key does."""
    return Case(maskdsl.Dense(15, batch=2), 2, 25, 40, lambda b, h, q, k: (b, h, q + 15, k, 40, 40))


def of(starts: tuple[int, ...], at: int) -> int | None:
    """The request that a packed token belongs to."""
    return next((r for r in range(len(starts) - 1) if starts[r] <= at < starts[r + 1]), None)


def alike() -> Case:
    """Three requests, one of them empty, and two tokens behind the last."""
    starts = (0, 17, 17, 40)

    def place(b: int, h: int, q: int, k: int) -> Place:
        r = of(starts, q)
        if r is None or r != of(starts, k):
            return None
        length = starts[r + 1] - starts[r]
        return r, h, q - starts[r], k - starts[r], length, length

    return Case(maskdsl.Packed(torch.tensor(starts), tokens=42), 1, 42, 42, place)


def apart(align: str) -> Case:
    """Queries and keys of lengths of their own."""
    starts, keys = (0, 3, 9, 20), (0, 20, 33, 44)

    def place(b: int, h: int, q: int, k: int) -> Place:
        r = of(starts, q)
        if r is None or r != of(keys, k):
            return None
        news, length = starts[r + 1] - starts[r], keys[r + 1] - keys[r]
        ahead = length - news if align == "end" else 0
        return r, h, q - starts[r] + ahead, k - keys[r], news + ahead, length

    layout = maskdsl.Packed(torch.tensor(starts), torch.tensor(keys), tokens=22, align=align)
    return Case(layout, 1, 22, 46, place)


PAGE, POOL = 4, 40
LENGTHS = (13, 0, 24)
TABLE = torch.full((3, 8), 77)
TABLE[0, :4], TABLE[2, :6] = torch.tensor([39, 0, 7, 21]), torch.tensor([39, 3, 30, 1, 12, 5])
"""The first page is shared; entries beyond a length are out of range."""
ELSEWHERE = TABLE.clone()
ELSEWHERE[2, :2] = torch.tensor([3, 39])
"""The shared page stands at another place in the last request."""


def keys_of(table: torch.Tensor) -> dict[tuple[int, int], int]:
    """The logical key of a request at a physical one."""
    return {
        (r, int(table[r, k // PAGE]) * PAGE + k % PAGE): k for r, n in enumerate(LENGTHS) for k in range(n)
    }


def in_pages(table: torch.Tensor) -> Case:
    """Requests as batch rows."""
    known = keys_of(table)

    def place(b: int, h: int, q: int, k: int) -> Place:
        return (b, h, q, known[b, k], 24, LENGTHS[b]) if (b, k) in known else None

    return Case(maskdsl.Paged(table, torch.tensor(LENGTHS), PAGE, POOL), 3, 24, POOL * PAGE, place)


def served(table: torch.Tensor) -> Case:
    """Packed queries over keys in pages; the second request has nothing, two tokens belong to nobody."""
    starts, known = (0, 5, 5, 12), keys_of(table)

    def place(b: int, h: int, q: int, k: int) -> Place:
        r = of(starts, q)
        if r is None or (r, k) not in known:
            return None
        return r, h, LENGTHS[r] - (starts[r + 1] - q), known[r, k], LENGTHS[r], LENGTHS[r]

    layout = maskdsl.PackedPaged(torch.tensor(starts), table, torch.tensor(LENGTHS), PAGE, POOL, tokens=14)
    return Case(layout, 1, 14, POOL * PAGE, place)


def shared_out(order: str, rank: int) -> Case:
    """A rank's queries of 48, of three ranks, and its two heads of four."""
    length, ranks = 16, 3

    def position(q: int) -> int:
        match order:
            case "contiguous":
                return rank * length + q
            case "striped":
                return q * ranks + rank
        chunk = [rank, 2 * ranks - 1 - rank][q // (length // 2)]
        return chunk * (length // 2) + q % (length // 2)

    layout = maskdsl.Sharded(heads=4, kv_heads=4, head_offset=2, rank=rank, ranks=ranks, order=order, length=length)
    return Case(layout, 2, length, 48, lambda b, h, q, k: (b, h + 2, position(q), k, 48, 48), heads=4)


def ring_of_documents(rank: int) -> Case:
    """A rank's stripe of packed requests: one layout behind the other."""
    starts = (0, 17, 30, 40)

    def place(b: int, h: int, q: int, k: int) -> Place:
        at = q * 2 + rank
        r = of(starts, at)
        if r is None or r != of(starts, k):
            return None
        length = starts[r + 1] - starts[r]
        return r, h, at - starts[r], k - starts[r], length, length

    stripe = maskdsl.Sharded(heads=2, kv_heads=2, rank=rank, ranks=2, order="striped", length=20)
    return Case(stripe.then(maskdsl.Packed(torch.tensor(starts), tokens=40)), 1, 20, 40, place)


CASES: dict[str, Case] = {
    "shifted": shifted(), "bottom right": bottom_right(), "alike": alike(), "apart, ends": apart("end"),
    "apart, beginnings": apart("start"), "pages": in_pages(TABLE), "pages anywhere": in_pages(ELSEWHERE),
    "served": served(TABLE), "served anywhere": served(ELSEWHERE),
    **{f"{order} {rank}": shared_out(order, rank) for order in ("contiguous", "zigzag", "striped") for rank in (0, 2)},
    "ring 0": ring_of_documents(0), "ring 1": ring_of_documents(1),
}  # fmt: skip


def pairs(case: Case) -> Iterator[tuple[int, int, int, int]]:
    """Every physical pair."""
    yield from np.ndindex(case.batch, HEADS, case.q_len, case.kv_len)


def grid(case: Case) -> tuple[torch.Tensor, ...]:
    """The physical coordinates, to be broadcast."""
    sizes = (case.batch, HEADS, case.q_len, case.kv_len)
    return tuple(torch.arange(n).view([-1 if i == j else 1 for j in range(4)]) for i, n in enumerate(sizes))


def expected(case: Case, formula: Formula, tables: dict[str, torch.Tensor], score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is visible, and the scores of that: [B, H, Q, K]."""
    known = {n: t.numpy() for n, t in tables.items()}
    seen, scores = np.zeros(score.shape, bool), score.astype(np.float64)
    for at in pairs(case):
        place = case.place(*at)
        if place is not None:
            seen[at] = formula.mask(*place, known)
            scores[at] = score[at] if formula.score is None else formula.score(float(score[at]), *place, known)
    return seen, scores


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("layout", CASES)
def test_mods_and_lists(layout: str, name: str) -> None:
    case, formula, rng = CASES[layout], FORMULAS[name], np.random.default_rng(len(layout + name))
    program = maskdsl.compile(formula.text)
    tables = tables_of(program, case.heads, rng)
    sizes = {"q_len": case.q_len, "kv_len": case.kv_len, "batch": REQUESTS, "position": CAPACITY}
    bound = program.bind(**tables, sizes={k: v for k, v in sizes.items() if k in ("q_len", "kv_len")})
    there = bound.arranged(case.layout)
    score = rng.standard_normal((case.batch, HEADS, case.q_len, case.kv_len)).astype(np.float32)
    wanted, scores = expected(case, formula, tables, score)
    right = (case, score, wanted, scores)
    check_mods(there.mask_mod, there.score_mod, *right)
    check_mods(*unguarded(there, case), *right)
    check_lists(there.block_mask(case.batch, HEADS, case.q_len, case.kv_len, block_size=(8, 4)), wanted)


def check_mods(
    mask_mod: Mod | None, score_mod: Mod | None, case: Case, score: np.ndarray, wanted: np.ndarray, scores: np.ndarray
) -> None:
    """What the mods say of every physical pair."""
    seen = np.ones(score.shape, bool) if mask_mod is None else mask_mod(*grid(case)).expand(score.shape).numpy()
    np.testing.assert_array_equal(seen, wanted)
    if score_mod is not None:
        found = score_mod(torch.from_numpy(score), *grid(case)).numpy()
        np.testing.assert_allclose(found[wanted], scores[wanted], rtol=1e-5, atol=1e-5)


def unguarded(there: Any, case: Case) -> tuple[Mod | None, Mod | None]:
    """The mods for kernels that look at no pair past the lengths: an index out of a table raises."""
    lengths = check_call(*(torch.zeros(case.batch, HEADS, n, 16) for n in (case.q_len, case.kv_len, case.kv_len)), NOWHERE)
    _, formula = there._mods(lengths, torch.device("cpu"))
    emitted = there._lowering.at(formula.sizes).form(INDUCTOR_PRECISE, inside=True)
    given = {n: torch.tensor([formula.sizes[n]], dtype=torch.int32) for n in ("q_len", "kv_len")}
    mask_mod = emitted.make_mask_mod(formula.tables, given) if emitted.has_mask else None
    return mask_mod, emitted.make_score_mod(formula.tables, given) if emitted.has_score else None


def check_lists(mask: Any, seen: np.ndarray) -> None:
    """Every visible pair lies in a listed tile, and full tiles show every pair."""
    rows, columns = -(-seen.shape[2] // 8), -(-seen.shape[3] // 4)
    for b, h, row in np.ndindex(*seen.shape[:2], rows):
        listed: dict[int, bool] = {}
        for counts, indices, full in (
            (mask.kv_num_blocks, mask.kv_indices, False), (mask.full_kv_num_blocks, mask.full_kv_indices, True),
        ):  # fmt: skip
            at = (min(b, counts.shape[0] - 1), min(h, counts.shape[1] - 1), row)
            listed |= {int(i): full for i in indices[at][: int(counts[at])]}
        for column in range(columns):
            tile = seen[b, h, row * 8 : row * 8 + 8, column * 4 : column * 4 + 4]
            assert column in listed or not tile.any()
            assert not listed.get(column) or tile.all()


@pytest.mark.parametrize("layout", CASES)
def test_a_size_that_nothing_tells_is_asked_for(layout: str) -> None:
    program = maskdsl.compile("mask m = q + k < size(position)")
    case = CASES[layout]
    if "position" in case.layout.layout.counts:
        with pytest.raises(maskdsl.MaskError) as caught:
            program.bind().arranged(case.layout)
        assert [d.code for d in caught.value.diagnostics] == ["E0609"]
        assert 'bind(sizes={"position": …})' in caught.value.diagnostics[0].help[0]
    there = program.bind(sizes={"position": CAPACITY}).arranged(case.layout)
    assert there.block_mask(case.batch, HEADS, case.q_len, case.kv_len, block_size=(8, 4))


@pytest.mark.parametrize("layout", CASES)
def test_closures_go_on_speaking_of_logical_positions(layout: str) -> None:
    """Hand-written mods over tables of their own, in bounds everywhere: torch would tell."""
    case, rng = CASES[layout], np.random.default_rng(3)
    group = torch.from_numpy(rng.integers(0, 3, (REQUESTS, CAPACITY)))
    slope = torch.rand(case.heads)

    def mask_mod(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (group[b, q_idx] == group[b, kv_idx]) | (kv_idx + h < q_idx)

    def score_mod(score: Any, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return score - slope[h] * (q_idx - kv_idx)

    formula = Formula(
        "", lambda b, h, q, k, ql, kl, t: t["group"][b, q] == t["group"][b, k] or k + h < q,
        lambda s, b, h, q, k, ql, kl, t: s - t["slope"][h] * (q - k),
    )  # fmt: skip
    score = rng.standard_normal((case.batch, HEADS, case.q_len, case.kv_len)).astype(np.float32)
    wanted, scores = expected(case, formula, {"group": group, "slope": slope}, score)
    seen, scored = case.layout.rewrite(mask_mod, score_mod)
    assert scored is not None
    np.testing.assert_array_equal(seen(*grid(case)).expand(score.shape).numpy(), wanted)
    found = scored(torch.from_numpy(score), *grid(case)).numpy()
    np.testing.assert_allclose(found[wanted], scores[wanted], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", CASES)
def test_without_a_mask_every_valid_pair_is_visible(layout: str) -> None:
    case = CASES[layout]
    seen, scored = case.layout.rewrite(None)
    found = seen(*grid(case)).expand(case.batch, HEADS, case.q_len, case.kv_len)
    assert scored is None
    for at in pairs(case):
        assert bool(found[at]) == (case.place(*at) is not None)


@pytest.mark.compiled
def test_a_compiled_kernel_over_packed_queries_and_pages() -> None:
    """Each request's output is the one that it has alone; what belongs to nobody is 0."""
    program = maskdsl.compile(
        "score s(slope: float[head]) = score - slope[h] * (q - k) variant v(slope: float[head]) { mask = k <= q score = s(slope) }",
        "v",
    )
    rng, slope, starts = np.random.default_rng(0), torch.tensor([0.2, -0.1]), (0, 5, 5, 12)
    keys, values = (torch.full((POOL * PAGE, 16), 9.0) for _ in "kv")
    rows = {r: torch.from_numpy(rng.standard_normal((3, n, 16)).astype(np.float32)) for r, n in enumerate(LENGTHS)}
    rows[2][1:, :PAGE] = rows[0][1:, :PAGE]  # the shared page
    for (r, place), k in keys_of(TABLE).items():
        keys[place], values[place] = rows[r][1, k], rows[r][2, k]
    packed = torch.cat([rows[r][0, n - (starts[r + 1] - starts[r]) :] for r, n in enumerate(LENGTHS)] + [torch.ones(2, 16)])
    q, k, v = (x[None, None].expand(1, heads, -1, -1) for x, heads in ((packed, 2), (keys, 1), (values, 1)))
    layout = maskdsl.PackedPaged(torch.tensor(starts), TABLE, torch.tensor(LENGTHS), PAGE, POOL, tokens=14)
    out = program.bind(slope=slope).arranged(layout).attention(q, k, v)
    assert not out[:, :, 12:].any()
    for r, n in enumerate(LENGTHS):
        if n:
            alone = [x[None, None].numpy() for x in rows[r]]
            wanted = program.reference(np.repeat(alone[0], 2, 1), *alone[1:], slope=slope)[0, :, n - (starts[r + 1] - starts[r]) :]
            np.testing.assert_allclose(out[0, :, starts[r] : starts[r + 1]].numpy(), wanted, rtol=1e-4, atol=1e-5)


WRONG = (
    (lambda: maskdsl.Packed(torch.tensor([0, 3]), align="middle"), "align"),
    (lambda: maskdsl.Sharded(heads=4, kv_heads=2, rank=2, ranks=2, length=8), "rank 2 of 2"),
    (lambda: maskdsl.Sharded(heads=4, kv_heads=2, ranks=2), "0 queries"),
    (lambda: maskdsl.Sharded(heads=4, kv_heads=2, ranks=2, order="zigzag", length=7), "7 queries"),
    (lambda: maskdsl.Sharded(heads=4, kv_heads=2, order="random"), "order"),
)  # fmt: skip


@pytest.mark.parametrize(("make", "told"), WRONG)
def test_layouts_that_cannot_be(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(MaskError, match=told) as caught:
        make()
    assert {d.code for d in caught.value.diagnostics} == {"E0901"}


def test_what_kernels_are_told_of_a_layout() -> None:
    """Packed queries over pages are asked pair by pair whether the page is their own: smaller tiles on a GPU."""
    bound = maskdsl.compile("mask m = k <= q").bind()
    found = {name: bound.arranged(CASES[name].layout).layout for name in ("shifted", "alike", "pages", "served")}
    assert found == {"shifted": "dense", "alike": "packed", "pages": "paged", "served": "paged pairs"}
