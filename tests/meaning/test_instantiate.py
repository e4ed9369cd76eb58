"""Fixing constants and masks: values that fit, values that do not, what they make of facts and proofs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from meaning import sound

from maskdsl.ir.nodes import Fill, Literal, Use, literal
from maskdsl.ir.ops import make
from maskdsl.ir.print import text
from maskdsl.ir.verify import verify
from maskdsl.ir.walk import topological
from maskdsl.meaning.instantiate import instantiate
from maskdsl.source.diagnostic import MaskError

HEADER = "score m(w: int, c: float = 2.0, on: bool = false, t: float[head]) = score * c + w + t[h] + int(on) requires w >= 1, c > 0.5\n"


def errors(program: str, **given: Any) -> list[str]:
    """The codes and marked texts of what instantiating the last definition finds."""
    *_, variant = sound(program).definitions.values()
    with pytest.raises(MaskError) as caught:
        instantiate(variant, given)
    return [f"{d.code} {d.span.text if d.span else ''}" for d in caught.value.diagnostics]


@pytest.mark.parametrize("given", [
    {"w": 3}, {"w": 3, "c": 1}, {"w": np.int64(3), "c": np.float32(1.0), "on": np.bool_(True)}, {"w": 2**31 - 1, "c": float("inf")},
])  # fmt: skip
def test_values_that_fit(given: dict[str, Any]) -> None:
    fixed = instantiate(sound(HEADER).definitions["m"], given)
    verify(fixed)
    assert [p.name for p in fixed.parameters] == ["t"] and fixed.defaults == () and fixed.facts == ()
    assert fixed.score is not None and not any(isinstance(n, Use) for n in topological(fixed.score))
    values = {n.span.text.split(":")[0]: n for n in topological(fixed.score) if isinstance(n, Literal) and n.span.text}
    assert values["w"].value == given["w"] and type(values["c"].value) is float


def test_quantifiers_are_not_too_long_with_the_constants_given() -> None:
    assert errors("mask m(n: int) = any(k == i for i in range(n))", n=5000) == ["E0403 n: int"]
    assert errors("mask m(n: int) = any(any(k == i + j for i in range(n)) for j in range(n))", n=400)[0].startswith("E0406")
    instantiate(sound("mask m(n: int) = any(k == i for i in range(n))").definitions["m"], {"n": 4096})


@pytest.mark.parametrize("given, found", [
    ({}, ["E0209 w: int"]),
    ({"w": 1.5}, ["E0302 w: int"]),
    ({"w": True}, ["E0301 w: int"]),
    ({"w": "3"}, ["E0301 w: int"]),
    ({"w": None}, ["E0301 w: int"]),
    ({"w": 2**31}, ["E0106 w: int"]),
    ({"w": np.array([1, 2])}, ["E0301 w: int"]),
    ({"w": 3, "c": float("nan")}, ["E0106 c: float = 2.0"]),
    ({"w": 3, "c": True}, ["E0301 c: float = 2.0"]),
    ({"w": 3, "on": 1}, ["E0301 on: bool = false"]),
    ({"w": 3, "t": 1.0}, ["E0208 t: float[head]"]),
    ({"w": 3, "v": 1}, ["E0208 m"]),
    ({"c": 0.1, "v": 2}, ["E0208 m", "E0209 w: int"]),
    ({"w": 0}, ["E0408 w >= 1"]),
    ({"w": 0, "c": 0.5}, ["E0408 w >= 1", "E0408 c > 0.5"]),
])  # fmt: skip
def test_values_that_do_not(given: dict[str, Any], found: list[str]) -> None:
    assert errors(HEADER, **given) == found


def test_advice_and_values_are_told() -> None:
    variant = sound(HEADER).definitions["m"]
    with pytest.raises(MaskError) as caught:
        instantiate(variant, {"w": 0})
    assert caught.value.diagnostics[0].notes == ("`w` is 0",)
    with pytest.raises(MaskError) as caught:
        instantiate(variant, {"W": 1, "w": 1})
    assert caught.value.diagnostics[0].help == ("did you mean `w`?",)


def test_facts_of_what_is_called_are_checked() -> None:
    assert errors("mask near(u: int) = q < u requires u >= 1\nmask m(w: int) = near(w - 1)", w=1) == ["E0408 u >= 1"]


def test_facts_become_complete() -> None:
    program = "mask near(t: int[n]) = t[0] > k requires ascending(t, n), size(n) >= 2\nmask m(s: int[batch], w: int) = near(s) or q < w"
    fixed = instantiate(sound(program).definitions["m"], {"w": 2})
    assert [text(f) for f in fixed.facts] == ["ascending(s, batch)", "size(batch) >= 2"]


@pytest.mark.parametrize("program, value, code", [
    ("mask m(w: int, t: int[8]) = t[clamp(q, 0, w)] == k requires w >= 0, w < 9", 8, "E0402"),
    ("mask m(w: int = 4) = q // w == k // w requires w <= 4", 0, "E0404"),
    ("mask m(w: int) = shift_left(1, clamp(q, 0, w)) == k requires w <= 40", 32, "E0405"),
    ("mask m(w: int = 2) = q ** w == k", -1, "E0411"),
    ("mask m(w: int) = any(q == i for i in range(w))", 60_000, "E0403"),
    ("mask m(w: int) = any(any(q == i + j for i in range(w)) for j in range(w))", 500, "E0406"),
    ("variant m(w: int = 4) { scale = 1.0 / sqrt(float(w)) }", -4, "E0410"),
    ("variant m(w: int = 4) { scale = float(8 % w) }", 0, "E0404"),
])  # fmt: skip
def test_what_a_value_makes_unsound(program: str, value: int, code: str) -> None:
    from maskdsl.meaning.module import check
    from maskdsl.source.text import Source

    module = check(Source("m", program), lambda *_: None)
    if module.errors:
        assert {d.code for d in module.errors} <= {code}
        return
    with pytest.raises(MaskError) as caught:
        instantiate(module.definitions["m"], {"w": value})
    assert code in {d.code for d in caught.value.diagnostics}


def test_masks_fill_holes_with_their_tables() -> None:
    outer = sound("mask m(inner: mask, w: int) = inner at (q = q + w)").definitions["m"]
    inner = instantiate(sound("mask i(t: bool[batch, position]) = t[b, k] or q < 3").definitions["i"])
    assert inner.mask is not None
    fixed = instantiate(outer, {"w": 2}, {"inner": inner.mask})
    verify(fixed)
    assert [p.name for p in fixed.parameters] == ["t"]
    assert fixed.mask is not None and not any(isinstance(n, Fill) for n in topological(fixed.mask))


def test_masks_that_do_not_fit() -> None:
    outer = sound("mask m(inner: mask) = inner or k < 3").definitions["m"]
    from maskdsl.ir.nodes import Symbol
    from maskdsl.ir.types import FLOAT

    for given, code in (
        ({}, "E0209"), ({"inner": literal(3)}, "E0301"), ({"other": literal(True)}, "E0208"),
        ({"inner": make("gt", Symbol("score", FLOAT), literal(0.5))}, "E0401"),
    ):
        with pytest.raises(MaskError) as caught:
            instantiate(outer, {}, given)
        assert caught.value.diagnostics[0].code == code


def test_a_program_without_constants_is_itself() -> None:
    variant = sound("mask m(t: int[batch]) = k < t[b] requires t[b] >= 0").definitions["m"]
    assert instantiate(variant).mask is variant.mask
