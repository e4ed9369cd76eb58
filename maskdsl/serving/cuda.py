"""What a step does on CUDA in kernels of its own: the step's tables, and new keys. And the main kernel's options.

Not here: the kernels (`backends.paged_kernels`), the lists (`plan_triton`), decoding (`decode_triton`), the same in
torch (`step`, `append`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from maskdsl.backends import paged_kernels
from maskdsl.backends.kernel_choice import Plan, Request
from maskdsl.backends.kernel_options import options_of
from maskdsl.backends.launches import Launcher
from maskdsl.binding.choice import machine_of
from maskdsl.serving.limits import Q_BLOCK, Limits
from maskdsl.serving.step import Step

VECTOR = 1024
"""Numbers that a program copies at once."""


@dataclass(slots=True)
class StepLaunches:
    """The launches that fill a step's tables and write its new keys, one each."""

    step: Step
    launchers: dict[str, Launcher] = field(default_factory=dict)

    def build(self, page_table: Tensor, seq_lens: Tensor, query_start: Tensor) -> None:
        """Fills the step's tables from an engine's, int32 or int64."""
        limits = self.step.limits
        table = page_table if page_table.stride(1) == 1 else page_table.contiguous()
        grid = (limits.max_requests + -(-limits.packed_tokens // VECTOR), 1, 1)
        self.build_launcher()(
            grid, table, seq_lens.contiguous(), query_start.contiguous(), seq_lens.shape[0], table.stride(0)
        )

    def append(self, new: tuple[Tensor, Tensor], caches: tuple[Tensor, Tensor]) -> None:
        """Copies (tokens, kv_heads, D) into caches (pages, page_size, kv_heads, D) at the step's places."""
        dim = self.step.limits.head_dim
        k, v = (x if x.stride()[1:] == (dim, 1) and x.stride(0) % dim == 0 else x.contiguous() for x in new)
        self.append_launcher()((k.shape[0], 1, 1), k, v, *caches, k.stride(0) // dim, v.stride(0) // dim)

    def build_launcher(self) -> Launcher:
        """What fills the step's tables."""
        step, limits = self.step, self.step.limits
        if "build" not in self.launchers:
            self.launchers["build"] = Launcher(
                paged_kernels.build_step,
                (step.page_table, step.seq_lens, step.query_start, step.request, step.position, step.limit,
                 step.token_position, step.number, step.numbers, step.next_prefilled, limits.max_requests,
                 limits.packed_tokens, limits.max_pages_per_request, limits.page_size, limits.decode_tokens),
                {"REQUESTS": 1 << (limits.max_requests - 1).bit_length(), "VECTOR": VECTOR},
            )  # fmt: skip
        return self.launchers["build"]

    def append_launcher(self) -> Launcher:
        """What writes new keys."""
        step, limits = self.step, self.step.limits
        if "append" not in self.launchers:
            width = limits.kv_heads * limits.head_dim
            self.launchers["append"] = Launcher(
                paged_kernels.append_tokens,
                (step.request, step.token_position, step.page_table, limits.max_pages_per_request, limits.num_pages,
                 limits.page_size, width, limits.head_dim),
                {"VECTOR": min(VECTOR, 1 << (width - 1).bit_length())},
            )  # fmt: skip
        return self.launchers["append"]


def main_plan(limits: Limits, *, light: bool) -> Plan:
    """The options of the kernel over tiles of packed queries, whose lengths never change; `light` programs read no
    table by query and key at once.
    """
    dtype = str(limits.dtype).removeprefix("torch.")
    request = Request(
        dtype, limits.head_dim, limits.head_dim, Q_BLOCK, limits.num_pages * limits.page_size,
        (Q_BLOCK, limits.page_size), rows=limits.tiles * limits.kv_heads, layout="paged" if light else "paged pairs",
    )  # fmt: skip
    return Plan(options=options_of("main", machine_of(limits.device), request), fixed=True)
