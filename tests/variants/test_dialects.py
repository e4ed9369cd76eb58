"""Every shipped definition in the dialects of the GPU's kernels: equal to the reference, and by FLASH's rules.

What CuteDSL cannot do is read off the text: no `minimum`, `maximum` or `clamp`, no shift, no index that is a constant, no
tensor without axes, and no function that torch's CuteDSL writer does not know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from collected import ORACLES
from oracle import Array, Sizes

import maskdsl
from maskdsl.backends import reference
from maskdsl.backends.mods import Emitted
from maskdsl.backends.mods_text import FLASH, INDUCTOR, INDUCTOR_PRECISE, Dialect
from maskdsl.binding.bound import Bound

SIZES = Sizes(2, 4, 19, 19)
KNOWN_TO_CUTEDSL = {
    "abs", "cos", "exp", "exp2", "full_like", "log", "ones_like", "sin", "sqrt", "tanh", "where", "to", "clone",
    "tanh_approx", "log2_approx",
}  # fmt: skip
"""Functions that torch's CuteDSL writer has from 2.11 on, or that are constants before it sees them, and ours."""


def bound_of(name: str) -> tuple[Bound, dict[str, Array], dict[str, int]]:
    oracle = ORACLES[name]
    program = maskdsl.get(name, **oracle.constants[0], **oracle.masks)
    tables = oracle.inputs(np.random.default_rng(0), SIZES)
    known = {"batch": SIZES.b, "head": SIZES.h, "kv_head": SIZES.h, "q_len": SIZES.q, "kv_len": SIZES.k}
    return program.bind(**tables, sizes=known), tables, known


def form(bound: Bound, dialect: Dialect) -> tuple[Emitted, Any]:
    """The code of a bound definition in a dialect, and the formula that has its tensors."""
    formula = bound._made(bound.sizes, torch.device("cpu"))[1]
    return bound._lowering.at(bound.sizes).form(dialect), formula


@pytest.mark.parametrize("name", ORACLES)
def test_forms(name: str) -> None:
    bound, tables, known = bound_of(name)
    for dialect in (INDUCTOR, INDUCTOR_PRECISE):
        verify_equal(bound, dialect, tables, known)
    if reasons := bound._lowering.at(bound.sizes).unwritable(FLASH):
        assert "has no form in CuteDSL" in reasons[0]
        return
    verify_equal(bound, FLASH, tables, known)
    verify_rules(bound)


def verify_equal(bound: Bound, dialect: Dialect, tables: dict[str, Array], known: dict[str, int]) -> None:
    """The code in a dialect against the reference, over all pairs."""
    emitted, formula = form(bound, dialect)
    lengths = {n: torch.tensor([known[n]], dtype=torch.int32) for n in ("q_len", "kv_len")}
    place = {"b": SIZES.b, "h": SIZES.h, "q": SIZES.q, "k": SIZES.k, "tables": tables, "sizes": known}
    at = [torch.from_numpy(i) for i in np.ix_(*(np.arange(n) for n in (SIZES.b, SIZES.h, SIZES.q, SIZES.k)))]
    shape = (SIZES.b, SIZES.h, SIZES.q, SIZES.k)
    if emitted.has_mask:
        found = emitted.make_mask_mod(formula.tables, lengths)(*at).expand(shape)
        np.testing.assert_array_equal(found.numpy(), np.broadcast_to(reference.mask(bound.variant, **place), shape))
    if emitted.has_score:
        score = 4 * np.random.default_rng(1).standard_normal(shape)
        mod = emitted.make_score_mod(formula.tables, lengths)
        assert mod is not None
        found = mod(torch.from_numpy(score).float(), *at).expand(shape)
        np.testing.assert_allclose(found, reference.scores(bound.variant, score, **place), rtol=2e-5, atol=2e-5)


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def constants_among_indices(tree: ast.AST) -> list[str]:
    """Lookups with an index that is a number, or the name of a line that gives one."""
    numbers = {
        target.id
        for node in ast.walk(tree) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
        if isinstance(node.value, ast.Constant) or ast.unparse(node.value).startswith(("torch.zeros", "torch.full_like"))
    }  # fmt: skip
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).split(".")[-1] != "shape":
            indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if any(isinstance(i, ast.Constant) or (isinstance(i, ast.Name) and i.id in numbers) for i in indices):
                found.append(ast.unparse(node))
    return found


def shifts(tree: ast.AST) -> list[str]:
    """Shifts and inversions of what may be no number: CuteDSL has functions for what they give only in part."""
    shifted = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.LShift | ast.RShift)]
    return [ast.unparse(n) for n in shifted if not isinstance(n.left, ast.Constant)]


def verify_rules(bound: Bound) -> None:
    """The text for FLASH keeps CuteDSL's rules."""
    emitted, formula = form(bound, FLASH)
    tree = ast.parse(emitted.source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(calls(tree)) - own <= KNOWN_TO_CUTEDSL
    assert constants_among_indices(tree) == []
    assert shifts(tree) == []
    captured = [*emitted.mask_captures, *emitted.score_captures]
    assert all(formula.tables[c.table].dim() >= 1 for c in captured if c.table is not None)


def test_packed_documents_are_intervals_in_every_dialect() -> None:
    """One gather a query instead of one a pair: 411 TFLOP/s against 266 by FLASH on an H100."""
    bound, _, _ = bound_of("packed_causal")
    source = form(bound, FLASH)[0].source
    assert "document_first" in source and "==" not in source.split("import torch")[1]


def test_the_rules_can_be_broken() -> None:
    tree = ast.parse("zero = torch.zeros_like(q)\na = t[zero] + t[b, 0] + t[b, q] + t.shape[0]\nc = torch.clamp(a, 0, 1)")
    assert constants_among_indices(tree) == ["t[zero]", "t[b, 0]"]
    assert set(calls(tree)) - KNOWN_TO_CUTEDSL == {"zeros_like", "clamp"}
    assert sorted(shifts(ast.parse("x = (q >> 3) + (1 << 4) + (k << n)"))) == ["k << n", "q >> 3"]
