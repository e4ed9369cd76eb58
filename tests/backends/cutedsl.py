"""Runs what torch writes in CuteDSL for FlashAttention-4's mods, on NumPy: a model of the values that CuteDSL 4.4 has.

It is as strict as CuteDSL: `where` takes two values of one type, `full_like` takes the type of what it is like, and
what `>>`, `<<`, `~` and unary `-` give is no value to anything but `TensorSSA`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from torch._inductor.decomposition import select_decomp_table
from torch.fx.experimental.proxy_tensor import make_fx

from maskdsl.backends.closures import made, recipe_of, tensors_of
from maskdsl.backends.offline import generated
from maskdsl.backends.targets import TARGETS

TYPES = {"Boolean": np.bool_, "Int8": np.int8, "Int16": np.int16, "Int32": np.int32, "Int64": np.int64,
         "Uint8": np.uint8, "Float16": np.float16, "BFloat16": np.float32, "Float32": np.float32}  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """What CuteDSL gives instead of a value."""

    array: np.ndarray[Any, Any]


class Value:
    """A vector of one type."""

    def __init__(self, array: Any, shape: object = None, dtype: Any = None) -> None:
        self.array = np.asarray(array.array if isinstance(array, Raw | Value) else array)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def to(self, wanted: type) -> Value:
        with np.errstate(invalid="ignore"):
            return Value(self.array.astype(wanted))

    def _with(self, other: Any, function: Callable[..., Any]) -> Value:
        if not isinstance(other, Value | int | float):
            raise TypeError(f"Unsupported DSL type: {type(other).__name__}")
        right = other.array if isinstance(other, Value) else np.asarray(other, self.dtype)
        kinds = {self.dtype, right.dtype}
        common = np.float32 if any(k.kind == "f" for k in kinds) else np.result_type(*kinds)
        with np.errstate(all="ignore"):
            made = np.asarray(function(self.array.astype(common), right.astype(common)))
        return Value(made if made.dtype == bool else made.astype(common))

    def __neg__(self) -> Raw:
        return Raw(-self.array)

    def __invert__(self) -> Raw:
        return Raw(~self.array)

    def __rshift__(self, other: Value) -> Raw:
        return Raw(self.array >> other.array)

    def __lshift__(self, other: Value) -> Raw:
        return Raw(self.array << other.array)


def _cut(x: Any, y: Any) -> Any:
    """Division of ints as the machine has it: towards zero."""
    return x - np.fmod(x, y) if x.dtype.kind == "f" else np.trunc(x / np.where(y == 0, 1, y).astype(np.float64))


BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": _cut, "pow": np.power,
    "mod": lambda x, y: np.fmod(x, np.where(y == 0, 1, y)), "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
for _name, _function in BINARY.items():
    setattr(Value, f"__{_name}__", lambda self, other, f=_function: self._with(other, f))
    setattr(Value, f"__r{_name}__", lambda self, other, f=_function: self._with(other, lambda x, y: f(y, x)))


class Fragment:
    """Registers: indexable, unlike a value."""

    def __init__(self, shape: int | tuple[int, ...], dtype: type) -> None:
        self.array = np.zeros(shape, dtype)
        self.shape = self.array.shape

    def __getitem__(self, place: int) -> Any:
        return self.array[place]

    def __setitem__(self, place: int, value: Any) -> None:
        self.array[place] = value

    def load(self) -> Value:
        return Value(self.array.copy())

    def store(self, value: Value) -> None:
        assert value.shape == self.shape, "one lane is not another"
        self.array[:] = value.array


def fragment_of(value: Value, dtype: type) -> Fragment:
    made = Fragment(value.shape, dtype)
    made.store(value)
    return made


def only_lane(value: Value, dtype: type) -> Any:
    """torch 2.11's way to an index."""
    return fragment_of(value, dtype)[0] if value.shape == (1,) else pytest.fail("an index of more than one lane")


def where(condition: Value, x: Value, y: Value) -> Value:
    if condition.dtype != np.bool_ or x.dtype != y.dtype:
        raise ValueError(f"x and y must have the same dtype, but got {x.dtype} and {y.dtype}")
    return Value(np.where(condition.array, x.array, y.array))


def _unary(function: Callable[..., Any]) -> Callable[[Value], Value]:
    def apply(x: Value) -> Value:
        assert x.dtype == np.float32, "functions are of floats"
        with np.errstate(all="ignore"):
            return Value(function(x.array).astype(np.float32))

    return apply


MATH = {name: _unary(getattr(np, name)) for name in ("exp2", "log", "log2", "sqrt", "sin", "cos", "tanh")}
MATH["rsqrt"] = _unary(lambda x: 1 / np.sqrt(x))
CUTE = SimpleNamespace(
    where=where, full_like=lambda like, v: Value(np.full(like.shape, v).astype(like.dtype)), TensorSSA=Value,
    make_rmem_tensor=Fragment, size=lambda shape: int(np.prod(shape)), jit=lambda function: function,
    math=SimpleNamespace(**MATH),
)  # fmt: skip
NAMES = {
    "cute": CUTE, "operator": operator, "ssa_to_fragment": fragment_of, "ssa_to_indexable": only_lane,
    "cutlass": SimpleNamespace(**TYPES, range=lambda n, unroll_full: range(n)),
    "mlir_math": SimpleNamespace(absf=lambda x: Raw(np.abs(x.array)), absi=lambda x: Raw(np.abs(x.array))),
}  # fmt: skip
STEP = 43
INSTRUCTIONS = {"tanh.approx.f32 $0, $1;": np.tanh, "lg2.approx.f32 $0, $1;": np.log2}


def flash_source(mask_mod: Any, score_mod: Any, mask: Any, head_dim: int = 16) -> tuple[str, dict[str, Tensor]]:
    """The text of Inductor's module for a forward call on FlashAttention-4, and its inputs by name.

    The call is written as a graph here: Dynamo takes a minute for what is long. `mask` is a BlockMask for as many query
    heads as it has lists, and two key/value heads.
    """
    graph = torch.fx.Graph()
    inputs: dict[str, Tensor] = {}
    module = torch.fx.GraphModule({}, graph)

    def given(tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        node = graph.placeholder(f"in_{len(inputs)}")
        inputs[node.name], node.meta["val"] = tensor, tensor
        return node

    lengths, heads = mask.seq_lengths, mask.kv_num_blocks.shape[1]
    qkv = [given(torch.zeros(1, h, n, head_dim, dtype=torch.bfloat16)) for h, n in zip((heads, 2), lengths, strict=True)]
    *lists, _ = mask.as_tuple()
    lists = [given(x) for x in lists]
    mods = {"score": score_mod or (lambda score, *_: score), "mask": mask_mod}
    held = {name: [given(t) for t in tensors_of(mod)] for name, mod in mods.items()}
    for name, mod in mods.items():
        setattr(module, name, _graph_of(mod, reads_score=name == "score"))
    subgraphs = {name: graph.get_attr(name) for name in mods}
    options = {"BACKEND": "FLASH", "OUTPUT_LOGSUMEXP": False, "OUTPUT_MAX": False, "PRESCALE_QK": False}
    args = (qkv[0], qkv[1], qkv[1], subgraphs["score"], (*lists, subgraphs["mask"]), head_dim**-0.5, options)
    attended = graph.call_function(
        torch.ops.higher_order.flex_attention, (*args, tuple(held["score"]), tuple(held["mask"]))
    )
    out = graph.call_function(operator.getitem, (attended, 0))
    out.meta["val"] = inputs[qkv[0].name]
    lse = torch.zeros(1, heads, lengths[0])
    attended.meta["val"] = (out.meta["val"], lse, lse)
    graph.output((out,))
    module.graph = graph
    with mock.patch("torch._inductor.kernel.flex.flex_flash_attention.ensure_flash_available", lambda: True):
        return generated((module, []), TARGETS["sm_90"]).source, inputs


def _graph_of(mod: Any, reads_score: bool) -> torch.fx.GraphModule:
    """A mod as a graph over the coordinates and the tensors that it closes over."""
    held = [*tensors_of(mod)]
    recipe = recipe_of(mod) if held else None
    count = 5 if reads_score else 4

    def function(*args: Tensor) -> Tensor:
        called = mod if recipe is None else made(recipe, [*args[count:]][::-1])
        found: Tensor = called(*args[:count])
        return found

    place = [torch.zeros((), dtype=torch.int32) for _ in range(4)]
    score = [torch.zeros((), dtype=torch.bfloat16)] if reads_score else []
    traced = make_fx(function, decomposition_table=select_decomp_table(), tracing_mode="fake")
    with TransformGetItemToIndex():  # as flex_attention does: a lookup at a tensor without axes is no slice
        graph: torch.fx.GraphModule = traced(*score, *place, *held)
    return graph


def run_mod(text: str, name: str, inputs: dict[str, Tensor], shape: tuple[int, ...], scores: Any = None) -> Any:
    """What `score_mod` or `mask_mod` of the text gives for all b, h and k, and every `STEP`th q.

    A vector has as many neighbouring keys as the text says, else one where it reads tables.
    """
    body = re.search(rf"    def {name}\(.*?\n(?=    {name}\.__cute_hash__)", text, re.DOTALL)
    kernel = re.search(r"async_compile\.cutedsl\('(\w+)'", text)
    assert body and kernel, f"no {name}"
    formal = re.search(rf"def {kernel[1]}_main\((.*?), stream\)", text)
    actual = re.search(rf"{kernel[1]}\.run\((.*?), stream=", text)
    assert formal and actual
    given = dict(zip(formal[1].split(", "), actual[1].split(", "), strict=True))
    tables = [inputs[given[n]].detach().numpy() for n in re.findall(r"(\w+) = aux_tensors\[\d+\]", body[0])]
    approximate = mock.Mock(apply=lambda x, asm: _unary(INSTRUCTIONS[asm])(x))
    namespace = {**NAMES, "__builtins__": {"__import__": lambda *_, **__: approximate, "float": float}}
    exec("\n".join(line[4:] for line in body[0].splitlines()), namespace)
    said = re.search(rf"    {name}\.__vec_size__ = (\d+)", text)
    width = int(said[1]) if said else 1 if tables else 16
    found = np.zeros((*shape[:2], len(range(0, shape[2], STEP)), shape[3]), bool if scores is None else np.float32)
    for b, h, row, first in np.ndindex(*found.shape[:3], shape[3] // width):
        keys = slice(first * width, (first + 1) * width)
        lanes = [Value(np.full(width, i, np.int32)) for i in (b, h, row * STEP)]
        given_scores = [] if scores is None else [Value(scores[b, h, row * STEP, keys])]
        made = namespace[name](*given_scores, *lanes, Value(np.arange(shape[3], dtype=np.int32)[keys]), None, tables)
        found[b, h, row, keys] = made.array
    return found
