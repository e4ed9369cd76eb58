"""Which pages of a paged cache hold which request's tokens: pages taken, shared and given back.

Plain Python and NumPy. Not here: the caches themselves, what is written into them, and the layout of a step.

Requests that begin alike share pages. A page is found by a digest of all the tokens from the request's beginning to the
page's end, so equal digests mean equal keys and values. Only full pages are shared, and a full page is never written
again: sharing needs no copy on write. Every page counts its requests, and is free again when the last one leaves.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskdsl.source.diagnostic import Diagnostic, MaskError


@dataclass(slots=True)
class _Held:
    """One request: its pages in logical order, its length in tokens, and what its next digest is made of."""

    pages: list[int] = field(default_factory=list)
    length: int = 0
    digest: bytes = b""
    tail: list[int] = field(default_factory=list)
    """The tokens since the last full page."""


class Pages:
    """The pages of a cache of `num_pages` × `page_size` tokens.

    `admit` a request, `extend` it before each step by the tokens that the step writes, and `free` it at its end.
    `order`, a permutation of the page numbers, says which pages are given first; given back, a page goes to the end.
    Raises MaskError E0803 when a size is below one or `order` is no permutation.
    """

    def __init__(self, num_pages: int, page_size: int, order: Sequence[int] | None = None) -> None:
        order = range(num_pages) if order is None else order
        if min(num_pages, page_size) < 1:
            raise MaskError(Diagnostic("E0803", f"{num_pages} pages of {page_size} tokens hold nothing"))
        if sorted(order) != list(range(num_pages)):
            raise MaskError(Diagnostic("E0803", f"`order` is no permutation of the {num_pages} pages"))
        self.num_pages = num_pages
        self.page_size = page_size
        self._free = deque(order)
        self._users = [0] * num_pages
        self._requests: dict[Hashable, _Held] = {}
        self._full: dict[bytes, list[int]] = {}
        """The full pages of each digest: several where requests computed the same tokens at the same time."""
        self._digests: dict[int, bytes] = {}

    @property
    def free_pages(self) -> int:
        """The number of pages that no request holds."""
        return len(self._free)

    def admit(self, request: Hashable, tokens: Sequence[int]) -> int:
        """Start a request on the full pages that begin `tokens` and are held already; how many tokens these cover.

        The caller computes the others and gives them to `extend`. One token at least is left, since a model is asked
        for what follows it. Raises MaskError E0802 when the request is held already.
        """
        if request in self._requests:
            raise MaskError(_held_already(request))
        held = self._requests[request] = _Held()
        for start in range(0, len(tokens) - self.page_size, self.page_size):
            digest = _extend_digest(held.digest, tokens[start : start + self.page_size])
            if digest not in self._full:
                break
            page = self._full[digest][0]
            self._users[page] += 1
            held.pages.append(page)
            held.digest = digest
        held.length = len(held.pages) * self.page_size
        return held.length

    def extend(self, request: Hashable, tokens: Sequence[int]) -> None:
        """Make room for `tokens` at the request's end.

        The step that follows must write them before it reads: from now on others may share the pages that they fill.
        Raises MaskError, and changes nothing: E0801 when too few pages are free, E0802 for an unknown request.
        """
        held = self._of(request)
        missing = -(-(held.length + len(tokens)) // self.page_size) - len(held.pages)
        if missing > len(self._free):
            raise MaskError(_no_page(request, missing, len(self._free), self.num_pages))
        held.pages += (self._take() for _ in range(missing))
        held.length += len(tokens)
        held.tail += tokens
        while len(held.tail) >= self.page_size:
            self._offer(held)

    def free(self, request: Hashable) -> None:
        """Let a request go, and its pages with it that nobody else holds. Raises MaskError E0802 if it is unknown."""
        held = self._of(request)
        del self._requests[request]
        for page in held.pages:
            self._users[page] -= 1
            if not self._users[page]:
                self._give_back(page)

    def table(self, requests: Sequence[Hashable], max_pages: int) -> NDArray[np.int32]:
        """The page table of some requests, int32 [request, max_pages]: pages in logical order, then -1.

        Raises MaskError: E0802 for an unknown request, E0803 for one of more than `max_pages` pages.
        """
        rows = np.full((len(requests), max_pages), -1, np.int32)
        for row, request in zip(rows, requests, strict=True):
            pages = self._of(request).pages
            if len(pages) > max_pages:
                raise MaskError(_too_long(request, len(pages), max_pages))
            row[: len(pages)] = pages
        return rows

    def lengths(self, requests: Sequence[Hashable]) -> NDArray[np.int32]:
        """The lengths of some requests in tokens, int32 [request]. Raises MaskError E0802 for an unknown one."""
        return np.array([self._of(request).length for request in requests], np.int32)

    def _of(self, request: Hashable) -> _Held:
        if request not in self._requests:
            raise MaskError(_unknown(request))
        return self._requests[request]

    def _take(self) -> int:
        page = self._free.popleft()
        self._users[page] = 1
        return page

    def _offer(self, held: _Held) -> None:
        """Let others share the page that the request's tail has filled."""
        page = held.pages[(held.length - len(held.tail)) // self.page_size]
        held.digest = _extend_digest(held.digest, held.tail[: self.page_size])
        del held.tail[: self.page_size]
        self._full.setdefault(held.digest, []).append(page)
        self._digests[page] = held.digest

    def _give_back(self, page: int) -> None:
        if page in self._digests:
            digest = self._digests.pop(page)
            self._full[digest].remove(page)
            if not self._full[digest]:
                del self._full[digest]
        self._free.append(page)


def _extend_digest(digest: bytes, tokens: Sequence[int]) -> bytes:
    """The digest of a prefix that is one page longer."""
    return hashlib.blake2b(digest + np.asarray(tokens, np.int64).tobytes(), digest_size=16).digest()


# ---------------------------------------------------------------- messages


def _no_page(request: Hashable, missing: int, free: int, pages: int) -> Diagnostic:
    return Diagnostic(
        "E0801", f"request `{request}` needs {missing} more {_pages(missing)}, and {free} of {pages} "
        f"{'is' if free == 1 else 'are'} free",
        help=("free a request that is done, let this one wait, or make `num_pages` larger",),
    )  # fmt: skip


def _unknown(request: Hashable) -> Diagnostic:
    return Diagnostic("E0802", f"request `{request}` holds no pages", help=("`admit` it first",))


def _held_already(request: Hashable) -> Diagnostic:
    return Diagnostic("E0802", f"request `{request}` is held already", help=("`free` it first",))


def _too_long(request: Hashable, pages: int, max_pages: int) -> Diagnostic:
    message = f"request `{request}` has {pages} {_pages(pages)}, and the page table has {max_pages} a row"
    return Diagnostic("E0803", message, help=(f"make `max_pages` {pages} or more",))


def _pages(number: int) -> str:
    return "page" if number == 1 else "pages"
