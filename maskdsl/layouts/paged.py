"""Paged: keys in physical pages of one pool; what is logical stands behind a page table.

    page = k // page_size    place = logical_page[page]    k' = place * page_size + k % page_size
    valid: k' < seq_lens[b] and page_table[b, place] == page

One int for every page, the same for all requests, is the whole inverse of the page table: a page that several requests
share has the same logical place in all of them. Where that is not so (`anywhere`), a table of requests × pages is.

Here are requests as batch rows (`paged`), packed queries (`packed_paged`: the serving layout; `tiles_paged`: the same
for kernels on a GPU), and requests as the rows of a decode step (`paged_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from maskdsl.ir.algebra import both, build
from maskdsl.ir.nodes import Node
from maskdsl.ir.types import Table
from maskdsl.layouts.layout import B, K, Layout, Q, layout_table, number, read

LOGICAL_PAGE = layout_table("logical_page", "pages")
"""The logical place of every physical page: int32 [pages]."""
PLACES = layout_table("place_of_page", "requests", "pages")
"""The logical place of every physical page in every request, -1 if it has none: int32 [requests, pages]."""
PAGE_TABLE = layout_table("page_table", "requests", "entries")
"""The physical page at every logical place of a request; entries beyond its length are not read: int32."""
SEQ_LENS = layout_table("seq_lens", "requests")
"""How many tokens each request has, cached and new: int32 [requests]."""

REQUEST = layout_table("request", "tokens")
"""The request of each packed query: int32 [tokens]."""
POSITION = layout_table("position", "tokens")
"""The logical position of each packed query: int32 [tokens]."""
LIMIT = layout_table("limit", "tokens")
"""The length of each packed query's request; 0 where the query sees nothing: int32 [tokens]."""

MEMBER_BITS = 31
"""Requests that one int holds a bit for."""
MEMBERS = tuple(layout_table(f"members_{word}", "tiles", "pages") for word in range(3))
"""Which of a tile's requests see a page, a bit for each in their order, 31 in each table: int32 [tiles, pages]."""
TILE_REQUEST, TILE_POSITION, TILE_LIMIT = (layout_table(t.name, "tiles", "rows") for t in (REQUEST, POSITION, LIMIT))
"""The same of packed queries in tiles: int32 [tiles, rows]."""
NUMBER = layout_table("number", "tiles", "rows")
"""The number of each packed query's request among those that are prefilled: int32 [tiles, rows]."""
FIRST_NUMBER = layout_table("first_number", "tiles")
"""The number of the first request of a tile: int32 [tiles]."""

ROW_REQUEST = layout_table("row_request", "rows")
"""The request of each row: int32 [rows]."""
ROW_FIRST = layout_table("row_first", "rows")
"""The logical position of each row's first query: int32 [rows]."""
ROW_LIMIT = layout_table("row_limit", "rows")
"""The length of each row's request: int32 [rows]."""


def paged(page_size: int, *, anywhere: bool = False) -> Layout:
    """Requests as batch rows: queries from 0 on, keys in pages."""
    return _layout("paged", page_size, anywhere, {}, B, read(SEQ_LENS, B), (SEQ_LENS,), owned=True)


def packed_paged(page_size: int, *, anywhere: bool = False) -> Layout:
    """Packed queries over keys in pages: the queries of a request are the last of its tokens."""
    request, limit = read(REQUEST, Q), read(LIMIT, Q)
    places = {"b": request, "q": read(POSITION, Q), "q_len": limit}
    tables = (REQUEST, POSITION, LIMIT)
    return _layout("packed + paged", page_size, anywhere, places, request, limit, tables, owned=True)


def tiles_paged(page_size: int, words: int, *, anywhere: bool = False) -> Layout:
    """Tiles of packed queries as batch rows, each with a list of its own pages, and so many tables of `MEMBERS`.

    Unless pages stand `anywhere`, nothing is read by query and key at once. What is, as a page table by the request of
    a query and the page of a key, is a tile of its own that a kernel must hold, in more shared memory than there is
    beside large tiles.
    """
    request, limit = read(TILE_REQUEST, B, Q), read(TILE_LIMIT, B, Q)
    places = {"b": request, "q": read(TILE_POSITION, B, Q), "q_len": limit}
    rows = (TILE_REQUEST, TILE_POSITION, TILE_LIMIT)
    if anywhere:
        return _layout("packed + paged tiles", page_size, True, places, request, limit, rows, owned=True)
    page, _ = _divided(page_size)
    slot = build("sub", read(NUMBER, B, Q), read(FIRST_NUMBER, B))
    member: Node = build("shift_right", read(MEMBERS[0], B, page), slot)
    for word in range(1, words):
        there = build("sub", slot, number(word * MEMBER_BITS))
        other = build("shift_right", read(MEMBERS[word], B, page), there)
        member = build("choose", build("lt", there, number(0)), member, other)
    sees = build("eq", build("bit_and", member, number(1)), number(1))
    tables = (*rows, NUMBER, FIRST_NUMBER, *MEMBERS[:words])
    found = _layout("packed + paged tiles", page_size, False, places, request, limit, tables, owned=False)
    return replace(found, valid=both(found.valid, sees))


def paged_rows(page_size: int, *, anywhere: bool = False) -> Layout:
    """Rows of a decode step, each with a few queries of one request and a list of its own pages.

    As no row lists another request's page, validity does not ask to whom a page belongs.
    """
    request, limit = read(ROW_REQUEST, B), read(ROW_LIMIT, B)
    places = {"b": request, "q": build("add", read(ROW_FIRST, B), Q), "q_len": limit}
    tables = (ROW_REQUEST, ROW_FIRST, ROW_LIMIT)
    return _layout("paged rows", page_size, anywhere, places, request, limit, tables, owned=False)


def _layout(
    name: str, page_size: int, anywhere: bool, places: Mapping[str, Node], request: Node, limit: Node,
    tables: tuple[Table, ...], *, owned: bool,
) -> Layout:  # fmt: skip
    page, slot = _divided(page_size)
    place: Node = read(PLACES, request, page) if anywhere else read(LOGICAL_PAGE, page)
    k = build("add", build("mul", place, number(page_size)), slot)
    valid = build("lt", k, limit)
    if anywhere:
        valid = both(build("ge", place, number(0)), valid)
    elif owned:
        valid = both(valid, build("eq", read(PAGE_TABLE, request, place), page))
    inverse = (PLACES,) if anywhere else (LOGICAL_PAGE, PAGE_TABLE) if owned else (LOGICAL_PAGE,)
    counts = frozenset({"batch", "position"})
    return Layout(name, (*tables, *inverse), {**places, "k": k, "kv_len": limit}, valid, counts)


def _divided(page_size: int) -> tuple[Node, Node]:
    """The page of a key and its slot there: shifts where they do, which spill fewer registers."""
    if page_size & (page_size - 1) == 0:
        return build("shift_right", K, number(page_size.bit_length() - 1)), build("bit_and", K, number(page_size - 1))
    return build("floordiv", K, number(page_size)), build("mod", K, number(page_size))
