"""What a picture shows: the pairs that a definition lets through, and what it makes of scores, for one row and head.

Not here: drawing it (`library.picture`, `plot`), the arguments to show it with (`trial`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdsl.backends.reference import evaluate
from maskdsl.cli.trial import Trial
from maskdsl.ir.nodes import Node, Symbol
from maskdsl.ir.substitute import inline
from maskdsl.ir.walk import topological

MOST_TOKENS = 2048
"""The longest side of a picture."""

CURVE = np.linspace(-100.0, 100.0, 401)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A definition, called `title`, at one batch row `b` and head `h`.

    `mask` is bool [Q, K], all true for a score; `score` is float64 [Q, K]: what the incoming score `incoming` becomes,
    or None where the definition changes no score. `score_moves` says whether it depends on q or k; if not, `curve` has
    scores and what they become. `depends` are the coordinates beside q and k that mask or score read. Only every
    `step`-th query and key is in the arrays.
    """

    title: str
    mask: NDArray[np.bool_]
    has_mask: bool
    score: NDArray[np.float64] | None
    score_moves: bool
    curve: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    incoming: float
    b: int
    h: int
    depends: frozenset[str]
    step: int = 1

    @property
    def q_len(self) -> int:
        """The number of queries in the arrays."""
        return len(self.mask)

    @property
    def kv_len(self) -> int:
        """The number of keys in the arrays."""
        return int(self.mask.shape[1])


def view(trial: Trial, b: int = 0, h: int = 0, incoming: float = 0.0, step: int = 1) -> View:
    """What the definition looks like with these arguments at batch row `b` and head `h`, every `step`-th token."""
    variant = trial.variant
    place = _place(trial, b, h, step)
    everything = np.ones(np.broadcast_shapes(place["q"].shape, place["k"].shape), np.bool_)
    mask = everything if variant.mask is None else everything & _evaluate(trial, variant.mask, place, None)
    score = None if variant.score is None else everything * _evaluate(trial, variant.score, place, incoming)
    reads = _symbols(variant.mask) | _symbols(variant.score)
    moves = bool(_symbols(variant.score) & {"q", "k"})
    curve = None if variant.score is None or moves else (CURVE, _curve(trial, variant.score, b, h))
    return View(
        trial.title, mask, variant.mask is not None, score, moves, curve, incoming, b, h,
        frozenset(reads & {"b", "h"}), step,
    )  # fmt: skip


def _place(trial: Trial, b: int, h: int, step: int) -> dict[str, NDArray[Any]]:
    q, k = np.arange(0, trial.q_len, step)[:, None], np.arange(0, trial.kv_len, step)[None, :]
    return {"b": np.asarray(b), "h": np.asarray(h), "q": q, "k": k}


def _curve(trial: Trial, node: Node, b: int, h: int) -> NDArray[np.float64]:
    found = _evaluate(trial, node, {n: np.asarray(v) for n, v in (("b", b), ("h", h), ("q", 0), ("k", 0))}, CURVE)
    return np.broadcast_to(found, CURVE.shape).astype(np.float64)


def _evaluate(trial: Trial, node: Node, place: Mapping[str, NDArray[Any]], score: Any) -> NDArray[Any]:
    return evaluate(
        node, coordinates=place, tables=trial.tables, constants={}, sizes=trial.sizes,
        lengths={"q_len": np.asarray(trial.q_len), "kv_len": np.asarray(trial.kv_len)},
        score=None if score is None else np.asarray(score, np.float64),
    )  # fmt: skip


def _symbols(node: Node | None) -> set[str]:
    """The coordinates that an expression reads, in whatever it calls, too."""
    return set() if node is None else {n.name for n in topological(inline(node)) if isinstance(n, Symbol)}
