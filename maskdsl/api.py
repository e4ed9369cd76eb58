"""What `import maskdsl` offers: finding, loading and compiling definitions; the BlockMask of any Python function.

Nothing here imports torch at its top; what a definition offers then does when it is asked for mods or kernels.
"""

from __future__ import annotations

import builtins
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskdsl.binding.fill import fill
from maskdsl.binding.program import Program
from maskdsl.ir.nodes import Variant
from maskdsl.library.registry import shared, unknown_definition
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask

    from maskdsl.binding.model import Model
    from maskdsl.binding.opened import Opened
    from maskdsl.library.manifest import Manifest

PROGRAMS_KEPT = 256
"""Programs that are kept, the last used ones: getting one again returns the same object, with its code and masks."""

_programs: OrderedDict[Any, Program] = OrderedDict()
_texts: dict[str, Source] = {}


def list() -> builtins.list[Manifest]:
    """The manifests of all registered definitions, by library and path."""
    return [*shared().manifests()]


def get(name: str, /, **constants: Any) -> Program:
    """The registered definition `name`, or `folder/name`, with its constants and mask parameters fixed.

    A mask is given by name ("causal"), as text ("k <= q") or as a program. Raises MaskError: E0211 for a name that is
    not registered, those of its file, E0208 and E0209 for parameters, E0301, E0302 and E0408 for values.
    """
    entry = shared().find(_text(name, "`maskdsl.get` takes a name"))
    return _program(entry.source, entry.name, constants)


def model(name: str, /, kind: str | None = None, total: int | None = None, **constants: Any) -> Model:
    """The registered model `name`: `model("gemma3").layer(5)` is the program of its layer 5, layers counted from 0.

    `kind` is one of its kinds, such as "image"; `total` is how many layers it has, which `layer` takes too; a constant
    is given to every definition that has it. Raises MaskError: E0211 for a name that is not registered, E0213 for a
    kind that it does not have, E0208 for a constant that no layer has.
    """
    from maskdsl.binding.model import Model
    from maskdsl.library.models import find_model, stack
    found = find_model(name, shared())
    layers = stack(found, kind, shared())
    return Model(layers, lambda n, given: _program(found.source, n, dict(given)), total, constants)


def load(path: str | os.PathLike[str], name: str | None = None, /, **constants: Any) -> Program:
    """The definition `name` of a file, with its constants fixed; the name may be left out where the file has only one.

    Raises MaskError: E0107 for a file that cannot be read, E0211 for an unknown name, else as `get`.
    """
    return _program(shared().read(Path(path)), name, constants)


def compile(text: str, name: str | None = None, /, **constants: Any) -> Program:
    """The definition `name` of a text, with its constants fixed; the name may be left out: it is then the last one.

    Imports are those of the registered libraries. Raises MaskError as `load`.
    """
    _text(text, "`maskdsl.compile` takes the text of definitions")
    source = _texts.setdefault(text, Source("<text>", text))
    if name is None:
        name = next(iter(shared().names(source)[::-1]), None)
    return _program(source, name, constants)


def open(folder: str | os.PathLike[str], *, recompile: bool = False) -> Opened:
    """What `maskdsl compile … -o DIR` left in a folder: `open(DIR).attention(q, k, v, **tables)` compiles nothing.

    Its code is run: open what you would import. With `recompile`, what was made for another machine or version is
    compiled again, in place. Raises MaskError: E0107 without an artifact there, E0710 for a stale one, E0711 for a
    damaged one, E0701 without the GPU that it needs.
    """
    from maskdsl.binding.opened import open_artifact

    return open_artifact(Path(folder), recompile=recompile)


def register(what: str | os.PathLike[str]) -> None:
    """Add a folder of `.mask` files, a file, or the text of definitions to the names that `get` and imports know.

    Raises MaskError: E0107 for a path that does not exist, else what is wrong with the file or text.
    """
    shared().register(what)


def block_mask(
    mask_mod: Callable[..., Tensor], B: int | None, H: int | None, q_len: int, kv_len: int, *,
    device: torch.device | str | None = None, block_size: int | tuple[int, int] = 128, transposed: bool = True,
) -> BlockMask:  # fmt: skip
    """torch's BlockMask of a Python function `mask_mod(b, h, q_idx, kv_idx)`: every pair is evaluated.

    For masks that are not written in the language; `block_mask` of a program decides tiles from its formula.
    Equal to torch's `create_block_mask`, in memory that does not grow with the pairs. The device is the accelerator if
    None. Raises MaskError E0610 for impossible sizes and for what is no mask, E0701 for a GPU that is not there.
    """
    from maskdsl.backends.flex_blocks import Shape, block_mask
    from maskdsl.backends.flex_limits import require_device
    from maskdsl.binding.device import build_device
    from maskdsl.binding.shapes import Lengths, check_lengths, sides_of
    heads = 1 if H is None else H
    call = check_lengths(Lengths(1 if B is None else B, heads, heads, q_len, kv_len), None)
    sides, where = sides_of(block_size, None), build_device(device, ())
    require_device(where, None)
    shape = Shape(call.batch, call.head, call.q_len, call.kv_len, *sides)
    return block_mask(mask_mod, shape, where, transposed=transposed)


def _program(source: Source, name: str | None, given: dict[str, Any]) -> Program:
    module = shared().check(source)
    if module.errors:
        raise MaskError(module.errors)
    definition = module.definitions.get(_only(module.definitions, source) if name is None else name)
    if definition is None:
        raise MaskError(unknown_definition(str(name), source, [*module.definitions]))
    key = (definition, tuple(sorted((n, _frozen(v)) for n, v in given.items())))
    if key not in _programs:
        variant = fill(definition, given, _find)
        described = partial(shared().manifest, source, definition.name)
        _programs[key] = Program(variant, described, tuple(c.name for c in definition.constants))
    _programs.move_to_end(key)
    while len(_programs) > PROGRAMS_KEPT:
        _programs.popitem(last=False)
    return _programs[key]


def _text(given: Any, wanted: str) -> str:
    if not isinstance(given, str):
        raise MaskError(Diagnostic("E0301", f"{wanted}, and a `{type(given).__name__}` was given"))
    return given


def _only(definitions: dict[str, Variant], source: Source) -> str:
    """The name of the one definition of a file."""
    names = [*definitions]
    if len(names) == 1:
        return names[0]
    message = f"{source.name} defines {len(names)} things" if names else f"{source.name} defines nothing"
    notes = (f"it defines {', '.join(f'`{n}`' for n in names)}",) if names else ()
    raise MaskError(Diagnostic("E0211", message, notes=notes, help=("give the name of one",) if names else ()))


def _find(what: str) -> Variant:
    """The mask that a registered name stands for, or that the text of an expression is."""
    if re.fullmatch(r"\w+(/\w+)*", what):
        return get(what).variant
    return compile(f"mask given = {what}").variant


def _frozen(value: Any) -> Any:
    """A value as part of a key, where `1`, `1.0` and `True` differ; what cannot be told by value is never the same."""
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(plain, Program):
        return plain
    if isinstance(plain, int):
        return (type(plain).__name__, plain)
    return (type(plain).__name__, repr(plain)) if isinstance(plain, float | str) else object()
