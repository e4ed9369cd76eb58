"""What is reported about programs that are not proven, where conditions reach, and what hostile programs cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest

from maskdsl.ir.nodes import Literal, Lookup, Node, Op, Size, Symbol, Use, Variant, literal
from maskdsl.ir.ops import make
from maskdsl.ir.types import BOOL, INT, Constant, Table
from maskdsl.meaning.instantiate import instantiate
from maskdsl.meaning.module import check
from maskdsl.meaning.obligations import obligations
from maskdsl.source.diagnostic import MaskError
from maskdsl.source.render import render_text
from maskdsl.source.text import Source
from maskdsl.syntax.parse import parse

HERE = Path(__file__).parent / "unproven"


@pytest.mark.parametrize("path", sorted(HERE.glob("*.mask")), ids=lambda p: p.stem)
def test_reports_read_well(path: Path, snapshot: Callable[[Path, str], None]) -> None:
    module = check(Source(path.name, path.read_text(encoding="utf-8")), lambda *_: None)
    assert module.errors
    snapshot(path.with_suffix(".txt"), "\n\n".join(map(render_text, module.errors)) + "\n")


def test_what_is_advised_settles_it() -> None:
    """Every `requires` and every lookup that a report offers makes the program pass."""
    program = "mask m(d: int[batch, position], s: int[batch, n]) = s[b, d[b, k]] <= q"
    (told,) = check(Source("m.mask", program), lambda *_: None).errors
    fact, index = (line.split("`")[1] for line in told.help)
    assert not check(Source("m.mask", f"{program} {fact}"), lambda *_: None).errors
    assert not check(Source("m.mask", program.replace("s[b, d[b, k]]", index)), lambda *_: None).errors


# ---------------------------------------------------------------- by hand

q, k = Symbol("q"), Symbol("k")
T = Table("m", "t", BOOL, ("n",))


def look(index: Node) -> Lookup:
    return Lookup(T, (index,), BOOL)


def codes(mask: Node, *facts: Node) -> list[str]:
    return [d.code for d in obligations(Variant("m", "mask", (T,), mask=mask, facts=facts))]


def inside(index: Node) -> Op:
    return make("and", make("ge", index, literal(0)), make("lt", index, Size("n")))


def test_a_shared_lookup_must_be_proven_at_every_place() -> None:
    shared = look(make("sub", q, k))
    guarded = make("and", inside(make("sub", q, k)), shared)
    assert codes(guarded) == []
    assert codes(make("or", guarded, shared)) == ["E0402"]
    assert codes(make("or", guarded, make("and", inside(make("sub", q, k)), shared))) == []


def test_the_left_side_knows_nothing_of_the_right() -> None:
    index = make("sub", q, k)
    assert codes(make("and", look(index), inside(index))) == ["E0402"]
    assert codes(make("or", make("not", inside(index)), look(index))) == []
    assert codes(make("or", look(index), make("not", inside(index)))) == ["E0402"]


def test_a_choice_knows_its_condition() -> None:
    index = make("sub", q, k)
    yes, no = look(index), Literal(False, BOOL)
    assert codes(make("choose", inside(index), yes, no)) == []
    assert codes(make("choose", make("not", inside(index)), no, yes)) == []
    assert codes(make("choose", inside(index), no, yes)) == ["E0402"]


def test_defaults_count_until_the_constants_are_fixed() -> None:
    w = Constant("m", "w", INT)
    mask = look(make("mod", q, Use(w, INT)))
    fact = make("eq", Size("n"), literal(4))
    open_ = Variant("m", "mask", (T, w), mask=mask, facts=(fact,))
    assert sorted(d.code for d in obligations(open_)) == ["E0402", "E0404"]
    for default, expected in ((4, []), (5, ["E0402"]), (0, ["E0402", "E0404"])):
        variant = Variant("m", "mask", (T, w), ((w, literal(default)),), mask=mask, facts=(fact,))
        assert sorted(d.code for d in obligations(variant)) == expected


POSITIVE = "requires a >= 1, n >= 1"


@pytest.mark.parametrize("divisor", ["a * n", "2 * a * n", "a * n + 1", "a + n", "a * n * a", "(a * n)"])
def test_a_product_of_positive_constants_is_no_zero(divisor: str) -> None:
    text = f"mask m(a: int, n: int) = q // ({divisor}) == k % ({divisor}) {POSITIVE}"
    module = check(Source("m.mask", text), lambda *_: None)
    assert module.errors == ()
    instantiate(module.definitions["m"], {"a": 3, "n": 5})


def test_a_product_that_wraps_around_to_zero_is_refused_when_it_is_known() -> None:
    text = f"mask m(a: int, n: int) = q // (a * n) == k {POSITIVE}"
    open_ = check(Source("m.mask", text), lambda *_: None).definitions["m"]
    with pytest.raises(MaskError) as caught:
        instantiate(open_, {"a": 65536, "n": 65536})
    assert [d.code for d in caught.value.diagnostics] == ["E0404"]


@pytest.mark.parametrize(
    "parameters",
    ["a: int[], n: int[]", "a: int, n: int[]", "a: int = 65536, n: int = 65536"],
)
def test_a_product_that_may_be_zero_at_run_time_is_refused(parameters: str) -> None:
    text = f"mask m({parameters}) = q // (a * n) == k {POSITIVE}"
    assert [d.code for d in check(Source("m.mask", text), lambda *_: None).errors] == ["E0404"]
    loose = f"mask m({parameters.split(' = ')[0].split(',')[0]}, n: int) = q // (a - n) == k {POSITIVE}"
    assert [d.code for d in check(Source("m.mask", loose), lambda *_: None).errors] == ["E0404"]


# ---------------------------------------------------------------- hostile programs


def names(first: str, step: str, count: int) -> str:
    """`a0 = first, a1 = step, …`: A stands for the name before, I for the number."""
    steps = [step.replace("A", f"a{i}").replace("I", str(i)) for i in range(count)]
    return ", ".join([f"a0 = {first}", *(f"a{i + 1} = {s}" for i, s in enumerate(steps))])


HOSTILE = {
    "many open lookups": " or ".join(f"t[q * {i} + k // {i + 1} - h]" for i in range(100)),
    "many conditions": " and ".join(f"q * {i} - k * 3 > h // {i + 1} and t[q - k + {i}]" for i in range(100)),
    "squares": f"t[a30] where {names('q * k - 1', 'A * A + q', 30)}",
    "choices": f"t[a100] where {names('q', 'A + I if k > q + I else A - k', 100)}",
    "minima": f"t[a100] where {names('q', 'min(A + I, max(k - I, A * 2 - h))', 100)}",
    "remainders": f"t[a60] where {names('q', '(A * k + I) % (h + I + 2)', 60)}",
    "doubled places": f"a60 where {names('t[q - k]', '(q > I and A) or (k > I and A)', 60)}",
    "pointers": f"t[{'p[' * 40}q{']' * 40}] requires 0 <= p[q] < size(position), p[p[q]] <= p[q], p[p[p[q]]] <= q - 1",
    "ascending": " and ".join(f"p[(q + {i}) % size(position)] < p[(k * {i}) % size(position)]" for i in range(20))
    + " and t[p[q] - p[k]] requires ascending(p, position)",
    "facts": "t[p[q] - k] requires " + ", ".join(f"p[q] // {i + 1} < p[k] * {i + 3} + q" for i in range(100)),
}  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_program_is_refused_soon(body: str) -> None:
    start = process_time()
    module = check(Source("m.mask", f"mask m(t: bool[n], p: int[position]) = {body}"), lambda *_: None)
    assert {d.code for d in module.errors} == {"E0402"}
    assert process_time() - start < 4.0  # a quarter of that on a quiet machine


SHARED = {
    "read often": lambda n: f"a{n} < k where {names('q', 'min(A, k)', n)}",
    "bounds": lambda n: " or ".join(f"any(q == i for i in range(a{n}))" for _ in range(n)) + f" where {names('3', 'min(A, 5)', n)}",
    "exponents": lambda n: " or ".join(f"q ** a{n} > 0" for _ in range(n)) + f" where {names('w', 'min(A, 5)', n)}",
    "divisors": lambda n: " or ".join(f"q // a{n} == 0" for _ in range(n)) + f" where {names('w', 'max(A, 5)', n)}",
    "facts": lambda n: f"k < w where {names('w', 'max(A, 5)', n)} requires " + ", ".join(f"a{n} > {i}" for i in range(n)),
}  # fmt: skip


@pytest.mark.parametrize("body", SHARED.values(), ids=SHARED)
def test_names_that_stand_on_names_cost_little(body: Callable[[int], str]) -> None:
    """The longest chain of names that a definition has room for, and as many uses of its end."""
    size = next(n for n in range(600, 0, -5) if "E0104" not in _codes(f"mask m(w: int) = {body(n)}", parse_only=True))
    start = process_time()
    _codes(f"mask m(w: int) = {body(size)}")
    assert process_time() - start < 4.0  # about a second on a quiet machine


def _codes(text: str, parse_only: bool = False) -> set[str]:
    source = Source("m.mask", text)
    return {d.code for d in (parse(source)[1] if parse_only else check(source, lambda *_: None).errors)}
