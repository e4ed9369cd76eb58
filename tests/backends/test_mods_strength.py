"""Cheaper forms for GPU kernels: what they look like, and that they are the same for every int."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import maskdsl
from maskdsl.backends import reference
from maskdsl.backends.mods_text import FLASH, INDUCTOR, INDUCTOR_PRECISE, TORCH, Dialect


def text_of(mask: str, dialect: Dialect) -> str:
    lowered = maskdsl.compile(f"mask m = {mask}").bind()._lowering.at({})
    return lowered.form(dialect).source.rpartition("return")[0].rpartition("return")[2].strip()


@pytest.mark.parametrize(("mask", "inductor", "flash"), [
    ("q // 1024 == k // 1024", "q >> 10 == k >> 10", "q ^ k < 1024"),
    ("q // 8 != k // 8", "q >> 3 != k >> 3", "q ^ k >= 8"),
    ("q // 8 == k // 4", "q >> 3 == k >> 2", "q // 8 == k // 4"),
    ("q // 8 < k // 8", "q >> 3 < k >> 3", "q // 8 < k // 8"),
    ("q // 8 == (k - 1) // 8", "q >> 3 == k - 1 >> 3", "q // 8 == flash_divide_by(k - 1, 8)"),
    ("q // 6 == k", "torch.div(q, 6, rounding_mode='trunc') == k", "q // 6 == k"),
    ("q % 8 == 0", "q & 7 == 0", "q & 7 == 0"),
    ("q >= 0 and k < 3", "k < 3", "k < 3"),
    ("abs(q - 9) <= 3", "(t1 <= 3) & (t1 >= -3)", "(t1 <= 3) & (t1 >= -3)"),
    ("2 < abs(q - 9)", "(t1 > 2) | (t1 < -2)", "(t1 > 2) | (t1 < -2)"),
    ("max(q, k) < 7", "(q < 7) & (k < 7)", "(q < 7) & (k < 7)"),
    ("7 <= max(q, k - 1)", "(q >= 7) | (k - 1 >= 7)", "(q >= 7) | (k - 1 >= 7)"),
    ("min(q, k - 1) >= 7", "(q >= 7) & (k - 1 >= 7)", "(q >= 7) & (k - 1 >= 7)"),
])  # fmt: skip
def test_forms(mask: str, inductor: str, flash: str) -> None:
    import ast

    for dialect, expected in ((INDUCTOR, inductor), (FLASH, flash)):
        assert text_of(mask, dialect) == ast.unparse(ast.parse(expected)), dialect.name


@pytest.mark.parametrize(("mask", "inductor"), [
    ("max(q, -k, 3) // 5 == 1", "torch.clamp(torch.maximum(q, ((q | k) >> 30) - k), min=3)"),
    ("min(0 - q, k * -1, q + k) // 5 == -1", "torch.minimum(((q | k) >> 30) - q, ((q | k) >> 30) - k)"),
    ("max(abs(q - k), k - 9, q) // 5 == 1", "torch.where(t1 < 0, ((q | k) >> 30) - t1, t1)"),
    ("max(abs(q - k), q) // 5 == 1", "torch.maximum(int_abs(q - k), q)"),
])  # fmt: skip
def test_nothing_is_negated_in_a_maximum_of_three(mask: str, inductor: str) -> None:
    """ptxas would drop the sign; it does not in one of two."""
    for dialect in (INDUCTOR, INDUCTOR_PRECISE):
        assert inductor in maskdsl.compile(f"mask m = {mask}").bind()._lowering.at({}).form(dialect).source
        same(f"mask m = {mask}", dialect)


@pytest.mark.parametrize(("score", "inductor"), [
    ("score - slope[h] * (q - k)", "score + slope[h].to(torch.float32) * (k - q).to(torch.float32)"),
    ("score - (q - k) * 0.5", "score + (k - q).to(torch.float32) * 0.5"),
    ("score - 0.5 * (2 ** 30 * q - k)", "score - 0.5 * (1073741824 * q - k).to(torch.float32)"),
    ("score - slope[h] * q", "score - slope[h].to(torch.float32) * q.to(torch.float32)"),
])  # fmt: skip
def test_penalties_are_added(score: str, inductor: str) -> None:
    """The value is the same to the last bit; a difference that wraps around keeps its place."""
    program = maskdsl.compile(f"score s(slope: float[head]) = {score}")
    slope = torch.rand(3)
    bound = program.bind(slope=slope)
    lowered = bound._lowering.at({"head": 3})
    fast, plain = lowered.form(INDUCTOR), lowered.form(TORCH)
    assert inductor in fast.source and "score - " in plain.source
    at = [torch.from_numpy(i) for i in np.ix_(*(np.arange(n) for n in (2, 3, 70, 70)))]
    (table,) = program.variant.tables
    found, right = (form.make_score_mod({table: slope}, {})(torch.randn(2, 3, 70, 70, generator=torch.manual_seed(0)), *at)
                    for form in (fast, plain))  # fmt: skip
    assert torch.equal(found, right)


def test_the_textbook_keeps_what_was_written() -> None:
    assert text_of("q // 1024 == k // 1024", TORCH) == "q // 1024 == k // 1024"


@pytest.mark.parametrize("dialect", [INDUCTOR, FLASH], ids=lambda d: d.name)
@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("bound", [-1, 0, 1, 20, "k"])
def test_comparisons_of_distances_and_maxima(bound: int | str, operator: str, dialect: Dialect) -> None:
    parts = [f"abs(q - k) {operator} {bound}", f"max(abs(q - 9), abs(k - 9), q - k) {operator} {bound}",
             f"{bound} {operator} min(q - k, 3 * k - q, 40)", f"{bound} {operator} abs(k - 30)"]  # fmt: skip
    for part in parts:
        same(f"mask m = {part}", dialect)


def same(text: str, dialect: Dialect) -> None:
    """The form in a dialect tells for 70 x 70 pairs what the reference tells."""
    program = maskdsl.compile(text)
    mod = program.bind()._lowering.at({}).form(dialect).make_mask_mod({})
    at = [torch.from_numpy(i) for i in np.ix_(*(np.arange(n) for n in (1, 1, 70, 70)))]
    right = reference.mask(program.variant, b=1, h=1, q=70, k=70)
    found = mod(*at).expand(1, 1, 70, 70).numpy()
    np.testing.assert_array_equal(found, np.broadcast_to(right, (1, 1, 70, 70)), err_msg=text)


@pytest.mark.parametrize("dialect", [INDUCTOR, FLASH], ids=lambda d: d.name)
@pytest.mark.parametrize("operator", ["==", "!="])
@pytest.mark.parametrize("divisor", [1, 2, 8, 1024])
@pytest.mark.parametrize("left", ["q", "q - 20", "3 * q"])
def test_equal_quotients(left: str, divisor: int, operator: str, dialect: Dialect) -> None:
    """Also of ints below 0, whose quotients round down."""
    same(f"mask m = ({left}) // {divisor} {operator} (k - 20) // {divisor} or q // {divisor} {operator} k // {divisor}", dialect)
