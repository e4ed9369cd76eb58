"""Runs the kernels that no program changes in Triton's interpreter: new keys, queries of rows, the merge of pieces.

A program of its own (TRITON_INTERPRET must be set before Triton is imported): `test_plan_triton` runs it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent)]

from steps import Sizes, random_step  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.serving import PagedAttention, cuda  # noqa: E402
from maskdsl.serving.append import append_tokens  # noqa: E402
from maskdsl.serving.plan_triton import planner  # noqa: E402

SIZES = Sizes(heads=6, kv_heads=2, head_dim=12, max_tokens=120)
"""Groups of three, and rows of numbers that are no power of two."""


def planned(rng: np.random.Generator) -> tuple[PagedAttention, object]:
    """An attention object with a planned step, and the step."""
    attention = PagedAttention(maskdsl.get("causal"), **SIZES.limits())
    step = random_step(rng, SIZES)
    attention.plan(step.page_table, step.seq_lens, step.query_start)
    return attention, step


def check_append(rng: np.random.Generator) -> None:
    """The kernel writes what torch writes."""
    attention, step = planned(rng)
    caches = [torch.zeros(SIZES.num_pages, SIZES.page_size, SIZES.kv_heads, SIZES.head_dim) for _ in range(4)]
    new = [torch.randn(sum(step.news), SIZES.kv_heads, SIZES.head_dim) for _ in range(2)]
    if not sum(step.news):
        return
    append_tokens(attention.step, (new[0], new[1]), (caches[0], caches[1]))
    cuda.append_tokens(attention.step, (new[0], new[1]), (caches[2], caches[3]))
    torch.testing.assert_close(caches[2:], caches[:2], rtol=0, atol=0)


def check_rows(rng: np.random.Generator, width: int, sink: torch.Tensor | None, normalize: bool) -> None:
    """Gathered queries, cut into pieces and merged again, against a softmax over all pieces at once."""
    attention, step = planned(rng)
    if not sum(step.news):
        return
    limits = attention.limits
    rows = replace(attention._rows, **{
        n: torch.zeros(20, dtype=torch.int32) for n in ("request", "first", "limit")
    }, lists=type(attention._rows.lists)(*(torch.zeros(20, 1, 1, *x.shape[3:], dtype=torch.int32) for x in attention._rows.lists)))
    made = planner(attention._tiles, limits)
    made.decode(attention._tiles, attention.step, rows)
    group = cuda.group_of(limits)
    sizes = {"WIDTH": width, "KV_HEADS": 2, "GROUP": group.size, "PADDED": group.padded, "DIM": SIZES.head_dim}
    queries = torch.full((20, 2 * group.padded, width, SIZES.head_dim), 7.0)
    cuda.gather_queries(step.q, queries, rows, attention.step, sizes)
    values, lse = torch.randn(20, 2 * group.padded, width, SIZES.head_dim), torch.randn(20, 2 * group.padded, width)
    lse[rng.random(20) < 0.2] = -torch.inf
    out = torch.zeros(sum(step.news), SIZES.heads, SIZES.head_dim)
    phase = SimpleNamespace(mods=SimpleNamespace(sink=sink, normalize=normalize))
    cuda.merge_rows(values, lse, out, phase, rows, attention.step, sizes)  # type: ignore[arg-type]
    starts = step.query_start.tolist()
    wanted = torch.zeros_like(out)
    for r, news in enumerate(step.news):
        if not 0 < news <= limits.decode_tokens:
            continue
        pieces = range(int(rows.start[r]), int(rows.start[r + 1]))
        for i in range(min(news, width)):
            for h in range(SIZES.heads):
                place = h // 3 * 4 + h % 3
                for row in pieces:
                    torch.testing.assert_close(queries[row, place, i], step.q[starts[r] + i, h], rtol=0, atol=0)
                wanted[starts[r] + i, h] = merged(values[pieces, place, i], lse[pieces, place, i],
                                                  None if sink is None else sink[0, h], normalize)
    torch.testing.assert_close(out, wanted, rtol=1e-5, atol=1e-5)
    assert not queries[:, 3::4].any()


def merged(values: torch.Tensor, lse: torch.Tensor, sink: torch.Tensor | None, normalize: bool) -> torch.Tensor:
    """The attention over all keys out of that over pieces of them."""
    weights = lse.double().exp()
    sums = (weights[:, None] * values.double()).sum(0)
    total = weights.sum() + (0 if sink is None else sink.double().exp())
    return (sums / total if normalize and total else sums).float()


def main() -> None:
    """Some steps of each."""
    rng = np.random.default_rng(1)
    for _ in range(4):
        check_append(rng)
    for sink, normalize in ((None, True), (torch.randn(1, SIZES.heads), True), (None, False)):
        for width in (1, SIZES.decode_tokens):
            check_rows(rng, width, sink, normalize)
    print("kernels agree")


if __name__ == "__main__":
    main()
