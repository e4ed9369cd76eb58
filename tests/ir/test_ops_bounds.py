"""The bounds column: no value ever leaves its interval, and where it matters the interval is exact."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_oracle import FLOATS, INTS
from ops_tiles import FLOAT_LIMITS, INT_LIMITS, Array, dtype_of, random_tiles, value_of, verify_inside

from maskdsl.ir.interval import Interval, of_literal
from maskdsl.ir.nodes import Literal, Node, Op, Symbol, literal
from maskdsl.ir.ops import OPS, TABLE, Function
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

OVERLOADS = [(f, types) for f in TABLE for types, _ in f.signatures]
LITERALS: dict[Scalar, tuple[Any, ...]] = {
    BOOL: (False, True),
    INT: (*INTS, 4, 6, 16, 0xF0, 0xFF, -16, 30),
    FLOAT: tuple(x for x in FLOATS if x == x) + (0.1, -1e-3, 1e-45, 1e300),
}
LIMITS: dict[Scalar, tuple[Any, ...]] = {BOOL: ((False, True),), INT: INT_LIMITS, FLOAT: FLOAT_LIMITS}


def name_of(case: object) -> str:
    return case.name if isinstance(case, Function) else "-".join(map(str, case))  # type: ignore[arg-type]


def meaningful(name: str, types: tuple[Scalar, ...], values: list[Array]) -> Array:
    """The lanes to which the language gives a meaning."""
    match name:
        case "floordiv" | "mod" if types[0] is INT:
            return values[1] != 0
        case "shift_left" | "shift_right":
            return (values[1] >= 0) & (values[1] <= 31)
    return np.full(np.broadcast_shapes(*(v.shape for v in values)), True)


class Tiles:
    """The arguments of a row over many tiles: intervals, the symbols in their bounds, and values inside."""

    def __init__(self, rng: np.random.Generator, tiles: int = 40, lanes: int = 24) -> None:
        self.rng, self.tiles, self.lanes = rng, tiles, lanes
        self.symbols: dict[str, Array] = {}
        self.values: list[Array] = []
        self.intervals: list[Interval] = []

    def add_literal(self, scalar: Scalar, value: Any) -> None:
        self.values.append(np.full((self.tiles, self.lanes), value))
        self.intervals.append(of_literal(Literal(value, scalar)))

    def add_range(self, scalar: Scalar, limits: tuple[Any, Any], kind: str) -> None:
        """`kind`: "range"; "point"; for floats also "nan": some tiles hold NaN, and have bounds of NaN."""
        i = len(self.values)
        low, high, values = random_tiles(self.rng, scalar, limits, self.tiles, self.lanes)
        nan = kind == "nan" and scalar is FLOAT
        if nan:
            spoilt = self.rng.random((self.tiles, 1)) < 0.3
            values = np.where(spoilt & (self.rng.random(values.shape) < 0.3), np.nan, values)
            low, high = (np.where(spoilt, np.nan, x) for x in (low, high))
        lo = Symbol(f"lo{i}", scalar)
        hi = lo if kind == "point" else Symbol(f"hi{i}", scalar)
        if kind == "point":
            values = np.broadcast_to(low, values.shape)
        least, most = (None, None) if scalar is BOOL else limits
        self.symbols |= {f"lo{i}": low, f"hi{i}": high}
        self.values.append(values)
        self.intervals.append(Interval(lo, hi, least, most, number=scalar is FLOAT and not nan))


def verify_row(row: Function, types: tuple[Scalar, ...], tiles: Tiles, about: str) -> None:
    found = row.bounds(*tiles.intervals)
    counts = meaningful(row.name, types, tiles.values)
    safe = [np.where(counts, v, 1) if t is INT else v for v, t in zip(tiles.values, types, strict=True)]
    for wide in (True, False):
        with np.errstate(all="ignore"):
            given = [v.astype(dtype_of(t, wide)) for v, t in zip(safe, types, strict=True)]
            values = row.reference(*given)
            if found.type is FLOAT:
                values = values.astype(dtype_of(FLOAT, wide))
        verify_inside(found, tiles.symbols, values, counts, f"{row.name} {about}")


@pytest.mark.parametrize(("row", "types"), OVERLOADS, ids=name_of)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_stay_inside(row: Function, types: tuple[Scalar, ...], data: st.DataObject) -> None:
    """Hypothesis picks limits, literals and points; each example looks at 40 random tiles of 24 values."""
    tiles = Tiles(np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed")))
    shown = []
    for i, scalar in enumerate(types):
        exponent = row.name == "pow" and i == 1 and scalar is INT
        kinds = ["literal"] if exponent else ["range", "range", "literal", "point"] + ["nan"] * (scalar is FLOAT)
        kind = data.draw(st.sampled_from(kinds), label=f"kind {i}")
        literals = range(40) if exponent else LITERALS[scalar]
        chosen = data.draw(st.sampled_from(literals if kind == "literal" else LIMITS[scalar]), label=f"of {i}")
        if kind == "literal":
            tiles.add_literal(scalar, chosen)
        else:
            tiles.add_range(scalar, chosen, kind)
        shown.append(f"{kind} {chosen}")
    verify_row(row, types, tiles, ", ".join(shown))


SMALL = [(a, b) for a in range(-4, 5) for b in range(a, 5)]
SHARP = {
    "add": [None, 3, -2], "sub": [None, 3, -2], "mul": [None, 3, -2], "neg": [], "abs": [], "sign": [],
    "min": [None, 1], "max": [None, 1], "lt": [None, 2], "le": [None, 2], "gt": [None, 2], "ge": [None, 2],
    "eq": [None, 2], "ne": [None, 2], "floordiv": [1, 2, 3, -2], "mod": [1, 2, 3, 4], "pow": [0, 1, 2, 3],
    "shift_right": [0, 1, 2], "shift_left": [0, 1, 2], "bit_length": [],
}  # fmt: skip


@pytest.mark.parametrize(("name", "other"), [(n, o) for n, others in SHARP.items() for o in (others or [...])])
@pytest.mark.parametrize("limits", [(-4, 4), (-(2**30) + 1, 2**30 - 1), (-(2**31), 2**31 - 1)])
def test_int_bounds_are_exact_over_small_ranges(name: str, other: Any, limits: tuple[int, int]) -> None:
    """Both bounds are values that occur, whatever is known when compiling (brute force)."""
    row = OPS[name]
    x = Interval(Symbol("a"), Symbol("b"), *limits)
    second = Interval(Symbol("c"), Symbol("d"), *limits) if other is None else None
    y = [] if other is ... else [second or of_literal(literal(other))]
    found = row.bounds(x, *y)
    for (a, b), (c, d) in itertools.product(SMALL, SMALL if other is None else [(0, 0)]):
        seconds = range(c, d + 1) if other is None else [] if other is ... else [other]
        pairs = itertools.product(range(a, b + 1), *([seconds] if y else []))
        values = [row.reference(*(np.asarray(v, np.int32) for v in p)).item() for p in pairs]
        symbols = {n: np.asarray(v) for n, v in zip("abcd", (a, b, c, d), strict=True)}
        ends = [value_of(n, symbols, wide=True).item() for n in (found.lo, found.hi)]
        if name == "mod" and ends != [min(values), max(values)]:  # over several periods: anything
            assert ends == [0, other - 1] and a // other != b // other
        else:
            assert ends == [min(values), max(values)], (a, b, c, d)


def size(*roots: Node) -> int:
    from maskdsl.ir.walk import topological

    return sum(isinstance(n, Op) for n in topological(roots))


Q, K = (Interval(Symbol(f"{n}_lo"), Symbol(f"{n}_hi"), 0, 2**30 - 1) for n in "qk")


def bounds(name: str, *args: Interval | int | float) -> Interval:
    return OPS[name].bounds(*(a if isinstance(a, Interval) else of_literal(literal(a)) for a in args))


def test_bounds_of_common_masks_are_small() -> None:
    causal = bounds("le", K, Q)
    assert size(causal.lo) == size(causal.hi) == 1
    window = bounds("lt", bounds("sub", Q, K), 4096)
    assert size(window.lo) == size(window.hi) == 2
    chunk = bounds("eq", bounds("floordiv", Q, 64), bounds("floordiv", K, 64))
    assert size(chunk.hi) == size(chunk.lo) == 7
    dilated = bounds("eq", bounds("mod", bounds("sub", Q, K), 4), 0)
    assert size(dilated.lo, dilated.hi) <= 13


def test_points_stay_points() -> None:
    """A batch row's prefix, one value a tile, is compared without any slack."""
    prefix = Interval(Symbol("prefix"), Symbol("prefix"))
    p = Interval(prefix.lo, prefix.lo)
    doubled = bounds("add", bounds("mul", p, 2), 1)
    assert doubled.is_point
    assert bounds("eq", doubled, p).is_point
    assert bounds("lt", bounds("to_float", bounds("bit_and", p, 1023)), 7.0).is_point
    assert not bounds("lt", bounds("to_float", p), 7.0).is_point  # float32 rounds large ints


def test_floats_of_positions_are_exact() -> None:
    distance = bounds("to_float", Interval(Symbol("a"), Symbol("b"), -(2**20), 2**20))
    verdict = bounds("le", bounds("mul", distance, 2.0), 254.0)
    for hi, certain in ((127, True), (128, False)):
        symbols = {"a": np.asarray(0), "b": np.asarray(hi)}
        assert value_of(verdict.lo, symbols, wide=False) == certain


def test_rounded_floats_leave_a_margin() -> None:
    """0.1 * 10 compares to 1 neither surely nor impossibly: kernels and reference differ in the last bit."""
    product = bounds("mul", bounds("to_float", Interval(Symbol("a"), Symbol("b"), 0, 100)), 0.1)
    for name in ("lt", "le", "gt", "ge", "eq"):
        verdict = bounds(name, product, 1.0)
        symbols = {"a": np.asarray(10), "b": np.asarray(10)}
        assert not value_of(verdict.lo, symbols, wide=True) and value_of(verdict.hi, symbols, wide=True)


@pytest.mark.parametrize("value", [0.1, 16777217.0, 1e39, 1e-46, 2.0**-140, -(2.0**-127)])
def test_literals_that_kernels_read_otherwise_leave_a_margin(value: float) -> None:
    """Rounded to float32, or taken for zero where it is a denormal, as Triton's literals are."""
    with np.errstate(over="ignore"):
        read = float(np.float32(value)) if abs(value) > 1e-37 else 0.0
    found = of_literal(literal(value))
    ends = [value_of(bound, {}, wide=True) for bound in (found.lo, found.hi)]
    assert ends[0] <= min(value, read) and max(value, read) <= ends[1] and not found.is_point


def test_wrapping_is_checked_where_limits_do_not_rule_it_out() -> None:
    """`q - first` with an int32 table: exact for sane values, any int for others."""
    first = Interval(Symbol("f_lo"), Symbol("f_hi"))
    found = bounds("sub", Q, first)
    q = {"q_lo": np.asarray(100), "q_hi": np.asarray(227)}
    for f, expected in (((0, 50), (50, 227)), ((-(2**31), 0), (-(2**31), 2**31 - 1))):
        symbols = q | {"f_lo": np.asarray(f[0]), "f_hi": np.asarray(f[1])}
        assert tuple(value_of(n, symbols, wide=True).item() for n in (found.lo, found.hi)) == expected


def test_choice_takes_the_known_branch() -> None:
    condition = bounds("le", K, Q)
    found = bounds("choose", condition, Q, K)
    for k, expected in ((0, (10, 20)), (15, (10, 25)), (30, (30, 40))):
        symbols = {"q_lo": 10, "q_hi": 20, "k_lo": k, "k_hi": k + 10}
        arrays = {n: np.asarray(v) for n, v in symbols.items()}
        assert tuple(value_of(n, arrays, wide=True).item() for n in (found.lo, found.hi)) == expected


# ---------------------------------------------------------------- whole programs


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[Node], list[Interval], dict[str, tuple[Scalar, tuple[Any, Any]]]]:
    """Random expressions over symbols, with the interval of every node, as an analysis would build them."""
    leaves: dict[str, tuple[Scalar, tuple[Any, Any]]] = {
        "q": (INT, (0, 2**20)), "k": (INT, (0, 2**20)), "t": (INT, (-(2**31), 2**31 - 1)), "d": (INT, (0, 50)),
        "w": (FLOAT, (-np.inf, np.inf)), "v": (FLOAT, (-100.0, 100.0)), "c": (BOOL, (False, True)),
    }  # fmt: skip
    nodes: list[Node] = [Symbol(n, s) for n, (s, _) in leaves.items()]
    intervals = [
        Interval(Symbol(f"lo_{n}", s), Symbol(f"hi_{n}", s), *((None, None) if s is BOOL else limits))
        for n, (s, limits) in leaves.items()
    ]
    for scalar, values in ((INT, (0, 1, 2, 3, 7, -1, 64, 1000)), (FLOAT, (0.0, 0.5, 0.1, -3.0, 2.0)), (BOOL, (True,))):
        for value in values:
            nodes.append(Literal(value, scalar))
            intervals.append(of_literal(Literal(value, scalar)))
    for _ in range(draw(st.integers(1, 12))):
        row, types = draw(st.sampled_from(OVERLOADS))
        chosen = [draw(st.sampled_from([i for i, n in enumerate(nodes) if n.type is t][::-1])) for t in types]
        if row.name in ("floordiv", "mod", "pow", "shift_left", "shift_right") and types[0] is INT:
            chosen[1] = draw(st.sampled_from([i for i, n in enumerate(nodes) if _is_small(n)]))
        args = [nodes[i] for i in chosen]
        result = row.result(types)
        assert result is not None
        nodes.append(Op(row.name, tuple(args), result))
        intervals.append(row.bounds(*(intervals[i] for i in chosen)))
    return nodes, intervals, leaves


def _is_small(node: Node) -> bool:
    return isinstance(node, Literal) and node.type is INT and 0 < node.value < 32


@settings(max_examples=250, deadline=None)
@given(programs(), st.integers(0, 2**32))
def test_programs_stay_inside(program: Any, seed: int) -> None:
    """Every subexpression of a random program over 16 random tiles of 16 values, in float64 and in float32."""
    nodes, intervals, leaves = program
    rng = np.random.default_rng(seed)
    ends: dict[str, Array] = {}
    inside: dict[str, Array] = {}
    for name, (scalar, limits) in leaves.items():
        ends[f"lo_{name}"], ends[f"hi_{name}"], inside[name] = random_tiles(rng, scalar, limits, 16, 16)
    for wide in (True, False):
        for node, interval in zip(nodes, intervals, strict=True):
            values = np.broadcast_to(value_of(node, inside, wide=wide), (16, 16))
            verify_inside(interval, ends, values, np.full((16, 16), True), str(getattr(node, "name", node)))
