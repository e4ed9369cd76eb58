"""The Triton column: every row's expression gives what its reference gives, in Triton's interpreter and compiled.

The interpreter has no libdevice; the functions that rows take from it are stood in for, so it tries all the rest.
"""

from __future__ import annotations

import itertools
import linecache
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ops_oracle import cases, is_allowed

from maskdsl.ir.emission import Argument, support_for
from maskdsl.ir.ops import TABLE, Function
from maskdsl.ir.ops_triton import TRITON_SUPPORT, triton_literal
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

triton = pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
NUMPY = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}
TORCH = {BOOL: torch.bool, INT: torch.int32, FLOAT: torch.float32}
TL = {BOOL: "tl.int8", INT: "tl.int32", FLOAT: "tl.float32"}
LITERALS: dict[Scalar, tuple[Any, ...]] = {INT: (3, -3, 8, 1), FLOAT: (2.5, -0.5), BOOL: (True, False)}


@dataclass(frozen=True)
class Case:
    """One row on blocks, with literals where they are not None."""

    row: Function
    types: tuple[Scalar, ...]
    result: Scalar
    literals: tuple[Any, ...]

    @property
    def given(self) -> list[tuple[Any, ...]]:
        step = (1, 3, 31)[self.row.arity - 1]
        drawn = cases(self.row.name, tuple(map(str, self.types)), step)
        fixed = {tuple(x if v is None else v for x, v in zip(a, self.literals, strict=True)) for a in drawn}
        return [a for a in fixed if is_allowed(self.row.name, a)]

    def source(self, name: str) -> str:
        """A kernel that writes the row's value for every lane of its arguments."""
        pairs = list(enumerate(zip(self.types, self.literals, strict=True)))
        arguments = (
            Argument(f"x{i}", t) if v is None else Argument(triton_literal(v), t, v) for i, (t, v) in pairs
        )
        free = [(i, t) for i, (t, v) in pairs if v is None]
        loads = "".join(
            f"    x{i} = tl.load(p{i} + at){'.to(tl.int1)' if t is BOOL else ''}\n" for i, t in free
        )
        pointers = ", ".join(f"p{i}" for i, _ in free)
        return (
            f"@triton.jit\ndef {name}({pointers}, out, N: tl.constexpr):\n    at = tl.arange(0, N)\n{loads}"
            f"    value = {self.row.triton(*arguments)}\n"
            f"    tl.static_assert(value.dtype == {'tl.int1' if self.result is BOOL else TL[self.result]})\n"
            f"    tl.store(out + at, value.to({TL[self.result]}))\n"
        )


def needs_literal(row: Function, types: tuple[Scalar, ...]) -> bool:
    return row.name == "pow" and types[0] is INT


def all_cases() -> Iterator[Case]:
    """Every overload on blocks, and with a literal in each place."""
    for row in TABLE:
        for types, result in row.signatures:
            ways = [(None,) * row.arity]
            if row.arity > 1:
                ways += [tuple(LITERALS[t][0] if j == i else None for j, t in enumerate(types)) for i in (0, 1)]
                ways += [(None, *(LITERALS[t][n % len(LITERALS[t])] for t in types[1:])) for n in range(3)]
            for literals in dict.fromkeys(ways):
                if not (needs_literal(row, types) and (literals[1] is None or literals[1] < 0)):
                    yield Case(row, types, result, literals)


def module(sources: list[str], libdevice: Any) -> dict[str, Any]:
    """The kernels and what they call; Triton reads their text through `linecache`."""
    body = "\n\n".join(sources)
    support = support_for(body, TRITON_SUPPORT)
    text = f"import triton\nimport triton.language as tl\n\n{support}\n\n{body}"
    name = "<ops in triton>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"libdevice": libdevice, "__name__": "ops_in_triton"}
    exec(compile(text, name, "exec"), namespace)
    return namespace


def stand_in() -> Any:
    """What libdevice computes, of interpreted values, by NumPy."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    def lifted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            handles = [a.handle.data if isinstance(a, tl.tensor) else getattr(a, "value", a) for a in args]
            with np.errstate(all="ignore"):
                data = np.asarray(function(*(np.asarray(h, np.float32) for h in handles)), np.float32)
            like = next(a for a in args if isinstance(a, tl.tensor))
            return tl.tensor(TensorHandle(data, tl.float32), like.type)

        return call

    same = ("exp", "exp2", "log1p", "log2", "sqrt", "tanh", "floor", "ceil", "trunc", "fmod")
    named = {n: getattr(np, n) for n in same}
    named |= {"pow": np.power, "nearbyint": np.rint, "rsqrt": lambda x: 1 / np.sqrt(x)}
    return SimpleNamespace(**{n: lifted(f) for n, f in named.items()})


def run(case: Case, kernel: Any, device: str) -> torch.Tensor:
    given = case.given
    size = 1 << max(0, math.ceil(math.log2(len(given))))
    padded = list(itertools.islice(itertools.cycle(given), size))
    storage = {BOOL: torch.int8, INT: torch.int32, FLOAT: torch.float32}
    columns = [
        torch.tensor(column, dtype=storage[t], device=device)
        for column, t, v in zip(zip(*padded, strict=True), case.types, case.literals, strict=True) if v is None
    ]
    out = torch.empty(size, dtype=storage[case.result], device=device)
    kernel[(1,)](*columns, out, N=size)
    return out[: len(given)].to(TORCH[case.result]).cpu()


def verify(case: Case, found: torch.Tensor, tolerance: float) -> None:
    columns = [np.array(c, NUMPY[t]) for c, t in zip(zip(*case.given, strict=True), case.types, strict=True)]
    expected = case.row.reference(*columns)
    text = f"{case.row.name} {case.literals}"
    if case.result is FLOAT:
        with np.errstate(over="ignore", under="ignore"):
            single = expected.astype(np.float32)
        np.testing.assert_allclose(found.numpy(), single, rtol=tolerance, atol=tolerance, err_msg=text)
    else:
        np.testing.assert_array_equal(found.numpy(), expected, err_msg=text)


def run_all(device: str, libdevice: Any, tolerance: float) -> None:
    listed = [c for c in all_cases() if c.given]
    namespace = module([c.source(f"kernel{i}") for i, c in enumerate(listed)], libdevice)
    wrong = []
    for i, case in enumerate(listed):
        try:
            verify(case, run(case, namespace[f"kernel{i}"], device), tolerance)
        except Exception as error:
            wrong.append(f"{case.row.name} {case.types} {case.literals}: {str(error)[:600]}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.skipif(not INTERPRETED, reason="run by test_in_the_interpreter in a process of its own")
def test_interpreted_kernels() -> None:
    run_all("cpu", stand_in(), 3e-6)


@pytest.mark.skipif(INTERPRETED, reason="already there")
def test_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_interpreted_kernels"]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-6000:]


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled there")
def test_compiles_for_a_gpu_that_is_not_there() -> None:
    """All rows in one kernel, to PTX for an H100."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.language.extra import libdevice

    listed = [c for c in all_cases() if all(v is None for v in c.literals) or c.row.arity > 1]
    sources, lines = [], []
    for i, case in enumerate(listed):
        arguments = [
            Argument(f"{t}s", t) if v is None else Argument(triton_literal(v), t, v)
            for t, v in zip(case.types, case.literals, strict=True)
        ]
        lines.append(f"    v{i} = {case.row.triton(*arguments)}\n    tl.store({case.result}_out + at + {i}, v{i})\n")
    sources.append(
        "@triton.jit\ndef kernel(int_in, float_in, bool_in, int_out, float_out, bool_out):\n    at = tl.arange(0, 32)\n"
        "    ints = tl.load(int_in + at)\n    floats = tl.load(float_in + at)\n    bools = tl.load(bool_in + at)\n"
        + "".join(lines)
    )
    kernel = module(sources, libdevice)["kernel"]
    types = {"int": "*i32", "float": "*fp32", "bool": "*i1"}
    pointers = {f"{t}_{way}": pointer for way in ("in", "out") for t, pointer in types.items()}
    compiled = triton.compile(ASTSource(kernel, pointers, {}), target=GPUTarget("cuda", 90, 32))
    assert ".visible .entry kernel" in compiled.asm["ptx"]


@pytest.mark.cuda
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
def test_on_the_gpu() -> None:
    from triton.language.extra import libdevice

    run_all("cuda", libdevice, 3e-6)
