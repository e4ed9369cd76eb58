"""How a call's kernels are launched without the compiler that made them: what its module does, and its kernels.

Inductor's module allocates buffers and calls kernels, in plain Python. That function is kept and the rest of the module
is not: `call_text` takes it out, and refuses one that does more. What it calls are the kernels here, which are run by a
driver. Not here: compiling (`launch_build`), the driver (`cuda_driver`), which calls there are (`launched_calls`).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from ctypes import Array, addressof, c_float, c_int32, c_int64, c_uint64, c_void_p
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

LETTERS = {
    **dict.fromkeys(("i1", "i8", "i16", "i32", "u32"), c_int32), "i64": c_int64, "u64": c_uint64, "fp32": c_float,
}  # fmt: skip
"""How scalars are handed to a kernel; pointers, whose type begins with `*`, are 64 bits."""

WIDTHS = {"i1": 8, "i8": 8, "i16": 16, "i32": 32, "u32": 32, "fp32": 32, "i64": 64, "u64": 64}
WIDTHS_OF_PTX = {f"{letter}{bits}": bits for letter in "bsuf" for bits in (8, 16, 32, 64)}
"""How many bits of them a kernel reads, by Triton's name and by PTX's."""

PARAMETER = re.compile(r"\.param\s+\.(\w+)")

PROVIDED = frozenset({"empty_strided_cuda", "reinterpret_tensor", "get_raw_stream", "torch", "math", "max", "min"})
"""The names that a call may use beside those of its kernels."""

DROPPED = frozenset({"assert_size_stride", "assert_alignment", "torch.cuda.set_device", "args.clear"})
"""Calls that are left out: sizes and strides are checked before, and the device is the tensors'."""


class Unplannable(ValueError):
    """Inductor's module does what a plan cannot say."""


class Driver(Protocol):
    """What launches kernels: that of CUDA (`cuda_driver`), or one that a test looks into."""

    def load(self, image: bytes, entry: str, shared: int, device: int) -> Any:
        """A function of a cubin, ready to be launched with `shared` bytes of shared memory."""

    def launch(
        self, function: Any, grid: tuple[int, int, int], threads: int, shared: int, stream: int, values: Array[c_void_p]
    ) -> None:
        """Launch a function; `values` point to the values of its parameters."""


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """One kernel: what `.run` is given, what of it the GPU gets, and how many programs of how many warps run.

    `grid` is the text of a function `grid` of the arguments; `scratch` bytes of global memory belong to every program.
    The `constants` that it was compiled with, the `registers` of a thread and the bytes that it spills are for people.
    """

    name: str
    cubin: str
    entry: str
    arguments: tuple[str, ...]
    signature: tuple[tuple[str, str], ...]
    grid: str
    warps: int
    shared: int
    scratch: int
    constants: Mapping[str, Any] = field(default_factory=dict)
    registers: int = 0
    spilled: int = 0

    def plain(self) -> dict[str, Any]:
        """The plan as JSON says it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> KernelPlan:
        """The plan that `plain` gave."""
        pairs = tuple((name, kind) for name, kind in plain["signature"])
        return cls(**{**plain, "arguments": tuple(plain["arguments"]), "signature": pairs})


@dataclass(slots=True)
class Launcher:
    """A kernel on a device, as a call uses it."""

    plan: KernelPlan
    driver: Driver
    function: Any
    device: torch.device
    grid: Callable[..., tuple[int, int, int]]
    places: tuple[tuple[int, Any], ...] = field(init=False)

    def __post_init__(self) -> None:
        order = {name: place for place, name in enumerate(self.plan.arguments)}
        self.places = tuple((order[n], None if t[0] == "*" else LETTERS[t]) for n, t in self.plan.signature)

    def run(self, *arguments: Any, stream: int) -> None:
        """Launch the kernel on what Inductor's call gives it."""
        self.start(arguments, self.grid(*arguments), stream)

    def start(self, arguments: Sequence[Any], grid: tuple[int, int, int], stream: int) -> None:
        """Launch so many programs on the arguments of the plan."""
        if not math.prod(grid):
            return
        given = ((arguments[place], kind) for place, kind in self.places)
        values = [c_uint64(x.data_ptr()) if kind is None else kind(x) for x, kind in given]
        scratch = self._scratch(grid)
        # Triton's kernels end with two pointers more: scratch memory, and memory for a profiler.
        values += [c_uint64(0 if scratch is None else scratch.data_ptr()), c_uint64(0)]
        pointers = (c_void_p * len(values))(*map(addressof, values))
        self.driver.launch(self.function, grid, 32 * self.plan.warps, self.plan.shared, stream, pointers)

    def _scratch(self, grid: tuple[int, int, int]) -> Tensor | None:
        if not self.plan.scratch:
            return None
        return torch.empty(self.plan.scratch * math.prod(grid), dtype=torch.uint8, device=self.device)


def launcher_of(plan: KernelPlan, image: bytes, driver: Driver, device: torch.device) -> Launcher:
    """A kernel loaded onto a device. Raises what the driver raises."""
    namespace: dict[str, Any] = {}
    exec(compile(plan.grid, f"<grid of {plan.name}>", "exec"), namespace)
    function = driver.load(image, plan.entry, plan.shared, device.index or 0)
    return Launcher(plan, driver, function, device, namespace["grid"])


def verify_plan(plan: KernelPlan, ptx: str) -> None:
    """Raise Unplannable where the parameters of a kernel are not those that a launch would give it."""
    declared = [m[1] for m in PARAMETER.finditer(ptx.partition(".entry")[2].partition(")")[0])]
    widths = [64 if kind[0] == "*" else WIDTHS.get(kind, 0) for _, kind in plan.signature]
    if [WIDTHS_OF_PTX.get(kind, -1) for kind in declared] != [*widths, 64, 64]:
        raise Unplannable(f"`{plan.name}` takes parameters that are not known here: {', '.join(declared)}")


def call_text(source: str, kernels: Sequence[str]) -> str:
    """The function `call(args)` of Inductor's module, over the kernels' names and those `PROVIDED`.

    Raises Unplannable where it needs anything else.
    """
    found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == "call"]
    if len(found) != 1:
        raise Unplannable(f"the module has {len(found)} functions `call`")
    body = [kept for statement in found[0].body for kept in _kept(statement)]
    function = ast.FunctionDef("call", _one_argument("args"), body, [], lineno=1)
    made = ast.unparse(ast.fix_missing_locations(ast.Module([function], [])))
    _verify_names(ast.parse(made), {*kernels, *PROVIDED})
    return f"{made}\n"


def call_function(text: str, kernels: Mapping[str, Launcher], device: torch.device) -> Callable[[list[Tensor]], Any]:
    """What `call_text` gave, as a function of a list of tensors on a device, which it empties."""

    def empty(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty_strided(size, stride, dtype=dtype, device=device)

    def reinterpreted(x: Tensor, size: Sequence[int], stride: Sequence[int], offset: int = 0) -> Tensor:
        return x.as_strided(size, stride, x.storage_offset() + offset)

    def stream(index: int) -> int:
        return int(torch.cuda.current_stream(device).cuda_stream) if device.type == "cuda" else 0

    namespace: dict[str, Any] = {
        "empty_strided_cuda": empty, "reinterpret_tensor": reinterpreted, "get_raw_stream": stream, "torch": torch,
        "math": math, **kernels,
    }  # fmt: skip
    exec(compile(text, "<launches>", "exec"), namespace)
    made: Callable[[list[Tensor]], Any] = namespace["call"]
    return made


def _kept(statement: ast.stmt) -> list[ast.stmt]:
    """A statement without the device guard around it; nothing of a call that is dropped."""
    match statement:
        case ast.With(items=[ast.withitem(ast.Call(func))], body=body) if "DeviceGuard" in ast.unparse(func):
            return [kept for inner in body for kept in _kept(inner)]
        case ast.Expr(ast.Call(func)) if ast.unparse(func) in DROPPED:
            return []
        case ast.Assign() | ast.Expr() | ast.Delete() | ast.Return():
            return [statement]
    raise Unplannable(f"the module runs `{ast.unparse(statement).splitlines()[0]}`")


def _verify_names(tree: ast.Module, known: set[str]) -> None:
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    made = {n.id for n in names if isinstance(n.ctx, ast.Store)} | {"args"}
    for name in names:
        if name.id not in made | known:
            raise Unplannable(f"the module uses `{name.id}`")
    for attribute in (n for n in ast.walk(tree) if isinstance(n, ast.Attribute)):
        if attribute.attr not in ("run", "size") and not isinstance(getattr(torch, attribute.attr, None), torch.dtype):
            raise Unplannable(f"the module uses `{ast.unparse(attribute)}`")


def _one_argument(name: str) -> ast.arguments:
    return ast.arguments(posonlyargs=[], args=[ast.arg(name)], kwonlyargs=[], kw_defaults=[], defaults=[])

