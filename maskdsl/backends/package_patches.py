"""Repairs torch's C++ template of flex_attention while a package is built, so that one package serves every length.

All private interfaces of Inductor that building a package needs are used here, as torch 2.13 has them; another version
is left alone and builds what it can. Seen on the CPU with torch 2.13:

- sizes of captured tensors that are left open are read by the mods but never declared: they join the arguments;
- the size of a captured tensor inside a mod is asked of the wrong node, that of flex_attention: the tensor is asked;
- the names that stand for the sides of a tile are replaced as text, `ks1` in `ks18` too: they get names of their own;
- scratch memory is for the number of threads of the process that compiles, whatever the one that runs has: it is asked
  for when the kernel runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

REPAIRED = ("2.13",)
"""The versions of torch whose template was read and is repaired."""

THREADS = re.compile(r"int64_t num_thread = \d+;")


def is_repaired() -> bool:
    """Whether packages of this torch may leave sizes of tables and the number of threads open."""
    import torch

    return ".".join(str(torch.__version__).split(".")[:2]) in REPAIRED


@contextmanager
def repaired_template() -> Iterator[None]:
    """Within the block, Inductor compiles flex_attention for the CPU with the repairs, where there are any."""
    with ExitStack() as stack:
        if is_repaired():
            for target, name, value in _repairs():
                stack.enter_context(mock.patch.object(target, name, value))
            stack.enter_context(sizes_of_tensors())
        yield


def _repairs() -> list[tuple[Any, str, Any]]:
    # Imported in this order, or the template's module finds itself half made.
    import torch._inductor.graph
    import torch._inductor.kernel.flex  # noqa: F401
    from torch._inductor.codegen.cpp_flex_attention_template import CppFlexAttentionTemplate as Template

    init, modification, render = Template.__init__, Template.modification, Template.render

    def with_open_sizes(self: Any, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self.extra_sizevars = list(dict.fromkeys([*self.extra_sizevars, *_open_sizes(self)]))

    def with_own_names(self: Any, *arguments: Any, **named: Any) -> Any:
        with _sides_named(self.block_vars):
            return modification(self, *arguments, **named)

    def for_any_threads(self: Any, *arguments: Any, **named: Any) -> str:
        text, count = THREADS.subn("int64_t num_thread = at::get_num_threads();", render(self, *arguments, **named))
        assert count == 1, "torch's template no longer says how many threads there are"
        return text

    return [
        (Template, "__init__", with_open_sizes),
        (Template, "modification", with_own_names),
        (Template, "render", for_any_threads),
    ]


def sizes_of_tensors() -> Any:
    """Within the block, Inductor asks a captured tensor for its own size; right in every version."""
    import sympy
    import torch
    from torch._inductor.lowering import lowerings

    def size(tensor: Any, dim: int) -> Any:
        found = tensor.get_size()[dim]
        return int(found) if isinstance(found, int | sympy.Integer) else found

    return mock.patch.dict(lowerings, {torch.ops.aten.sym_size.int: size})


def _open_sizes(template: Any) -> list[Any]:
    """The symbols in the sizes and strides of the captured tensors, in a fixed order."""
    import sympy

    captured = [*(template.score_mod_other_buffers or ()), *(template.mask_mod_other_buffers or ())]
    tensors = [x for x in captured if not isinstance(x, sympy.Symbol)]
    sizes = [e for x in tensors for e in (*x.get_size(), *x.get_stride()) if isinstance(e, sympy.Expr)]
    return [s for e in sizes for s in sorted(e.free_symbols, key=str)]


@contextmanager
def _sides_named(sides: Any) -> Iterator[None]:
    from torch._inductor.codegen.common import KernelArgs

    size = KernelArgs.size

    def named(self: Any, name: Any) -> str:
        return str(self.sizevars.setdefault(name, f"side_{name}_")) if name in sides else size(self, name)

    with mock.patch.object(KernelArgs, "size", named):
        yield
