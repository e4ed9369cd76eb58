"""The mods as a file that stands alone: what they capture beyond a definition's own tables is made in the file, too."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from maskdsl.binding.lowered import Lowered, Lowering
from maskdsl.ir.nodes import Variant


def standalone_mods(variant: Variant, sizes: Mapping[str, int]) -> str:
    """The Python text of a fixed definition's mods for these sizes (all axes and lengths); it needs torch alone."""
    return standalone_text(Lowering(variant).at(sizes))


def standalone_text(lowered: Lowered) -> str:
    """The Python text of the mods; it needs torch alone.

    Where a pass made the mods read tables that are computed from others, the text ends with `derived_tables(…)`, which
    computes them.
    """
    return lowered.emitted.source + (_derived_tables(lowered) if lowered.variant.derived else "")


def _derived_tables(lowered: Lowered) -> str:
    emitted = lowered.emitted
    names = {c.table: c.name for c in (*emitted.mask_captures, *emitted.score_captures)}
    made = [d for d in lowered.variant.derived if d.table in names]
    sources = dict.fromkeys(d.source.name for d in made)
    entries = [f'        "{names[d.table]}": run_ends({d.source.name}, {d.axis}, "{d.kind}"),' for d in made]
    function = _text_of_run_ends().replace("Tensor", "torch.Tensor")
    head = f"def derived_tables({', '.join(sources)}):"
    doc = '    """The tables that the factories above take beside the definition\'s own, by name."""'
    return "\n".join(["", "", function.rstrip(), "", "", head, doc, "    return {", *entries, "    }", ""])


@cache
def _text_of_run_ends() -> str:
    """The function of `derived` as its file has it; the module is not imported, because that takes torch."""
    text = Path(__file__).with_name("derived.py").read_text(encoding="utf-8")
    found = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == "run_ends")
    segment = ast.get_source_segment(text, found)
    assert segment is not None
    return segment
