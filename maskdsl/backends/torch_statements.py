"""Functions over torch tensors, made from expression graphs after the passes: what the block lists need on any device.

Not here: `mask_mod` and `score_mod` (`mods`), which users read and FlexAttention compiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends.statements import Dialect, Statements
from maskdsl.ir.emission import support_for
from maskdsl.ir.nodes import Node
from maskdsl.ir.ops_torch import TORCH_SUPPORT, torch_literal
from maskdsl.ir.types import Scalar, Table

DTYPES = {Scalar.BOOL: torch.bool, Scalar.INT: torch.int32, Scalar.FLOAT: torch.float32}


@dataclass(frozen=True, slots=True)
class TorchFunction:
    """Values of some nodes as a function of symbols, tables and sizes; compiled once per text."""

    symbols: tuple[str, ...]
    tables: tuple[Table, ...]
    sizes: tuple[str, ...]
    source: str

    def __call__(
        self, symbols: Mapping[str, Tensor], tables: Mapping[Table, Tensor], sizes: Mapping[str, int]
    ) -> tuple[Tensor, ...]:
        """The values, one tensor a node, broadcast as the symbols (int32 tensors) are."""
        device = next(iter(symbols.values())).device
        lengths = [torch.full((), sizes[s], dtype=torch.int32, device=device) for s in self.sizes]
        found = _load(self.source)(*(symbols[s] for s in self.symbols), *(tables[t] for t in self.tables), *lengths)
        return tuple(v if isinstance(v, Tensor) else torch.full((), v, device=device) for v in found)


def torch_function(nodes: Sequence[Node], symbols: Sequence[str]) -> TorchFunction:
    """The function of some nodes that read only the named symbols, tables and sizes."""
    written = Statements(TORCH)
    results = [written.text_of(n) for n in nodes]
    arguments = [*symbols, *(f"table_{n}" for n in range(len(written.tables)))]
    arguments += [f"size_{n}" for n in range(len(written.sizes))]
    body = "\n".join(f"    {line}" for line in [*written.lines, f"return {', '.join(results)},"])
    text = f"import torch\n\n{support_for(body, TORCH_SUPPORT)}\n\ndef values({', '.join(arguments)}):\n{body}\n"
    return TorchFunction(tuple(symbols), tuple(written.tables), tuple(written.sizes), text)


def _load_text(number: int, indices: list[str], scalar: Scalar) -> str:
    return f"table_{number}[{', '.join(indices) or '0'}].to({DTYPES[scalar]})"


TORCH = Dialect(torch_literal, lambda function: function.torch, _load_text)


@cache
def _load(source: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "maskdsl_values"}
    exec(compile(source, "<maskdsl values>", "exec"), namespace)
    return namespace["values"]
