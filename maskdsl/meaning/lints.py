"""Lints: what is legal and yet most likely a slip: unused names, constant masks, missing documentation."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

from maskdsl.ir.nodes import Literal, Node, Op, Variant
from maskdsl.ir.ops import fold_literals
from maskdsl.ir.types import INT
from maskdsl.ir.walk import topological
from maskdsl.meaning.constants import LARGEST_INT
from maskdsl.meaning.findings import Findings, quoted
from maskdsl.meaning.lowering import Record
from maskdsl.meaning.proofs import constant_mask
from maskdsl.meaning.signatures import Definition, kind_of
from maskdsl.source.text import Source
from maskdsl.syntax import ast


def lint_definition(findings: Findings, definition: Definition, variant: Variant, record: Record) -> None:
    """Warn of parameters and local names that nothing reads (W0801), of numbers that wrap, of masks that are
    always the same (W0808, W0802).
    """
    for parameter in definition.parameters:
        if parameter.name.text not in record.parameters:
            findings.tell(
                "W0801", f"`{parameter.name.text}` is never used", parameter.span, "nothing reads this parameter",
                help=("remove it, or use it",),
            )
    for binding in () if isinstance(definition, ast.Variant) else definition.where:
        if binding.name.text not in record.locals:
            findings.tell(
                "W0801", f"`{binding.name.text}` is never used", binding.name.span, "nothing reads this name",
                help=("remove it, or use it",),
            )
    if _lint_numbers(findings, variant):
        return
    if variant.kind == "mask" and not isinstance(variant.mask, Literal):
        value = constant_mask(variant)
        if value is not None:
            assert variant.mask is not None
            findings.tell(
                "W0802", f"this mask is always {str(value).lower()}", variant.mask.span, "the same for every pair",
                help=(f"if it is meant, write `{str(value).lower()}`",),
            )


def _lint_numbers(findings: Findings, variant: Variant) -> bool:
    """Whether arithmetic on whole numbers of the text passes 32 bits; warn of it (W0808), innermost first."""
    before = len(findings.diagnostics)
    for _, root in variant.roots:
        values: dict[int, int | None] = {}
        for node in topological(root):
            values[id(node)] = value = _whole(node, values)
            if value is not None and not -LARGEST_INT - 1 <= value <= LARGEST_INT:
                assert isinstance(node, Op)
                values[id(node)] = None
                wrapped = fold_literals(node.name, *(Literal(values[id(a)] or 0, INT) for a in node.args))
                findings.tell("W0808", f"{quoted(node.span)} wraps around", node.span, f"this is {wrapped}",
                              notes=("ints have 32 bits",), help=(f"the largest is {LARGEST_INT:_}",))
    return len(findings.diagnostics) > before


def _whole(node: Node, values: dict[int, int | None]) -> int | None:
    """The exact value of sums, differences, products and powers of literals; of huge powers some number beyond."""
    match node:
        case Literal(value=value, type=kind) if kind is INT:
            return int(value)
        case Op(name="add" | "sub" | "mul" | "pow" as name, args=(a, b), type=kind) if kind is INT:
            x, y = values[id(a)], values[id(b)]
            if x is None or y is None or (name == "pow" and y < 0):
                return None
            return _EXACT[name](x, y)
    return None


_EXACT: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "pow": lambda x, y: x ** (min(y, 64 + y % 2) if abs(x) > 1 else y % 2 or min(y, 2)),
}


def lint_imports(findings: Findings, file: ast.File) -> None:
    """Warn of what a file without errors imports and names nowhere (W0801)."""
    if findings.errors:
        return
    named = {word for d in file.definitions for word in re.findall(r"[A-Za-z_]\w*", d.span.text)}
    for name in (i.alias or i.name for use in file.uses for i in use.names):
        if name.text not in named:
            findings.tell("W0801", f"`{name.text}` is never used", name.span, "nothing here uses what is imported",
                          help=("remove it, or use it",))


def lint_examples(
    findings: Findings, source: Source, definitions: Sequence[Definition], examples: Sequence[ast.Example]
) -> None:
    """Warn of definitions of a file that lack documentation (W0804) or an example (W0805)."""
    if source.path is None:
        return
    shown = {e.call.name.text for e in examples}
    for definition in definitions:
        name = definition.name
        if not any(line.strip("# \t") for line in definition.doc):
            told = f"`{name.text}` has no documentation"
            findings.tell("W0804", told, name.span, help=(f"write `## …` before `{kind_of(definition)}`",))
        if name.text not in shown:
            advice = (f"write `example {name.text}` and a picture or a value after it",)
            findings.tell("W0805", f"`{name.text}` has no example", name.span, help=advice)
