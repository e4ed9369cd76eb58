"""The value of a program after the passes, in NumPy: for verdicts, and for the pairs of a tile.

Not here: THE meaning of the language (`backends.reference`), which knows calls, moves and conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Size, Symbol
from maskdsl.ir.ops import OPS
from maskdsl.ir.types import Scalar, Table
from maskdsl.ir.walk import children, topological

Array = np.ndarray
DTYPES = {Scalar.BOOL: np.bool_, Scalar.INT: np.int32, Scalar.FLOAT: np.float64}


def evaluate(
    root: Node, symbols: Mapping[str, Array], tables: Mapping[Table, Array], sizes: Mapping[str, int]
) -> Array:
    """The value of a node over broadcastable int arrays of symbols; every index must be within its table."""
    (value,) = evaluate_all([root], symbols, tables, sizes)
    return value


def evaluate_all(
    roots: Sequence[Node],
    symbols: Mapping[str, Array],
    tables: Mapping[Table, Array],
    sizes: Mapping[str, int],
    keep: Callable[[Array], Array] = lambda value: value,
) -> list[Array]:
    """The values of several nodes, as `evaluate` gives them; what they share is computed once.

    `keep` is applied to the results of the roots alone, as soon as they are known; what nobody needs any more is freed.
    """
    nodes = list(topological(roots))
    last_use = {id(c): place for place, node in enumerate(nodes) for c in children(node)}
    wanted, kept = {id(r) for r in roots}, dict[int, Array]()
    values: dict[int, Array] = {}
    for place, node in enumerate(nodes):
        values[id(node)] = _value(node, tuple(values[id(c)] for c in children(node)), symbols, tables, sizes)
        if id(node) in wanted:
            kept[id(node)] = keep(values[id(node)])
        for child in children(node):
            if last_use[id(child)] == place:
                values.pop(id(child), None)
    return [kept[id(r)] for r in roots]


def _value(
    node: Node,
    below: tuple[Array, ...],
    symbols: Mapping[str, Array],
    tables: Mapping[Table, Array],
    sizes: Mapping[str, int],
) -> Array:
    match node:
        case Literal(value=found):
            return np.asarray(found, DTYPES[node.type])
        case Symbol(name=name):
            return np.asarray(symbols[name], DTYPES[node.type])
        case Size(axis=axis):
            return np.asarray(sizes[axis], np.int32)
        case Lookup(table=table):
            found = tables[table].reshape(-1)[0] if not below else tables[table][below]
            return np.asarray(found, DTYPES[node.type])
        case Op(name=name):
            return OPS[name].reference(*below)
    raise AssertionError(f"{type(node).__name__} is not evaluated here")
