"""The state of lowering one definition: where names come from, what may be read, what has been found and used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from enum import Enum

from maskdsl.ir import ops
from maskdsl.ir.nodes import Literal, Node
from maskdsl.ir.types import FLOAT, INT, Table
from maskdsl.meaning.findings import Findings
from maskdsl.meaning.reads import Rule, Sound
from maskdsl.meaning.scope import Entry, Scope
from maskdsl.source.text import Span
from maskdsl.syntax import ast


class Setting(Enum):
    """What an expression is part of, as messages name it."""

    MASK = "a mask"
    SCORE = "a score"
    FACT = "a fact"
    VALUE = "a value"


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What one definition has used so far: parameters, local names, quantifiers' variables, ints made floats.

    `unknown` are the names reported as unknown already; `broken_axes` tells that a table's type has an error, so that
    axes may be missing for that reason. `sound` is what each rule of reading is known to allow. `lists` collects the
    lists that stand for tables inside an example's masks; None where lists may not stand.
    """

    parameters: set[str] = field(default_factory=set)
    locals: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    floats: dict[int, tuple[Node, Node]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    broken_axes: bool = False
    sound: dict[Rule, Sound] = field(default_factory=lambda: defaultdict(dict))
    lists: dict[Table, ast.Expression] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Lowering:
    """Everything that lowering an expression needs to know; `owner` is the definition's name."""

    owner: str
    setting: Setting
    scope: Scope
    findings: Findings
    record: Record = field(default_factory=Record)

    def set(self, setting: Setting) -> Lowering:
        """The same definition, in another kind of expression."""
        return self if setting is self.setting else replace(self, setting=setting)

    def inside(self, names: dict[str, Entry]) -> Lowering:
        """The same definition, with further names that hide those outside."""
        return replace(self, scope=Scope(names, self.scope))


Step = Generator[tuple[Lowering, ast.Expression], Node | None, Node | None]
"""Lowering of one expression: asks for those below it, then answers with the node, or None after an error."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A node and the place where the text uses it (the node itself may come from a `where` elsewhere)."""

    node: Node
    span: Span


def as_float(lowering: Lowering, node: Node) -> Node:
    """The node as a float: ints convert, once for every shared node; floats stay. Not for bools."""
    if node.type is FLOAT:
        return node
    assert node.type is INT
    if isinstance(node, Literal):
        return Literal(float(node.value), FLOAT, node.span)
    known = lowering.record.floats
    if id(node) not in known:
        known[id(node)] = (node, ops.make("to_float", node, span=node.span))
    return known[id(node)][1]
