"""Checks the tensors given for a definition's tables: present, of the right dtype, shape and device, sizes that agree.

Not here: what the tables must hold (`facts`), query, key and value (`shapes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar, Table
from maskdsl.meaning.constants import LARGEST_INT
from maskdsl.meaning.requirements import shown
from maskdsl.source.diagnostic import Diagnostic, Label, MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span
from maskdsl.tiles.limits import LONGEST

if TYPE_CHECKING:
    from torch import Tensor

DTYPES: dict[Scalar, tuple[str, ...]] = {
    BOOL: ("bool",),
    INT: ("int8", "int16", "int32", "int64", "uint8"),
    FLOAT: ("float16", "bfloat16", "float32"),
}
"""The dtypes that a table of each type may have, by torch's names."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The definition that is bound: its name and place, its tables, and its constants' names for better advice."""

    name: str
    span: Span
    tables: tuple[Table, ...]
    constants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundTables:
    """The tensors by table, contiguous, of at least one axis; `converted` were no tensors and may change device.

    `sizes` gives every named axis that some table has its length.
    """

    tensors: dict[Table, Tensor] = field(default_factory=dict)
    converted: frozenset[Table] = frozenset()
    sizes: dict[str, int] = field(default_factory=dict)


def bind_tables(owner: Owner, given: Mapping[str, Any]) -> BoundTables:
    """The tensors for the owner's tables out of what the user gave by name: tensors, NumPy arrays, lists or numbers.

    Raises MaskError with all mistakes: E0601 missing, E0606 unknown, E0602 shape, E0603 dtype, E0604 devices that
    differ, E0607 sizes that differ.
    """
    named = {t.name: t for t in owner.tables}
    wrong = [_unknown(owner, name) for name in given if name not in named]
    wrong += [_missing(owner, table) for name, table in named.items() if name not in given]
    tensors: dict[Table, Tensor] = {}
    for name, table in named.items():
        if name in given:
            tensor, found = _checked(table, given[name])
            wrong += found
            if tensor is not None and not found:
                tensors[table] = tensor
    converted = frozenset(t for t in tensors if not _is_tensor(given[t.name]))
    wrong += _devices({t: x for t, x in tensors.items() if t not in converted})
    wrong += _sizes(tensors)
    if wrong:
        raise MaskError(wrong)
    return BoundTables(_moved(tensors, converted), converted, axis_sizes(tensors))


def axis_sizes(tensors: Mapping[Table, Tensor]) -> dict[str, int]:
    """The length of every named axis."""
    pairs = (pair for table, tensor in tensors.items() for pair in zip(table.axes, tensor.shape, strict=False))
    return {axis: int(size) for axis, size in pairs if isinstance(axis, str)}


def spelt(table: Table) -> str:
    """The table's type as the language writes it: `int[batch, position]`."""
    return f"{table.type}[{', '.join(map(str, table.axes))}]"


def _checked(table: Table, value: Any) -> tuple[Tensor | None, list[Diagnostic]]:
    """The tensor of a value, and what is wrong with its dtype and shape."""
    tensor = value if _is_tensor(value) else _converted(table, value)
    if isinstance(tensor, Diagnostic):
        return None, [tensor]
    if str(tensor.dtype).removeprefix("torch.") not in DTYPES[table.type]:
        return None, [_wrong_dtype(table, tensor)]
    if str(tensor.layout) != "torch.strided":
        advice = (f"`{table.name}={table.name}.to_dense()` converts it",)
        return None, [Diagnostic("E0603", f"`{table.name}` is a sparse tensor", table.span, help=advice)]
    if not table.axes and tensor.numel() == 1:
        # A captured tensor of no axes is refused by one of flex's backends.
        return tensor.reshape(1), []
    wrong = _wrong_shape(table, tuple(tensor.shape))
    return (None, [wrong]) if wrong else (tensor.contiguous(), [])


def _converted(table: Table, value: Any) -> Tensor | Diagnostic:
    """A tensor of the table's type with the values of an array, of lists or of a number."""
    import torch

    try:
        array = np.asarray(value)
    except ValueError:
        return Diagnostic("E0602", f"`{table.name}` is a list of lists of different lengths", table.span)
    kinds = {BOOL: "b", INT: "iu", FLOAT: "fiu"}[table.type]
    if table.type is INT and not hasattr(value, "dtype") and (beyond := _beyond_int(array)) is not None:
        told = f"`{table.name}` holds a number that is not within {-LARGEST_INT - 1:,} to {LARGEST_INT:,}"
        return Diagnostic("E0106", told, table.span, f"{shown(beyond)} was given")
    if array.dtype.kind not in kinds or (table.type is FLOAT and array.dtype.kind != "f" and hasattr(value, "dtype")):
        return _wrong_value(table, value, array)
    if table.type is FLOAT:
        return torch.from_numpy(np.array(array, dtype=array.dtype if array.dtype == np.float16 else np.float32))
    small = array.dtype.kind == "u" and array.dtype != np.uint8
    return torch.from_numpy(np.array(array, dtype=np.int64 if small else array.dtype))


def _beyond_int(array: np.ndarray) -> int | None:
    """The first of some whole numbers that is no int of the language; arrays with a dtype of their own are cut."""
    if array.dtype.kind not in "iuO" or not all(type(x) is int for x in array.ravel().tolist()):
        return None
    return next((x for x in array.ravel().tolist() if not -LARGEST_INT - 1 <= x <= LARGEST_INT), None)


def _wrong_value(table: Table, value: Any, array: np.ndarray) -> Diagnostic:
    what = f"holds {array.dtype}" if array.dtype.kind in "biuf" else f"is a `{type(value).__name__}`"
    return Diagnostic(
        "E0603", f"`{table.name}` {what}, where a table of {table.type}s is wanted", table.span,
        help=(f"give a tensor, an array or a list of {table.type}s",),
    )


def _wrong_dtype(table: Table, tensor: Tensor) -> Diagnostic:
    dtype, wanted = str(tensor.dtype).removeprefix("torch."), DTYPES[table.type]
    convert = {BOOL: ".bool()", INT: ".int()", FLOAT: ".float()"}[table.type]
    return Diagnostic(
        "E0603", f"`{table.name}` is {dtype}, where a table of {table.type}s is wanted", table.span,
        notes=(f"dtypes for a table of {table.type}s: {', '.join(wanted)}",),
        help=(f"`{table.name}={table.name}{convert}` converts it",),
    )


def _wrong_shape(table: Table, shape: tuple[int, ...]) -> Diagnostic | None:
    name, axes = table.name, table.axes
    if not axes:
        return _shape(table, f"`{name}` has {_elements(shape)}, and `{spelt(table)}` is one number")
    if len(shape) != len(axes):
        return _shape(table, f"`{name}` has {_axes(len(shape))}, and `{spelt(table)}` has {len(axes)}", shape)
    for place, (axis, size) in enumerate(zip(axes, shape, strict=True)):
        if isinstance(axis, int) and size != axis:
            return _shape(table, f"axis {place} of `{name}` has length {size}, and `{spelt(table)}` says {axis}", shape)
        if size == 0:
            return _shape(table, f"`{name}` has no elements along `{axis}`", shape)
        if size > LONGEST:
            return _shape(table, f"axis {place} of `{name}` is longer than {LONGEST}", shape)
    return None


def _shape(table: Table, message: str, shape: tuple[int, ...] = ()) -> Diagnostic:
    notes = (f"its shape is ({', '.join(map(str, shape))})",) if shape else ()
    return Diagnostic("E0602", message, table.span, notes=notes)


def _missing(owner: Owner, table: Table) -> Diagnostic:
    return Diagnostic(
        "E0601", f"`{table.name}` is missing", table.span, f"`{owner.name}` needs this table",
        help=(f"`.bind({table.name}=…)` takes a tensor",),
    )


def _unknown(owner: Owner, name: str) -> Diagnostic:
    names = [t.name for t in owner.tables]
    if name in owner.constants:
        return Diagnostic(
            "E0606", f"`{name}` is a constant of `{owner.name}`, not a table", owner.span,
            notes=("constants are part of the kernel",), help=(f"give `{name}` to `get`, `load` or `compile`",),
        )
    have = f"its tables are {', '.join(f'`{n}`' for n in names)}" if names else "it has no tables"
    return Diagnostic("E0606", f"`{owner.name}` has no table `{name}`", owner.span, notes=(have,),
                      help=did_you_mean(name, names))


def _devices(tensors: Mapping[Table, Tensor]) -> Iterator[Diagnostic]:
    first = next(iter(tensors), None)
    for table, tensor in tensors.items():
        if first is not None and tensor.device != (there := tensors[first].device):
            yield Diagnostic(
                "E0604", f"`{table.name}` is on {tensor.device}, and `{first.name}` on {there}", table.span,
                f"on {tensor.device}", also=(Label(first.span, f"on {there}"),),
                help=("move all tables to one device",),
            )


def _sizes(tensors: Mapping[Table, Tensor]) -> Iterator[Diagnostic]:
    known: dict[str, tuple[int, Table]] = {}
    for table, tensor in tensors.items():
        for axis, size in zip(table.axes, tensor.shape, strict=False):
            if isinstance(axis, str) and known.setdefault(axis, (size, table))[0] != size:
                other, where = known[axis]
                yield Diagnostic(
                    "E0607", f"`{axis}` is {size} in `{table.name}` and {other} in `{where.name}`", table.span,
                    f"here it is {size}", also=(Label(where.span, f"here it is {other}"),),
                    notes=("tables that share an axis have the same length along it",),
                )


def _moved(tensors: dict[Table, Tensor], converted: frozenset[Table]) -> dict[Table, Tensor]:
    """Converted values on the device of the tensors beside them."""
    device = next((t.device for table, t in tensors.items() if table not in converted), None)
    return {t: x.to(device) if device is not None and t in converted else x for t, x in tensors.items()}


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _elements(shape: tuple[int, ...]) -> str:
    count = int(np.prod(shape))
    return f"{count} elements" if count else "no elements"


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes" if count else "no axes"
