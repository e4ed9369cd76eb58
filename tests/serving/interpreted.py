"""Runs the Triton kernels of steps and plans in Triton's interpreter, on the CPU, and compares what they make with torch.

A program of its own (TRITON_INTERPRET must be set before Triton is imported): `test_serving_kernels` runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import triton

sys.path[:0] = [str(Path(__file__).parent)]

from lists_kernel import attend  # noqa: E402
from steps import Sizes, Step, random_step  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.backends.block_lists import Lists, empty_lists  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402
from maskdsl.serving.append import append_tokens  # noqa: E402
from maskdsl.serving.plan_torch import plan_prefill, request_pages  # noqa: E402
from maskdsl.serving.plan_triton import Planner, planner  # noqa: E402
from maskdsl.serving.rows import PrefillPages  # noqa: E402

SIZES = Sizes(max_tokens=256, max_pages_per_request=9, num_pages=70, page_size=16)
FORMULAS = (
    "mask m = k <= q",
    "mask m = q - k < 20 and k <= q or k < 3",
    "mask m = k + 20 >= kv_len and k <= q + 5",
    "mask m(prefix: int[batch]) = k <= q or k < prefix[b]",
    "mask m(reach: int[head]) = 0 <= q - k < reach[h]",
    "mask m(group: int[batch, position]) = group[b, q] == group[b, k] and k <= q requires ascending(group, position)",
)


def tables_of(program: maskdsl.Program, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Random tables."""
    made = {}
    capacity = SIZES.page_size * SIZES.max_pages_per_request
    axes = {"batch": SIZES.max_requests, "head": SIZES.heads, "position": capacity}
    for table in program.variant.tables:
        values = rng.integers(0, 60, [axes[a] for a in table.axes])
        made[table.name] = torch.from_numpy(np.sort(values, -1) if "position" in table.axes else values)
    return made


def compare_step(attention: PagedAttention, step: Step) -> None:
    """The kernel that fills the step's tables against torch's; and which requests it finds to be prefilled."""
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    mine, limits = attention.step, attention.limits
    wanted = {n: getattr(mine, n).clone() for n in ("seq_lens", "query_start", "request", "position", "limit", "token_position")}
    for name in (*wanted, "page_table", "next_prefilled"):
        getattr(mine, name).fill_(77)
    given = (step.page_table, step.seq_lens, step.query_start)
    mine.on_cuda().build(*(x.long() if len(step.news) % 2 else x for x in given))
    for name, value in wanted.items():
        torch.testing.assert_close(getattr(mine, name), value, msg=name)
    for r, length in enumerate(step.lengths):
        used = -(-length // limits.page_size)
        assert torch.equal(mine.page_table[r, :used], step.page_table[r, :used])
    prefilled = [r for r, n in enumerate(step.news) if n > limits.decode_tokens]
    following = [min((p for p in prefilled if p >= r), default=limits.max_requests) for r in range(limits.max_requests + 1)]
    assert mine.next_prefilled.tolist() == following


def compare_append(attention: PagedAttention, step: Step) -> None:
    """The kernel that writes new keys against torch's: equal keys at equal positions, as in pages that are shared."""
    tokens, shape = sum(step.news), (SIZES.kv_heads, SIZES.head_dim)
    if not tokens:
        return
    caches = [torch.zeros(SIZES.num_pages, SIZES.page_size, *shape) for _ in range(4)]
    position = attention.step.token_position[:tokens].long()
    new = torch.randn(500, *shape)[position], torch.randn(500, 2, *shape)[position][:, 0]
    append_tokens(attention.step, new, (caches[0], caches[1]))
    attention.step.on_cuda().append(new, (caches[2], caches[3]))
    torch.testing.assert_close(caches[2:], caches[:2], rtol=0, atol=0)


def compare_lists(attention: PagedAttention, step: Step) -> None:
    """Visible pages and tiles by the kernels against those by torch: a page of each request is freed before."""
    tiles, mine, limits = attention._tiles, attention.step, attention.limits
    mine.page_table[:, 1] = torch.where(torch.arange(limits.max_requests) % 2 == 0, -1, mine.page_table[:, 1])
    mine._find_places(look=False)
    made = planner(tiles, limits, pages_on_cuda(attention))
    compare_visible(made, attention)
    logical = attention._pages.logical_page.fill_(77)
    plan_prefill(tiles, mine, attention._pages)
    made.prefill(mine)
    for head in range(tiles.heads):
        for tile in range(limits.tiles):
            found, wanted = tiles_of(made.pages.lists, tile, head, 0), tiles_of(attention._pages.lists, 0, head, tile)
            compare_tile(found, wanted)
            if mine.places is None:
                assert all(int(made.pages.logical_page[p]) == int(logical[p]) for p, _ in wanted)


def pages_on_cuda(attention: PagedAttention) -> PrefillPages:
    """The buffers that CUDA has; what nobody writes is 77."""
    limits, heads = attention.limits, attention._tiles.heads

    def room(*shape: int) -> torch.Tensor:
        return torch.full(shape, 77, dtype=torch.int32)

    lists = empty_lists(limits.tiles, heads, 1, limits.num_pages, limits.device)
    members = room(limits.member_words, limits.tiles, limits.num_pages)
    return PrefillPages(lists, room(limits.num_pages), members, room(limits.tiles))


def compare_prefill(attention: PagedAttention, program: maskdsl.Program, tables: dict[str, torch.Tensor], step: Step) -> None:
    """Attention over tiles as batch rows, as on CUDA, by a plain rendering of the lists, against the reference."""
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    mine, limits = attention.step, attention.limits
    mine.on_cuda().build(step.page_table, step.seq_lens, step.query_start)
    made = planner(attention._tiles, limits, pages_on_cuda(attention))
    made.prefill(mine)
    phase = attention._phases._packed_on_cuda(made.pages)
    q = torch.zeros(limits.tiles * 128, *step.q.shape[1:])
    q[: len(step.q)] = step.q
    rows = q.unflatten(0, (-1, 128)).transpose(1, 2)
    found = attend(phase, rows, *step.caches()).transpose(1, 2).flatten(0, 1).numpy()
    wanted, start = step.reference(program, tables), step.query_start.tolist()
    for r, count in enumerate(step.news):
        here = slice(start[r], start[r + 1])
        right = wanted[here] if count > limits.decode_tokens else 0 * wanted[here]
        np.testing.assert_allclose(found[here], right, rtol=2e-4, atol=2e-5, err_msg=f"request {r}")
    assert not found[start[-1] :].any()


def compare_visible(made: Planner, attention: PagedAttention) -> None:
    """The pages that decoded requests see, and how they are cut: no item is more than its share, none is empty."""
    limits, mine, items = attention.limits, attention.step, made.items
    partial, full = request_pages(attention._tiles, mine)
    made.decode(mine)
    pages, row = items.pages, 0
    for r in range(limits.max_requests):
        whole, part = int(pages.whole_counts[r]), int(pages.part_counts[r])
        for found, wanted in ((slice(0, whole), full), (slice(limits.max_pages_per_request - part, None), partial)):
            places = sorted(pages.logical[r, found].tolist())
            assert places == wanted[r].nonzero().flatten().tolist(), r
            assert all(int(mine.page_table[r, i]) == p for i, p in zip(pages.logical[r, found].tolist(), pages.physical[r, found].tolist(), strict=True))
        first, last = int(items.start[r]), int(items.start[r + 1])
        assert first == row and (last > first) == (whole + part > 0) and last - first <= whole + part
        assert items.request[first:last].tolist() == [r] * (last - first)
        row = last


def compare_tile(mine: list[tuple[int, bool]], wanted: list[tuple[int, bool]]) -> None:
    """The same full pages in the same order; of others at least those wanted, and none twice."""
    assert len({p for p, _ in mine}) == len(mine)
    assert [p for p, full in mine if full] == [p for p, full in wanted if full]
    assert {*wanted} <= {*mine}


def tiles_of(lists: Lists, row: int, head: int = 0, tile: int = 0) -> list[tuple[int, bool]]:
    """The pages of one line of lists, and whether they are full."""
    found = []
    for counts, indices, full in ((lists[0], lists[1], False), (lists[2], lists[3], True)):
        found += [(int(i), full) for i in indices[row, head, tile][: int(counts[row, head, tile])]]
    return found


def crowded_step(rng: np.random.Generator) -> Step:
    """Forty requests of two or three new tokens in one tile, more than an int has bits; all but five share a page."""
    lengths, news = rng.integers(20, 32, 40), rng.integers(2, 4, 40)
    keys, values = ([torch.from_numpy(rng.standard_normal((n, 2, 16)).astype(np.float32)) for n in lengths] for _ in "kv")
    table = torch.from_numpy(rng.permutation(80).reshape(40, 2)).to(torch.int32)
    for r in range(5, 40):
        table[r, 0] = table[5, 0]
        for part in (keys, values):
            part[r][:16] = part[5][:16]
    q = torch.from_numpy(rng.standard_normal((int(news.sum()), 4, 16)).astype(np.float32))
    return Step(CROWDED, tuple(map(int, lengths)), tuple(map(int, news)), table, tuple(keys), tuple(values), q)


CROWDED = Sizes(max_requests=40, max_tokens=128, num_pages=80, max_pages_per_request=2, decode_tokens=1)


def main() -> None:
    """Every formula on some steps, pages at one place and anywhere; and many requests in one tile."""
    rng = np.random.default_rng(0)
    for formula in FORMULAS:
        program = maskdsl.compile(formula)
        for places in ("one", "any"):
            attention = PagedAttention(program, **SIZES.limits(), tables=tables_of(program, rng), places=places)
            step = random_step(rng, SIZES)
            compare_step(attention, step)
            compare_append(attention, step)
            compare_lists(attention, step)
        print(formula, "agrees", flush=True)
    program = maskdsl.compile("mask m = q - k < 25")
    attention = PagedAttention(program, **CROWDED.limits())
    assert attention.limits.member_words == 2
    compare_prefill(attention, program, {}, crowded_step(rng))
    print("a crowded tile agrees")


if __name__ == "__main__":
    assert triton.knobs.runtime.interpret if hasattr(triton, "knobs") else True
    main()
