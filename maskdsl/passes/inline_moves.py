"""Carries out every move: the moved values stand where the coordinates stood.

    >>> from maskdsl.passes.shown import shown
    >>> print(shown("mask local = (0 <= q - k < 8) at (q = q // 2)", after="inline_moves"))
    mask local = 0 <= q // 2 - k < 8

Law: all the moves of one `at` happen at once, and their values are read outside of it.
"""

from __future__ import annotations

from maskdsl.ir.nodes import Variant
from maskdsl.ir.substitute import inline_moves
from maskdsl.passes.context import Context
from maskdsl.passes.roots import map_roots


def run(variant: Variant, context: Context) -> Variant:
    """The variant without moves. Raises MaskError E0406 when it grows too large."""
    return map_roots(variant, inline_moves)
