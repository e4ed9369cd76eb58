"""The serving loop: requests are admitted, prefilled in chunks, decoded with the others, finished and freed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from examples.smollm2.model import Model
from maskdsl.serving.pages import Pages


@dataclass(eq=False, slots=True)
class Request:
    """A prompt to be continued by at most `new` tokens, or until the token `stop`; it comes with step `arrival`."""

    prompt: list[int]
    new: int
    arrival: int = 0
    stop: int | None = None
    answer: list[int] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    """The scores that each answered token was chosen by, where the engine keeps them."""
    computed: int = 0
    """How many tokens have their keys and values in the pages."""

    @property
    def tokens(self) -> list[int]:
        """The prompt and what was answered so far."""
        return self.prompt + self.answer

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return len(self.answer) == self.new or (bool(self.answer) and self.answer[-1] == self.stop)


Batch = list[tuple[Request, list[int]]]
"""What a step computes: requests and the tokens that each adds."""


@dataclass(eq=False)
class Engine:
    """One model, its caches and its pages. A step computes at most `max_tokens` tokens, `chunk` of each request."""

    model: Model
    attention: Any
    pages: Pages
    max_requests: int
    max_tokens: int
    max_pages: int
    chunk: int
    keep_logits: bool = False

    def __post_init__(self) -> None:
        self.caches = self.model.caches(self.pages.num_pages, self.pages.page_size)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.clock = 0
        self.shared = 0
        """How many tokens of the served prompts were found in other requests' pages."""

    def serve(self, requests: Iterable[Request]) -> Iterator[list[Request]]:
        """Serve requests to their ends; the steps, each as the requests that got a token."""
        self.clock = self.shared = 0
        self.waiting.extend(sorted(requests, key=lambda request: request.arrival))
        while self.waiting or self.running:
            yield self.step()
            self.clock += 1

    def step(self) -> list[Request]:
        """Compute one batch, and choose a token for every request that has no more tokens to compute."""
        self.admit()
        batch = self.schedule()
        if not batch:
            return []
        hidden = self.forward(batch)
        ends = torch.tensor([len(tokens) for _, tokens in batch]).cumsum(0) - 1
        ready = [(request, end) for (request, _), end in zip(batch, ends, strict=True) if not self.pending(request)]
        if not ready:
            return []
        logits = self.model.logits(hidden[[int(end) for _, end in ready]])
        for (request, _), scores, token in zip(ready, logits, logits.argmax(-1).tolist(), strict=True):
            request.answer.append(token)
            if self.keep_logits:
                request.logits.append(scores.float().cpu())
            if request.done:
                self.running.remove(request)
                self.pages.free(request)
        return [request for request, _ in ready]

    def admit(self) -> None:
        """Admit the requests that have come, in order, as long as the pages that all may need at their ends exist."""
        while self.waiting and self.waiting[0].arrival <= self.clock and len(self.running) < self.max_requests:
            needed = sum(map(self.pages_at_end, (*self.running, self.waiting[0])))
            if needed > self.pages.num_pages:
                return
            request = self.waiting.popleft()
            request.computed = self.pages.admit(request, request.prompt)
            self.shared += request.computed
            self.running.append(request)

    def pages_at_end(self, request: Request) -> int:
        """The most pages that a request can hold: the last token that it answers is never computed."""
        return -(-(len(request.prompt) + request.new - 1) // self.pages.page_size)

    def pending(self, request: Request) -> int:
        """How many tokens of a request are not yet computed: 1 while it decodes."""
        return len(request.tokens) - request.computed

    def schedule(self) -> Batch:
        """The next batch: decoding requests first, then chunks of prompts while there is room."""
        batch: Batch = []
        room = self.max_tokens
        for request in sorted(self.running, key=self.pending):
            taken = request.tokens[request.computed :][: min(self.chunk, room)]
            if taken:
                batch.append((request, taken))
                room -= len(taken)
        return batch

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """The model's output for a batch's tokens, packed in the batch's order: (tokens, hidden)."""
        device = self.caches.device
        requests = [request for request, _ in batch]
        for request, tokens in batch:
            self.pages.extend(request, tokens)
        lengths = [len(tokens) for _, tokens in batch]
        self.attention.plan(
            torch.from_numpy(self.pages.table(requests, self.max_pages)).to(device),
            torch.from_numpy(self.pages.lengths(requests)).to(device),
            torch.tensor([0, *lengths]).cumsum(0).int().to(device),
            longest_query=max(lengths), decode_requests=lengths.count(1),
        )  # fmt: skip
        packed = [token for _, tokens in batch for token in tokens]
        places = [request.computed + i for request, tokens in batch for i in range(len(tokens))]
        for request, tokens in batch:
            request.computed += len(tokens)
        return self.model.forward(
            torch.tensor(packed, device=device), torch.tensor(places, device=device), self.attention, self.caches
        )
