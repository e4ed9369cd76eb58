"""What an expression reads, and which places may read what.

A mask may not read `score`, a constant may read nothing that changes from place to place, and so on. Each rule names
the nodes that are legal below a root; the first other node is the one to report.
"""

from __future__ import annotations

from collections.abc import Callable

from maskdsl.ir.nodes import (
    COORDINATES,
    LENGTHS,
    Ascending,
    Call,
    Fill,
    Literal,
    Lookup,
    Moved,
    Node,
    Op,
    Quantified,
    Size,
    Symbol,
    Use,
)
from maskdsl.ir.walk import topological
from maskdsl.meaning.findings import Findings, quoted
from maskdsl.source.diagnostic import Label
from maskdsl.source.text import Span

Rule = Callable[[Node], bool]
"""Whether a node is legal in some place."""

Sound = dict[int, Node]
"""Nodes, by identity, below which a rule allows everything."""


def first_illegal(root: Node, legal: Rule, sound: Sound | None = None) -> Node | None:
    """The first node at or below `root` that the rule does not allow and that is below no other such node; or None.

    `sound` is what earlier calls with the same rule have looked at: give one to several calls for expressions that
    share parts, and no part is looked at twice.
    """
    known = {} if sound is None else sound
    seen: Sound = {}
    for node in topological(root, lambda node: id(node) in known or not legal(node)):
        if id(node) not in known and not legal(node):
            return node
        seen[id(node)] = node
    known.update(seen)
    return None


def is_literal_part(node: Node) -> bool:
    """Legal in a default: numbers and functions of them."""
    return isinstance(node, Literal | Op)


def is_constant_part(node: Node) -> bool:
    """Legal in a constant: what is known when a variant is compiled and its tables' sizes are."""
    return isinstance(node, Literal | Op | Use | Size)


def is_unrolled_part(node: Node) -> bool:
    """Legal where quantifiers have been unrolled already: constants and quantifiers' variables."""
    return is_constant_part(node) or is_variable(node)


def is_scoreless(node: Node) -> bool:
    """Legal in a mask: everything but `score` and scores."""
    match node:
        case Symbol(name=name):
            return name != "score"
        case Call(target=target):
            return target.kind != "score"
    return True


def is_sink_part(node: Node) -> bool:
    """Legal in a sink, a number for every head: constants, tables, `h`."""
    match node:
        case Symbol(name=name):
            return name == "h" or is_variable(node)
    return not isinstance(node, Fill | Call | Ascending)


def is_fact_part(node: Node) -> bool:
    """Legal in `requires`: constants, tables, sizes; coordinates stand for all their values."""
    match node:
        case Symbol(name=name):
            return name in COORDINATES or is_variable(node)
    return not isinstance(node, Fill | Call | Moved)


def is_variable(node: Node) -> bool:
    """Whether the node is a quantifier's variable."""
    return isinstance(node, Symbol) and node.name not in (*COORDINATES, *LENGTHS, "score")


def is_constant(root: Node) -> bool:
    """Whether an expression is a constant."""
    return first_illegal(root, is_constant_part) is None


def told(node: Node) -> str:
    """What an illegal node is, for a message: "`q` is a coordinate"."""
    text = quoted(node.span)
    match node:
        case Symbol(name="score"):
            return f"{text} changes from pair to pair"
        case Symbol(name=name) if name in COORDINATES:
            return f"{text} is a coordinate"
        case Symbol(name=name) if name in LENGTHS:
            return f"{text} changes from sequence to sequence"
        case Symbol():
            return f"{text} is a quantifier's variable"
        case Lookup():
            return f"{text} is read from a table"
        case Fill():
            return f"{text} is a mask"
        case Call(target=target):
            return f"{text} is a {target.kind}"
        case Use():
            return f"{text} is a parameter"
        case Size():
            return f"{text} is known only when tables are bound"
        case Quantified():
            return f"{text} is a quantifier"
        case Ascending():
            return f"{text} is a fact about a table"
    return f"{text} moves coordinates"


def refuse_read(
    findings: Findings, code: str, message: str, span: Span, illegal: Node, *,
    also: tuple[Label, ...] = (), notes: tuple[str, ...] = (), help: tuple[str, ...] = (),
) -> None:
    """Report an expression at `span` because of the illegal node below it, which may stand in a `where` elsewhere."""
    where, what = illegal.span, told(illegal)
    if where.source is span.source and span.start <= where.start and where.end <= span.end:
        findings.tell(code, message, where, what, also=also, notes=notes, help=help)
    else:
        findings.tell(code, message, span, also=(Label(where, what), *also), notes=notes, help=help)
