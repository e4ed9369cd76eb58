"""What is known of a value over a whole tile: two IR nodes that enclose it, and static limits known when compiling.

Ints: `lo <= value <= hi`. Bools: `lo` is "certainly true", `hi` is "possibly true". Floats: `lo <= value <= hi` for the
float64 value of the reference and for the float32 value of every kernel alike, however the bounds are evaluated: a
rule whose result rounds widens it. A float bound that evaluates to NaN says nothing. A value that is NaN has both its
bounds NaN (so the least and greatest of a table may be taken as they are), or `nan` says statically that it may be.

Not here: the rules, one a row of the table (`ops_bounds_int`, `ops_bounds_float`, …).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from maskdsl.ir.algebra import FALSE, TRUE, add, both, build, choose, ge, le, mul, sub
from maskdsl.ir.nodes import Literal, Node, literal
from maskdsl.ir.ops_reference import INT_MAX, INT_MIN
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar

EXACT_FLOAT = 2**24
"""Whole numbers up to here are float32 values."""

FLOAT_MAX = 3.4e38
"""Beyond it a finite float64 value may be infinite in float32."""

ROUNDING = 2.0**-20
"""Relative width given to sums, products, quotients: 16 times float32's rounding, for the bounds round too."""

APPROXIMATE = 2.0**-12
"""Relative width given to exp, log, tanh and the like, which machines approximate differently."""

SMALLEST_NORMAL = 2.0**-126
"""What is nearer to zero is a denormal in float32."""

TINY = 2.0**-100
"""Absolute width for results that a machine may flush to zero."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a value; `lo is hi` makes it a point: for ints and bools the very value.

    `least` and `most` are static: the value and both bounds lie in [least, most] (None: the type's limits; literals
    sharpen them; no meaning for bools). `whole` floats have no fraction; a `number` is known not to be NaN.
    """

    lo: Node
    hi: Node
    least: float | None = None
    most: float | None = None
    nan: bool = False
    whole: bool = False
    number: bool = False

    def __post_init__(self) -> None:
        assert self.lo.type is self.hi.type, "bounds of two types"
        lowest, highest = _LIMITS[self.type]
        object.__setattr__(self, "least", max(_at(self.lo, lowest), lowest if self.least is None else self.least))
        object.__setattr__(self, "most", min(_at(self.hi, highest), highest if self.most is None else self.most))

    @property
    def type(self) -> Scalar:
        """The type of the value."""
        return self.lo.type

    @property
    def is_point(self) -> bool:
        """Whether both bounds are one node."""
        return self.lo is self.hi

    @property
    def low(self) -> int:
        """`least` of an int."""
        assert isinstance(self.least, int)
        return self.least

    @property
    def high(self) -> int:
        """`most` of an int."""
        assert isinstance(self.most, int)
        return self.most

    @property
    def smallest(self) -> float:
        """`least` of a number."""
        assert self.least is not None
        return self.least

    @property
    def largest(self) -> float:
        """`most` of a number."""
        assert self.most is not None
        return self.most

    @property
    def constant(self) -> int | None:
        """The int that the value always is, if the limits tell."""
        return self.low if self.type is INT and self.least == self.most else None

    @property
    def finite(self) -> bool:
        """Whether the limits keep a float from being infinite, in float32 too."""
        return -FLOAT_MAX < self.smallest and self.largest < FLOAT_MAX

    @property
    def exact(self) -> bool:
        """Whether a float is a whole number up to 2**24: float32 holds it, and small sums and products of such."""
        return self.whole and self.number and -EXACT_FLOAT <= self.smallest and self.largest <= EXACT_FLOAT


_LIMITS: dict[Scalar, tuple[float, float]] = {BOOL: (False, True), INT: (INT_MIN, INT_MAX), FLOAT: (-inf, inf)}


def _at(bound: Node, otherwise: float) -> float:
    """A literal's value, unless it is NaN."""
    return bound.value if isinstance(bound, Literal) and bound.value == bound.value else otherwise


def point(node: Node, least: float | None = None, most: float | None = None) -> Interval:
    """The interval of a node that does not vary over the tile; a float must be the same in float32 and float64."""
    return Interval(node, node, least, most)


def of_literal(node: Literal) -> Interval:
    """A literal's interval; a float that float32 does not hold is widened, for kernels round it."""
    if node.type is not FLOAT:
        return point(node)
    value = float(node.value)
    if value != value:
        return unknown(FLOAT)
    interval = Interval(node, node, whole=value.is_integer(), number=True)
    return widened(interval, ROUNDING) if is_rounded(value) else interval


def is_rounded(value: float) -> bool:
    """Whether kernels may read another number than the reference does: float32 does not hold it, or it is a denormal
    there, which some of them take for zero.
    """
    with np.errstate(over="ignore", under="ignore"):
        return value == value and (float(np.float32(value)) != value or 0 < abs(value) < SMALLEST_NORMAL)


def unknown(scalar: Scalar) -> Interval:
    """The interval that says nothing."""
    match scalar:
        case Scalar.BOOL:
            return Interval(FALSE, TRUE)
        case Scalar.INT:
            return Interval(literal(INT_MIN), literal(INT_MAX))
    return Interval(literal(-inf), literal(inf), nan=True)


def widened(interval: Interval, relative: float, absolute: float = TINY) -> Interval:
    """A float interval moved outwards by `relative * |bound| + absolute`, its limits too.

    A lower bound whose float32 overflows to infinity turns into NaN there: nothing is known. Where the limits leave
    room for it, bounds beyond float32 become infinite, for the value may be so in float32.
    """
    least = interval.smallest - (abs(interval.smallest) * relative + absolute)
    most = interval.largest + (abs(interval.largest) * relative + absolute)
    return Interval(
        _lowered(interval.lo, _margin(interval.lo, relative, absolute), least),
        _raised(interval.hi, _margin(interval.hi, relative, absolute), most),
        least if least > -FLOAT_MAX else -inf,
        most if most < FLOAT_MAX else inf,
        interval.nan,
        number=interval.number,
    )


def _lowered(bound: Node, margin: Node, least: float) -> Node:
    if isinstance(bound, Literal) and bound.value > FLOAT_MAX:
        return literal(FLOAT_MAX)
    lower = sub(bound, margin)
    return lower if least > -FLOAT_MAX else choose(le(lower, literal(-FLOAT_MAX)), literal(-inf), lower)


def _raised(bound: Node, margin: Node, most: float) -> Node:
    if isinstance(bound, Literal) and bound.value < -FLOAT_MAX:
        return literal(-FLOAT_MAX)
    higher = add(bound, margin)
    return higher if most < FLOAT_MAX else choose(ge(higher, literal(FLOAT_MAX)), literal(inf), higher)


def _margin(bound: Node, relative: float, absolute: float) -> Node:
    return add(mul(build("abs", bound), literal(relative)), literal(absolute))


def within(interval: Interval, low: int, high: int) -> Node:
    """A bool node: whether an int interval lies in [low, high]; a literal where the limits tell."""
    above = TRUE if interval.low >= low else ge(interval.lo, literal(low))
    below = TRUE if interval.high <= high else le(interval.hi, literal(high))
    return both(above, below)


def fitted(lo: Node, hi: Node, least: int, most: int, safe: Node | None = None) -> Interval:
    """[lo, hi] if the exact result, in [least, most], fits int32; else where `safe` holds, and any int elsewhere."""
    if INT_MIN <= least and most <= INT_MAX:
        return Interval(lo, hi, least, most)
    if safe is None:
        return unknown(INT)
    return Interval(choose(safe, lo, literal(INT_MIN)), choose(safe, hi, literal(INT_MAX)))
