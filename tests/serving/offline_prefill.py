"""Compiles the kernel over packed queries for an H100 without one: how much it wants of what there is.

A program of its own, since it pretends that there is a GPU. Arguments: page sizes, as in `64,128`, head_dim, then a
program's text.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parent)]

from named_target import resources  # noqa: E402

import maskdsl  # noqa: E402
from maskdsl.backends import flex, flex_kernels  # noqa: E402
from maskdsl.backends.block_lists import empty_lists  # noqa: E402
from maskdsl.backends.kernel_choice import Machine  # noqa: E402
from maskdsl.backends.offline import compiled, generated, training_graphs  # noqa: E402
from maskdsl.backends.targets import TARGETS  # noqa: E402
from maskdsl.serving import PagedAttention, cuda  # noqa: E402
from maskdsl.serving.kernels import Phase, pool  # noqa: E402
from maskdsl.serving.rows import PrefillPages  # noqa: E402

H100 = TARGETS["sm_90"]


def phase_of(page: int, dim: int, text: str) -> Phase:
    """The phase as it is on an H100, over small buffers on the CPU."""
    program = maskdsl.compile(text, *(["v"] if "variant v" in text else []))
    axes = {"head": 6, "batch": 3, "position": 4 * page}
    tables = {t.name: torch.zeros([axes[a] for a in t.axes]).to(torch.int32 if str(t.type) == "int" else torch.float32)
              for t in program.variant.tables}  # fmt: skip
    attention = PagedAttention(
        program, max_requests=3, max_tokens=256, num_pages=8, page_size=page, max_pages_per_request=4, heads=6,
        kv_heads=2, head_dim=dim, dtype=torch.bfloat16, tables=tables,
    )  # fmt: skip
    lists = empty_lists(2, attention._tiles.heads, 1, 8, attention.limits.device)
    rooms = (torch.zeros(shape, dtype=torch.int32) for shape in ((8,), (1, 2, 8), (2,)))
    return attention._phases._packed_on_cuda(PrefillPages(lists, *rooms))


def main() -> None:
    """One line on each kernel."""
    cuda.machine_of = lambda device: Machine("cuda", (9, 0), "NVIDIA H100", 132)
    for page in sys.argv[1].split(","):
        tell(int(page), int(sys.argv[2]), sys.argv[3])


def tell(page: int, dim: int, text: str) -> None:
    """One line on a kernel."""
    phase = phase_of(page, dim, text)
    q = torch.zeros(2, 128, 6, dim, dtype=torch.bfloat16).transpose(1, 2)
    k, v = (pool(torch.zeros(8, page, 2, dim, dtype=torch.bfloat16)) for _ in "kv")
    signature, inputs, mask = flex.cuda_call(phase.mods, (q, k, v), lambda *_: phase.mask, phase.block, phase.plan)
    fixed = (*flex.made_mods(phase.mods), None, signature.scale, signature.finish, dict(signature.options))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return flex_kernels.attend(q, k, v, flex_kernels.lists_of(mask), *fixed, mask.BLOCK_SIZE)

    with torch.no_grad():
        (graph,) = training_graphs(attend, inputs)
    for name, made in compiled(generated(graph, H100).source, H100).items():
        told = {**resources(made.cubin), "shared": made.shared}
        options = {n: v for n, v in signature.options if str(n).startswith("fwd")}
        print(f"prefill page {page}", name, *(f"{key}={value}" for key, value in told.items()), options, flush=True)


if __name__ == "__main__":
    main()
