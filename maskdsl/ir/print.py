"""The IR in the language's own spelling: minimal parentheses, shared values named once in `where`.

Precedence follows the grammar; `and` and `or` are printed flat, comparisons of one value as a chain. A value that is
shared inside a quantifier cannot be named outside of it and is repeated; text that grows too long that way is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from maskdsl.ir.names import Names
from maskdsl.ir.nodes import (
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
    Variant,
)
from maskdsl.ir.ops import OPS
from maskdsl.ir.types import FLOAT, INT, Axis, Constant, Parameter, Table
from maskdsl.ir.walk import children, topological

CHOICE, OR, AND, NOT, COMPARISON, SUM, PRODUCT, UNARY, POWER, POSTFIX, ATOM = range(11)
"""How tightly a text binds, from loose to tight."""

LONG = 400
"""A value whose text is longer than this many characters is named, shared or not."""

LONGEST = 4_000
"""Text inside a quantifier is cut at this many characters."""

_BINARY = {
    "or": (OR, OR, OR), "and": (AND, AND, AND), "add": (SUM, SUM, PRODUCT), "sub": (SUM, SUM, PRODUCT),
    "mul": (PRODUCT, PRODUCT, UNARY), "div": (PRODUCT, PRODUCT, UNARY), "floordiv": (PRODUCT, PRODUCT, UNARY),
    "mod": (PRODUCT, PRODUCT, UNARY), "pow": (POWER, POSTFIX, UNARY),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), (COMPARISON, SUM, SUM)),
}  # fmt: skip
"""Levels of the result, of the left operand and of the right one."""

_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


@dataclass(frozen=True, slots=True)
class Printed:
    """The text of a node and how tightly it binds."""

    text: str
    level: int

    def at(self, level: int) -> str:
        """The text as an operand of at least this level."""
        return self.text if self.level >= level else f"({self.text})"


def text(subject: Node | Variant) -> str:
    """A definition, or an expression with its `where` lines, as the language writes it. Deterministic; any depth."""
    if isinstance(subject, Variant):
        return _definition(subject)
    roots, names = _named((subject,), ())
    return "\n".join([roots[0], *_clause("where", [f"{n} = {t}" for n, t in names])])


def _definition(variant: Variant) -> str:
    stages = [(f, _stages(n) if (f, variant.kind) == ("score", "variant") else [n]) for f, n in variant.roots]
    shown = [*(n for _, several in stages for n in several), *variant.facts]
    texts, names = _named(shown, [p.name for p in variant.parameters])
    waiting = iter(texts)
    fields = {f: " then ".join(next(waiting) for _ in several) for f, several in stages}
    facts = list(waiting)
    head = f"{variant.kind} {variant.name}{_signature(variant)}"
    below = [*_clause("where", [f"{n} = {t}" for n, t in names]), *_clause("requires", facts)]
    doc = [f"## {line}".rstrip() for line in variant.doc.splitlines()]
    if variant.kind == "variant":
        return "\n".join([*doc, head + " {", *(f"    {f} = {t}" for f, t in fields.items()), *below, "}"])
    return "\n".join([*doc, *(f"{head} = {t}" for t in fields.values()), *below])


def _stages(score: Node) -> list[Node]:
    """The scores that a pipeline applies one after the other."""
    stages: list[Node] = []
    while isinstance(score, Moved) and [name for name, _ in score.moves] == ["score"]:
        stages.append(score.body)
        score = score.moves[0][1]
    return [score, *reversed(stages)]


def _clause(word: str, lines: Sequence[str]) -> list[str]:
    """The lines of `where` or `requires`, one under the other; none for none."""
    margin = " " * (len(word) + 5)
    starts = [f"    {word} ", *[margin] * len(lines)]
    ends = [","] * (len(lines) - 1) + [""]
    return [start + line + end for start, line, end in zip(starts, lines, ends, strict=False)]


def _signature(variant: Variant) -> str:
    defaults = dict(variant.defaults)
    parts = [_declared(p) + (f" = {text(defaults[p])}" if isinstance(p, Constant) and p in defaults else "")
             for p in variant.parameters]
    return f"({', '.join(parts)})" if parts else ""


def _declared(parameter: Parameter) -> str:
    match parameter:
        case Table(name=name, type=kind, axes=axes):
            return f"{name}: {kind}[{', '.join(map(str, axes))}]"
        case Constant(name=name, type=kind):
            return f"{name}: {kind}"
    return f"{parameter.name}: mask"


def _named(roots: Sequence[Node], taken: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The texts of the roots, and the (name, text) of the values they share, in order of dependence."""
    printer = _Printer(roots, taken)
    printed = [printer.printed[id(r)].text for r in roots]
    return printed, printer.lines


class _Printer:
    """The texts of all nodes below some roots, made bottom-up, each once."""

    def __init__(self, roots: Sequence[Node], taken: Sequence[str]) -> None:
        nodes = list(topological(roots))
        bound = {n.variable for n in nodes if isinstance(n, Quantified)}
        words = {n.name for n in nodes if isinstance(n, Symbol)} | _parameter_names(nodes)
        self.names = Names({*taken, *bound, *words})
        self.uses, self.chains = _plan(nodes)
        self.hidden = _inside_quantifiers(nodes)
        self.printed: dict[int, Printed] = {}
        self.named: set[int] = set()
        self.lines: list[tuple[str, str]] = []
        for node in nodes:
            self.printed[id(node)] = self._name(node, self._print(node))

    def _name(self, node: Node, made: Printed) -> Printed:
        """The text as its users write it: itself, or the name of a new line."""
        if id(node) in self.hidden:
            return made if len(made.text) <= LONGEST else Printed("…", ATOM)
        uses = self.uses[id(node)]
        if _is_short(node) or uses == 0 or (uses == 1 and len(made.text) <= LONG):
            return made
        name = self.names.give(node)
        self.lines.append((name, made.text))
        self.named.add(id(node))
        return Printed(name, ATOM)

    def _print(self, node: Node) -> Printed:
        match node:
            case Op():
                return self._print_op(node)
            case Literal(value=value):
                return _literal(value)
            case Symbol(name=name):
                return Printed(name, ATOM)
            case Size(axis=axis):
                return Printed(f"size({axis})", ATOM)
            case Use(constant=constant):
                return Printed(constant.name, ATOM)
            case Fill(hole=hole):
                return Printed(hole.name, ATOM)
            case Ascending(table=table, axis=axis):
                return Printed(f"ascending({table.name}, {_axis(table.axes[axis], axis)})", ATOM)
            case Lookup(table=table, indices=indices):
                return Printed(table.name + (f"[{self._list(indices)}]" if indices else ""), ATOM)
        return self._print_binding(node)

    def _print_binding(self, node: Quantified | Moved | Call) -> Printed:
        match node:
            case Quantified(kind=kind, variable=variable, start=start, stop=stop, body=body):
                bounds = [stop] if isinstance(start, Literal) and start.value == 0 else [start, stop]
                return Printed(f"{kind}({self._at(body)} for {variable} in range({self._list(bounds)}))", ATOM)
            case Moved(body=body, moves=moves):
                moved = ", ".join(f"{c} = {self._at(v)}" for c, v in moves)
                return Printed(f"{self._at(body, POSTFIX)} at ({moved})", POSTFIX)
            case Call(target=target, arguments=arguments):
                given = ", ".join(a.name if isinstance(a, Table) else self._at(a) for _, a in arguments)
                return Printed(f"{target.name}({given})" if given else target.name, ATOM)

    def _print_op(self, node: Op) -> Printed:
        row, args = OPS[node.name], tuple(_bare(node, a) for a in node.args)
        if _is_group(node):
            return Printed("kv_h", ATOM)
        if _converts(node) and (number := _number(node.args[0])) is not None:
            return _literal(float(number))
        match node.name:
            case "choose":
                condition, x, y = (self._at(a, level) for a, level in zip(args, (OR, OR, CHOICE), strict=True))
                return Printed(f"{x} if {condition} else {y}", CHOICE)
            case "neg" | "not":
                level = UNARY if node.name == "neg" else NOT
                gap = "" if node.name == "neg" else " "
                return Printed(row.symbol + gap + self._at(args[0], level), level)
            case "and" if id(node) in self.chains and not self.named & {id(a) for a in args}:
                end = args[1]
                assert isinstance(end, Op)
                operand = self._at(_bare(end, end.args[1]), SUM)
                left = self.printed[id(args[0])]
                return Printed(f"{left.at(AND)} {OPS[end.name].symbol} {operand}", left.level)
            case name if name in _BINARY:
                level, left_level, right_level = _BINARY[name]
                return Printed(f"{self._at(args[0], left_level)} {row.symbol} {self._at(args[1], right_level)}", level)
        return Printed(f"{row.call}({self._list(args)})", ATOM)

    def _at(self, node: Node, level: int = CHOICE) -> str:
        return self.printed[id(node)].at(level)

    def _list(self, nodes: Sequence[Node]) -> str:
        return ", ".join(self._at(n) for n in nodes)


def _is_group(node: Node) -> bool:
    """Whether the node is what `kv_h` stands for."""
    match node:
        case Op(name="floordiv", args=(Symbol(name="h"), Op(name="floordiv", args=(Size(axis=a), Size(axis=b))))):
            return (a, b) == ("head", "kv_head")
    return False


def _is_short(node: Node) -> bool:
    """Whether a name would not be shorter: leaves, `kv_h`, and the conversion or the negative of a leaf."""
    below = () if _is_group(node) else children(node)
    if isinstance(node, Op) and node.name in ("to_float", "neg"):
        below = children(below[0])
    return not below


def _literal(value: bool | int | float) -> Printed:
    if isinstance(value, bool):
        return Printed(str(value).lower(), ATOM)
    if value != value:  # the language has no word for NaN
        return Printed("inf - inf", SUM)
    return Printed(repr(value), UNARY if repr(value).startswith("-") else ATOM)


def _axis(axis: Axis, number: int) -> str:
    return axis if isinstance(axis, str) else str(number)


def _bare(node: Op, argument: Node) -> Node:
    """The argument without a conversion to float that the language makes by itself at this place."""
    if not _converts(argument) or _number(children(argument)[0]) is not None:
        return argument
    assert isinstance(argument, Op)
    floats_only = all(INT not in given for given, _ in OPS[node.name].signatures)
    decided = any(a.type is FLOAT and not (_converts(a) and _number(children(a)[0]) is None) for a in node.args)
    return argument.args[0] if (floats_only or decided) and node.name not in ("to_int", "to_float") else argument


def _converts(node: Node) -> bool:
    return isinstance(node, Op) and node.name == "to_float" and node.args[0].type is INT


def _number(node: Node) -> int | None:
    """The int that the text of a node is: a literal, or a minus before one."""
    match node:
        case Literal(value=int() as value, type=kind) if kind is INT:
            return value
        case Op(name="neg", args=(Literal(value=int() as value),)) if value >= 0:
            return -value
    return None


def _parameter_names(nodes: Sequence[Node]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        match node:
            case Lookup(table=table) | Ascending(table=table):
                names.add(table.name)
            case Use(constant=constant):
                names.add(constant.name)
            case Fill(hole=hole):
                names.add(hole.name)
            case Call(target=target, arguments=arguments):
                names |= {target.name, *(a.name for _, a in arguments if isinstance(a, Table))}
    return names


def _plan(nodes: Sequence[Node]) -> tuple[Counter[int], set[int]]:
    """How often each node's text is wanted, and which conjunctions are chains.

    A conversion hands its uses down to its argument; a chain spells its middle once.
    """
    uses = Counter(id(c) for n in nodes for c in children(n))
    for node in nodes:
        if _converts(node) and uses[id(node)]:
            uses[id(children(node)[0])] += uses[id(node)] - 1
            uses[id(node)] = 1
    chains: set[int] = set()
    tails: dict[int, Node] = {}
    for node in nodes:
        match node:
            case Op(name=name, args=(_, tail)) if name in _COMPARISONS and uses[id(node)] == 1:
                tails[id(node)] = tail
            case Op(name="and", args=(x, Op() as y)) if id(y) in tails:
                tails[id(node)] = tails[id(y)]
                if y.name in _COMPARISONS and tails.get(id(x)) is y.args[0] and uses[id(x)] == 1:
                    chains.add(id(node))
                    uses[id(y.args[0])] -= 1
    return uses, chains


def _inside_quantifiers(nodes: Sequence[Node]) -> set[int]:
    """The nodes that read a quantifier's variable: they have no name outside of it."""
    bound = {n.variable for n in nodes if isinstance(n, Quantified)}
    free: dict[int, frozenset[str]] = {}
    for node in nodes:
        names = frozenset[str]().union(*(free[id(c)] for c in children(node)))
        if isinstance(node, Symbol) and node.name in bound:
            names = frozenset({node.name})
        free[id(node)] = names - {node.variable} if isinstance(node, Quantified) else names
    return {id(n) for n in nodes if free[id(n)]}


