"""The NumPy meaning of a program on a user's arrays, tensors and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskdsl.backends import reference_attention
from maskdsl.binding.facts import as_array, broken_facts
from maskdsl.binding.shapes import check_shapes, check_sizes
from maskdsl.binding.tables import BoundTables
from maskdsl.ir.nodes import Variant
from maskdsl.ir.types import FLOAT, Table
from maskdsl.meaning.facts import all_facts
from maskdsl.source.diagnostic import Diagnostic, MaskError

Array = np.ndarray[Any, Any]


def reference(
    variant: Variant, qkv: tuple[Any, Any, Any], bound: BoundTables, given: Mapping[str, Any], sizes: Mapping[str, int]
) -> Array:
    """Attention in float64 [B, Hq, Q, Dv]; floats in `given` that are no tensors keep their float64 values.

    Raises MaskError E0608 and E0607 for shapes, E0605 for tables that break a fact.
    """
    q, k, v = (_floats(x, name, variant) for x, name in zip(qkv, "qkv", strict=True))
    lengths = check_shapes(q.shape, k.shape, v.shape, variant.span)
    carriers = {axis: t for t in bound.tensors for axis in t.axes if isinstance(axis, str)}
    known = check_sizes(lengths, {**bound.sizes, **sizes}, carriers, variant.span)
    wrong = broken_facts(all_facts(variant), bound.tensors, {**known, "q_len": lengths.q_len, "kv_len": lengths.kv_len})
    if wrong:
        raise MaskError(wrong)
    if not q.size or not k.size or not v.size:
        return np.zeros((*q.shape[:3], v.shape[3]))
    tables = {t: _values(t, tensor, given.get(t.name)) for t, tensor in bound.tensors.items()}
    out, _ = reference_attention.attention(variant, q, k, v, tables=tables, sizes=known)
    return out


def _values(table: Table, tensor: Any, given: Any) -> Array:
    exact = table.type is FLOAT and isinstance(given, np.ndarray) and given.dtype == np.float64
    return given if exact else as_array(tensor)


def _floats(x: Any, name: str, variant: Variant) -> Array:
    """The values as float64, of a tensor or of whatever NumPy understands. Raises MaskError E0608 for the rest."""
    try:
        return np.asarray(as_array(x) if hasattr(x, "detach") else x, np.float64)
    except (TypeError, ValueError):
        told = f"`{name}` is a `{type(x).__name__}` that holds no array of numbers"
        raise MaskError(Diagnostic("E0608", told, variant.span)) from None
