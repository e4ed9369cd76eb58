"""One step of an engine as tables on the device: what all layers share, whatever they attend to. Buffers are fixed.

Not here: which pages a program visits (`plan_torch`, `plan_triton`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from maskdsl.backends.paged_tables import conflicts, logical_pages, places_of_pages, token_tables, used_entries
from maskdsl.serving.limits import Limits
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Span

if TYPE_CHECKING:
    from maskdsl.serving.cuda import StepLaunches


def lasting() -> AbstractContextManager[None]:
    """Where buffers are made that later calls write into, in inference mode or not."""
    return torch.inference_mode(False)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Host:
    """What the host must know of a step: the most new tokens of any request, how many requests are decoded, and the
    most new tokens of one of those; and how many there are in all, None where that was not read.
    """

    longest_query: int
    decode_requests: int
    longest_decode: int
    tokens: int | None = None


@dataclass(slots=True)
class Step:
    """The tables of a step, int32.

    `page_table` [requests, entries], `seq_lens` [requests] and `query_start` [requests + 1] as the engine gave them,
    filled up with requests without tokens. For every packed token `request`, `position` and, 0 for those that are not
    prefilled, `limit`; `token_position` is -1 behind the last token. On CUDA alone: for every token `number`, that of
    its request among those that are prefilled, `numbers` [requests] the same for requests, `next_prefilled` [requests +
    1] the request itself or the first behind it that is prefilled, `max_requests` if there is none. `places` [requests,
    pages] is there where pages may stand at several logical places. `host` is what was told or read. `rooms` are
    buffers that are used within one call, and so by all attention objects that share the step.
    """

    limits: Limits
    page_table: Tensor
    seq_lens: Tensor
    query_start: Tensor
    request: Tensor
    position: Tensor
    limit: Tensor
    token_position: Tensor
    number: Tensor
    numbers: Tensor
    next_prefilled: Tensor
    places: Tensor | None = None
    launches: StepLaunches | None = None
    rooms: dict[str, Tensor] = field(default_factory=dict)
    host: Host = field(default_factory=lambda: Host(0, 0, 0))
    planned: bool = False

    @property
    def counts(self) -> Tensor:
        """How many new tokens each request has: int32 [requests]."""
        return self.query_start.diff()

    @property
    def is_decoded(self) -> Tensor:
        """Which requests are decoded: bool [requests]."""
        return (self.counts > 0) & (self.counts <= self.limits.decode_tokens)

    def use_places(self) -> None:
        """From now on, pages may stand at several logical places."""
        if self.places is None:
            shape = (self.limits.max_requests, self.limits.num_pages)
            with lasting():
                self.places = torch.full(shape, -1, dtype=torch.int32, device=self.limits.device)

    def update(
        self, page_table: Tensor, seq_lens: Tensor, query_start: Tensor, *,
        told: tuple[int | None, int | None, int | None], span: Span,
    ) -> None:  # fmt: skip
        """Takes over a step; `told` are the first three numbers of `Host` as far as the engine gives them.

        Nothing is read back where the first two are given. Raises MaskError E0903.
        """
        self.planned = False
        requests = check_step(page_table, seq_lens, query_start, self.limits, span)
        host = told_host(*told, self.limits)
        if host is None and captures():
            raise _not_a_step(["a CUDA graph can read nothing: tell `longest_query` and `decode_requests`"], span)
        if self.limits.on_gpu:
            self.on_cuda().build(page_table, seq_lens, query_start)
        else:
            self._take_over(page_table, seq_lens, query_start, requests)
        self._find_places(look=host is None and self.limits.places == "auto" and self.places is None)
        self.host = self._read(seq_lens, span) if host is None else host
        self.planned = True

    def on_cuda(self) -> StepLaunches:
        """The launches for this step."""
        if self.launches is None:
            from maskdsl.serving.cuda import StepLaunches  # needs Triton

            self.launches = StepLaunches(self)
        return self.launches

    def room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The buffer of this name, of zeros at first."""
        if name not in self.rooms:
            with lasting():
                self.rooms[name] = torch.zeros(shape, dtype=dtype, device=self.limits.device)
        return self.rooms[name]

    def filled_up(self, q: Tensor) -> Tensor:
        """Queries (tokens, heads, D) with as many behind them as there is room for."""
        limits = self.limits
        # Made at the first prefill, whether it needs it or not: a CUDA graph may follow that does.
        room = self.room("queries", (limits.packed_tokens, limits.heads, limits.head_dim), limits.dtype)
        if q.shape[0] == limits.packed_tokens:
            return q
        room[: q.shape[0]].copy_(q)
        return room

    def _take_over(self, page_table: Tensor, seq_lens: Tensor, query_start: Tensor, requests: int) -> None:
        """Fills the tables in torch."""
        limits = self.limits
        self.page_table[:requests].copy_(page_table)
        self.seq_lens.zero_()[:requests].copy_(seq_lens)
        self.query_start[: requests + 1].copy_(query_start)
        self.query_start[requests + 1 :].copy_(query_start[-1:].expand(limits.max_requests - requests))
        tokens = token_tables(self.seq_lens, self.query_start, limits.packed_tokens)
        self.request.copy_(tokens.request)
        self.position.copy_(tokens.position)
        self.token_position.copy_(torch.where(tokens.limit > 0, tokens.position, -1))
        self.limit.copy_(torch.where(self.is_decoded[tokens.request.long()], 0, tokens.limit))

    def _find_places(self, *, look: bool) -> None:
        """Where pages may stand at several logical places: the table for that; `look` finds out whether they do."""
        if not look and self.places is None:
            return
        used = used_entries(self.page_table, self.seq_lens, self.limits.page_size)
        if look:
            logical = logical_pages(self.page_table, used, self.limits.num_pages)
            if int(conflicts(self.page_table, used, logical)):
                self.use_places()
        if self.places is not None:
            places_of_pages(self.page_table, used, self.limits.num_pages, out=self.places)

    def _read(self, seq_lens: Tensor, span: Span) -> Host:
        """The host's numbers by one read from the device, with what only the device knows to be wrong."""
        counts = self.counts
        used = used_entries(self.page_table, self.seq_lens, self.limits.page_size)
        numbers = torch.stack([
            counts.max(), self.is_decoded.sum(), (counts * self.is_decoded).max(), self.query_start[-1],
            self.query_start[0], counts.min(),
            seq_lens.max() if seq_lens.numel() else self.seq_lens.max(), (self.seq_lens - counts).min(),
            self.seq_lens.min(), (used & (self.page_table >= self.limits.num_pages)).sum(),
        ]).tolist()  # fmt: skip
        _check_numbers(numbers, self.limits, span)
        return Host(*numbers[:4])


def empty_step(limits: Limits) -> Step:
    """The buffers of a step, without requests."""
    requests, tokens = limits.max_requests, limits.packed_tokens

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=limits.device)

    step = Step(
        limits, zeros(requests, limits.max_pages_per_request), zeros(requests), zeros(requests + 1), zeros(tokens),
        zeros(tokens), zeros(tokens), zeros(tokens) - 1, zeros(tokens), zeros(requests), zeros(requests + 1),
    )  # fmt: skip
    if limits.places == "any":
        step.use_places()
    return step


def told_host(longest_query: int | None, decode_requests: int | None, longest_decode: int | None, limits: Limits) -> (
    Host | None
):
    """What the engine told; None where that is too little."""
    if longest_query is None or decode_requests is None:
        return None
    longest = min(longest_query, limits.decode_tokens) if longest_decode is None else longest_decode
    return Host(longest_query, decode_requests, longest)


def captures() -> bool:
    """Whether a CUDA graph is being captured."""
    return bool(torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def check_step(page_table: Tensor, seq_lens: Tensor, query_start: Tensor, limits: Limits, span: Span) -> int:
    """The number of requests. Raises MaskError E0903 where shapes, dtypes or devices do not fit the limits."""
    wrong: list[str] = []
    given = {"page_table": (page_table, 2), "seq_lens": (seq_lens, 1), "query_start": (query_start, 1)}
    for name, (tensor, axes) in given.items():
        if not isinstance(tensor, Tensor) or tensor.dtype not in (torch.int32, torch.int64) or tensor.dim() != axes:
            wrong.append(f"`{name}` is no int tensor of {axes} {'axis' if axes == 1 else 'axes'}")
        elif tensor.device != limits.device:
            wrong.append(f"`{name}` is on {tensor.device}, and the cache on {limits.device}")
    if wrong:
        raise _not_a_step(wrong, span)
    requests = int(seq_lens.shape[0])
    if requests > limits.max_requests:
        wrong.append(f"there are {requests} requests, and `max_requests` is {limits.max_requests}")
    if page_table.shape != (requests, limits.max_pages_per_request):
        shape = tuple(page_table.shape)
        wrong.append(f"`page_table` is {shape}, and must be ({requests}, {limits.max_pages_per_request})")
    if query_start.shape[0] != requests + 1:
        wrong.append(f"`query_start` has {query_start.shape[0]} entries, and must have {requests + 1}")
    if wrong:
        raise _not_a_step(wrong, span)
    return requests


def _check_numbers(numbers: list[int], limits: Limits, span: Span) -> None:
    _, _, _, tokens, first, fewest, longest, cached, shortest, outside = numbers
    wrong: list[str] = []
    if first != 0 or fewest < 0:
        wrong.append("`query_start` does not begin with 0 and grow")
    if tokens > limits.max_tokens:
        wrong.append(f"there are {tokens} queries, and `max_tokens` is {limits.max_tokens}")
    if longest > limits.capacity:
        wrong.append(f"a request has {longest} tokens, and its pages hold {limits.capacity}")
    if shortest < 0:
        wrong.append("`seq_lens` holds a negative length")
    elif cached < 0:
        wrong.append("a request has more queries than tokens")
    if outside:
        wrong.append(f"{outside} entries of `page_table` are no pages of the {limits.num_pages}")
    if wrong:
        raise _not_a_step(wrong, span)


def _not_a_step(wrong: list[str], span: Span) -> MaskError:
    return MaskError([Diagnostic("E0903", message, span) for message in wrong])
