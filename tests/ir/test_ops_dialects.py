"""The columns of the mods' dialects: every form gives what the row's reference gives, as exactly as it says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ops_oracle import FLOATS, INTS, cases, is_allowed

import maskdsl.backends.fast_math  # noqa: F401  the operators that texts call
from maskdsl.ir.emission import Argument, Unwritable, support_for
from maskdsl.ir.ops import OPS, TABLE, Function
from maskdsl.ir.ops_flash import FLASH_SUPPORT
from maskdsl.ir.ops_inductor import INDUCTOR_SUPPORT
from maskdsl.ir.ops_torch import torch_literal
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

NUMPY = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}
TORCH = {BOOL: torch.bool, INT: torch.int32, FLOAT: torch.float32}
SUPPORT = {"inductor": INDUCTOR_SUPPORT, "flash": FLASH_SUPPORT, "flash_fast": FLASH_SUPPORT}
LITERALS: dict[Scalar, tuple[Any, ...]] = {INT: (0, 1, -1, 3, -8, 30), FLOAT: (0.0, 1.0, -2.5), BOOL: (False, True)}
FORMS = [
    (column, row, types, result)
    for column in SUPPORT for row in TABLE if getattr(row, column) is not None for types, result in row.signatures
]  # fmt: skip


def name_of(case: object) -> str:
    return case if isinstance(case, str) else case.name if isinstance(case, Function) else ""


def written(column: str, row: Function, types: tuple[Scalar, ...], literals: tuple[Any, ...], natural: bool) -> str:
    """A module with the form as the function `f` of the arguments that are no literals."""
    arguments = [
        Argument(f"x{i}", t, natural=natural) if v is None else Argument(torch_literal(v), t, v)
        for i, (t, v) in enumerate(zip(types, literals, strict=True))
    ]
    free = ", ".join(f"x{i}" for i, v in enumerate(literals) if v is None)
    body = f"def f({free}):\n    return {getattr(row, column)(*arguments)}\n"
    support = support_for(body, SUPPORT[column])
    support = support_for(f"{support}\n{body}", SUPPORT[column])
    return f"import torch\n\n{support}\n\n{body}"


def run(text: str, given: list[np.ndarray], types: tuple[Scalar, ...], literals: tuple[Any, ...]) -> torch.Tensor:
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    function: Callable[..., torch.Tensor] = namespace["f"]
    free = zip(given, types, literals, strict=True)
    return function(*(torch.from_numpy(a).to(TORCH[t]) for a, t, v in free if v is None))


def verify(column: str, row: Function, types: tuple[Scalar, ...], result: Scalar, literals: tuple[Any, ...],
           given: list[tuple[Any, ...]], natural: bool = False) -> None:
    columns = [np.array(c, NUMPY[t]) for c, t in zip(zip(*given, strict=True), types, strict=True)]
    text = written(column, row, types, literals, natural)
    found, expected = run(text, columns, types, literals), row.reference(*columns)
    assert found.dtype == TORCH[result], text
    if result is not FLOAT:
        np.testing.assert_array_equal(found.numpy(), np.broadcast_to(expected, found.shape), err_msg=text)
        return
    with np.errstate(over="ignore", under="ignore"):
        # A power of 2 is off by the rounding of its exponent, which is as large as |x|.
        tolerance = 2e-5 if column == "inductor" else 4e-6
        np.testing.assert_allclose(found.numpy(), expected.astype(np.float32), rtol=tolerance, atol=1e-6, err_msg=text)


@pytest.mark.parametrize(("column", "row", "types", "result"), FORMS, ids=name_of)
def test_forms_on_tensors_and_literals(column: str, row: Function, types: tuple[Scalar, ...], result: Scalar) -> None:
    if row.name in ("floordiv", "mod") and FLOAT in types and column == "flash":
        with pytest.raises(Unwritable, match="floats has no form"):
            written(column, row, types, (None, None), natural=False)
        return
    everything = list(cases(row.name, tuple(map(str, types)), step=5 if row.arity == 3 else 1))
    verify(column, row, types, result, (None,) * row.arity, everything)
    for literals in itertools.product(*((None, *LITERALS[t]) for t in types)):
        if all(v is None for v in literals) or all(v is not None for v in literals):
            continue
        fixed = {tuple(x if v is None else v for x, v in zip(a, literals, strict=True)) for a in everything}
        allowed = sorted((a for a in fixed if is_allowed(row.name, a)), key=repr)
        if allowed:
            verify(column, row, types, result, literals, allowed)


@pytest.mark.parametrize("column", ["inductor", "flash"])
@pytest.mark.parametrize("y", [1, 3, 7, 30, 1000, 46341])
@pytest.mark.parametrize("name", ["floordiv", "mod"])
def test_naturals_divided_by_a_constant_need_no_flooring(name: str, y: int, column: str) -> None:
    given = [(x, y) for x in INTS if x >= 0]
    verify(column, OPS[name], (INT, INT), INT, (None, y), given, natural=True)
    assert "where" not in written(column, OPS[name], (INT, INT), (None, y), natural=True)
    assert written(column, OPS[name], (INT, INT), (None, -y), natural=True) == written(
        column, OPS[name], (INT, INT), (None, -y), natural=False
    )


def test_limits_are_choices_for_flash() -> None:
    for name in ("min", "max", "clamp"):
        for types, _ in OPS[name].signatures:
            text = written("flash", OPS[name], types, (None,) * OPS[name].arity, natural=False)
            assert "torch.where" in text and not any(word in text for word in ("minimum", "maximum", "clamp("))


def test_the_values_that_count_are_tried() -> None:
    """Infinities, NaN and both ends of int32 are among the cases of every form."""
    assert {float("inf"), float("-inf")} <= set(FLOATS) and any(x != x for x in FLOATS)
    assert {-(2**31), 2**31 - 1} <= set(INTS)
