"""Lints: what is legal and yet most likely a slip: unused names, constant masks, missing documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from maskdsl.ir.nodes import Literal, Variant
from maskdsl.meaning.findings import Findings
from maskdsl.meaning.lowering import Record
from maskdsl.meaning.proofs import constant_mask
from maskdsl.meaning.signatures import Definition, kind_of
from maskdsl.source.text import Source
from maskdsl.syntax import ast


def lint_definition(findings: Findings, definition: Definition, variant: Variant, record: Record) -> None:
    """Warn of parameters and local names that nothing reads (W0801), of a mask that is always the same (W0802)."""
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
    if variant.kind == "mask" and not isinstance(variant.mask, Literal):
        value = constant_mask(variant)
        if value is not None:
            assert variant.mask is not None
            findings.tell(
                "W0802", f"this mask is always {str(value).lower()}", variant.mask.span, "the same for every pair",
                help=(f"if it is meant, write `{str(value).lower()}`",),
            )


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
