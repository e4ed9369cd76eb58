"""The mods as a file that stands alone: what they capture beyond a definition's own tables is made in the file, too."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

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
    from maskdsl.binding.derived import run_ends

    emitted = lowered.emitted
    names = {c.table: c.name for c in (*emitted.mask_captures, *emitted.score_captures)}
    made = [d for d in lowered.variant.derived if d.table in names]
    sources = dict.fromkeys(d.source.name for d in made)
    entries = [f'        "{names[d.table]}": run_ends({d.source.name}, {d.axis}, "{d.kind}"),' for d in made]
    function = inspect.getsource(run_ends).replace("Tensor", "torch.Tensor")
    head = f"def derived_tables({', '.join(sources)}):"
    doc = '    """The tables that the factories above take beside the definition\'s own, by name."""'
    return "\n".join(["", "", function.rstrip(), "", "", head, doc, "    return {", *entries, "    }", ""])
