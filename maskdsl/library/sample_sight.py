"""How much a mask lets through with tables that are only tried, so that a trial of the definition shows something.

Not here: whether the tables satisfy the facts (`sample_facts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.backends.reference_evaluate import read
from maskdsl.backends.reference_scene import Frame, Scene, as_lanes, axis_sizes
from maskdsl.ir.nodes import LENGTHS, Variant
from maskdsl.ir.types import INT, Table

MOST_TOKENS = 64
"""How many positions are looked at, as queries and as keys: those of the last batch row and head."""


def part_that_sees(variant: Variant, arrays: Mapping[Table, NDArray[Any]], sizes: Mapping[str, int]) -> float:
    """The part of the queries that sees some key, of those looked at; 1 for a definition without a mask."""
    if variant.mask is None:
        return 1.0
    positions = np.arange(sizes["position"])[:: -(-sizes["position"] // MOST_TOKENS)]
    places = {
        "b": np.full((1, 1), sizes["batch"] - 1), "h": np.full((1, 1), sizes["head"] - 1),
        "q": positions[:, None], "k": positions[None, :],
    }  # fmt: skip
    coordinates = {name: as_lanes(place, INT) for name, place in places.items()}
    lengths = {name: np.asarray(sizes["position"], np.int32) for name in LENGTHS}
    frame = Frame(arrays, {}, {}, {**sizes, **axis_sizes(arrays, sizes)}, {})
    seen = np.broadcast_to(read(variant.mask, Scene(frame, coordinates, lengths)).value, (len(positions),) * 2)
    return float(seen.any(axis=1).mean())
