"""A text before and after a pass, both in the language: what the examples in the passes' own pages run."""

from __future__ import annotations

from maskdsl.ir.nodes import Variant
from maskdsl.ir.print import text
from maskdsl.meaning.instantiate import instantiate
from maskdsl.meaning.module import check
from maskdsl.passes.context import Context
from maskdsl.passes.pipeline import run_passes
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source


def shown(program: str, after: str, **sizes: int) -> str:
    """The last definition of a text, its constants at their defaults, as it is after the named pass.

    `sizes` are the lengths of axes. Raises MaskError where the text has errors.
    """
    return text(run_passes(last_definition(program), Context(sizes), after))


def last_definition(program: str) -> Variant:
    """The last definition of a text, its constants at their defaults. Raises MaskError where the text has errors."""
    module = check(Source("example", program), lambda name, local, importer: None)
    if module.errors:
        raise MaskError(module.errors)
    *_, variant = module.definitions.values()
    return instantiate(variant)
