"""Sharded: one rank's heads (tensor parallel) and one rank's queries (context parallel) of a longer sequence.

    h' = h + head_offset
    contiguous    q' = q + rank * length
    striped       q' = q * ranks + rank
    zigzag        the chunk of half a length from the front and the one from the back: of 2 * ranks chunks, `rank` and
                  `2 * ranks - 1 - rank`, so that all ranks have the same work under a causal mask

Keys are whole, in logical order (gathered, or one ring step at a time through `Dense`).
"""

from __future__ import annotations

from typing import Literal as OneOf

from maskdsl.ir.algebra import build
from maskdsl.ir.nodes import Node, Symbol
from maskdsl.layouts.layout import H, Layout, Q, number

Order = OneOf["contiguous", "zigzag", "striped"]
"""How the queries of a sequence are dealt out to ranks."""


def sharded(head_offset: int, rank: int, ranks: int, order: Order, length: int) -> Layout:
    """The layout of `length` queries of a rank; `head_offset` heads are on ranks before this one."""
    places: dict[str, Node] = {}
    counts: set[str] = {"head", "kv_head"}
    places["h"] = build("add", H, number(head_offset))
    if ranks > 1:
        places["q"] = _position(rank, ranks, order, length)
        places["q_len"] = build("mul", Symbol("q_len"), number(ranks))
        counts.add("position")
    return Layout("sharded", (), places, counts=frozenset(counts))


def _position(rank: int, ranks: int, order: Order, length: int) -> Node:
    match order:
        case "contiguous":
            return build("add", Q, number(rank * length))
        case "striped":
            return build("add", build("mul", Q, number(ranks)), number(rank))
    half = length // 2
    near = build("add", Q, number(rank * half))
    far = build("add", Q, number((2 * ranks - 2 - rank) * half))
    return build("choose", build("lt", Q, number(half)), near, far)
