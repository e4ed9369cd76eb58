"""Runs the plan's Triton kernels in Triton's interpreter, on the CPU, and compares their lists with those of torch.

A program of its own (TRITON_INTERPRET must be set before Triton is imported): `test_plan_triton` runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import triton

sys.path[:0] = [str(Path(__file__).parent)]

from lists_kernel import listed  # noqa: E402
from steps import Sizes, Step, random_step  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.backends import paged_kernels  # noqa: E402
from maskdsl.backends.block_lists import Lists, empty_lists  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402
from maskdsl.serving.plan_torch import plan_decode, plan_prefill  # noqa: E402
from maskdsl.serving.plan_triton import planner  # noqa: E402
from maskdsl.serving.rows import DecodeRows  # noqa: E402

SIZES = Sizes(max_tokens=300, max_pages_per_request=9, num_pages=70, page_size=16)
FORMULAS = (
    "mask m = k <= q",
    "mask m = q - k < 20 and k <= q or k < 3",
    "mask m = true",
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
    """The kernel that fills the step's tables against torch's."""
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    mine, limits = attention.step, attention.limits
    wanted = {n: getattr(mine, n).clone() for n in ("seq_lens", "query_start", "request", "position", "limit")}
    position, logical = mine.token_position.clone(), mine.logical_page.clone()
    for name in wanted:
        getattr(mine, name).fill_(77)
    mine.token_position.fill_(77)
    paged_kernels.build_step[(limits.max_requests + -(-limits.max_tokens // 64),)](
        step.page_table, step.seq_lens, step.query_start, mine.page_table, mine.seq_lens, mine.query_start, mine.request,
        mine.position, mine.limit, mine.token_position, mine.logical_page, len(step.lengths), limits.max_requests,
        limits.max_tokens, limits.max_pages_per_request, limits.page_size, limits.decode_tokens,
        step.page_table.stride(0), VECTOR=64,
    )  # fmt: skip
    for name, value in wanted.items():
        torch.testing.assert_close(getattr(mine, name), value, msg=name)
    torch.testing.assert_close(mine.token_position, position)
    used = {int(p) for r, n in enumerate(step.lengths) for p in step.page_table[r, : -(-n // limits.page_size)]}
    assert all(int(mine.logical_page[p]) == int(logical[p]) for p in used)


def compare_lists(attention: PagedAttention) -> None:
    """Rows and tiles by the kernels against those by torch."""
    tiles, step, limits = attention._tiles, attention.step, attention.limits
    made = planner(tiles, limits)
    rows = DecodeRows(*(torch.full((n,), 77, dtype=torch.int32) for n in (20, 20, 20, limits.max_requests + 1)),
                      empty_lists(20, 1, 1, limits.max_pages_per_request, limits.device))
    plan_decode(tiles, step, attention._rows)
    made.decode(tiles, step, rows)
    seen_by = dict.fromkeys(range(limits.max_requests), frozenset())
    for row in range(20):
        pages = frozenset(tiles_of(rows.lists, row))
        request = int(rows.request[row])
        if pages:
            assert int(rows.start[request]) <= row < int(rows.start[request + 1])
            assert int(rows.limit[row]) == int(step.seq_lens[request])
            assert int(rows.first[row]) == int(step.seq_lens[request] - step.counts[request])
            assert not pages & seen_by[request]
        seen_by[request] |= pages
    for request in range(limits.max_requests):
        assert seen_by[request] == frozenset(tiles_of(attention._rows.lists, request)), request
    lists = empty_lists(1, tiles.heads, limits.tiles, limits.num_pages, limits.device)
    plan_prefill(tiles, step, attention._lists)
    made.prefill(tiles, step, lists)
    for head in range(tiles.heads):
        for tile in range(limits.tiles):
            compare_tile(tiles_of(lists, 0, head, tile), tiles_of(attention._lists, 0, head, tile))


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


def main() -> None:
    """Every formula on some steps, pages at one place and anywhere."""
    rng = np.random.default_rng(0)
    for formula in FORMULAS:
        program = maskdsl.compile(formula)
        for places in ("one", "any"):
            attention = PagedAttention(program, **SIZES.limits(), tables=tables_of(program, rng), places=places)
            for _ in range(3):
                step = random_step(rng, SIZES)
                compare_step(attention, step)
                attention.plan(step.page_table, step.seq_lens, step.query_start)
                compare_lists(attention)
        print(formula, "agrees")


if __name__ == "__main__":
    assert triton.knobs.runtime.interpret if hasattr(triton, "knobs") else True
    main()

__all__ = ["listed"]
