"""Names for values that have none: the name that a `where` gave, a table's, or a numbered letter."""

from __future__ import annotations

import re
from collections.abc import Iterable

from maskdsl.ir.nodes import Lookup, Node, Op, Symbol


def fresh(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name_2`, `name_3`, …: the first that is not taken."""
    stem, number = re.sub(r"(?<=.)_\d+$", "", name), 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    return name


def stem(node: Node) -> str:
    """What a reader would call the value, "" if nothing suggests itself: `document[b, q]` is `document_q`."""
    match node:
        case Op(hint=hint) | Lookup(hint=hint) if hint:
            return hint
        case Lookup(table=table, indices=indices):
            symbols = [_without_guard(i) for i in indices]
            simple = [s.name for s in symbols if isinstance(s, Symbol) and s.name not in ("b", "h")]
            return "_".join([table.name, *simple]) if simple else f"{table.name}_value"
    return ""


def _without_guard(index: Node) -> Node:
    """The index that is held in range: q of `min(q, last)`."""
    while isinstance(index, Op) and index.name in ("min", "max", "clamp"):
        index = index.args[0]
    return index


class Names:
    """Names given out one by one, all different from each other and from those `taken` at the start."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.count = 0

    def give(self, node: Node) -> str:
        """A new name for the node's value; `t1`, `t2`, … where nothing suggests one."""
        wanted = stem(node)
        while not wanted or (wanted in self.taken and not stem(node)):
            self.count += 1
            wanted = f"t{self.count}"
        name = fresh(wanted, self.taken)
        self.taken.add(name)
        return name
