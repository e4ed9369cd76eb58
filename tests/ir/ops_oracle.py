"""What every row of the table of functions means, again, in plain Python; and the values that the rows are tried on.

Nothing here uses the table: ints are Python's, wrapped by hand, floats go through `math`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
INF, NAN = math.inf, math.nan

INTS = (
    0, 1, -1, 2, -2, 3, -3, 5, 7, -8, 12, 31, 32, 63, 64, -64, 65, 100, 127, -128, 1000, 4095, 46340, 46341, -46341,
    2**16, 2**24 - 1, 2**24 + 1, 2**30 - 1, 2**30, -(2**30), INT_MAX - 1, INT_MAX, INT_MIN + 1, INT_MIN,
)  # fmt: skip
FLOATS = (
    0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.0, 2.5, -2.5, 3.0, -3.0, 0.001953125, 10.0, -20.0, 80.0, -80.0, 1e3,
    65536.0, 16777216.0, 2147483520.0, 2147483648.0, -2147483648.0, 3e9, -3e9, 2.0**100, -(2.0**100), INF, -INF, NAN,
)  # fmt: skip
"""All of them float32 values."""

VALUES: dict[str, tuple[Any, ...]] = {"int": INTS, "float": FLOATS, "bool": (False, True)}


def wrap(n: int) -> int:
    """The int32 that n is, modulo 2**32."""
    return (n - INT_MIN) % 2**32 + INT_MIN


def _truncate(x: Any) -> int:
    if isinstance(x, bool | int):
        return int(x)
    return 0 if math.isnan(x) else int(min(max(x, INT_MIN), INT_MAX))


def _nan_first(choose: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: NAN if any(x != x for x in xs) else choose(*xs)


def _power(x: Any, y: Any) -> Any:
    if isinstance(x, int):
        return wrap(x**y)
    try:
        return math.pow(x, y)
    except OverflowError:
        return -INF if x < 0 and y % 2 == 1 else INF
    except ValueError:  # a negative base with a fraction, or 0 to a negative power
        return INF if x == 0 else NAN


def _divide(x: float, y: float) -> float:
    if y != 0:
        return x / y
    return NAN if x == 0 or x != x else math.copysign(INF, x) * math.copysign(1, y)


def _float_floor_divide(x: float, y: float) -> float:
    return _divide(x, y) if y == 0 else x // y


def _float_remainder(x: float, y: float) -> float:
    return NAN if y == 0 or math.isinf(x) else x % y


def _by_type(of_int: Callable[..., Any], of_float: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: of_float(*xs) if isinstance(xs[0], float) else wrap(of_int(*xs))


def _guarded(function: Callable[[float], float], low: float = -INF, at_low: float = NAN) -> Callable[[float], float]:
    def call(x: float) -> float:
        if x != x or x < low:
            return NAN
        if x == low and low > -INF:
            return at_low
        try:
            return function(x)
        except OverflowError:
            return INF

    return call


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: float(function(x)) if math.isfinite(x) else x


def _log_sigmoid(x: float) -> float:
    return NAN if x != x else -math.log1p(math.exp(-x)) if x > -30 else x


def _wave(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: function(x) if math.isfinite(x) else NAN


def _infinite(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: INF if x == INF else function(x)


ORACLES: dict[str, Callable[..., Any]] = {
    "add": _by_type(lambda x, y: x + y, lambda x, y: x + y),
    "sub": _by_type(lambda x, y: x - y, lambda x, y: x - y),
    "mul": _by_type(lambda x, y: x * y, lambda x, y: x * y),
    "div": _divide,
    "floordiv": _by_type(lambda x, y: x // y, _float_floor_divide),
    "mod": _by_type(lambda x, y: x % y, _float_remainder),
    "pow": _power,
    "neg": _by_type(lambda x: -x, lambda x: -x),
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "and": lambda x, y: x and y,
    "or": lambda x, y: x or y,
    "not": lambda x: not x,
    "choose": lambda c, x, y: x if c else y,
    "to_int": _truncate,
    "to_float": float,
    "abs": _by_type(abs, abs),
    "min": _nan_first(min),
    "max": _nan_first(max),
    "clamp": _nan_first(lambda x, low, high: min(max(x, low), high)),
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "trunc": _whole(math.trunc),
    "sign": lambda x: type(x)((x > 0) - (x < 0)),
    "exp": _guarded(math.exp),
    "exp2": _guarded(lambda x: 2.0**x),
    "log": _infinite(_guarded(math.log, 0.0, -INF)),
    "log1p": _infinite(_guarded(math.log1p, -1.0, -INF)),
    "log2": _infinite(_guarded(math.log2, 0.0, -INF)),
    "sqrt": _guarded(math.sqrt, 0.0, 0.0),
    "rsqrt": _guarded(lambda x: 1 / math.sqrt(x), 0.0, INF),
    "tanh": math.tanh,
    "sigmoid": _guarded(lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0),
    "logsigmoid": _log_sigmoid,
    "sin": _wave(math.sin),
    "cos": _wave(math.cos),
    "bit_and": lambda x, y: x & y,
    "bit_or": lambda x, y: x | y,
    "bit_xor": lambda x, y: x ^ y,
    "shift_left": lambda x, n: wrap(x << n),
    "shift_right": lambda x, n: x >> n,
    "bit_length": lambda x: x.bit_length(),
}


def is_allowed(name: str, args: tuple[Any, ...]) -> bool:
    """Whether the language gives these arguments a meaning (and whether float32 can be held to it)."""
    match name:
        case "floordiv" | "mod" if isinstance(args[0], int):
            return args[1] != 0
        case "floordiv":  # beyond 2**24 the last bit of a quotient decides
            return not abs(args[0]) > 2**24 * abs(args[1]) > 0
        case "pow" if isinstance(args[0], int):
            return 0 <= args[1] <= 40
        case "pow":  # torch takes the square root for a power of 0.5
            return not (args[0] == -INF and args[1] % 1 != 0)
        case "shift_left" | "shift_right":
            return 0 <= args[1] <= 31
        case "sin" | "cos":
            return not 100 < abs(args[0]) < INF
    return True


def cases(name: str, types: tuple[str, ...], step: int = 1) -> Iterator[tuple[Any, ...]]:
    """All combinations of the values, every `step`-th, that the row gives a meaning."""
    allowed = (args for args in itertools.product(*(VALUES[t] for t in types)) if is_allowed(name, args))
    return itertools.islice(allowed, 0, None, step)
