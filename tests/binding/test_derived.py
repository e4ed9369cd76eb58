"""Ends of runs, against a search place by place; what is kept while tables stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskdsl.binding.derived import run_ends
from maskdsl.binding.kept import MOST, Kept


def searched(values: np.ndarray, kind: str) -> np.ndarray:
    """The ends of the runs of one ascending row, one place after the other."""
    found = []
    for place, value in enumerate(values):
        edge = place
        while kind == "first" and edge > 0 and values[edge - 1] == value:
            edge -= 1
        while kind == "end" and edge < len(values) and values[edge] == value:
            edge += 1
        found.append(edge)
    return np.array(found)


@pytest.mark.parametrize("kind", ["first", "end"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 17])
def test_run_ends(kind: str, axis: int, size: int) -> None:
    values = np.sort(np.random.default_rng(size).integers(0, 5, (3, size)), axis=1)
    expected = np.stack([searched(row, kind) for row in values])
    given = torch.from_numpy(values if axis else values.T.copy())
    found = run_ends(given, axis, kind)
    assert found.dtype == torch.int32 and found.is_contiguous()
    assert np.array_equal(found.numpy() if axis else found.numpy().T, expected)


def test_wide_ints_are_read_as_the_language_reads_them() -> None:
    values = torch.tensor([-(2**32), 0, 2**32, 1])  # int64, of which three are 0 in int32
    assert run_ends(values, 0, "first").tolist() == [0, 0, 0, 3]
    assert run_ends(values, 0, "end").tolist() == [3, 3, 3, 4]


def test_kept_until_written() -> None:
    kept: Kept[Any] = Kept()
    table = torch.zeros(2)
    first = kept.get("a", [table], object)
    assert kept.get("a", [table], object) is first
    assert kept.get("b", [table], object) is not first
    table[0] = 1
    assert kept.get("a", [table], object) is not first


def test_the_last_used_are_kept() -> None:
    kept: Kept[Any] = Kept()
    made = {n: kept.get(n, [], object) for n in range(MOST)}
    assert kept.get(0, [], object) is made[0]
    kept.get(MOST, [], object)
    assert kept.get(0, [], object) is made[0]
    assert kept.get(1, [], object) is not made[1]


def test_tables_of_inference_mode_are_never_trusted() -> None:
    kept: Kept[Any] = Kept()
    with torch.inference_mode():
        table = torch.zeros(2)
    assert kept.get("a", [table], object) is not kept.get("a", [table], object)
