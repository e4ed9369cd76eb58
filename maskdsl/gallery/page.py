"""What a page of the gallery shows: a definition, its pictures at several sizes, its tiles, its relations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.library.manifest import Manifest

EMPTY, PARTIAL, FULL, OPEN = 0, 1, 2, 3
"""Tiles as a page shows them; OPEN: full or empty in truth, but left partial by the formula's bounds."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What one head shows: `mask` bool [Q, K], `score` float64 [Q, K] (both None where there is none to draw).

    `tiles` is int8 [tile rows, tile columns] of EMPTY, PARTIAL, FULL and OPEN, None where no tiles are drawn.
    """

    mask: NDArray[np.bool_] | None
    score: NDArray[np.float64] | None
    tiles: NDArray[np.int8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A definition at one size: a layer for each head that differs, with `block` tokens along a tile's side.

    `call` is the definition with its constants, `told` says where the arguments come from, `tables` are the short
    ones by name, as text. `incoming` is the score that comes in.
    """

    q_len: int
    kv_len: int
    block: int
    call: str
    told: str
    layers: tuple[Layer, ...]
    tables: tuple[tuple[str, str], ...] = ()
    incoming: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Scores and what they become, float64 [n] each, where that is the same at every query and key."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kernel:
    """The tiles that a kernel computes for `length` queries and keys in blocks of `block`, by the formula's bounds.

    Counts are over `heads` heads (1 where all heads are alike); `call` and `told` as in Picture.
    """

    length: int
    block: int
    heads: int
    full: int
    partial: int
    empty: int
    call: str
    told: str

    @property
    def total(self) -> int:
        """All tiles."""
        return self.full + self.partial + self.empty


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A definition and what its page shows.

    `key` tells it from every other definition and names its file; `name` is what Python calls it by; `library` and
    `folder` are where it stands, `file` and `line` its place below the library. `pictures` are in the order of their
    sizes, `shown` is the number of the one shown first; `curve_of` is the call that the curve is of. `fields` are what
    surrounds the softmax, in the language. `constants` are those of the example, its masks too. `uses` are the keys of
    the definitions in its formula, `names` what it calls them there, each with its key, `used_by` those that have it in
    theirs, `models` those among the models that reach it. `problem` says why there is no picture.
    """

    key: str
    name: str
    manifest: Manifest
    library: str
    folder: str
    file: str
    line: int
    pictures: tuple[Picture, ...] = ()
    shown: int = 0
    curve: Curve | None = None
    curve_of: str = ""
    kernel: Kernel | None = None
    fields: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    depends: frozenset[str] = frozenset()
    uses: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    used_by: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    problem: str = ""

    @property
    def family(self) -> str:
        """The folder, with the library in front of it unless it is the shipped one."""
        own = self.library == "maskdsl"
        return self.folder if own and self.folder else "/".join(filter(None, (self.library, self.folder)))
