"""No proof may be wrong: random statements that the prover accepts, held against evaluation with int32 wrap-around.

The bounds in the statements are the extremes that a sample shows, so that a bound off by one would be found by the
next sample. The oracle evaluates lazily: what is not read (an untaken branch, the right side of a false `and`) may be
out of range or divided by zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

from maskdsl.ir.nodes import Ascending, Literal, Lookup, Node, Op, Quantified, Size, Symbol, Use, literal
from maskdsl.ir.ops import OPS, make
from maskdsl.ir.types import BOOL, INT, Constant, Table
from maskdsl.meaning.prove import prove

W = Constant("m", "w", INT)
BELOW = Table("m", "below", INT, ("position",))  # below[q] in 0 .. size(n) - 1
BEHIND = Table("m", "behind", INT, ("position",))  # behind[q] <= q
RISING = Table("m", "rising", INT, ("n",))  # never decreases
ANY = Table("m", "any", INT, ("n",))

q, k, h, b = (Symbol(name) for name in "qkhb")


def look(table: Table, index: Node) -> Lookup:
    return Lookup(table, (index,), INT)


def facts() -> list[Node]:
    """What `State` keeps true."""
    return [
        make("and", make("le", literal(0), look(BELOW, q)), make("lt", look(BELOW, q), Size("n"))),
        make("le", look(BEHIND, q), q),
        Ascending(RISING, 0),
        make("ge", Use(W, INT), literal(1)),
    ]


class Unread(Exception):
    """A lookup out of range or a division by zero: the place does not matter."""


@dataclass
class State:
    """Values for everything a statement can read."""

    names: dict[str, int]
    sizes: dict[str, int]
    width: int
    seed: int

    def entry(self, table: Table, index: int) -> int:
        if not 0 <= index < self.sizes[str(table.axes[0])]:
            raise Unread
        noise = Random(f"{self.seed} {table.name} {index}")
        if table is BELOW:
            return noise.choice([0, self.sizes["n"] - 1, noise.randrange(self.sizes["n"])])
        if table is BEHIND:
            return noise.choice([index, index - 1, noise.randint(-(2**31), index), noise.randint(-3, 0)])
        if table is RISING:
            return min(index * (self.seed % 7), 2**31 - 1) - self.seed % 5
        return noise.choice([0, 1, -1, noise.randint(-9, 9), noise.randint(-(2**31), 2**31 - 1), 2**31 - 1, -(2**31)])


def draw_state(random: Random) -> State:
    """Small sizes mostly, now and then the greatest."""
    def size() -> int:
        return random.choice([1, 2, 3, 5, 8, 16, random.randint(1, 40), 2**31 - 1, 2**20])

    group = random.choice([1, 2, 4])
    sizes = {"position": size(), "n": size(), "batch": size(), "kv_head": random.choice([1, 2, 3])}
    sizes["head"] = sizes["kv_head"] * group
    names = {length: random.randint(1, sizes["position"]) for length in ("q_len", "kv_len")}
    for name, stop in (("q", sizes["position"]), ("k", names["kv_len"]), ("h", sizes["head"]), ("b", sizes["batch"])):
        stop = min(stop, 2**30)
        names[name] = random.choice([0, stop - 1, random.randrange(stop), random.randrange(min(stop, 9))])
    width = random.choice([1, 2, 3, 7, 64, 2**31 - 1, random.randint(1, 100)])
    return State(names, sizes, width, random.randrange(10**6))


def value(node: Node, state: State) -> int:
    """The value of a node, read lazily."""
    match node:
        case Literal(value=v):
            return int(v)
        case Symbol(name=name):
            return state.names[name]
        case Size(axis=axis):
            return state.sizes[axis]
        case Use():
            return state.width
        case Lookup(table=table, indices=(index,)):
            return state.entry(table, value(index, state))
        case Quantified():
            return counted(node, state)
        case Op(name="choose", args=(c, x, y)):
            return value(x if value(c, state) else y, state)
        case Op(name="and" | "or", args=(x, y)):
            first = value(x, state)
            return first if bool(first) == (node.name == "or") else value(y, state)
    assert isinstance(node, Op)
    args = [value(a, state) for a in node.args]
    if node.name in ("floordiv", "mod") and args[1] == 0:
        raise Unread
    if node.name in ("shift_left", "shift_right") and not 0 <= args[1] <= 31:
        raise Unread
    dtypes = {BOOL: np.bool_, INT: np.int32}
    arrays = [np.asarray(v, dtypes[a.type]) for v, a in zip(args, node.args, strict=True)]
    return int(OPS[node.name].reference(*arrays))


def counted(node: Quantified, state: State) -> int:
    total = 0
    for i in range(value(node.start, state), min(value(node.stop, state), 40)):
        total += value(node.body, State({**state.names, node.variable: i}, state.sizes, state.width, state.seed))
    return total


# ---------------------------------------------------------------- random statements

BITS = ("bit_and", "bit_or", "bit_xor")
BINARY = ("add", "sub", "mul", "floordiv", "mod", "min", "max", *BITS, "add", "sub", "floordiv")


def draw_int(random: Random, depth: int) -> Node:
    if depth == 0 or random.random() < 0.15:
        small = literal(random.choice([0, 1, 2, 3, 7, 8, 64, -1, -3, 2**31 - 1]))
        sizes = (Size("n"), Size("position"), Symbol("kv_len"))
        return random.choice([q, k, q, k, h, b, *sizes, Use(W, INT), small, small])
    pick = random.random()
    if pick < 0.5:
        return make(random.choice(BINARY), draw_int(random, depth - 1), draw_int(random, depth - 1))
    if pick < 0.6:
        return make(random.choice(["neg", "abs", "sign", "bit_length"]), draw_int(random, depth - 1))
    if pick < 0.68:
        return make("choose", draw_bool(random, 1), draw_int(random, depth - 1), draw_int(random, depth - 1))
    if pick < 0.74:
        return make("to_int", draw_bool(random, 1))
    if pick < 0.8:
        return make("clamp", *(draw_int(random, depth - 1) for _ in range(3)))
    if pick < 0.84:
        name = random.choice(["shift_left", "shift_right"])
        return make(name, draw_int(random, depth - 1), draw_int(random, depth - 1))
    if pick < 0.87:
        return make("pow", draw_int(random, depth - 1), literal(random.choice([0, 1, 2, 3])))
    if pick < 0.9:
        body = make("to_int", make("lt", draw_int(random, 1), Symbol("i")))
        return Quantified("sum", "i", literal(0), literal(random.choice([0, 1, 5])), body, INT)
    return look(random.choice([BELOW, BEHIND, RISING, ANY]), draw_int(random, depth - 1))


def draw_bool(random: Random, depth: int) -> Node:
    if depth and random.random() < 0.5:
        name = random.choice(["and", "or", "not"])
        return make(name, *(draw_bool(random, depth - 1) for _ in range(1 if name == "not" else 2)))
    return make(random.choice(["lt", "le", "gt", "ge", "eq", "ne"]), draw_int(random, 2), draw_int(random, 1))


def sample(random: Random, conditions: list[Node], count: int) -> list[State]:
    """States in which the conditions hold."""
    found = []
    for _ in range(count * 4):
        state = draw_state(random)
        try:
            if all(value(c, state) for c in conditions):
                found.append(state)
        except Unread:
            continue
        if len(found) == count:
            break
    return found


def readable(node: Node, states: list[State]) -> list[tuple[State, int]]:
    found = []
    for state in states:
        try:
            found.append((state, value(node, state)))
        except Unread:
            continue
    return found


def statement(random: Random, subject: Node, seen: list[int]) -> Node:
    """A bound that the sample just keeps, or a random comparison."""
    if random.random() < 0.8:
        name, bound = random.choice([("ge", min(seen)), ("le", max(seen)), ("ge", 0), ("lt", max(seen) + 1)])
        return make(name, subject, literal(max(min(bound, 2**31 - 1), -(2**31))))
    return make(random.choice(["lt", "le", "ge", "ne"]), subject, draw_int(random, 1))


@pytest.mark.parametrize("seed", range(8))
def test_no_wrong_proof(seed: int) -> None:
    random, proven = Random(seed), 0
    for _ in range(40):
        conditions = [draw_bool(random, 1) for _ in range(random.choice([0, 0, 1, 2]))]
        subject = draw_int(random, random.choice([1, 2, 3]))
        seen = [v for _, v in readable(subject, sample(random, conditions, 25))]
        if not seen:
            continue
        goal = statement(random, subject, seen)
        if not prove(goal, facts(), conditions):
            continue
        proven += 1
        for state, truth in readable(goal, sample(random, conditions, 120)):
            assert truth, (goal, conditions, state)
    assert proven >= 5
