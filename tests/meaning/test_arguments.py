"""Calls of definitions: arguments by place and by name, defaults, constants, tables, masks."""

from __future__ import annotations

import pytest
from meaning import codes, marked, sound

from maskdsl.ir.nodes import Call, Fill, Literal, Op, Use
from maskdsl.ir.types import Constant, Hole, Table

BAND = "mask band(left: int, right: int = 0) = -right <= q - k <= left\n"


@pytest.mark.parametrize("call", ["band(4)", "band(4, 0)", "band(left = 4)", "band(right = 0, left = 4)", "band(4, right = 0,)"])
def test_spellings_of_one_call(call: str) -> None:
    mask = sound(f"{BAND}mask m = {call}").definitions["m"].mask
    assert isinstance(mask, Call)
    assert [(p.name, a.value) for p, a in mask.arguments if isinstance(a, Literal)] == [("left", 4), ("right", 0)]


@pytest.mark.parametrize("call, code, where", [
    ("band", "E0209", "band"),
    ("band()", "E0209", "band()"),
    ("band(right = 1)", "E0209", "band(right = 1)"),
    ("band(1, 2, 3, 4)", "E0210", "3"),
    ("band(1, lefd = 2)", "E0208", "lefd"),
    ("band(1, left = 2)", "E0212", "left = 2"),
    ("band(left = 1, 2)", "E0212", "2"),
    ("band(left = 1, left = 2)", "E0212", "left = 2"),
    ("band(q)", "E0311", "q"),
    ("band(1 + kv_len)", "E0311", "kv_len"),
    ("band(1.0)", "E0302", "1.0"),
    ("band(k < q)", "E0311", "k"),
    ("band(true)", "E0301", "true"),
    ("band(1 // 0)", "E0410", "1 // 0"),
    ("band(2147483647 + 1)", "E0410", "2147483647 + 1"),
    ("q < 9 ** 9 ** 9 ** 9 ** 9", "E0410", "9 ** 9 ** 9"),
    ("band([1])", "E0301", "[1]"),
    ("band(windw)", "E0201", "windw"),
    ("band(1)(2)", "E0101", "("),
    ("band(1)[2]", "E0101", "["),
])  # fmt: skip
def test_wrong_calls(call: str, code: str, where: str) -> None:
    assert marked(f"{BAND}mask m = {call}") == [(code, where)]


def test_each_wrong_argument_is_told() -> None:
    assert codes(f"{BAND}mask m = band(x, 1.5)") == ["E0201", "E0302"]


@pytest.mark.parametrize("value, kind", [("2", "float"), ("2.5", "float"), ("w", "int"), ("w * 2 + size(head)", "int"), ("-f", "float")])
def test_constants_are_expressions_of_constants(value: str, kind: str) -> None:
    module = sound(f"score g(c: {kind}) = score * c\nscore m(w: int, f: float) = g({value}) + w + f")
    ((constant, argument),) = next(n for n in _nodes(module.definitions["m"].score) if isinstance(n, Call)).arguments
    assert isinstance(constant, Constant) and argument.type is constant.type


def test_a_quantifiers_variable_is_a_constant_to_the_calls_below() -> None:
    near = "mask near(w: int) = q - k < w requires w >= 0\n"
    assert codes(f"{near}mask m = any(near(i) for i in range(4))") == []
    assert marked(f"{near}mask m = any(near(i - 1) for i in range(4))") == [("E0408", "near(i - 1)")]


AXES = "mask same(t: int[batch, n], u: int[n]) = t[b, clamp(q, 0, size(n) - 1)] == u[clamp(k, 0, size(n) - 1)]\n"


@pytest.mark.parametrize("t, u", [("batch, n", "n"), ("batch, position", "position"), ("batch, 4", "4"), ("batch, m", "m")])
def test_tables_whose_axes_agree(t: str, u: str) -> None:
    mask = sound(f"{AXES}mask m(x: int[{t}], y: int[{u}]) = same(x, u = y)").definitions["m"].mask
    assert isinstance(mask, Call) and [(p.name, a.name) for p, a in mask.arguments if isinstance(a, Table)] == [("t", "x"), ("u", "y")]


@pytest.mark.parametrize("t, u, found", [
    ("int[head, n]", "int[n]", ("E0309", "x")),
    ("int[n, n]", "int[n]", ("E0309", "x")),
    ("int[batch, n]", "int[m]", ("E0309", "y")),
    ("int[batch, 4]", "int[n]", ("E0309", "y")),
    ("int[batch]", "int[n]", ("E0309", "x")),
    ("float[batch, n]", "int[n]", ("E0301", "x")),
    ("int[batch, n]", "int", ("E0301", "y")),
    ("mask", "int[n]", ("E0301", "x")),
])  # fmt: skip
def test_tables_that_do_not_fit(t: str, u: str, found: tuple[str, str]) -> None:
    assert marked(f"{AXES}mask m(x: {t}, y: {u}) = same(x, y)")[0] == found


@pytest.mark.parametrize("value, found", [
    ("x[b, 0]", ("E0301", "x[b, 0]")), ("3", ("E0301", "3")), ("[[1]]", ("E0301", "[[1]]")), ("x + 1", ("E0301", "x + 1")),
    ("size(n)", ("E0301", "size(n)")), ("z", ("E0201", "z")), ("same", ("E0301", "same")),
])  # fmt: skip
def test_what_is_no_table(value: str, found: tuple[str, str]) -> None:
    assert marked(f"{AXES}mask m(x: int[batch, n], y: int[n]) = same({value}, y)")[0] == found


def test_one_number_is_given_by_its_name() -> None:
    text = "mask near(w: int[]) = q - k < w\nmask m(v: int[]) = near(v) and near(w = v)"
    assert codes(text) == []
    assert codes("mask near(w: int[]) = q - k < w\nmask m = near(3)") == ["E0301"]
    assert codes("mask near(w: int) = q - k < w\nmask m(v: int[]) = near(v)") == ["E0311"]


MASKED = "mask on(inner: mask) = inner and inner() at (q = k)\n"


@pytest.mark.parametrize("value", ["k <= q", "on(k <= q)", "on(true)", "t[b, q]", "q + k == 1", "any(q == i for i in range(3))"])
def test_a_mask_argument_is_any_bool(value: str) -> None:
    mask = sound(f"{MASKED}mask m(t: bool[batch, position]) = on({value}) and t[b, k]").definitions["m"].mask
    assert isinstance(mask, Op) and isinstance(mask.args[0], Call)
    ((hole, _),) = mask.args[0].arguments
    assert isinstance(hole, Hole)


def test_a_mask_parameter_fills() -> None:
    mask = sound(MASKED).definitions["on"].mask
    assert isinstance(mask, Op) and isinstance(mask.args[0], Fill)


@pytest.mark.parametrize("value, found", [
    ("q", ("E0301", "q")),
    ("score > 0.0", ("E0401", "score")),
    ("hot", ("E0401", "hot")),
    ("soft > 0.0", ("E0303", "soft")),
    ("on", ("E0209", "on")),
])  # fmt: skip
def test_what_is_no_mask(value: str, found: tuple[str, str]) -> None:
    text = f"{MASKED}score soft = score * 2\nscore m = score if on({value}) else 0.0 where hot = score > 1.0"
    assert marked(text) == [found]


def test_arguments_of_what_takes_none() -> None:
    text = "mask m(inner: mask, w: int, t: int[head]) = {}"
    assert marked(text.format("inner(3) and t[h] == w")) == [("E0210", "3")]
    assert marked(text.format("inner and w(3) == t[h]")) == [("E0303", "w(3)")]
    assert marked(text.format("inner and t(h) == w")) == [("E0307", "t(h)")]
    assert marked(text.format("inner and q(3) == w + t[h]")) == [("E0303", "q(3)")]


def test_kinds_stay_in_their_places() -> None:
    kinds = "mask a = k <= q\nscore s = score * 2\nvariant v { mask = a }\n"
    assert marked(f"{kinds}mask m = v") == [("E0303", "v")]
    assert marked(f"{kinds}mask m = s > 0.0") == [("E0303", "s")]
    assert marked(f"{kinds}score m = v") == [("E0303", "v")]
    assert marked(f"{kinds}score m = a") == [("E0303", "a")]
    assert marked(f"{kinds}variant m {{ mask = s }}") == [("E0303", "s")]
    assert marked(f"{kinds}variant m {{ score = a }}") == [("E0303", "a")]
    assert codes(f"{kinds}score m = s if a else 1.0") == []


def test_a_broken_definition_is_told_once() -> None:
    text = "mask bad(w: int) = zork\nmask m = bad(1) and bad(2)\nvariant v { mask = m }\nexample m | x\n"
    assert codes(text) == ["E0201"]
    assert codes("mask bad(w: int[q]) = k < w[q]\nmask m = bad(1, 2, 3) and bad") == ["E0203"]


def test_arguments_of_a_broken_definition_are_still_matched() -> None:
    assert codes("mask bad(w: int) = zork\nmask m = bad(v = 1)") == ["E0201", "E0208"]


def test_defaults() -> None:
    header = "r: float = 2, s: float = -1.5, t: int = 2 ** 4, u: bool = 1 < 2, v: float = inf"
    module = sound(f"mask m({header}) = u and r + s + v > t")
    defaults = {c.name: d.value for c, d in module.definitions["m"].defaults if isinstance(d, Literal)}
    assert defaults == {"r": 2.0, "s": -1.5, "t": 16, "u": True, "v": float("inf")}
    assert isinstance(defaults["r"], float)


@pytest.mark.parametrize("parameter, found", [
    ("a: int = 1.5", ("E0302", "1.5")), ("a: int = true", ("E0301", "true")), ("a: bool = 1", ("E0301", "1")),
    ("a: int = q", ("E0311", "q")), ("a: int = size(head)", ("E0311", "size(head)")), ("a: int[n] = 3", ("E0312", "3")),
    ("a: mask = true", ("E0312", "true")), ("a: int = 1 // 0", ("E0410", "1 // 0")), ("a: float = log(-1.0)", ("E0410", "log(-1.0)")),
    ("a: int = c", ("E0201", "c")), ("a: int = 2 ** 31", ("E0410", "2 ** 31")), ("a: int = shift_left(1, 32)", ("E0410", "shift_left(1, 32)")),
])  # fmt: skip
def test_defaults_that_are_none(parameter: str, found: tuple[str, str]) -> None:
    assert marked(f"mask m({parameter}) = k < q") == [found]


def _nodes(root: object) -> list[object]:
    from maskdsl.ir.walk import topological

    return list(topological(root))  # type: ignore[arg-type]


def test_a_constant_is_used_by_its_name() -> None:
    mask = sound("mask m(w: int) = q < w").definitions["m"].mask
    assert isinstance(mask, Op) and isinstance(mask.args[1], Use)
