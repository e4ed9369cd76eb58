"""Random conditions, as text, out of a test's own simple ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st


def joined(atoms: Callable[[], Any], depth: int, most: int) -> Any:
    """Conditions joined by and (`most` of them at most), or, not and choices, nested so deep."""
    if depth == 0:
        return atoms()
    below = joined(atoms, depth - 1, most)
    return st.one_of(
        atoms(),
        st.lists(below, min_size=2, max_size=most).map(lambda parts: "(" + " and ".join(parts) + ")"),
        st.lists(below, min_size=2, max_size=3).map(lambda parts: "(" + " or ".join(parts) + ")"),
        below.map(lambda part: f"not ({part})"),
        st.tuples(below, below, below).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
    )
