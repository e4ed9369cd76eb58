"""Keeps what was made out of tables, such as BlockMasks, for as long as nobody writes into the tables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

MOST = 8
"""How many values are kept: those used last."""

T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """Values by key and state of the tables that they were made of."""

    values: OrderedDict[Any, T] = field(default_factory=OrderedDict)

    def get(self, key: Any, tables: Iterable[Tensor], build: Callable[[], T]) -> T:
        """The value that `build` made for this key out of these tables as they are now."""
        versions = _versions(tables)
        if versions is None:
            return build()
        whole = (key, versions)
        if whole in self.values:
            self.values.move_to_end(whole)
            return self.values[whole]
        made = self.values[whole] = build()
        if len(self.values) > MOST:
            self.values.popitem(last=False)
        return made


def _versions(tables: Iterable[Tensor]) -> tuple[int, ...] | None:
    """Counts of the writes into the tables; None where torch does not count them."""
    found = []
    for table in tables:
        if table.is_inference():
            return None
        found.append(table._version)
    return tuple(found)
