"""Writes expression graphs as straight-line statements of a dialect: one name for every shared or computed value.

Used by the builders of block lists, torch's and Triton's; the dialect says how a lookup, a size and a literal are
written, the table of functions how the rest is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from maskdsl.ir.emission import Argument, Writer
from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Size, Symbol, Value
from maskdsl.ir.ops import OPS, Function, fold_literals
from maskdsl.ir.types import Scalar, Table
from maskdsl.ir.walk import topological

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a language writes what is no row of the table; `load(number of the table, its texts of indices, type)`."""

    literal: Callable[[Value], str]
    writer: Callable[[Function], Writer]
    load: Callable[[int, list[str], Scalar], str]


@dataclass(slots=True)
class Statements:
    """Collects the statements `v0 = …`; the tables and sizes that they read are numbered in order of first use.

    Symbols stand under their own names, the n-th size as `size_n`, the n-th table as `table_n`.
    """

    dialect: Dialect
    lines: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    values: dict[int, Argument] = field(default_factory=dict)

    def text_of(self, root: Node) -> str:
        """The text of the value of `root`; adds the statements that it needs."""
        for node in topological(root, stop=lambda n: id(n) in self.values):
            if id(node) not in self.values:
                self.values[id(node)] = self._argument(node)
        return self.values[id(root)].text

    def _argument(self, node: Node) -> Argument:
        match node:
            case Literal(value=value):
                return Argument(self.dialect.literal(value), node.type, value)
            case Symbol(name=name):
                return Argument(name, node.type)
            case Size(axis=axis):
                return Argument(f"size_{_number_of(axis, self.sizes)}", node.type)
            case Lookup(table=table, indices=indices):
                texts = [self.values[id(i)].text for i in indices]
                return self._named(self.dialect.load(_number_of(table, self.tables), texts, node.type), node.type)
            case Op():
                return self._applied(node, [self.values[id(a)] for a in node.args])
        raise AssertionError(f"{type(node).__name__} has no place after the passes")

    def _applied(self, node: Op, args: list[Argument]) -> Argument:
        """The value of an operation. The table's columns write no operation on literals, nor a choice that is made."""
        literals = [Literal(a.value, a.type) for a in args if a.value is not None]
        if len(literals) == len(args):
            value = fold_literals(node.name, *literals)
            return Argument(self.dialect.literal(value), node.type, value)
        if node.name == "choose" and args[0].value is not None:
            return args[1 if args[0].value else 2]
        return self._named(self.dialect.writer(OPS[node.name])(*args), node.type)

    def _named(self, text: str, scalar: Scalar) -> Argument:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return Argument(name, scalar)


def _number_of(thing: T, known: list[T]) -> int:
    if thing not in known:
        known.append(thing)
    return known.index(thing)
