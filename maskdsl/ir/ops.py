"""THE table of functions: one row says all there is to know about an operator or a function of the language.

Every consumer (type rules, reference, torch and Triton emission, tile bounds, `maskdsl explain`) reads it here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from maskdsl.ir import ops_bounds_bits as bits
from maskdsl.ir import ops_bounds_float as floats
from maskdsl.ir import ops_bounds_int as ints
from maskdsl.ir import ops_bounds_logic as logic
from maskdsl.ir import ops_flash as in_flash
from maskdsl.ir import ops_inductor as in_inductor
from maskdsl.ir import ops_reference as rules
from maskdsl.ir import ops_torch as in_torch
from maskdsl.ir import ops_triton as in_triton
from maskdsl.ir.algebra import build
from maskdsl.ir.emission import Writer, refuse, template
from maskdsl.ir.interval import Interval
from maskdsl.ir.nodes import Literal, Node, Op, Value
from maskdsl.ir.ops_reference import Reference, quiet
from maskdsl.ir.types import BOOL, FLOAT, INT, Scalar
from maskdsl.source.text import NOWHERE, Span

Signature = tuple[tuple[Scalar, ...], Scalar]
"""The types of the arguments, and of the result."""

Rule = Callable[..., Interval]
"""Takes one interval an argument."""

SMALL = 2.0**-16
"""Absolute width of approximated results that come near 0 where the argument does not."""


@dataclass(frozen=True, slots=True)
class Function:
    """A row: `name` is the key in `OPS`, `symbol` the operator's text, `call` the name a user calls it by ("" if none).

    `variadic` functions take two or more arguments in the language; in the IR they are binary.
    `reference` takes NumPy arrays (int32, float64, bool) and returns one. `torch` and `triton` take one
    `emission.Argument` a parameter and return the text of an expression; the functions that such texts call are in
    `TORCH_SUPPORT` and `TRITON_SUPPORT`. Mods have three more columns, which are sparse: `inductor`, for what Inductor
    turns into Triton, `flash`, for what it turns into CuteDSL, and `flash_fast`, for the same in the GPU's fast forms;
    where they are None, `flash` and `torch` serve. `rule` is the raw rule of `bounds`.
    """

    name: str
    doc: str
    signatures: tuple[Signature, ...]
    reference: Reference
    torch: Writer
    triton: Writer
    rule: Rule
    symbol: str = ""
    call: str = ""
    variadic: bool = False
    inductor: Writer | None = None
    flash: Writer | None = None
    flash_fast: Writer | None = None

    @property
    def arity(self) -> int:
        """The number of arguments of the node."""
        return len(self.signatures[0][0])

    def result(self, types: tuple[Scalar, ...]) -> Scalar | None:
        """The type of the result for these argument types, or None when no signature has them."""
        return next((r for a, r in self.signatures if a == types), None)

    def bounds(self, *arguments: Interval) -> Interval:
        """What encloses the result when every argument lies in its interval; points of ints and bools stay points."""
        found = self.rule(*arguments)
        given = all(a.is_point and _is_same_everywhere(a) for a in arguments)
        if found.is_point or not given or not _is_same_everywhere(found):
            return found
        node = build(self.name, *(a.lo for a in arguments))
        return replace(found, lo=node, hi=node)


def _is_same_everywhere(interval: Interval) -> bool:
    """Whether float32 and float64 evaluation agree on the value."""
    return interval.type is not FLOAT or interval.exact


def _same(arity: int, *types: Scalar) -> tuple[Signature, ...]:
    """One signature a type: all arguments and the result have it."""
    return tuple(((t,) * arity, t) for t in types)


def _test(*types: Scalar) -> tuple[Signature, ...]:
    """One signature a type: two arguments of it give a bool."""
    return tuple(((t, t), BOOL) for t in types)


def _convert(result: Scalar) -> tuple[Signature, ...]:
    """One argument of any type."""
    return tuple(((t,), result) for t in Scalar)


def _by_type(of_int: Rule, of_float: Rule, of_bool: Rule | None = None) -> Rule:
    """The rule that the first argument's type chooses."""
    chosen = {INT: of_int, FLOAT: of_float, BOOL: of_bool or of_int}
    return lambda *arguments: chosen[arguments[0].type](*arguments)


def _cut(operator: str, cut: str, guarded: str) -> Writer:
    """`//` and `%` for Inductor."""
    return in_inductor.write_divided(cut, in_torch.write_divided(operator, guarded))


# One instruction each, in Triton's kernels as in FlashAttention's (`backends.fast_math`).
TANH_APPROX = template("torch.ops.maskdsl.tanh_approx({0})")
LOG2_APPROX = template("torch.ops.maskdsl.log2_approx({0})")
LOG_APPROX = template("(torch.ops.maskdsl.log2_approx({0}) * 0.6931471805599453)")

TABLE: tuple[Function, ...] = (
    Function("add", "The sum.",
             _same(2, INT, FLOAT), quiet(np.add), symbol="+",
             torch=template("({0} + {1})"), triton=template("({0} + {1})"),
             rule=_by_type(ints.bound_sum, floats.bound_float_sum)),
    Function("sub", "The difference.",
             _same(2, INT, FLOAT), quiet(np.subtract), symbol="-",
             torch=template("({0} - {1})"), triton=in_triton.write_difference,
             rule=_by_type(ints.bound_difference, floats.bound_float_difference)),
    Function("mul", "The product.",
             _same(2, INT, FLOAT), quiet(np.multiply), symbol="*",
             torch=template("({0} * {1})"), triton=in_triton.write_product,
             rule=_by_type(ints.bound_product, floats.bound_float_product)),
    Function("div", "The quotient of two floats; ints convert by themselves.",
             _same(2, FLOAT), quiet(np.divide), symbol="/",
             torch=template("({0} / {1})"), triton=template("({0} / {1})"),
             rule=floats.bound_float_ratio),
    Function("floordiv", "The quotient, rounded towards minus infinity.",
             _same(2, INT, FLOAT), quiet(np.floor_divide), symbol="//",
             torch=in_torch.write_divided("//", "floor_divide"), triton=in_triton.write_divided("//", "floor_divide"),
             inductor=_cut("//", 'torch.div({0}, {1}, rounding_mode="trunc")', "floor_divide"),
             flash=in_flash.write_divided("//", "flash_divide", refuse("`//` of floats has no form in CuteDSL")),
             rule=_by_type(ints.bound_quotient, floats.bound_float_quotient)),
    Function("mod", "What `//` leaves over: `x - x // y * y`. It has the sign of the divisor.",
             _same(2, INT, FLOAT), quiet(np.mod), symbol="%",
             torch=in_torch.write_divided("%", "floor_remainder"),
             triton=in_triton.write_divided("%", "floor_remainder"),
             inductor=_cut("%", "torch.fmod({0}, {1})", "floor_remainder"),
             flash=in_flash.write_divided("%", "flash_remainder", refuse("`%` of floats has no form in CuteDSL")),
             rule=_by_type(ints.bound_remainder, floats.bound_float_remainder)),
    Function("pow", "x to the power y, also written `x ** y`. The exponent of an int is a constant of at least 0.",
             _same(2, INT, FLOAT), quiet(np.power), symbol="**", call="pow",
             torch=in_torch.write_power, triton=in_triton.write_power,
             rule=_by_type(ints.bound_power, floats.bound_float_power)),
    Function("neg", "The negative.",
             _same(1, INT, FLOAT), quiet(np.negative), symbol="-",
             torch=template("(-{0})"), triton=in_triton.write_negative,
             rule=_by_type(ints.bound_negative, floats.bound_float_negative)),
    Function("lt", "Whether x is less than y.",
             _test(INT, FLOAT), quiet(np.less), symbol="<",
             torch=template("({0} < {1})"), triton=template("({0} < {1})"),
             rule=logic.bound_less),
    Function("le", "Whether x is at most y.",
             _test(INT, FLOAT), quiet(np.less_equal), symbol="<=",
             torch=template("({0} <= {1})"), triton=template("({0} <= {1})"),
             rule=logic.bound_at_most),
    Function("gt", "Whether x is greater than y.",
             _test(INT, FLOAT), quiet(np.greater), symbol=">",
             torch=template("({0} > {1})"), triton=template("({0} > {1})"),
             rule=logic.bound_more),
    Function("ge", "Whether x is at least y.",
             _test(INT, FLOAT), quiet(np.greater_equal), symbol=">=",
             torch=template("({0} >= {1})"), triton=template("({0} >= {1})"),
             rule=logic.bound_at_least),
    Function("eq", "Whether x equals y.",
             _test(INT, FLOAT, BOOL), quiet(np.equal), symbol="==",
             torch=template("({0} == {1})"), triton=template("({0} == {1})"),
             rule=logic.bound_equal),
    Function("ne", "Whether x differs from y.",
             _test(INT, FLOAT, BOOL), quiet(np.not_equal), symbol="!=",
             torch=template("({0} != {1})"), triton=template("({0} != {1})"),
             rule=logic.bound_different),
    Function("and", "Whether both are true.",
             _test(BOOL), quiet(np.logical_and), symbol="and",
             torch=template("({0} & {1})"), triton=template("({0} & {1})"),
             rule=logic.bound_and),
    Function("or", "Whether at least one is true.",
             _test(BOOL), quiet(np.logical_or), symbol="or",
             torch=template("({0} | {1})"), triton=template("({0} | {1})"),
             rule=logic.bound_or),
    Function("not", "Whether x is false.",
             (((BOOL,), BOOL),), quiet(np.logical_not), symbol="not",
             torch=template("(~{0})"), triton=template("(~{0})"),
             rule=logic.bound_not),
    Function("choose", "`x if condition else y`.",
             tuple(((BOOL, t, t), t) for t in Scalar), quiet(np.where),
             torch=in_torch.write_choice, triton=template("tl.where({0}, {1}, {2})"),
             flash=in_flash.write_choice,
             rule=logic.bound_choice),
    Function("to_int", "The int of a bool (0 or 1) or a float: cut towards zero, kept within int32; 0 of NaN.",
             _convert(INT), quiet(rules.convert_to_int), call="int",
             torch=in_torch.write_int_of, triton=in_triton.write_int_of,
             flash=in_flash.write_int_of,
             rule=_by_type(floats.bound_unchanged, floats.bound_int_of_float, logic.bound_int_of_bool)),
    Function("to_float", "The float of the same value. An int converts by itself where a float is wanted.",
             _convert(FLOAT), quiet(rules.convert_to_float), call="float",
             torch=in_torch.write_float_of, triton=in_triton.write_float_of,
             rule=_by_type(floats.bound_float_of_int, floats.bound_unchanged, logic.bound_float_of_bool)),
    Function("abs", "The distance from zero.",
             _same(1, INT, FLOAT), quiet(np.abs), call="abs",
             torch=in_torch.write_distance, triton=in_triton.write_distance,
             rule=_by_type(ints.bound_distance, floats.bound_float_distance)),
    Function("min", "The least of two or more values.",
             _same(2, INT, FLOAT), quiet(np.minimum), call="min", variadic=True,
             torch=in_torch.write_lesser, triton=in_triton.write_lesser,
             flash=in_flash.write_lesser,
             rule=_by_type(ints.bound_lesser, floats.bound_float_lesser)),
    Function("max", "The greatest of two or more values.",
             _same(2, INT, FLOAT), quiet(np.maximum), call="max", variadic=True,
             torch=in_torch.write_greater, triton=in_triton.write_greater,
             flash=in_flash.write_greater,
             rule=_by_type(ints.bound_greater, floats.bound_float_greater)),
    Function("clamp", "`clamp(x, low, high)` is `min(max(x, low), high)`.",
             _same(3, INT, FLOAT), quiet(rules.clamp), call="clamp",
             torch=in_torch.write_clamped, triton=in_triton.write_clamped,
             flash=in_flash.write_clamped,
             rule=_by_type(ints.bound_clamped, floats.bound_float_clamped)),
    Function("floor", "The greatest whole float that is at most x.",
             _same(1, FLOAT), quiet(np.floor), call="floor",
             torch=template("torch.floor({0})"), triton=template("libdevice.floor({0})"),
             flash=template("flash_floor({0})"),
             rule=floats.bound_rounding("floor")),
    Function("ceil", "The least whole float that is at least x.",
             _same(1, FLOAT), quiet(np.ceil), call="ceil",
             torch=template("torch.ceil({0})"), triton=template("libdevice.ceil({0})"),
             flash=template("(-flash_floor(-{0}))"),
             rule=floats.bound_rounding("ceil")),
    Function("trunc", "x without its fraction, as a float.",
             _same(1, FLOAT), quiet(np.trunc), call="trunc",
             torch=template("torch.trunc({0})"), triton=template("libdevice.trunc({0})"),
             flash=template("flash_trunc({0})"),
             rule=floats.bound_rounding("trunc")),
    Function("sign", "-1, 0 or 1, as x is negative, zero or positive; 0 of NaN.",
             _same(1, INT, FLOAT), quiet(rules.sign), call="sign",
             torch=template("torch.sign({0})"), triton=template("sign_of({0})"),
             flash=template("flash_sign({0})"),
             rule=_by_type(ints.bound_sign, floats.bound_float_sign)),
    Function("exp", "e to the power x.",
             _same(1, FLOAT), quiet(np.exp), call="exp",
             torch=template("torch.exp({0})"), triton=template("libdevice.exp({0})"),
             inductor=template("torch.exp2({0} * 1.4426950408889634)"),
             rule=floats.bound_growing("exp", least=0.0)),
    Function("exp2", "2 to the power x.",
             _same(1, FLOAT), quiet(np.exp2), call="exp2",
             torch=template("torch.exp2({0})"), triton=template("libdevice.exp2({0})"),
             rule=floats.bound_growing("exp2", least=0.0)),
    Function("log", "The natural logarithm: -inf at 0, NaN below.",
             _same(1, FLOAT), quiet(np.log), call="log",
             torch=template("torch.log({0})"), triton=template("tl.log({0})"),
             inductor=LOG_APPROX, flash_fast=LOG_APPROX,
             rule=floats.bound_growing("log", start=0.0, absolute=SMALL)),
    Function("log1p", "`log(1 + x)`, precise near 0.",
             _same(1, FLOAT), quiet(np.log1p), call="log1p",
             torch=template("torch.log1p({0})"), triton=template("libdevice.log1p({0})"),
             flash=template("flash_log1p({0})"),
             rule=floats.bound_growing("log1p", start=-1.0, absolute=SMALL)),
    Function("log2", "The logarithm to the base 2: -inf at 0, NaN below.",
             _same(1, FLOAT), quiet(np.log2), call="log2",
             torch=template("torch.log2({0})"), triton=template("libdevice.log2({0})"),
             inductor=LOG2_APPROX, flash_fast=LOG2_APPROX,
             rule=floats.bound_growing("log2", start=0.0, absolute=SMALL)),
    Function("sqrt", "The square root; NaN below 0.",
             _same(1, FLOAT), quiet(np.sqrt), call="sqrt",
             torch=template("torch.sqrt({0})"), triton=template("libdevice.sqrt({0})"),
             rule=floats.bound_growing("sqrt", start=0.0, least=0.0)),
    Function("rsqrt", "`1 / sqrt(x)`: inf at 0, NaN below.",
             _same(1, FLOAT), quiet(rules.reciprocal_root), call="rsqrt",
             torch=template("torch.rsqrt({0})"), triton=template("libdevice.rsqrt({0})"),
             flash=template("(1.0 / torch.sqrt({0}))"),
             rule=floats.bound_reciprocal_root),
    Function("tanh", "The hyperbolic tangent, between -1 and 1.",
             _same(1, FLOAT), quiet(np.tanh), call="tanh",
             torch=template("torch.tanh({0})"), triton=template("libdevice.tanh({0})"),
             inductor=TANH_APPROX, flash_fast=TANH_APPROX,
             rule=floats.bound_growing("tanh", least=-1.0, most=1.0, absolute=SMALL)),
    Function("sigmoid", "`1 / (1 + exp(-x))`, between 0 and 1.",
             _same(1, FLOAT), quiet(rules.sigmoid), call="sigmoid",
             torch=template("torch.sigmoid({0})"), triton=template("tl.sigmoid({0})"),
             flash=template("(1.0 / (1.0 + torch.exp(-{0})))"),
             rule=floats.bound_growing("sigmoid", least=0.0, most=1.0)),
    Function("logsigmoid", "`log(sigmoid(x))`, at most 0; precise for every x.",
             _same(1, FLOAT), quiet(rules.log_sigmoid), call="logsigmoid",
             torch=template("log_sigmoid({0})"), triton=template("log_sigmoid({0})"),
             inductor=template("fast_log_sigmoid({0})"),
             flash=template("flash_log_sigmoid({0})"), flash_fast=template("flash_fast_log_sigmoid({0})"),
             rule=floats.bound_growing("logsigmoid", most=0.0, absolute=SMALL)),
    Function("sin", "The sine of x radians.",
             _same(1, FLOAT), quiet(np.sin), call="sin",
             torch=template("torch.sin({0})"), triton=template("tl.sin({0})"),
             rule=floats.bound_wave),
    Function("cos", "The cosine of x radians.",
             _same(1, FLOAT), quiet(np.cos), call="cos",
             torch=template("torch.cos({0})"), triton=template("tl.cos({0})"),
             rule=floats.bound_wave),
    Function("bit_and", "The bits set in both.",
             _same(2, INT), quiet(np.bitwise_and), call="bit_and",
             torch=template("({0} & {1})"), triton=template("({0} & {1})"),
             rule=bits.bound_common_bits),
    Function("bit_or", "The bits set in at least one.",
             _same(2, INT), quiet(np.bitwise_or), call="bit_or",
             torch=template("({0} | {1})"), triton=template("({0} | {1})"),
             rule=bits.bound_joined_bits),
    Function("bit_xor", "The bits that differ.",
             _same(2, INT), quiet(np.bitwise_xor), call="bit_xor",
             torch=template("({0} ^ {1})"), triton=template("({0} ^ {1})"),
             rule=bits.bound_different_bits),
    Function("shift_left", "x moved up by n bits, n from 0 to 31; what leaves 32 bits is lost.",
             _same(2, INT), quiet(np.left_shift), call="shift_left",
             torch=template("({0} << {1})"), triton=template("({0} << {1})"),
             flash=in_flash.write_shifted_left,
             rule=bits.bound_shifted_left),
    Function("shift_right", "x moved down by n bits, n from 0 to 31; the sign stays.",
             _same(2, INT), quiet(np.right_shift), call="shift_right",
             torch=template("({0} >> {1})"), triton=template("({0} >> {1})"),
             flash=in_flash.write_shifted_right,
             rule=bits.bound_shifted_right),
    Function("bit_length", "The number of bits that abs(x) needs: 0 for 0, 1 for 1, 3 for -4.",
             _same(1, INT), quiet(rules.count_bits), call="bit_length",
             torch=template("bit_length({0})"), triton=template("bit_length({0})"),
             flash=template("flash_bit_length({0})"),
             rule=bits.bound_bit_length),
)

OPS: dict[str, Function] = {f.name: f for f in TABLE}
"""The rows by name."""

BY_SYMBOL: dict[str, Function] = {f.symbol: f for f in TABLE if f.symbol and f.arity == 2}
"""The binary operators by their text: `"//"` is floordiv, `"and"` is and."""

PREFIX: dict[str, Function] = {f.symbol: f for f in TABLE if f.symbol and f.arity == 1}
"""The unary operators by their text: `"-"` is neg, `"not"` is not."""

FUNCTIONS: dict[str, Function] = {f.call: f for f in TABLE if f.call}
"""The functions a user may call, by the user's name: `"int"` is to_int."""


def make(name: str, *args: Node, span: Span = NOWHERE, hint: str = "") -> Op:
    """The row `name` applied to nodes, typed by the signature that fits; no argument is converted.

    Raises AssertionError for an unknown name or types without a signature: callers check the user's text first.
    """
    assert name in OPS, f"no function {name}"
    types = tuple(a.type for a in args)
    result = OPS[name].result(types)
    assert result is not None, f"{name} takes no ({', '.join(map(str, types))})"
    return Op(name, args, result, span, hint)


_DTYPES = {BOOL: np.bool_, INT: np.int32, FLOAT: np.float64}


def fold_literals(name: str, *args: Literal) -> Value:
    """The value of the row `name` at literals, by the reference: int32 wraps, floats are float64."""
    value = OPS[name].reference(*(np.asarray(a.value, _DTYPES[a.type]) for a in args)).item()
    assert isinstance(value, bool | int | float)
    return value
