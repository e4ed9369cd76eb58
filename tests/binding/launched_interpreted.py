"""Runs an artifact's launches for a GPU without one: a driver that hands every launch to Triton's interpreter.

A program of its own (TRITON_INTERPRET must be set before Triton is imported): `test_launched` runs it on a folder. It
sees what CUDA's driver would see, addresses and grids, and compares the outputs with the reference.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask

from maskdsl.backends import flex
from maskdsl.backends.block_lists import empty_lists
from maskdsl.backends.block_mask_triton import kernel_for
from maskdsl.backends.kernel_choice import Machine
from maskdsl.backends.launched_calls import LaunchedKernel, Plan
from maskdsl.backends.launched_lists import LaunchedLists
from maskdsl.backends.offline import kernel_texts
from maskdsl.backends.tile_plan import Builder
from maskdsl.binding.artifact import read_manifest, read_program, read_section
from maskdsl.binding.bound import Bound
from maskdsl.binding.choice import Wish
from maskdsl.binding.program import Program
from maskdsl.binding.shapes import check_call

DTYPES = {"*fp32": torch.float32, "*bf16": torch.bfloat16, "*fp16": torch.float16, "*i32": torch.int32, "*i64": torch.int64,
          "*i1": torch.bool}
KINDS = {"i1": ctypes.c_int32, "i32": ctypes.c_int32, "i64": ctypes.c_int64}
H100 = Machine("cuda", (9, 0), "H100", 132)


class Interpreter:
    """Stands for CUDA's driver: `load` finds the source beside a cubin, `launch` interprets it."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.launched: list[tuple[str, tuple[int, int, int]]] = []
        self.known: dict[bytes, tuple[Any, Callable[..., Any]]] = {}
        for form in plan.forms:
            texts = kernel_texts((folder / form.name / "kernels.py").read_text())
            for kernel in form.kernels:
                file = folder / form.name / f"{kernel.name}.interpreted.py"
                file.write_text(texts[kernel.name])
                function = interpreted(file, kernel.entry)
                self.known[(folder / form.name / kernel.cubin).read_bytes()] = (form.name, kernel, function)
        for lists in plan.lists:
            for kernel in lists.kernels:
                source = folder / Path(kernel.cubin).parent / "kernels.py"
                self.known[(folder / kernel.cubin).read_bytes()] = ("lists", kernel, interpreted(source, "build_lists"))

    def load(self, image: bytes, entry: str, shared: int, device: int) -> Any:
        """The plan and the source of the kernel."""
        return self.known[image]

    def launch(self, function: Any, grid: Any, threads: int, shared: int, stream: int, values: Any) -> None:
        """Run the source on what the addresses hold."""
        form, plan, kernel = function
        self.launched.append((form, grid))
        assert (threads, len(values)) == (32 * plan.warps, len(plan.signature) + 2)
        given = {name: value(kind, place) for (name, kind), place in zip(plan.signature, values, strict=False)}
        kernel[grid](**given, **plan.constants)


def value(kind: str, place: int) -> Any:
    """The argument that lies at a place: a number, or a tensor of one element at an address."""
    if kind in KINDS:
        return KINDS[kind].from_address(place).value
    address = ctypes.c_uint64.from_address(place).value
    dtype = DTYPES[kind]
    return torch.frombuffer((ctypes.c_char * dtype.itemsize).from_address(address), dtype=dtype)


def interpreted(file: Path, name: str) -> Any:
    """A kernel without Inductor's decorator."""
    import importlib.util

    from torch._inductor.runtime import triton_heuristics

    plain = SimpleNamespace(**{n: lambda *a, **k: lambda f: f for n in ("template", "pointwise", "persistent_reduction", "reduction")})
    text = file.read_text().replace("import triton_helpers, triton_heuristics", "import triton_helpers")
    text = text.replace("import libdevice, math", "import math").replace("libdevice.", "tl.math.")
    text = text.replace("triton_helpers.set_driver_to_gpu()", "")
    file = file.with_suffix(".plain.py")
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(f"plain_{abs(hash(file))}", file)
    assert spec and spec.loader and triton_heuristics
    module: ModuleType = importlib.util.module_from_spec(spec)
    vars(module)["triton_heuristics"] = plain
    spec.loader.exec_module(module)
    return getattr(module, name)


def call(bound: Bound, kernel: LaunchedKernel, qkv: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What `Bound.attention` does with tensors on a GPU."""
    q, k, v = qkv
    lengths = check_call(q, k, v, bound.variant.span)
    mods, blocks, settled = bound.planned(lengths, (q, k, v), Wish("triton", False, (128, 128), guarded=True), H100)
    signature, padded, mask = flex.cuda_call(mods, (q, k, v), blocks, settled.block, settled.plan)
    sink = mods.sink if signature.finish == "sink" else None
    verify_lists(bound.list_builder(mods, lengths, (q, k, v), mask.BLOCK_SIZE), mask)
    return kernel(signature, padded, mask, flex.made_mods(mods), sink)[..., : v.shape[3]]


def verify_lists(builder: Builder, mask: BlockMask) -> None:
    """The artifact's kernel of lists gives those that torch's operations gave."""
    found = empty_lists(*mask.kv_indices.shape, torch.device("cpu"))
    kernel = kernel_for(builder.plan.verdict, both=False)
    assert isinstance(kernel.function, LaunchedLists)
    kernel.launch(builder.plan.verdict, builder.call, builder.tables)(found)
    for counts, indices, own in ((found[0], found[1], "kv"), (found[2], found[3], "full_kv")):
        assert torch.equal(counts, getattr(mask, f"{own}_num_blocks"))
        listed = torch.arange(indices.shape[-1]) < counts[..., None]
        assert torch.equal(indices[listed], getattr(mask, f"{own}_indices")[listed])


def open_here(folder: Path) -> tuple[Program, LaunchedKernel, Interpreter]:
    """The definition, its kernel, and the driver that it runs on."""
    manifest = read_manifest(folder)
    variant = read_program(folder, read_section(folder, manifest))
    plan = Plan.read(folder)
    driver = Interpreter(folder, plan)
    return Program(variant, lambda: None), LaunchedKernel(plan, folder, driver), driver


def main(folder: Path, sizes: list[tuple[int, int, int]]) -> None:
    """Calls of these batch rows, queries and keys."""
    program, kernel, driver = open_here(folder)
    kernel.place(torch.device("cpu"))
    section = read_section(folder, read_manifest(folder))
    c = section.call
    for batch, q_len, kv_len in sizes:
        random = torch.Generator().manual_seed(q_len)
        dtype = getattr(torch, c.dtype)
        q = torch.randn(batch, c.heads, q_len, c.head_dim, generator=random).to(dtype)
        k, v = (torch.randn(batch, c.kv_heads, kv_len, c.head_dim, generator=random).to(dtype) for _ in "kv")
        tables = {
            "document": torch.randint(0, 3, (batch, max(q_len, kv_len)), generator=random, dtype=torch.int32),
            "slope": torch.linspace(0, 0.5, c.heads), "logit": torch.linspace(-9, 9, c.heads),
        }
        given = {name: tables[name] for name in program.tables}
        before = len(driver.launched)
        out = call(program.bind(**given), kernel, (q, k, v))
        wanted = program.reference(q, k, v, **given)
        error = float(np.abs(out.float().numpy() - wanted).max() / np.abs(wanted).max())
        print(batch, q_len, kv_len, f"{error:.2g}", *(f"{form}{grid}".replace(" ", "") for form, grid in driver.launched[before:]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [tuple(map(int, a.split("x"))) for a in sys.argv[2:]])
