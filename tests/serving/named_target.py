"""Compiles the serving kernels for an H100 without one: Triton takes them, and how many registers they need.

A program of its own, for no other test may set what Triton takes for its driver.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import maskdsl
from maskdsl.backends import paged_kernels
from maskdsl.serving import PagedAttention
from maskdsl.serving.plan_triton import plan_buffers, planner

H100 = GPUTarget("cuda", 90, 32)
SIZES = {"WIDTH": 1, "KV_HEADS": 8, "GROUP": 4, "PADDED": 4, "DIM": 128}
HALF = "*bf16"

POINTERS = {
    "values": HALF, "out": HALF, "q": HALF, "rows": HALF, "k": HALF, "v": HALF, "k_cache": HALF, "v_cache": HALF,
    "lse": "*fp32", "sink": "*fp32",
}  # fmt: skip


def compiled(kernel: Any, constants: dict[str, Any], pointers: set[str], floats: frozenset[str] = frozenset()) -> Any:
    """The kernel compiled for an H100; arguments are int32 or, those named, pointers to int32."""
    kinds = {}
    for name in kernel.arg_names:
        if name in constants:
            continue
        plain = "*fp32" if name in floats else "*i32" if name in pointers else "i32"
        kinds[name] = POINTERS.get(name, plain) if name in pointers else plain
    signature = {**kinds, **dict.fromkeys(constants, "constexpr")}
    ordered = {n: signature[n] for n in kernel.arg_names}
    return triton.compile(ASTSource(kernel, ordered, constants), target=H100)


def told(name: str, made: Any) -> None:
    """One line on a compiled kernel."""
    print(name, "cubin", len(made.asm["cubin"]), "shared", made.metadata.shared)


def main() -> None:
    """Every kernel, and the plans of three programs."""
    scalars = {"requests", "max_requests", "max_tokens", "entries", "page_size", "decode_tokens", "table_stride", "width",
               "k_stride", "v_stride", "q_stride", "tokens", "out_stride"}
    for name, constants in (
        ("build_step", {"VECTOR": 1024}), ("append_tokens", {"VECTOR": 1024}),
        ("gather_queries", {**SIZES, "VECTOR": 1024}),
        ("merge_rows", {**SIZES, "COLUMNS": 128, "HAS_SINK": True, "NORMALIZE": True}),
        ("merge_rows", {**SIZES, "COLUMNS": 128, "HAS_SINK": False, "NORMALIZE": False}),
    ):  # fmt: skip
        kernel = getattr(paged_kernels, name)
        told(name, compiled(kernel, constants, set(kernel.arg_names) - scalars - set(constants)))
    for program, tables in (("causal", {}), ("prefix_lm", {"prefix": torch.zeros(4, dtype=torch.int32)}),
                            ("sliding_window", {})):  # fmt: skip
        attention = PagedAttention(
            maskdsl.get(program), max_requests=4, max_tokens=256, num_pages=32, page_size=16, max_pages_per_request=16,
            heads=8, kv_heads=8, head_dim=64, tables=tables,
        )  # fmt: skip
        plan(program, attention)


def plan(name: str, attention: PagedAttention) -> None:
    """The three kernels of a program's plan."""
    made = planner(attention._tiles, attention.limits)
    buffers = plan_buffers(attention.step)
    held = {f"table_{n}" for n in range(len(made.kernels.tables))}
    known = {
        "counts", "visible", "page_table", "seq_lens", "query_start", "places", "partial_counts", "partial",
        "full_counts", "full", "request", "row_request", "row_first", "row_limit", "item_start",
    }  # fmt: skip
    settings = {"ANYWHERE": buffers.anywhere, "PAGE": buffers.page_size, "VECTOR": 128}
    for kernel, constants in (("visible_pages", settings), ("decode_rows", {"REQUESTS": 4, "VECTOR": 128}),
                              ("prefill_tiles", settings)):  # fmt: skip
        told(f"{name} {kernel}", compiled(made.kernels.functions[kernel], constants, known | held))


if __name__ == "__main__":
    sys.exit(main())
