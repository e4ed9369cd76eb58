"""Query, key and value: which shapes fit, alone and beside the tables."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskdsl.binding.shapes import Lengths, check_call, check_sizes
from maskdsl.ir.types import INT, Table
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import NOWHERE

Shape = tuple[int, ...]


def refused(*args: Any) -> list[str]:
    with pytest.raises(MaskError) as caught:
        check_sizes(*args) if isinstance(args[0], Lengths) else check_call(*args, NOWHERE)
    assert {d.code for d in caught.value.diagnostics} == {"E0607" if isinstance(args[0], Lengths) else "E0608"}
    return [d.message for d in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("q", "k", "v", "expected"),
    [
        ((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8), Lengths(2, 4, 4, 5, 7)),
        ((2, 6, 5, 8), (2, 2, 7, 8), (2, 2, 7, 3), Lengths(2, 6, 2, 5, 7)),
        ((2, 4, 5, 8), (1, 1, 7, 8), (1, 1, 7, 8), Lengths(2, 4, 1, 5, 7)),
        ((2, 4, 0, 8), (2, 4, 0, 8), (2, 4, 0, 8), Lengths(2, 4, 4, 0, 0)),
    ],
)
def test_fitting(q: Shape, k: Shape, v: Shape, expected: Lengths) -> None:
    assert check_call(torch.ones(q), torch.ones(k), torch.ones(v), NOWHERE) == expected


@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        ((4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8), "`q` has 3 axes, and needs the four (batch, head, q_len, dim)"),
        ((2, 4, 5, 8), (2, 4, 7, 4), (2, 4, 7, 8), "`k` has head dimension 4, and `q` has 8"),
        ((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 6, 8), "`k` has 7 positions, and `v` has 6"),
        ((2, 4, 5, 8), (2, 2, 7, 8), (2, 4, 7, 8), "`k` has 2 heads, and `v` has 4"),
        ((4, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8), "`k` has 2 batch rows, and `q` has 4"),
        ((2, 3, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), "`q` has 3 heads, which is no multiple of the 2 of `k` and `v`"),
        ((2, 3, 5, 0), (2, 3, 7, 0), (2, 3, 7, 8), "`q` has head dimension 0"),
    ],
)
def test_unfit(q: Shape, k: Shape, v: Shape, message: str) -> None:
    assert refused(torch.ones(q), torch.ones(k), torch.ones(v)) == [message]


def test_kinds_that_differ() -> None:
    q = torch.ones(1, 1, 4, 8)
    assert refused(q, q.half(), q) == ["`k` is float16, and `q` is float32"]
    assert refused(q, q, q.to("meta")) == ["`v` is on meta, and `q` on cpu"]
    assert refused(q, q.numpy(), q) == ["`k` is a `ndarray`, not a tensor"]


CALL = Lengths(2, 4, 2, 5, 7)
DOCUMENT = Table("packed", "document", INT, ("batch", "position"))


def test_sizes_of_a_call() -> None:
    assert check_sizes(CALL, {"n": 3}, {}, NOWHERE) == {"batch": 2, "head": 4, "kv_head": 2, "position": 7, "n": 3}
    assert check_sizes(CALL, {"batch": 2, "position": 100}, {}, NOWHERE)["position"] == 100


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"batch": 3}, "`batch` is 3 in `document`, and 2 in query, key and value"),
        ({"position": 6}, "`position` is 6 in `document`, and query or key have 7 positions"),
        ({"head": 8}, "`head` is 8 in `sizes`, and 4 in query, key and value"),
        ({"kv_len": 8}, "`kv_len` is 8 in `sizes`, and 7 in query, key and value"),
    ],
)
def test_sizes_that_disagree(sizes: dict[str, int], message: str) -> None:
    assert refused(CALL, sizes, {"batch": DOCUMENT, "position": DOCUMENT}, NOWHERE) == [message]
