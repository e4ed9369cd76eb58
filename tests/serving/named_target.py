"""Compiles the serving kernels for an H100 without one: Triton takes them; their registers, spills and shared memory.

A program of its own, for no other test may set what Triton takes for its driver. With `all` it compiles decode kernels
for more pages, head_dims and groups.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import maskdsl
from maskdsl.backends.launches import Launcher
from maskdsl.binding.lowered import Lowering
from maskdsl.serving import PagedAttention
from maskdsl.serving.cuda import StepLaunches
from maskdsl.serving.decode_triton import decode_program, decoder
from maskdsl.serving.plan_triton import planner

H100 = GPUTarget("cuda", 90, 32)
TYPES = {torch.int32: "i32", torch.int64: "i64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.bool: "i1"}
FALL = "score s(slope: float[head]) = score - slope[h] * (q - k) "
PROGRAMS = {
    "causal": "mask m = k <= q",
    "alibi": FALL + "variant v(slope: float[head]) { mask = k <= q score = s(slope) }",
    "capped": "score s = 50.0 * tanh(score / 50.0) "
    "variant v(a: float[head]) { mask = 0 <= q - k < 1024 score = s sink = a[h] }",
    "tree": "mask m(group: int[batch, position]) = group[b, q] == group[b, k] and k <= q",
}


def compiled(launcher: Launcher, *given: Any) -> Any:
    """What a launch with these arguments would run on an H100."""
    kernel, arguments = launcher.function, (*given, *launcher.fixed)
    names = [n for n in kernel.arg_names if n not in launcher.constants]
    assert kernel.arg_names == [*names, *launcher.constants], "launches that are repeated give constants by place"
    kinds = dict(zip(names, map(kind_of, arguments), strict=True))
    signature = {n: kinds.get(n, "constexpr") for n in kernel.arg_names}
    even = [isinstance(x, torch.Tensor) or x % 16 == 0 for x in arguments]
    even = [even[names.index(p.name)] and not p.do_not_specialize if p.name in names else False for p in kernel.params]
    aligned = {(i,): [["tt.divisibility", 16]] for i, known in enumerate(even) if known}
    source = ASTSource(kernel, signature, dict(launcher.constants), aligned)
    return triton.compile(source, target=H100, options=dict(launcher.options))


def kind_of(argument: Any) -> str:
    """The type of an argument as Triton writes it."""
    return f"*{TYPES[argument.dtype]}" if isinstance(argument, torch.Tensor) else "i32"


def usage(made: Any) -> Mapping[str, int]:
    """What a kernel takes, how many loads into shared memory go on by themselves, and how many are of one number of 16
    bits.
    """
    loads, single = (len(re.findall(form, made.asm["ptx"])) for form in (r"cp\.async\.c[ag]", r"ld\.global\.[bu]16"))
    return {**resources(made.asm["cubin"]), "shared": made.metadata.shared, "async": loads, "single": single}


def resources(cubin: bytes) -> Mapping[str, int]:
    """What `cuobjdump`, which comes with Triton, says of a kernel."""
    tool = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin", "cuobjdump")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found is not None
    return {"registers": int(found[1]), "spilled": int(found[2])}


def told(name: str, made: Any) -> None:
    """One line on a compiled kernel."""
    print(name, *(f"{key}={value}" for key, value in usage(made).items()), flush=True)


def attention_of(program: str, page: int, dim: int, group: int, dtype: torch.dtype = torch.bfloat16) -> PagedAttention:
    """An attention object of some size, on the CPU."""
    made = maskdsl.compile(PROGRAMS[program], *(["v"] if "variant v" in PROGRAMS[program] else []))
    axes = {"head": 8 * group, "batch": 64, "position": 8192}
    tables = {
        t.name: torch.zeros([axes[a] for a in t.axes], dtype=torch.float32 if str(t.type) == "float" else torch.int32)
        for t in made.variant.tables
    }
    return PagedAttention(
        made, max_requests=64, max_tokens=1024, num_pages=64, page_size=page, max_pages_per_request=8192 // page,
        heads=8 * group, kv_heads=8, head_dim=dim, dtype=dtype, tables=tables,
    )  # fmt: skip


def decode(program: str, page: int, dim: int, group: int, width: int = 1, dtype: torch.dtype = torch.bfloat16) -> None:
    """The two kernels of a program's decode steps."""
    attention = attention_of(program, page, dim, group, dtype)
    made = planner(attention._tiles, attention.limits, attention._pages)
    lowering = Lowering(attention._bound.variant)
    run = decoder(decode_program(lowering, attention._tiles.bound, attention._sizes, dim), attention.step, made.items, width)
    run._make()
    q = torch.empty((64, 8 * group, dim), dtype=dtype)
    cache = torch.empty((1,), dtype=dtype)
    kind = f"page {page} D {dim} group {group} width {width} {TYPES[dtype]} {run.shape}"
    told(f"{program} decode {kind}:", compiled(run.launchers["attend"], q, cache, cache, q, 1, 1, 1))
    if program == "causal":
        told(f"merge {kind}:", compiled(run.launchers["merge"], q, 1))


def plan(program: str) -> None:
    """The kernels of a program's plan."""
    attention = attention_of(program, 16, 64, 1)
    made = planner(attention._tiles, attention.limits, attention._pages)
    made._make_decode(attention.step)
    told(f"{program} visible:", compiled(made.launchers["visible"]))
    made.prefill_launcher(attention.step)
    told(f"{program} tiles:", compiled(made.launchers[False]))
    if program == "causal":
        told("cut:", compiled(made.launchers["cut"]))


def step() -> None:
    """The kernels of a step, for tables of int64."""
    attention = attention_of("causal", 16, 64, 1)
    launches = StepLaunches(attention.step)
    table, lengths, new = torch.empty((4, 4), dtype=torch.int64), torch.empty(4, dtype=torch.int64), torch.empty(4, 8, 64)
    told("build:", compiled(launches.build_launcher(), table, lengths, lengths, 4, 4))
    told("append:", compiled(launches.append_launcher(), *([new.bfloat16()] * 4), 8, 8))


def main() -> None:
    """Every kernel once; with `all` also decode kernels of all kinds."""
    step()
    for program in PROGRAMS:
        plan(program)
    decode("causal", 16, 128, 4)
    decode("causal", 128, 64, 3)
    decode("capped", 128, 128, 4)
    decode("alibi", 16, 128, 4, 16)
    decode("causal", 16, 64, 3, 1, torch.float32)
    if "all" in sys.argv:
        for page in (8, 16, 64, 128):
            for dim in (64, 80, 128, 256):
                for group in (1, 3, 4):
                    decode("causal", page, dim, group)
        for program in PROGRAMS:
            decode(program, 64, 128, 4)
            decode(program, 64, 128, 4, 1, torch.float32)


if __name__ == "__main__":
    sys.exit(main())
