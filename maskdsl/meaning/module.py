"""A file and what its definitions mean: `check` finds every mistake of a file, and of the files it imports, in one run.

Not here: running the examples (`maskdsl.library.examples`), fixing constants (`instantiate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from maskdsl.ir.nodes import Variant
from maskdsl.meaning.examples import Example, lower_example
from maskdsl.meaning.findings import Findings
from maskdsl.meaning.imports import NOTHING, Library, Loader, Parsed, gather
from maskdsl.meaning.lints import lint_definition, lint_examples, lint_imports
from maskdsl.meaning.lower_definitions import lower_definition
from maskdsl.meaning.names import check_name, refuse_second
from maskdsl.meaning.order import order_definitions
from maskdsl.meaning.proofs import verify_definition
from maskdsl.meaning.scope import OWN_NAMES, Defined, Entry, Scope
from maskdsl.meaning.signatures import Definition, Header, declare, kind_of
from maskdsl.source.diagnostic import Diagnostic
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A checked file.

    `definitions` holds those without errors, in the order of the file. `diagnostics` are the mistakes and lints of the
    file in its order, then the errors of the files that it imports. `names` are all names that the file defines.
    """

    source: Source
    definitions: dict[str, Variant]
    examples: tuple[Example, ...]
    diagnostics: tuple[Diagnostic, ...]
    names: dict[str, Defined] = field(default_factory=dict)
    file: ast.File | None = None

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics without the lints."""
        return tuple(d for d in self.diagnostics if d.severity == "error")


@dataclass(frozen=True, slots=True)
class Checked:
    """The files checked so far: give one to several calls of `check` and no file is checked twice."""

    modules: dict[Source, Module] = field(default_factory=dict)


def check(source: Source, load: Loader, checked: Checked | None = None, library: Library = NOTHING) -> Module:
    """The meaning of a file and every diagnostic about it; never raises for what the file says.

    `load` finds imported modules; each is checked once, and what `checked` holds is not checked again. `library` is
    what there is to import, for advice.
    """
    known = (checked or Checked()).modules
    if source not in known:
        for parsed in gather(source, load, lambda s: known[s].file if s in known else None, library):
            if not parsed.known:
                known[parsed.source] = _check_file(parsed, known)
    return known[source]


def _check_file(parsed: Parsed, modules: dict[Source, Module]) -> Module:
    findings, definitions = parsed.findings, _definitions_of(parsed.file)
    syntax_errors = findings.errors
    names: dict[str, Entry] = dict(_imported(parsed, modules))
    headers = [declare(findings, d) for d in definitions]
    numbers = _define(findings, definitions, headers, names)
    if syntax_errors:
        _excuse(parsed.source, names)
    for number in order_definitions(findings, definitions, numbers):
        definition, header = definitions[number], headers[number]
        variant = _lower(findings, definition, header, Scope(names))
        if numbers.get(definition.name.text) == number:
            names[definition.name.text] = Defined(kind_of(definition), definition.name, header.signature, variant)
    examples = [d for d in parsed.file.definitions if isinstance(d, ast.Example)]
    lowered = [lower_example(findings, e, Scope(names)) for e in examples]
    lint_imports(findings, parsed.file)
    lint_examples(findings, parsed.source, definitions, examples)
    own = {text: e for text, e in names.items() if isinstance(e, Defined) and text in numbers}
    assert findings.errors or all(d.variant for d in own.values()) or _imported_errors(parsed, modules)
    return Module(
        parsed.source, {text: d.variant for text, d in _in_order(definitions, own) if d.variant is not None},
        tuple(e for e in lowered if e is not None),
        (*sorted(findings.diagnostics, key=_place), *_imported_errors(parsed, modules)), own, parsed.file,
    )


def _lower(findings: Findings, definition: Definition, header: Header, scope: Scope) -> Variant | None:
    variant, record = lower_definition(findings, definition, header, scope)
    if variant is None or not verify_definition(findings, variant):
        return None
    lint_definition(findings, definition, variant, record)
    return variant


def _definitions_of(file: ast.File) -> list[Definition]:
    return [d for d in file.definitions if not isinstance(d, ast.Example)]


def _in_order(definitions: list[Definition], own: dict[str, Defined]) -> Iterator[tuple[str, Defined]]:
    for text in dict.fromkeys(d.name.text for d in definitions):
        if text in own:
            yield text, own[text]


def _place(diagnostic: Diagnostic) -> int:
    return diagnostic.span.start if diagnostic.span is not None else -1


# ---------------------------------------------------------------- names


def _define(
    findings: Findings, definitions: list[Definition], headers: list[Header], names: dict[str, Entry]
) -> dict[str, int]:
    """Enter the definitions into the names of the file; the number of the definition that each name means."""
    numbers: dict[str, int] = {}
    for number, (definition, header) in enumerate(zip(definitions, headers, strict=True)):
        name = definition.name
        if not check_name(findings, name, own=True):
            if name.text not in OWN_NAMES:
                names.setdefault(name.text, Defined("", name))
            continue
        first = names.get(name.text)
        if isinstance(first, Defined):
            refuse_second(findings, name, first.name.span)
            continue
        names[name.text] = Defined(kind_of(definition), name, header.signature)
        numbers[name.text] = number
    return numbers


def _imported(parsed: Parsed, modules: dict[Source, Module]) -> dict[str, Defined]:
    """The imported names; those of modules that could not be read, and of broken definitions, mean nothing further."""
    names: dict[str, Defined] = {}
    for use, target in zip(parsed.file.uses, parsed.modules, strict=True):
        module = None if target is None else modules[target.source]
        for imported in use.names:
            name = imported.alias or imported.name
            if not check_name(parsed.findings, name, own=True):
                continue
            if name.text in names:
                refuse_second(parsed.findings, name, names[name.text].name.span)
                continue
            known = None if module is None else _exported(parsed.findings, imported, module)
            names[name.text] = Defined("", name) if known is None else replace(known, name=name)
    return names


def _exported(findings: Findings, imported: ast.Imported, module: Module) -> Defined | None:
    name = imported.name
    if name.text in module.names:
        return module.names[name.text]
    if module.file is not None and name.text in _mentioned(module.source) and module.errors:
        return None  # it did not parse, which has been reported
    findings.tell(
        "E0205", f"`{module.source.name}` does not define `{name.text}`", name.span,
        help=did_you_mean(name.text, module.names) or (_offer(module),),
    )
    return None


def _offer(module: Module) -> str:
    shown = ", ".join(f"`{n}`" for n in list(module.names)[:8])
    return f"it defines {shown}" if shown else "it defines nothing"


def _imported_errors(parsed: Parsed, modules: dict[Source, Module]) -> tuple[Diagnostic, ...]:
    targets = [modules[t.source] for t in parsed.modules if t is not None]
    return tuple(dict.fromkeys(d for m in targets for d in m.errors))


# ---------------------------------------------------------------- definitions that did not parse


def _excuse(source: Source, names: dict[str, Entry]) -> None:
    """Enter the names of what did not parse, so that their uses are no further errors."""
    for text, span in _mentioned(source).items():
        names.setdefault(text, Defined("", ast.Name(text, span)))


def _mentioned(source: Source) -> dict[str, Span]:
    """Every name that seems to be defined or imported in a text, whether it parses or not."""
    found = {m[1]: Span(source, *m.span(1)) for m in _DEFINED.finditer(source.text)}
    for imports in _IMPORTED.finditer(source.text):
        for m in _WORD.finditer(source.text, *imports.span(1)):
            found.setdefault(m[0], Span(source, *m.span()))
    return found


_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DEFINED = re.compile(r"\b(?:mask|score|variant)\s+([A-Za-z_]\w*)", re.ASCII)
_IMPORTED = re.compile(r"\bimport\b((?:[^\n,]*,\s*)*[^\n]*)")
