"""Packed: many requests' tokens in one row, one after another, for training and prefill (`cu_seqlens`).

    b' = request[q]    q' = q - first[q]    k' = k - first[q]    valid: first[q] <= k < end[q]

Keys are counted from where the query's own request begins: what `q' - k'` is, needs no table then, and no pair asks to
which request its key belongs. Where queries and keys are packed apart, `q' = q + shift[q]`.
"""

from __future__ import annotations

from maskdsl.ir.algebra import both, build
from maskdsl.layouts.layout import K, Layout, Q, layout_table, read

REQUEST = layout_table("request", "tokens")
"""The request of each packed query: int32 [queries]."""
FIRST = layout_table("first", "tokens")
"""Where the keys of each query's request begin: int32 [queries]."""
END = layout_table("end", "tokens")
"""Where they end; no later than they begin for a query that belongs to no request: int32 [queries]."""
SHIFT = layout_table("shift", "tokens")
"""The logical position of each query less its place: int32 [queries]."""
COUNT = layout_table("query_count", "tokens")
"""The logical length of the queries of each query's request: int32 [queries]."""


def packed(*, apart: bool) -> Layout:
    """The layout of queries and keys packed alike, by the same lengths, or `apart`."""
    first, end = read(FIRST, Q), read(END, Q)
    length = build("sub", end, first)
    places = {"b": read(REQUEST, Q), "k": build("sub", K, first), "kv_len": length}
    if apart:
        places |= {"q": build("add", Q, read(SHIFT, Q)), "q_len": read(COUNT, Q)}
    else:
        places |= {"q": build("sub", Q, first), "q_len": length}
    valid = both(build("le", first, K), build("lt", K, end))
    tables = (REQUEST, FIRST, END, *((SHIFT, COUNT) if apart else ()))
    return Layout("packed", tables, places, valid, frozenset({"batch", "position"}))
