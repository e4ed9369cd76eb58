"""What a pass knows beside the variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Context:
    """`sizes` gives the lengths of axes, by name, as far as they are known: all of them once tables are bound.

    With `padded` the program will also be run where q and k pass the lengths, as kernels do in a tile that sticks out.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    padded: bool = True
