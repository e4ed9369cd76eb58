"""Runs the GPU's kernels of block lists in Triton's interpreter, on the CPU, and compares them with NumPy.

A program of its own (TRITON_INTERPRET must be set before Triton is imported): `test_triton` runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cases import Case, prepare  # noqa: E402
from test_structured import FACTS, HEADER, draw_tables  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.backends.block_lists import Lists, empty_lists  # noqa: E402
from maskdsl.backends.block_mask_triton import kernel_for  # noqa: E402
from maskdsl.backends.tile_tables import Call, make_tile_tables  # noqa: E402
from maskdsl.tiles.classify import ALL, SOME, classify  # noqa: E402

CPU = torch.device("cpu")
FORMULAS = (
    "k <= q",
    "0 <= q - k < 7 and (q - k) % 3 == 1",
    "doc[b, q] == doc[b, k] and k <= q",
    "k <= q and q - k < reach[h]",
    "k <= q or k < span",
    "num[q] >= 0 and num[q] == num[k]",
    "block[min(q // 4, size(blocks) - 1), 0] == k // 2 or bit_and(bit_xor(q // 4 * 7, k // 4 * 5), 7) < 3",
    "grid[clamp(num[q], 0, size(blocks) - 1), clamp(num[k], 0, size(blocks) - 1)]",
    "flag[clamp(q - k, 0, size(position) - 1)] and abs(q % 9 - k % 9) < 3",
    "q // 10 == k // 10 and abs(q // 2 % 5 - k // 2 % 5) <= 1",
    "abs(0.25 * (q - k)) < 1.3 or (k - q + 1.0) / 4.0 > 3.5",
    "true",
)
"""No libdevice in them, and no float of q or k alone: the interpreter has neither such functions nor such scalars."""

CALLS = (((2, 2, 14, 18), (4, 4)), ((1, 2, 17, 9), (3, 8)))


def lists_of(case: Case, both: bool) -> list[Lists]:
    """The lists of the forward pass by a kernel, or of both passes."""
    verdict, shape = case.verdict, case.shape
    call = Call(shape.b, shape.h, shape.q_len, shape.kv_len, CPU, case.sizes)
    tables = {t: torch.from_numpy(np.array(a)) for t, a in case.arrays.items()}
    rows, columns = -(-shape.q_len // verdict.q_block), -(-shape.kv_len // verdict.k_block)
    directions = [(rows, columns), (columns, rows)][: 1 + both]
    lists = [empty_lists(shape.b, shape.h, *tiles, CPU) for tiles in directions]
    bound = {**tables, **make_tile_tables(verdict, call, tables)}
    kernel_for(verdict, both).launch(verdict, call, bound)(*lists)
    return lists


def tiles_of(counts: torch.Tensor, indices: torch.Tensor) -> np.ndarray:
    """Which tiles are listed, bool [B, H, rows, columns]; the listed ones must be ascending."""
    found = np.zeros(indices.shape, bool)
    for place in np.ndindex(*counts.shape):
        listed = indices[place][: int(counts[place])].tolist()
        assert listed == sorted(set(listed))
        found[place][listed] = True
    return found


def compare(case: Case) -> None:
    """The lists of the kernels of one pass and of both against the NumPy classification."""
    wanted = np.broadcast_to(classify(case.verdict, case.shape, case.arrays, case.sizes), case.truth.shape)
    alone, forward, backward = *lists_of(case, False), *lists_of(case, True)
    for lists, kinds in ((alone, wanted), (forward, wanted), (backward, wanted.swapaxes(2, 3))):
        assert lists.partial.stride() == lists.full.stride() and lists.partial.shape == lists.full.shape
        np.testing.assert_array_equal(tiles_of(lists.partial_counts, lists.partial), kinds == SOME)
        np.testing.assert_array_equal(tiles_of(lists.full_counts, lists.full), kinds == ALL)


def main() -> None:
    """Every formula at one of the calls, and rows of more tiles than a program decides at once."""
    for number, formula in enumerate(FORMULAS):
        call, blocks = CALLS[number % 2]
        tables = draw_tables(np.random.default_rng(number), max(call[2:]))
        compare(prepare(maskdsl.compile(HEADER + formula + FACTS), tables, call, blocks))
    for formula in ("k <= q + 400 and k % 5 < 3", "k > 600 or q == k"):
        compare(prepare(maskdsl.compile(f"mask wide = {formula}"), {}, (1, 1, 7, 899), (4, 3)))
    print(f"{len(FORMULAS) + 2} masks agree")


if __name__ == "__main__":
    main()
