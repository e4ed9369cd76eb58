"""Writes out every call: the body of its target, with the arguments for the parameters.

    >>> from maskdsl.passes.shown import shown
    >>> band = "mask band(w: int) = 0 <= q - k < w "
    >>> print(shown(band + "mask local = band(8) at (q = q // 2)", after="inline_calls"))
    mask local = (0 <= q - k < 8) at (q = q // 2)

Law: a definition is an equation. A mask argument is read at the coordinates of the place where it is filled; variables
of quantifiers are renamed where two would meet.
"""

from __future__ import annotations

from maskdsl.ir.nodes import Variant
from maskdsl.ir.substitute import inline_calls
from maskdsl.passes.context import Context
from maskdsl.passes.roots import map_roots


def run(variant: Variant, context: Context) -> Variant:
    """The variant without calls. Raises MaskError E0406 when it grows too large."""
    return map_roots(variant, inline_calls)
