"""Did-you-mean: the names in scope that a misspelt one was most likely meant to be.

Not here: habits of other languages (`syntax`), which names are in scope (`meaning`, `library`).
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 64
"""Names with more characters than this are never suggested, nor suggested for (the distance is quadratic)."""


def suggest_names(name: str, scope: Iterable[str], limit: int = 1) -> tuple[str, ...]:
    """At most `limit` names of `scope` close to `name`, closest first, ties in the order of `scope`; perhaps none."""
    if not 0 < len(name) <= LONGEST:
        return ()
    known = dict.fromkeys(n for n in scope if n != name and 0 < len(n) <= LONGEST)
    ranked = sorted((rank, place, n) for place, n in enumerate(known) if (rank := _rank(name, n)) is not None)
    return tuple(n for _, _, n in ranked[:limit])


def did_you_mean(name: str, scope: Iterable[str]) -> tuple[str, ...]:
    """The help line "did you mean `…`?" for `Diagnostic.help`, or nothing when no name in scope is close."""
    return tuple(f"did you mean `{n}`?" for n in suggest_names(name, scope))


def edit_distance(a: str, b: str, most: int = LONGEST) -> int:
    """How many characters to insert, drop, replace or swap with their neighbour (optimal string alignment).

    Beyond `most` it is some number beyond `most`.
    """
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i, x in enumerate(a):
        row = [i + 1]
        for j, y in enumerate(b):
            cost = min(above[j] + (x != y), above[j + 1] + 1, row[j] + 1)
            if i and j and x == b[j - 1] and a[i - 1] == y:
                cost = min(cost, before[j - 1] + 1)
            row.append(cost)
        if min(row) > most and min(above) > most:
            return most + 1
        before, above = above, row
    return above[-1]


def _rank(name: str, known: str) -> int | None:
    """How far apart two different names are, or None when they are too far apart to be one."""
    a, b = name.lower(), known.lower()
    if a == b:
        return 0
    if sorted(a.split("_")) == sorted(b.split("_")):
        return 1
    allowed = max(1, min(len(a), len(b)) // 3)
    may_be_near = len(min(a, b, key=len)) > 1 and abs(len(a) - len(b)) <= allowed
    # Every letter that the other name lacks takes a change.
    if may_be_near and max(len({*a} - {*b}), len({*b} - {*a})) <= allowed:
        far = edit_distance(a, b, allowed)
        if far <= allowed:
            return far
    shorter, longer = sorted((a, b), key=len)
    return allowed + 1 if len(shorter) >= 3 and longer.startswith(shorter) else None
