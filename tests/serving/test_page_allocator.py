"""The page allocator, held against a model that knows nothing of digests: requests as lists of their tokens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from maskdsl.serving.pages import Pages
from maskdsl.source.diagnostic import MaskError

# Few different tokens, so that requests often begin alike.
TOKENS = st.lists(st.integers(0, 1), max_size=9)


def code(call: Callable[..., object], *arguments: object) -> str:
    """The code of the MaskError that a call raises."""
    with pytest.raises(MaskError) as caught:
        call(*arguments)
    (found,) = caught.value.diagnostics
    return found.code


def agreement(one: list[int], other: list[int]) -> int:
    """How many first tokens two lists have in common."""
    return next((i for i in range(min(len(one), len(other))) if one[i] != other[i]), min(len(one), len(other)))


class Allocator(RuleBasedStateMachine):
    """Requests come, grow and go.

    `texts` has the tokens of each; `cache` is what steps wrote at (page, offset): all the tokens up to that one, for
    keys and values depend on all of them.
    """

    requests = Bundle("requests")

    @initialize(number=st.integers(1, 16), size=st.integers(1, 4), seed=st.integers(0, 99))
    def start(self, number: int, size: int, seed: int) -> None:
        self.pages = Pages(number, size, random.Random(seed).sample(range(number), number))
        self.number, self.size, self.admitted = number, size, 0
        self.texts: dict[int, list[int]] = {}
        self.cache: dict[tuple[int, int], list[int]] = {}

    def row(self, name: int) -> list[int]:
        """The pages of a request, from the table."""
        places = -(-len(self.texts[name]) // self.size)
        row = self.pages.table([name], places + 2)[0]
        assert row.dtype == np.int32 and list(row[places:]) == [-1, -1]
        return list(row[:places])

    def write(self, name: int, tokens: list[int]) -> bool:
        """Extend a request and write its tokens, each into a place that no other request has; False: no page is left."""
        text = self.texts[name]
        missing = -(-(len(text) + len(tokens)) // self.size) - -(-len(text) // self.size)
        if missing > self.number - len({page for other in self.texts for page in self.row(other)}):
            free = self.pages.free_pages
            assert code(self.pages.extend, name, tokens) == "E0801" and self.pages.free_pages == free
            return False
        self.pages.extend(name, tokens)
        first, self.texts[name] = len(text), text + tokens
        own = self.row(name)
        others = {page for other in self.texts if other != name for page in self.row(other)}
        for at in range(first, len(self.texts[name])):
            assert own[at // self.size] not in others, "a shared page is written into"
            self.cache[own[at // self.size], at % self.size] = self.texts[name][: at + 1]
        return True

    @rule(target=requests, prompt=TOKENS)
    def admit(self, prompt: list[int]) -> object:
        name, self.admitted = self.admitted, self.admitted + 1
        common = max((agreement(prompt, text) for text in self.texts.values()), default=0)
        free = self.pages.free_pages
        covered = self.pages.admit(name, prompt)
        assert covered == min(common, max(len(prompt) - 1, 0)) // self.size * self.size
        assert self.pages.free_pages == free
        self.texts[name] = prompt[:covered]
        if self.write(name, prompt[covered:]):
            return name
        self.free(name)
        return multiple()

    @rule(name=requests, tokens=TOKENS)
    def extend(self, name: int, tokens: list[int]) -> None:
        self.write(name, tokens)

    @rule(name=requests)
    def admit_twice(self, name: int) -> None:
        assert code(self.pages.admit, name, [0]) == "E0802"

    @rule(name=consumes(requests))
    def finish(self, name: int) -> None:
        self.free(name)

    def free(self, name: int) -> None:
        """Free a request: exactly the pages that it alone held come back."""
        others = {page for other in self.texts if other != name for page in self.row(other)}
        alone, free = set(self.row(name)) - others, self.pages.free_pages
        self.pages.free(name)
        del self.texts[name]
        assert self.pages.free_pages == free + len(alone)
        assert code(self.pages.free, name) == "E0802" == code(self.pages.table, [name], 1)

    @invariant()
    def every_request_reads_its_own_tokens(self) -> None:
        for name, text in getattr(self, "texts", {}).items():
            row = self.row(name)
            for at in range(len(text)):
                assert self.cache[row[at // self.size], at % self.size] == text[: at + 1]

    @invariant()
    def pages_with_two_requests_are_full(self) -> None:
        rows = {name: self.row(name) for name in getattr(self, "texts", {})}
        held = Counter(page for row in rows.values() for page in row)
        for name, row in rows.items():
            assert len(set(row)) == len(row)
            assert all(held[page] == 1 for page in row[len(self.texts[name]) // self.size :])
        if rows:
            assert self.pages.free_pages == self.number - len(held)
            assert list(self.pages.lengths(list(rows))) == [len(self.texts[name]) for name in rows]


TestAllocator = Allocator.TestCase
TestAllocator.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestByHand:
    def test_a_prompt_that_is_held_is_not_computed_again(self) -> None:
        pages = Pages(8, 4)
        assert pages.admit("first", range(10)) == 0
        pages.extend("first", range(10))
        assert pages.admit("same", range(10)) == 8
        assert pages.admit("shorter", range(8)) == 4  # its last token is left to be computed
        assert pages.admit("other", [9, *range(1, 10)]) == 0
        assert pages.table(["same", "first"], 3).tolist() == [[0, 1, -1], [0, 1, 2]]

    def test_pages_not_yet_written_are_not_shared(self) -> None:
        pages = Pages(8, 4)
        pages.admit("first", range(12))
        pages.extend("first", range(5))
        assert pages.admit("second", range(12)) == 4

    def test_an_equal_page_is_found_after_its_twin_has_gone(self) -> None:
        pages = Pages(8, 4)
        for name in ("one", "two"):
            pages.admit(name, range(5))
        for name in ("one", "two"):
            pages.extend(name, range(5))
        pages.free("one")
        assert pages.admit("three", range(5)) == 4
        assert pages.table(["three"], 1) == pages.table(["two"], 2)[:, :1]

    def test_freed_pages_are_not_found(self) -> None:
        pages = Pages(2, 4)
        pages.admit("one", range(8))
        pages.extend("one", range(8))
        pages.free("one")
        assert pages.free_pages == 2
        assert pages.admit("two", range(8)) == 0

    def test_the_order_of_the_pages_is_the_callers(self) -> None:
        pages = Pages(3, 2, order=[2, 0, 1])
        pages.admit("one", [])
        pages.extend("one", range(5))
        assert pages.table(["one"], 3).tolist() == [[2, 0, 1]]

    def test_sizes_are_checked(self) -> None:
        assert code(Pages, 0, 16) == "E0803" == code(Pages, 4, 0)
        assert code(Pages, 3, 4, [0, 1, 1]) == "E0803"
        pages = Pages(4, 2)
        assert code(pages.extend, "one", [1]) == "E0802" == code(pages.lengths, ["one"])
        pages.admit("one", [])
        pages.extend("one", range(5))
        assert code(pages.table, ["one"], 2) == "E0803"
