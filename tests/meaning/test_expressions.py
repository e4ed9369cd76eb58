"""What expressions are: each line of expressions.txt against the value that a person wrote next to it."""

from __future__ import annotations

import numpy as np
import pytest
from meaning import HERE, sound

from maskdsl.backends.reference import evaluate
from maskdsl.ir.types import FLOAT
from maskdsl.library.examples import run_examples
from maskdsl.meaning.instantiate import instantiate

LINES = (HERE / "expressions.txt").read_text(encoding="utf-8").splitlines()
CASES = [tuple(part.strip() for part in line.split(" | ")) for line in LINES if not line.startswith("#")]
HEADER = "score m(f: float, w: int[], t: int[n]) = float({}) + 0.0 * f * w * t[0]\n requires size(n) >= 3"


@pytest.mark.parametrize(("expression", "value"), CASES, ids=[c[0] for c in CASES])
def test_value(expression: str, value: str) -> None:
    variant = instantiate(sound(HEADER.format(expression)).definitions["m"], {"f": 2.5})
    assert variant.score is not None and variant.score.type is FLOAT
    tables = {t: np.array({"w": 5, "t": [10, 20, 30]}[t.name], np.int32) for t in variant.tables}
    found = evaluate(
        variant.score,
        coordinates={n: np.asarray(v) for n, v in {"b": 1, "h": 3, "q": 7, "k": 2}.items()},
        tables=tables, constants={}, sizes={"head": 4, "kv_head": 2, "n": 3, "batch": 2, "position": 9},
        lengths={"q_len": np.asarray(8), "kv_len": np.asarray(9)}, score=np.asarray(0.5),
    )
    assert float(found.reshape(-1)[0]) == float(value)


@pytest.mark.parametrize(("expression", "value"), CASES, ids=[c[0] for c in CASES])
def test_type(expression: str, value: str) -> None:
    kind = "int" if value.lstrip("-").isdigit() else "float"
    assert "." in value or "inf" in value or kind == "int"
    where = {"int": "bit_and({}, 1)", "float": "floor({})"}[kind]
    module = sound(HEADER.format(where.format(expression)))
    assert module.definitions


def test_a_local_name_stands_for_its_expression() -> None:
    """Below `at` it is read at the moved place, as if it were written out there."""
    named = sound("mask m = (x > 5 and y) at (q = q + 3) where x = q + k, y = x < 9").definitions["m"]
    written = sound("mask m = (q + k > 5 and q + k < 9) at (q = q + 3)").definitions["m"]
    assert named.mask is not None and written.mask is not None
    place = {"b": np.zeros(1), "h": np.zeros(1), "q": np.arange(8)[:, None], "k": np.arange(8)}
    found = [
        evaluate(root, coordinates=place, tables={}, constants={}, sizes={}, lengths={}) for root in (named.mask, written.mask)
    ]
    assert found[0].any() and not found[0].all() and (found[0] == found[1]).all()


def test_a_name_of_where_is_read_where_at_moves_it() -> None:
    text = "mask m = near at (q = k, k = q) where near = q - k == 1\nexample m\n    | . x .\n    | . . x\n    | . . .\n"
    module = sound(text)
    assert module.examples and not [d for d in run_examples(module) if d.severity == "error"]
