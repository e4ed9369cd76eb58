"""The torch column: every row's expression gives what its reference gives, whichever arguments are literals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from ops_oracle import FLOATS, INTS, cases, is_allowed

from maskdsl.ir.emission import Argument, support_for
from maskdsl.ir.ops import TABLE, Function
from maskdsl.ir.ops_torch import TORCH_SUPPORT, torch_literal
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

NUMPY = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}
TORCH = {BOOL: torch.bool, INT: torch.int32, FLOAT: torch.float32}
LITERALS: dict[Scalar, tuple[Any, ...]] = {
    INT: (0, 1, -1, 2, 3, -3, 7, 31, 64, 46341, INTS[-4], INTS[-1]),
    FLOAT: (0.0, 1.0, -1.0, 0.5, -2.5, 3.0, FLOATS[-3], FLOATS[-2]),
    BOOL: (False, True),
}
Case = tuple[Function, tuple[Scalar, ...], Scalar]
OVERLOADS: list[Case] = [(f, types, result) for f in TABLE for types, result in f.signatures]


def name_of(case: object) -> str:
    return case.name if isinstance(case, Function) else ""


def emitted(row: Function, types: tuple[Scalar, ...], literals: tuple[Any, ...]) -> Callable[..., torch.Tensor]:
    """The row as a function of its arguments that are no literals (None in `literals`)."""
    arguments = [
        Argument(f"x{i}", t) if value is None else Argument(torch_literal(value), t, value)
        for i, (t, value) in enumerate(zip(types, literals, strict=True))
    ]
    namespace: dict[str, Any] = {}
    free = ", ".join(f"x{i}" for i, value in enumerate(literals) if value is None)
    body = f"def f({free}):\n    return {row.torch(*arguments)}\n"
    exec(f"import torch\n\n{support_for(body, TORCH_SUPPORT)}\n\n{body}", namespace)
    function: Callable[..., torch.Tensor] = namespace["f"]
    return function


def columns(given: list[tuple[Any, ...]], types: tuple[Scalar, ...]) -> list[np.ndarray]:
    return [np.array(column, NUMPY[t]) for column, t in zip(zip(*given, strict=True), types, strict=True)]


def verify_equal(found: torch.Tensor, expected: np.ndarray, result: Scalar, text: str = "") -> None:
    assert found.dtype == TORCH[result], text
    if result is FLOAT:
        with np.errstate(over="ignore", under="ignore"):
            np.testing.assert_allclose(found.numpy(), expected.astype(np.float32), rtol=2e-6, atol=1e-6, err_msg=text)
    else:
        np.testing.assert_array_equal(found.numpy(), np.broadcast_to(expected, found.shape), err_msg=text)


def needs_literal(row: Function, types: tuple[Scalar, ...]) -> bool:
    return row.name == "pow" and types[0] is INT


@pytest.mark.parametrize(("row", "types", "result"), OVERLOADS, ids=name_of)
def test_tensors(row: Function, types: tuple[Scalar, ...], result: Scalar) -> None:
    if needs_literal(row, types):
        return
    given = columns(list(cases(row.name, tuple(map(str, types)), step=5 if row.arity == 3 else 1)), types)
    function = emitted(row, types, (None,) * row.arity)
    tensors = [torch.from_numpy(c).to(TORCH[t]) for c, t in zip(given, types, strict=True)]
    verify_equal(function(*tensors), row.reference(*given), result)


def with_literals(row: Function, types: tuple[Scalar, ...]) -> Iterator[tuple[Any, ...]]:
    """Every way to give some arguments as literals, the others as tensors (None)."""
    for literals in itertools.product(*((None, *LITERALS[t]) for t in types)):
        some = any(v is not None for v in literals) and any(v is None for v in literals)
        if some and not (needs_literal(row, types) and literals[1] is None):
            yield literals


@pytest.mark.parametrize("default", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("row", "types", "result"), [c for c in OVERLOADS if c[0].arity > 1], ids=name_of)
def test_literals_in_every_position(
    row: Function, types: tuple[Scalar, ...], result: Scalar, default: torch.dtype, request: pytest.FixtureRequest
) -> None:
    torch.set_default_dtype(default)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    for literals in itertools.islice(with_literals(row, types), 0, None, 3 if row.arity == 3 else 1):
        free = [LITERALS[t] for t, value in zip(types, literals, strict=True) if value is None]
        given = []
        for values in itertools.product(*free):
            rest = iter(values)
            args = tuple(next(rest) if value is None else value for value in literals)
            given += [args] if is_allowed(row.name, args) else []
        if not given:
            continue
        arrays = columns(given, types)
        tensors = [
            torch.from_numpy(a).to(TORCH[t]) for a, t, v in zip(arrays, types, literals, strict=True) if v is None
        ]
        verify_equal(emitted(row, types, literals)(*tensors), row.reference(*arrays), result)


@pytest.mark.filterwarnings("error:.*performance drop.*")
@pytest.mark.parametrize(("row", "types", "result"), OVERLOADS, ids=name_of)
def test_vmap_over_scalars(row: Function, types: tuple[Scalar, ...], result: Scalar) -> None:
    """As `create_block_mask` calls a mod: 0-d tensors under nested vmap."""
    for literals in ((None,) * row.arity, (None, *(LITERALS[t][1] for t in types[1:]))):
        if needs_literal(row, types) and literals[1] is None:
            continue
        function = emitted(row, types, literals)
        given = columns(list(cases(row.name, tuple(map(str, types)), step=11)), types)
        tensors = [torch.from_numpy(c).to(TORCH[t]) for c, t in zip(given, types, strict=True)]
        free = [t.view(1, -1) for t, value in zip(tensors, literals, strict=True) if value is None]
        found = torch.vmap(torch.vmap(function))(*free)
        torch.testing.assert_close(found, function(*free), equal_nan=True)


@pytest.mark.parametrize("y", [0, -1])
@pytest.mark.parametrize("name", ["floordiv", "mod"])
def test_division_never_traps(name: str, y: int) -> None:
    """Lanes that are not taken may divide by zero, and INT_MIN by -1."""
    row = next(f for f in TABLE if f.name == name)
    x, divisor = torch.tensor(INTS, dtype=torch.int32), torch.full((len(INTS),), y, dtype=torch.int32)
    for function, args in ((emitted(row, (INT, INT), (None, None)), (x, divisor)),
                           (emitted(row, (INT, INT), (None, y)), (x,)),
                           (emitted(row, (INT, INT), (INTS[-1], None)), (divisor,))):  # fmt: skip
        assert function(*args).dtype is torch.int32


def test_support_is_included_only_where_called() -> None:
    assert support_for("x = floor_divide(a, b)", TORCH_SUPPORT).startswith("def floor_divide(")
    assert support_for("x = torch.floor_divide(a, b) + my_floor_divide(a)", TORCH_SUPPORT) == ""


def test_literals_read_back() -> None:
    for value in (*INTS, *FLOATS, True, False):
        again = eval(torch_literal(value), {"torch": torch})
        assert type(again) is type(value) and (again == value or again != again)
        assert eval(f"2 ** {torch_literal(-2)}", {}) == 0.25


def test_floats_beyond_float32_are_the_nearest_of_float32() -> None:
    """torch refuses others in `torch.clamp` and `torch.full_like`."""
    largest = float(np.finfo(np.float32).max)
    for value, text in ((1e39, "torch.inf"), (-1e39, "(-torch.inf)"), (3.4028235e38, repr(largest)), (1e-46, "1e-46")):
        assert torch_literal(value) == text
    x = torch.tensor([0.5, float("inf")])
    for value, read in ((1e39, float("inf")), (3.4028235e38, largest)):
        least = emitted(next(f for f in TABLE if f.name == "min"), (FLOAT, FLOAT), (None, value))(x)
        assert least.tolist() == [0.5, read]


@dataclass(frozen=True)
class Use:
    """One row on its own tensors, with literals where they are not None."""

    row: Function
    types: tuple[Scalar, ...]
    result: Scalar
    literals: tuple[Any, ...]
    given: list[np.ndarray]

    def text(self, name: str) -> str:
        pairs = zip(self.types, self.literals, strict=True)
        return self.row.torch(*(
            Argument(f"{name}_{i}", t) if v is None else Argument(torch_literal(v), t, v)
            for i, (t, v) in enumerate(pairs)
        ))  # fmt: skip

    def tensors(self, name: str, device: str) -> dict[str, torch.Tensor]:
        columns = zip(self.given, self.types, self.literals, strict=True)
        return {
            f"{name}_{i}": torch.from_numpy(a).to(device, TORCH[t]) for i, (a, t, v) in enumerate(columns) if v is None
        }


def uses() -> Iterator[Use]:
    """Every overload on tensors, and with literals in all places but the first."""
    for row, types, result in OVERLOADS:
        for literals in {(None,) * row.arity, (None, *(LITERALS[t][4 % len(LITERALS[t])] for t in types[1:]))}:
            if needs_literal(row, types) and literals[1] is None:
                continue
            given = cases(row.name, tuple(map(str, types)), step=13 if row.arity == 3 else 1)
            fixed = (tuple(x if v is None else v for x, v in zip(a, literals, strict=True)) for a in given)
            allowed = [a for a in fixed if is_allowed(row.name, a)]
            yield Use(row, types, result, literals, columns(allowed, types))


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_compiled_by_inductor(device: str) -> None:
    """All rows in one program, as `torch.compile` writes it for the machine."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    named = {f"f{i}": use for i, use in enumerate(uses())}
    tensors = {name: tensor for n, use in named.items() for name, tensor in use.tensors(n, device).items()}
    lines = "".join(f"        {name!r}: {use.text(name)},\n" for name, use in named.items())
    body = f"def f({', '.join(tensors)}):\n    return {{\n{lines}    }}\n"
    namespace: dict[str, Any] = {}
    exec(f"import torch\n\n{support_for(body, TORCH_SUPPORT)}\n\n{body}", namespace)
    found = torch.compile(namespace["f"], fullgraph=True, dynamic=False)(**tensors)
    for name, use in named.items():
        verify_equal(found[name].cpu(), use.row.reference(*use.given), use.result, use.text(name))
