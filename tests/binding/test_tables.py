"""What `bind` accepts for a table, and what it says about the rest; one line, one case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskdsl.binding.tables import BoundTables, Owner, bind_tables
from maskdsl.ir.types import BOOL, FLOAT, INT, Axis, Scalar, Table
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source, Span

TEXT = "score alibi(slope: float[head]) = score - slope[h] * (q - k)"
SPAN = Span(Source("alibi.mask", TEXT), 12, 17)


def table(name: str, type: Scalar, *axes: Axis) -> Table:
    return Table("alibi", name, type, axes, SPAN)


def bind(*tables: Table, **given: Any) -> BoundTables:
    return bind_tables(Owner("alibi", SPAN, tables, ("window",)), given)


def refused(*tables: Table, **given: Any) -> list[tuple[str, str]]:
    with pytest.raises(MaskError) as caught:
        bind(*tables, **given)
    return [(d.code, d.message) for d in caught.value.diagnostics]


SLOPE = table("slope", FLOAT, "head")
PREFIX = table("prefix", INT, "batch")
DOCUMENT = table("document", INT, "batch", "position")
LIMIT = table("limit", INT)
BIAS = table("bias", FLOAT, "head", 3)
SEEN = table("seen", BOOL, "batch")


@pytest.mark.parametrize(
    ("of", "given", "dtype", "values"),
    [
        (SLOPE, torch.tensor([0.5]), torch.float32, [0.5]),
        (SLOPE, torch.tensor([0.5]).half(), torch.float16, [0.5]),
        (SLOPE, [0.5, 2], torch.float32, [0.5, 2.0]),
        (SLOPE, [1, 2], torch.float32, [1.0, 2.0]),
        (SLOPE, np.array([0.5]), torch.float32, [0.5]),
        (SLOPE, np.array([0.5], np.float16), torch.float16, [0.5]),
        (PREFIX, [3, 4], torch.int64, [3, 4]),
        (PREFIX, np.array([3], np.uint8), torch.uint8, [3]),
        (PREFIX, np.array([3], np.uint16), torch.int64, [3]),
        (PREFIX, torch.tensor([3], dtype=torch.int8), torch.int8, [3]),
        (SEEN, [True, False], torch.bool, [True, False]),
        (LIMIT, 7, torch.int64, [7]),
        (LIMIT, np.int32(7), torch.int32, [7]),
        (LIMIT, torch.tensor(7), torch.int64, [7]),
        (LIMIT, torch.tensor([[7]]), torch.int64, [7]),
    ],
)
def test_accepted(of: Table, given: Any, dtype: torch.dtype, values: list[Any]) -> None:
    bound = bind(of, **{of.name: given}).tensors[of]
    assert (bound.dtype, bound.tolist()) == (dtype, values)


@pytest.mark.parametrize(
    ("of", "given", "code", "message"),
    [
        (SLOPE, torch.tensor([1, 2]), "E0603", "`slope` is int64, where a table of floats is wanted"),
        (SLOPE, torch.ones(2).double(), "E0603", "`slope` is float64, where a table of floats is wanted"),
        (SLOPE, np.array([1, 2]), "E0603", "`slope` holds int64, where a table of floats is wanted"),
        (SLOPE, "0.5", "E0603", "`slope` is a `str`, where a table of floats is wanted"),
        (SLOPE, None, "E0603", "`slope` is a `NoneType`, where a table of floats is wanted"),
        (PREFIX, [0.5], "E0603", "`prefix` holds float64, where a table of ints is wanted"),
        (PREFIX, [True], "E0603", "`prefix` holds bool, where a table of ints is wanted"),
        (PREFIX, torch.tensor([True]), "E0603", "`prefix` is bool, where a table of ints is wanted"),
        (SEEN, torch.tensor([1]), "E0603", "`seen` is int64, where a table of bools is wanted"),
        (SLOPE, torch.ones(2, 4), "E0602", "`slope` has 2 axes, and `float[head]` has 1"),
        (SLOPE, torch.tensor(1.0), "E0602", "`slope` has no axes, and `float[head]` has 1"),
        (SLOPE, torch.ones(0), "E0602", "`slope` has no elements along `head`"),
        (LIMIT, [1, 2], "E0602", "`limit` has 2 elements, and `int[]` is one number"),
        (BIAS, torch.ones(2, 4), "E0602", "axis 1 of `bias` has length 4, and `float[head, 3]` says 3"),
        (DOCUMENT, [[1, 2], [3]], "E0602", "`document` is a list of lists of different lengths"),
    ],
)
def test_refused(of: Table, given: Any, code: str, message: str) -> None:
    assert refused(of, **{of.name: given}) == [(code, message)]


def test_names() -> None:
    assert refused(SLOPE) == [("E0601", "`slope` is missing")]
    assert refused(slope=1) == [("E0606", "`alibi` has no table `slope`")]
    assert refused(window=1) == [("E0606", "`window` is a constant of `alibi`, not a table")]


def test_a_misspelt_name_has_a_suggestion() -> None:
    with pytest.raises(MaskError) as caught:
        bind(SLOPE, slopes=[1.0])
    unknown, missing = caught.value.diagnostics
    assert (unknown.code, unknown.help) == ("E0606", ("did you mean `slope`?",))
    assert (missing.code, missing.span) == ("E0601", SPAN)


def test_sizes_agree() -> None:
    both = bind(PREFIX, DOCUMENT, prefix=[1, 2], document=[[0, 0, 0], [1, 1, 1]])
    assert both.sizes == {"batch": 2, "position": 3}
    clash = refused(PREFIX, DOCUMENT, prefix=[1], document=[[0, 0, 0], [1, 1, 1]])
    assert clash == [("E0607", "`batch` is 2 in `document` and 1 in `prefix`")]


def test_one_table_may_not_disagree_with_itself() -> None:
    square = table("square", BOOL, "n", "n")
    oblong = torch.ones(2, 3, dtype=torch.bool)
    assert refused(square, square=oblong) == [("E0607", "`n` is 3 in `square` and 2 in `square`")]


def test_devices_agree() -> None:
    there = torch.zeros(1, dtype=torch.int32, device="meta")
    found = refused(PREFIX, SLOPE, prefix=there, slope=torch.ones(1))
    assert found == [("E0604", "`slope` is on cpu, and `prefix` on meta")]


def test_lists_join_the_tensors_beside_them() -> None:
    bound = bind(PREFIX, SLOPE, prefix=[1], slope=torch.ones(1, device="meta"))
    assert bound.tensors[PREFIX].device.type == "meta" and bound.converted == {PREFIX}


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40, 2**70, [1, 2**31], [[1, -(2**63)]]])
def test_whole_numbers_that_are_no_ints_are_refused(value: Any) -> None:
    one = table("w", INT) if isinstance(value, int) else table("w", INT, *("n", "m")[: 1 + isinstance(value[0], list)])
    assert refused(one, w=value) == [("E0106", "`w` holds a number that is not within -2,147,483,648 to 2,147,483,647")]


def test_arrays_of_wider_ints_are_cut_when_they_are_read() -> None:
    assert bind(table("w", INT), w=np.array(2**40)).tensors[table("w", INT)].dtype == torch.int64


def test_sparse_tensors_are_refused() -> None:
    assert refused(SLOPE, slope=torch.ones(3).to_sparse()) == [("E0603", "`slope` is a sparse tensor")]


def test_all_mistakes_at_once() -> None:
    found = refused(SLOPE, PREFIX, SEEN, slope=[[1.0]], prefix=[0.5])
    assert [code for code, _ in found] == ["E0601", "E0602", "E0603"]


def test_tables_are_contiguous_and_keep_their_gradient() -> None:
    bias = torch.ones(3, 2, requires_grad=True)
    bound = bind(BIAS, bias=bias.mT).tensors[BIAS]
    assert bound.is_contiguous() and bound.requires_grad
    bound.sum().backward()
    assert bias.grad is not None and bias.grad.shape == (3, 2)
