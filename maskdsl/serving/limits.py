"""The limits of a serving engine that kernels and buffers are made for, and what no kernel can take."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from maskdsl.backends.flex_limits import DTYPES, require_device
from maskdsl.layouts.paged import MEMBER_BITS
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Span

Q_BLOCK = 128
"""Packed queries of one tile."""

DECODE_TOKENS = 16
"""Requests with no more new tokens than this are decoded, unless told otherwise."""

LARGEST_OFFSET = 2**31 - 1
"""torch's Triton templates multiply offsets in int32: elements of a pool beyond it are read from the wrong place."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes that hold for the life of an attention object; all but `page_size` and `head_dim` are the most of each.

    `decode_tokens`: requests with at most so many new tokens are decoded (one row each, keys split over rows), others
    are prefilled (packed in tiles of 128 queries). `places` says whether a page stands at one logical place in all
    requests that hold it ("one"), perhaps at several ("any"), or that this is to be found out ("auto") whenever a plan
    reads from the device anyway.
    """

    max_requests: int
    max_tokens: int
    num_pages: int
    page_size: int
    max_pages_per_request: int
    heads: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device
    decode_tokens: int = DECODE_TOKENS
    places: str = "auto"

    @property
    def capacity(self) -> int:
        """The most tokens that a request can have."""
        return self.max_pages_per_request * self.page_size

    @property
    def on_gpu(self) -> bool:
        """Whether there are kernels of our own."""
        return bool(self.device.type == "cuda")

    @property
    def packed_tokens(self) -> int:
        """The packed queries that there is room for: on CUDA whole tiles, which keeps torch's main kernel and spares it
        the look at every edge.
        """
        return self.tiles * Q_BLOCK if self.on_gpu else self.max_tokens

    @property
    def tile_requests(self) -> int:
        """The most requests that are prefilled in one tile: the first and the last may reach over its edges."""
        return min(self.max_requests, 2 + (Q_BLOCK - 2) // (self.decode_tokens + 1))

    @property
    def member_words(self) -> int:
        """The ints that hold a bit for each of them."""
        return -(-self.tile_requests // MEMBER_BITS)

    @property
    def tiles(self) -> int:
        """The tiles of packed queries."""
        return -(-self.max_tokens // Q_BLOCK)


def device_of(device: torch.device | str, span: Span) -> torch.device:
    """The device as tensors name it: "cuda" alone is the current GPU. Raises MaskError E0902 where no kernel is."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise MaskError(Diagnostic("E0902", f"torch knows no device `{device}`", span)) from None
    if found.type not in ("cpu", "cuda"):
        raise MaskError(Diagnostic("E0902", f"there are no serving kernels for `{found}`", span))
    if found.type == "cuda" and found.index is None and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return found


def check_limits(limits: Limits, span: Span) -> None:
    """Raises MaskError: E0902 for limits that no kernel can keep, E0701 for a GPU that is not there."""
    require_device(limits.device, span)
    wrong = [*_not_positive(limits), *_unfit(limits)]
    if limits.on_gpu and not wrong:
        wrong = _unfit_for_cuda(limits)
    if wrong:
        raise MaskError([Diagnostic("E0902", message, span, help=help) for message, help in wrong])


Wrong = list[tuple[str, tuple[str, ...]]]


def _not_positive(limits: Limits) -> Wrong:
    names = ("max_requests", "max_tokens", "num_pages", "page_size", "max_pages_per_request", "heads", "kv_heads")
    found = {n: getattr(limits, n) for n in (*names, "head_dim", "decode_tokens")}
    return [(f"`{n}` is {value!r}, no positive int", ()) for n, value in found.items() if not _is_count(value)]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _unfit(limits: Limits) -> Wrong:
    wrong: Wrong = []
    if _is_count(limits.kv_heads) and _is_count(limits.heads) and limits.heads % limits.kv_heads:
        wrong.append((f"`heads` is {limits.heads}, no multiple of the {limits.kv_heads} of `kv_heads`", ()))
    if limits.dtype not in DTYPES:
        known = ", ".join(str(d).removeprefix("torch.") for d in DTYPES)
        wrong.append((f"no kernel computes with {limits.dtype}", (f"use one of {known}",)))
    if limits.places not in ("auto", "one", "any"):
        wrong.append((f"`places` is {limits.places!r}", ('it is "auto", "one" or "any"',)))
    if _is_count(limits.decode_tokens) and limits.decode_tokens > Q_BLOCK // 2:
        wrong.append((f"`decode_tokens` is {limits.decode_tokens}, and at most {Q_BLOCK // 2} are decoded", ()))
    if _is_count(limits.num_pages) and _is_count(limits.page_size) and limits.num_pages * limits.page_size > 2**30:
        wrong.append(("the pool holds more than 2**30 tokens", ("split the requests over several pools",)))
    return wrong


def _unfit_for_cuda(limits: Limits) -> Wrong:
    wrong: Wrong = []
    elements = limits.num_pages * limits.page_size * limits.kv_heads * limits.head_dim
    if elements > LARGEST_OFFSET:
        advice = f"{LARGEST_OFFSET // (limits.page_size * limits.kv_heads * limits.head_dim)} pages are the most"
        wrong.append((f"a pool of {elements:,} elements passes 2**31, where kernels lose their place", (advice,)))
    if limits.page_size % 16:
        wrong.append((f"pages of {limits.page_size} tokens do not split into tiles of 16", ("use a multiple of 16",)))
    if limits.head_dim < 16:
        wrong.append((f"`head_dim` is {limits.head_dim}, and the cache is read in place, 16 or more at once", ()))
    return wrong
