"""When two syntax trees say the same, wherever in a text they stand."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from maskdsl.source.text import Span


def same_tree(left: object, right: object) -> bool:
    """Whether two nodes, or two tuples of nodes, are equal but for their spans (and what a file failed to read)."""
    pending = [(left, right)]
    while pending:
        a, b = pending.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            pending.extend(zip(a, b, strict=True))
        elif is_dataclass(a) and not isinstance(a, Span):
            names = [field.name for field in fields(a) if field.name not in ("span", "row_spans", "broken")]
            pending.extend((getattr(a, name), getattr(b, name)) for name in names)
        elif a != b:
            return False
    return True
