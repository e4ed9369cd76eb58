"""Dense: every batch row is one request; its queries may begin behind its keys' beginning (cached keys, bottom-right).

    q' = q + offset[b]
"""

from __future__ import annotations

from maskdsl.ir.algebra import build
from maskdsl.ir.nodes import Symbol
from maskdsl.layouts.layout import B, Layout, Q, layout_table, read

OFFSET = layout_table("query_offset", "rows")
"""How many tokens of each request come before its first query: int32 [batch]."""


def dense() -> Layout:
    """The layout; queries end at `q_len + offset`, which is how many logical positions of queries there are."""
    offset = read(OFFSET, B)
    return Layout("dense", (OFFSET,), {"q": build("add", Q, offset), "q_len": build("add", Symbol("q_len"), offset)})
