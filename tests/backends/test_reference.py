"""The reference against formulas written by hand in NumPy, over IR that is made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from maskdsl.backends.reference import evaluate, mask, scores
from maskdsl.ir.nodes import (
    Ascending,
    Call,
    Fill,
    Lookup,
    Moved,
    Node,
    Quantified,
    Size,
    Symbol,
    Use,
    Variant,
    literal,
)
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, FLOAT, INT, Constant, Hole, Table
from maskdsl.source.diagnostic import MaskError

B, H, Q, K = (Symbol(n) for n in "bhqk")
SCORE = Symbol("score", FLOAT)


def lookup(table: Table, *indices: Node) -> Lookup:
    return Lookup(table, indices, table.type)


def both(*parts: Node) -> Node:
    whole = parts[0]
    for part in parts[1:]:
        whole = make("and", whole, part)
    return whole


WINDOW = Constant("sliding_window", "window", INT)
DISTANCE = make("sub", Q, K)
CAUSAL = Variant("causal", "mask", mask=make("le", K, Q))
SLIDING = Variant(
    "sliding_window", "mask", (WINDOW,), ((WINDOW, literal(4)),),
    mask=both(make("le", literal(0), DISTANCE), make("lt", DISTANCE, Use(WINDOW, INT))),
)  # fmt: skip


def grid(q: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(q)[:, None], np.arange(k)


def test_sliding_window_counts_the_query_itself() -> None:
    q, k = grid(9, 11)
    seen = mask(SLIDING, b=2, h=3, q=9, k=11, constants={"window": 3})
    assert seen.shape == (2, 3, 9, 11)
    assert (seen == (k <= q) & (k > q - 3)).all()


def test_constants_fall_back_on_defaults() -> None:
    q, k = grid(9, 9)
    assert (mask(SLIDING, b=1, h=1, q=9, k=9)[0, 0] == (k <= q) & (k > q - 4)).all()
    no_default = Variant("w", "mask", (WINDOW,), mask=SLIDING.mask)
    with pytest.raises(KeyError, match="window"):
        mask(no_default, b=1, h=1, q=9, k=9)


def test_default_reads_the_constants_before_it() -> None:
    twice = Constant("sliding_window", "twice", INT)
    defaults = ((WINDOW, literal(4)), (twice, make("mul", Use(WINDOW, INT), literal(2))))
    variant = Variant("v", "mask", (WINDOW, twice), defaults, mask=make("lt", K, Use(twice, INT)))
    assert mask(variant, b=1, h=1, q=1, k=20, constants={WINDOW: 3}).sum() == 6


def test_index_arrays_and_offset() -> None:
    q, k = np.array([5, 2, 7]), np.array([0, 7, 3])
    assert (mask(CAUSAL, b=1, h=1, q=q, k=k, kv_len=8)[0, 0] == (k <= q[:, None])).all()
    assert (mask(CAUSAL, b=1, h=1, q=3, k=8, q_offset=5)[0, 0] == (np.arange(8) <= np.arange(5, 8)[:, None])).all()


def test_lengths_hide_padding_per_batch_row() -> None:
    q_len, kv_len = np.array([2, 5, 0]), np.array([4, 0, 6])
    everything = Variant("full", "mask", mask=literal(True))
    q, k = grid(5, 6)
    expected = (q < q_len[:, None, None]) & (k < kv_len[:, None, None])
    assert (mask(everything, b=3, h=1, q=5, k=6, q_len=q_len, kv_len=kv_len)[:, 0] == expected).all()
    absent = Variant("none", "mask")
    assert (mask(absent, b=3, h=1, q=5, k=6, q_len=q_len, kv_len=kv_len)[:, 0] == expected).all()


def test_bottom_right_causal_reads_lengths() -> None:
    variant = Variant("v", "mask", mask=make("le", K, make("sub", make("add", Q, Symbol("kv_len")), Symbol("q_len"))))
    kv_len = np.array([7, 4])
    q, k = grid(3, 7)
    seen = mask(variant, b=2, h=1, q=3, k=7, kv_len=kv_len)[:, 0]
    n = kv_len[:, None, None]
    assert (seen == ((k <= q + n - 3) & (k < n))).all()


DOCUMENT, START = Table("packed", "document", INT, ("batch", "position")), Table("packed", "start", INT, ("batch", "n"))
INNER = Hole("packed", "inner")
FIRST = lookup(START, B, lookup(DOCUMENT, B, Q))
PACKED = Variant(
    "packed", "mask", (INNER, DOCUMENT, START),
    mask=both(
        make("eq", lookup(DOCUMENT, B, Q), lookup(DOCUMENT, B, K)),
        Moved(Fill(INNER), (("q", make("sub", Q, FIRST)), ("k", make("sub", K, FIRST))), BOOL),
    ),
)  # fmt: skip


def test_packed_documents_stand_alone() -> None:
    rng = np.random.default_rng(0)
    lengths = [[3, 5, 4], [6, 1, 5]]
    document = np.array([np.repeat(np.arange(3), n) for n in lengths])
    start = np.array([np.cumsum([0, *n])[:3] for n in lengths])
    inner = rng.random((6, 6)) < 0.5
    pattern = Table("pattern", "pattern", BOOL, ("x", "y"))
    by_table = Variant("pattern", "mask", (pattern,), mask=lookup(pattern, Q, K))
    given = Call(by_table, ((pattern, pattern),), BOOL)
    call = Call(PACKED, ((INNER, given), (DOCUMENT, DOCUMENT), (START, START)), BOOL)
    outer = Variant("outer", "mask", (DOCUMENT, START, pattern), mask=call)
    seen = mask(outer, b=2, h=1, q=12, k=12, tables={"document": document, "start": start, "pattern": inner})[:, 0]
    expected = np.zeros((2, 12, 12), bool)
    for b, row in enumerate(lengths):
        for i, n in enumerate(row):
            at = slice(start[b, i], start[b, i] + n)
            expected[b, at, at] = inner[:n, :n]
    assert (seen == expected).all()


def test_masks_given_from_outside() -> None:
    tables = {"document": np.repeat([[0, 1]], 4, axis=1), "start": np.array([[0, 4]])}
    q, k = grid(8, 8)
    for given, expected in ((CAUSAL, k <= q), (Call(SLIDING, ((WINDOW, literal(2)),), BOOL), (k <= q) & (k > q - 2))):
        seen = mask(PACKED, b=1, h=1, q=8, k=8, tables=tables, masks={"inner": given})[0, 0]
        assert (seen == expected & (q // 4 == k // 4)).all()


def test_moves_happen_at_once_and_read_the_place_where_they_stand() -> None:
    swapped = Moved(Call(CAUSAL, (), BOOL), (("q", K), ("k", Q)), BOOL)
    twice = Moved(swapped, (("q", make("add", Q, literal(2))),), BOOL)
    q, k = grid(6, 6)
    assert (mask(Variant("v", "mask", mask=swapped), b=1, h=1, q=6, k=6)[0, 0] == (q <= k)).all()
    assert (mask(Variant("v", "mask", mask=twice), b=1, h=1, q=6, k=6)[0, 0] == (q + 2 <= k)).all()


def test_mask_argument_keeps_its_own_names() -> None:
    """Caller and callee call a constant and a variable alike; the mask argument reads the caller's."""
    width = Constant("outer", "window", INT)
    variable = Symbol("i")
    hole = Hole("callee", "m")
    filled = Quantified("any", "i", literal(5), literal(6), Fill(hole), BOOL)
    callee = Variant("callee", "mask", (hole, WINDOW), mask=both(filled, make("lt", Q, Use(WINDOW, INT))))
    given = both(make("eq", K, variable), make("lt", K, Use(width, INT)))
    called = Call(callee, ((hole, given), (WINDOW, literal(2))), BOOL)
    body = Quantified("any", "i", literal(0), literal(2), called, BOOL)
    seen = mask(Variant("outer", "mask", (width,), mask=body), b=1, h=1, q=4, k=8, constants={"window": 8})[0, 0]
    q, k = grid(4, 8)
    assert (seen == (k < 2) & (q < 2)).all()


def test_quantifiers() -> None:
    pick = Table("v", "pick", INT, ("head", "r"))
    i = Symbol("i")
    hit = make("eq", lookup(pick, H, i), K)
    picks = np.array([[3, 0, 3], [1, 1, 2]], np.int8)
    expected = (picks[:, :, None] == np.arange(5)).swapaxes(1, 2)
    for kind, want in (("any", expected.any(-1)), ("all", expected.all(-1))):
        body = Quantified(kind, "i", literal(0), Size("r"), hit, BOOL)
        seen = mask(Variant("v", "mask", (pick,), mask=body), b=1, h=2, q=1, k=5, tables={"pick": picks})[0, :, 0]
        assert (seen == want).all()
    total = Quantified("sum", "i", literal(1), Size("r"), make("to_int", hit), INT)
    score = Variant("s", "score", (pick,), score=make("to_float", total))
    assert (scores(score, np.zeros((1, 2, 1, 5)), b=1, h=2, q=1, k=5, tables={"pick": picks})[0, :, 0]
            == expected[:, :, 1:].sum(-1)).all()  # fmt: skip


@pytest.mark.parametrize(("kind", "scalar", "expected"), [("any", BOOL, False), ("all", BOOL, True), ("sum", INT, 0)])
def test_empty_quantifier(kind: str, scalar, expected) -> None:
    body = literal(1) if scalar is INT else literal(True)
    node = Quantified(kind, "i", literal(3), literal(3), body, scalar)
    assert evaluate(node, coordinates={}, tables={}, constants={}, sizes={}, lengths={}) == expected


def test_score_pipeline_reads_the_score_of_its_place() -> None:
    cap, slope = Constant("softcap", "cap", FLOAT), Table("alibi", "slope", FLOAT, ("head",))
    ratio = make("div", SCORE, Use(cap, FLOAT))
    softcap = Variant("softcap", "score", (cap,), score=make("mul", Use(cap, FLOAT), make("tanh", ratio)))
    bias = make("mul", lookup(slope, H), make("to_float", DISTANCE))
    alibi = Variant("alibi", "score", (slope,), score=make("sub", SCORE, bias))
    then = Moved(
        Call(softcap, ((cap, literal(5.0)),), FLOAT), (("score", Call(alibi, ((slope, slope),), FLOAT)),), FLOAT
    )
    variant = Variant("v", "variant", (slope,), score=then)
    rng = np.random.default_rng(1)
    given, slopes = rng.normal(size=(2, 3, 4, 5)), rng.random(3).astype(np.float16)
    q, k = grid(4, 5)
    linear = given - slopes.astype(np.float64)[:, None, None] * (q - k)
    found = scores(variant, given, b=2, h=3, q=4, k=5, tables={slope: slopes})
    np.testing.assert_allclose(found, 5 * np.tanh(linear / 5), rtol=1e-14)


def test_sizes_of_a_callee_are_those_of_its_own_tables() -> None:
    mine, theirs = Table("outer", "t", INT, ("batch", "n")), Table("callee", "u", INT, ("batch", "m"))
    callee = Variant("callee", "mask", (theirs,), mask=make("lt", K, Size("m")))
    call = Call(callee, ((theirs, mine),), BOOL)
    outer = Variant("outer", "mask", (mine,), mask=both(call, make("lt", Q, Size("n")), make("lt", Q, Size("batch"))))
    seen = mask(outer, b=2, h=1, q=5, k=5, tables={"t": np.zeros((2, 3), np.int64)})[:, 0]
    q, k = grid(5, 5)
    assert (seen == (k < 3) & (q < 2)).all()


def test_key_value_heads() -> None:
    group = make("floordiv", Size("head"), Size("kv_head"))
    variant = Variant("v", "mask", mask=make("eq", make("floordiv", H, group), K))
    seen = mask(variant, b=1, h=6, q=1, k=3, sizes={"kv_head": 2})[0, :, 0]
    assert (seen == (np.arange(6)[:, None] // 3 == np.arange(3))).all()


def test_one_element_table_and_wide_tables_wrap_to_int32() -> None:
    scalar, wide = Table("v", "s", INT, ()), Table("v", "w", INT, ("batch",))
    node = make("add", lookup(scalar), lookup(wide, B))
    found = evaluate(
        node, coordinates={"b": np.arange(2)}, tables={scalar: np.array([2]), wide: np.array([2**31 - 1, 2**32 + 5])},
        constants={}, sizes={}, lengths={},
    )  # fmt: skip
    assert found.dtype == np.int32
    assert found.tolist() == [-(2**31) + 1, 7]


@pytest.mark.parametrize("values, expected", [([[1, 1, 4], [0, 3, 3]], True), ([[1, 1, 0], [0, 3, 3]], False)])
def test_ascending(values: list, expected: bool) -> None:
    table = Table("v", "t", INT, ("batch", "n"))
    for axes, array in ((1, np.array(values)), (0, np.array(values).T)):
        node = Ascending(table, axes)
        found = evaluate(node, coordinates={}, tables={table: array}, constants={}, sizes={}, lengths={})
        assert bool(found) is expected


T = Table("v", "t", INT, ("n",))


def faulty(node: Node) -> Variant:
    return Variant("v", "mask", (T,), mask=node)


INSIDE = both(make("le", literal(0), DISTANCE), make("lt", DISTANCE, Size("n")))
HIT = make("gt", lookup(T, DISTANCE), literal(0))


@pytest.mark.parametrize(
    "body",
    [
        both(INSIDE, HIT),
        make("or", make("not", INSIDE), HIT),
        make("choose", INSIDE, HIT, literal(False)),
        make("choose", make("not", INSIDE), literal(False), HIT),
        both(INSIDE, Moved(make("gt", lookup(T, Q), literal(0)), (("q", DISTANCE),), BOOL)),
    ],
)
def test_lookups_that_are_not_taken_are_no_faults(body: Node) -> None:
    mask(faulty(body), b=1, h=1, q=8, k=8, tables={"t": np.arange(4)})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (HIT, "`t` out of bounds"),
        (both(HIT, INSIDE), "`t` out of bounds"),
        (both(make("le", literal(0), DISTANCE), HIT), "`t` out of bounds"),
        (make("or", INSIDE, HIT), "`t` out of bounds"),
        (make("choose", INSIDE, literal(True), HIT), "`t` out of bounds"),
        (make("not", both(make("lt", K, literal(3)), HIT)), "`t` out of bounds"),
        (make("eq", make("floordiv", Q, K), literal(1)), "floordiv by zero"),
        (make("eq", make("shift_left", Q, DISTANCE), literal(1)), "shift_left by a count outside"),
    ],
)
def test_faults_are_our_own_mistake(body: Node, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        mask(faulty(body), b=1, h=1, q=8, k=8, tables={"t": np.arange(4)})


def test_faults_in_padding_do_not_matter() -> None:
    seen = mask(faulty(make("gt", lookup(T, Q), literal(0))), b=1, h=1, q=8, k=8, q_len=4, tables={"t": np.arange(4)})
    assert (seen[0, 0].any(axis=1) == [False, True, True, True, False, False, False, False]).all()


def test_depth_costs_no_stack() -> None:
    node: Node = Q
    for _ in range(20_000):
        node = make("add", node, literal(1))
    chain = CAUSAL
    for i in range(3_000):
        chain = Variant(f"v{i}", "mask", mask=Moved(Call(chain, (), BOOL), (("q", make("add", Q, literal(1))),), BOOL))
    deep = Variant("deep", "mask", mask=both(Call(chain, (), BOOL), make("eq", node, make("add", Q, literal(20_000)))))
    assert (mask(deep, b=1, h=1, q=1, k=5_000)[0, 0, 0] == (np.arange(5_000) <= 3_000)).all()


def test_program_without_end_is_refused() -> None:
    body: Node = literal(True)
    for name in "abc":
        body = Quantified("all", name, literal(0), literal(4096), both(body, make("le", Symbol(name), K)), BOOL)
    with pytest.raises(MaskError):
        mask(Variant("v", "mask", mask=body), b=1, h=1, q=1, k=1)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mask(SLIDING, b=2, h=2, q=33, k=40)
    monkeypatch.setattr("maskdsl.backends.reference.LANES_AT_ONCE", 1000)
    assert (mask(SLIDING, b=2, h=2, q=33, k=40) == whole).all()


@pytest.mark.parametrize("shape", [(0, 1, 1, 1), (1, 1, 0, 3), (1, 1, 3, 0)])
def test_empty_grids(shape: tuple[int, int, int, int]) -> None:
    b, h, q, k = shape
    assert mask(CAUSAL, b=b, h=h, q=q, k=k).shape == shape
