"""maskdsl: attention masks and scores as formulas, compiled to FlexAttention kernels.

`get`, `load` and `compile` give a program, `model` those of a model's layers; `bind` gives a program its tables;
`attention`, `mask_mod`, `score_mod` and `block_mask` run it; `maskdsl.block_mask` takes masks that are Python
functions. `list` and `register` are the library; `open` runs what `maskdsl compile` wrote. Mistakes are a `MaskError`.
"""

import builtins
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskdsl.api import block_mask, compile, get, list, load, model, open, register
    from maskdsl.binding.arrangements import Dense, Packed, PackedPaged, Paged, Sharded
    from maskdsl.binding.bound import Bound
    from maskdsl.binding.model import Model
    from maskdsl.binding.opened import Opened
    from maskdsl.binding.program import Program
    from maskdsl.source.diagnostic import MaskError

__all__ = [
    "Bound", "Dense", "MaskError", "Model", "Opened", "Packed", "PackedPaged", "Paged", "Program", "Sharded",
    "block_mask", "compile", "get", "list", "load", "model", "open", "register",
]  # fmt: skip

_HOMES = {
    **dict.fromkeys(("Dense", "Packed", "PackedPaged", "Paged", "Sharded"), "maskdsl.binding.arrangements"),
    "MaskError": "maskdsl.source.diagnostic", "Bound": "maskdsl.binding.bound", "Program": "maskdsl.binding.program",
    "Model": "maskdsl.binding.model", "Opened": "maskdsl.binding.opened",
}


def __getattr__(name: str) -> Any:
    """A public name, imported at its first use: `import maskdsl` alone costs next to nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'maskdsl' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "maskdsl.api")), name)
    globals()[name] = value
    return value


def __dir__() -> builtins.list[str]:
    return sorted({*globals(), *__all__})
