"""The programs of `families.mask`, which use every function and construct, equal the reference: as emitted mods, and as
compiled kernels where there is a CUDA device.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from emitted import emitted, expected, in_float64, run
from programs import Program

import maskdsl
from maskdsl.ir.nodes import Call, Fill, Lookup, Moved, Op, Quantified, Size, Variant
from maskdsl.ir.ops import OPS
from maskdsl.ir.walk import topological
from maskdsl.library.sample import sample_tables, shape_of
from maskdsl.meaning.instantiate import instantiate
from maskdsl.meaning.module import check
from maskdsl.source.text import Source

FILE = Path(__file__).parent / "families.mask"
MODULE = check(Source(FILE.name, FILE.read_text(encoding="utf-8")), lambda name, local, importer: None)
DEFINITIONS = [v for v in MODULE.definitions.values() if not v.holes]
SIZES = ({"batch": 1, "head": 1, "kv_head": 1, "position": 1}, {"batch": 2, "head": 4, "kv_head": 2, "position": 9})


def drawn(variant: Variant, sizes: dict[str, int]) -> Program:
    """The definition with its constants at their defaults, and random tables."""
    fixed = instantiate(variant)
    tables = {t: np.asarray(a) for t, a in sample_tables(fixed, sizes).items()}
    axes = {a: n for t, x in tables.items() for a, n in zip(t.axes, x.shape, strict=False) if isinstance(a, str)}
    known = {**sizes, **axes}
    return Program(fixed, (), {}, {t: a.reshape(shape_of(t, known)) for t, a in tables.items()}, known)


def test_the_file_has_no_errors() -> None:
    assert not MODULE.errors and len(DEFINITIONS) >= 70


@pytest.mark.parametrize("sizes", SIZES, ids=["one", "several"])
@pytest.mark.parametrize("variant", DEFINITIONS, ids=lambda v: v.name)
def test_emitted_is_the_reference(variant: Variant, sizes: dict[str, int]) -> None:
    program = drawn(variant, sizes)
    shape = [program.sizes[axis] for axis in ("batch", "head", "position", "position")]
    score = np.random.default_rng(0).standard_normal(shape)
    seen, changed = expected(program, score)
    for vmap in (False, True):
        mask, result = run(in_float64(emitted(program)), program, score, vmap=vmap)
        np.testing.assert_array_equal(mask.numpy(), seen)
        np.testing.assert_allclose(result.numpy(), changed, rtol=1e-6, atol=1e-6)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("variant", DEFINITIONS, ids=lambda v: v.name)
def test_compiled_on_cuda(variant: Variant) -> None:
    """A kernel in float32: relative errors of at most 1e-4, where 1 is the largest output."""
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(0)
    drawing = drawn(variant, {"batch": 2, "head": 4, "kv_head": 2, "position": 150})
    tables = {table.name: array for table, array in drawing.tables.items()}
    qkv = [torch.randn(2, heads, n, 16, device="cuda") for heads, n in ((4, 100), (2, 150), (2, 150))]
    program = maskdsl.load(FILE, variant.name)
    found = program.bind(**tables).attention(*qkv).double().cpu().numpy()
    expected = program.reference(*qkv, **tables)
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def written() -> Iterator[str]:
    """What the programs are made of: the names of operations, and the classes of nodes."""
    for variant in MODULE.definitions.values():
        for node in topological([root for _, root in variant.roots]):
            yield node.name if isinstance(node, Op) else type(node).__name__


def test_every_function_and_construct_is_used() -> None:
    constructs = {t.__name__ for t in (Call, Fill, Lookup, Moved, Quantified, Size)}
    assert (OPS.keys() | constructs) - set(written()) == set()
