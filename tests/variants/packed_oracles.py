"""Oracles of the packed family: documents, shared prefixes, formats of training, evictions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from oracle import Array, Oracle, Sizes, documents
from pairs import Draw, Tables, ascending, pairs, per_row, whole
from varlen_oracles import blocks, ends, top_left


def packed_causal_interval(sizes: Sizes, document: Array, start: Array) -> Array:
    return blocks(sizes, document, lambda row, d: np.flatnonzero(document[row] == d), top_left)  # type: ignore


def prefix_lm_document(sizes: Sizes, document: Array, start: Array, prefix: Array) -> Array:
    seen = np.zeros((sizes.b, 1, document.shape[1], document.shape[1]), bool)
    for row, numbers in enumerate(document):
        for d in np.unique(numbers):
            n = int((numbers == d).sum())
            block = np.tril(np.ones((n, n), bool))
            block[:, : prefix[row, d]] = True
            seen[row, 0, start[row, d] : start[row, d] + n, start[row, d] : start[row, d] + n] = block
    return seen[:, :, : sizes.q, : sizes.k]


def _columns(sizes: Sizes, hidden: Callable[[int, int], tuple[int, int]]) -> Array:
    """FlashMask's causal columns: key k of row b is hidden in the queries from `hidden(b, k)[0]` up to `[1]`."""
    seen = np.tril(np.ones((sizes.b, 1, sizes.q, sizes.k), bool))
    for b, k in np.ndindex(sizes.b, sizes.k):
        first, end = hidden(b, k)
        seen[b, 0, first:end, k] = False
    return seen


def causal_blockwise(sizes: Sizes, document: Array, last: Array) -> Array:
    """FlashMask's generator: a key is hidden from the end of its block to the start of the last one."""

    def hidden(b: int, k: int) -> tuple[int, int]:
        start = np.searchsorted(document[b], last[b])
        return int(np.searchsorted(document[b], document[b, k], side="right")), int(start)

    return _columns(sizes, hidden)


def share_question(sizes: Sizes, document: Array) -> Array:
    """FlashMask's generator: the question is never hidden, an answer's key from its end on."""

    def hidden(b: int, k: int) -> tuple[int, int]:
        end = int(np.searchsorted(document[b], document[b, k], side="right"))
        return (sizes.q if document[b, k] == 0 else end), sizes.q

    return _columns(sizes, hidden)


def shared_prefix(sizes: Sizes, document: Array, prompt: Array) -> Array:
    """By runs of keys, as attention-gym says it."""
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    for b in range(sizes.b):
        for q in range(sizes.q):
            mine = document[b, q]
            own = np.flatnonzero(document[b] == mine)[0]
            seen[b, 0, q, own : q + 1] = True
            if prompt[b, mine] != mine:
                for k in np.flatnonzero(document[b, : sizes.k] == prompt[b, mine]):
                    seen[b, 0, q, k] = True
    return seen


def prefix_trie(sizes: Sizes, segment: Array, enter: Array, leave: Array) -> Array:
    """Climbs from the query's segment to the root; a segment's parent is the last one before that is still open."""

    def path(b: int, s: int) -> set[int]:
        parents = [p for p in range(s) if leave[b, p] > enter[b, s]]
        return {s} | (path(b, parents[-1]) if parents else set())

    return pairs(sizes, lambda b, q, k: k <= q and segment[b, k] in path(b, segment[b, q]))


def multi_item_scoring(sizes: Sizes, prefix: Array, item_position: Array) -> Array:
    """Token by token: a delimiter closes the item before it and belongs to none."""
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    for b in range(sizes.b):
        item: list[int] = []
        for q in range(sizes.q):
            if q < prefix[b]:
                seen[b, 0, q, : q + 1] = True
                continue
            item = [*item, q] if item_position[b, q - prefix[b]] > 0 else []
            seen[b, 0, q, : prefix[b]] = True
            seen[b, 0, q, [k for k in item if k < sizes.k]] = True
    return seen


HUMAN, THOUGHT, INNER, OUTER = 1, 2, 3, 4
IN_TURN = {HUMAN: {1, 2, 3, 4}, THOUGHT: {1, 2, 4}, INNER: {1, 2, 3}, OUTER: {1, 2, 3, 4}}
"""Which roles see a role in the same turn; in a later turn everyone sees the human's words and inner answers."""


def multi_turn_reasoning(sizes: Sizes, conversation: Array, turn: Array, role: Array) -> Array:
    def sees(b: int, q: int, k: int) -> bool:
        if k > q or conversation[b, q] != conversation[b, k]:
            return False
        if turn[b, q] != turn[b, k]:
            return role[b, k] in (HUMAN, INNER)
        return role[b, q] in IN_TURN[role[b, k]]

    return pairs(sizes, sees)


def gist_tokens(sizes: Sizes, gist_start: Array, gist_end: Array) -> Array:
    """As `make_gist_mask` joins them: rows up to the last gist token see up to it, later rows from the first one on."""
    seen = np.zeros((sizes.b, 1, sizes.q, sizes.k), bool)
    for b, (first, last) in enumerate(zip(gist_start, gist_end, strict=True)):
        seen[b, 0, : last + 1, : last + 1] = True
        seen[b, 0, last + 1 :, first:] = True
    return np.tril(seen)


def qk_sparse(sizes: Sizes, segment: Array) -> Array:
    seen = np.tile(np.tril(np.ones((sizes.q, sizes.k), bool)), (sizes.b, 1, 1, 1))
    for b, numbers in enumerate(segment):
        for s in set(numbers[numbers >= 0]):
            members = np.flatnonzero(numbers == s)
            seen[b, 0][np.ix_(members[members < sizes.q], members[members < sizes.k])] = False
    return seen


def qk_dropping(sizes: Sizes, keep_query: Array, keep_key: Array) -> Array:
    kept = np.einsum("bhq,bhk->bhqk", keep_query[..., : sizes.q], keep_key[..., : sizes.k])
    return np.tril(kept)


def hash_sparse(sizes: Sizes, q_bucket: Array, k_bucket: Array, q_place: Array, k_place: Array) -> Array:
    """Causal within buckets where the tokens stood, then each axis sorted by its buckets."""
    length = q_bucket.shape[-1]
    seen = np.zeros((sizes.b, sizes.h, length, length), bool)
    for index in np.ndindex(sizes.b, sizes.h):
        queries, keys = np.empty(length, int), np.empty(length, int)
        queries[q_place[index]], keys[k_place[index]] = q_bucket[index], k_bucket[index]
        causal = np.tril(queries[:, None] == keys[None])
        seen[index] = causal[np.ix_(q_place[index], k_place[index])]
    return seen[:, :, : sizes.q, : sizes.k]


def random_eviction(sizes: Sizes, evicted_at: Array) -> Array:
    """Step by step over a cache."""
    seen = np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)
    for b, h in np.ndindex(sizes.b, sizes.h):
        for q in range(sizes.q):
            seen[b, h, q, : q + 1] = evicted_at[b, h, : min(q + 1, sizes.k)] > q
    return seen


def parallel_context_windows(sizes: Sizes, window: Array, context_end: Array) -> Array:
    """A square for each window on the diagonal, the task's rows filled, and the upper triangle cut away."""
    seen = np.zeros((sizes.b, 1, *[max(sizes.q, sizes.k)] * 2), bool)
    for b, numbers in enumerate(window):
        edges = [0, *np.cumsum(np.unique(numbers, return_counts=True)[1])]
        for first, end in itertools.pairwise(edges):
            seen[b, 0, first:end, first:end] = True
        seen[b, 0, context_end[b] :] = True
    return np.tril(seen)[:, :, : sizes.q, : sizes.k]


def star_attention(sizes: Sizes, context_end: Array, block: int = 4096, anchor: int = 4096) -> Array:
    def visible(b: int, q: int) -> set[int]:
        if q >= context_end[b]:
            return set(range(q + 1))
        return set(range(min(anchor, q + 1))) | set(range(q - q % block, q + 1))

    return pairs(sizes, lambda b, q, k: k in visible(b, q))


def packed_images(sizes: Sizes, image: Array) -> Array:
    """Image by image: its patches as a square; padding is no image."""
    seen = np.zeros((sizes.b, 1, *[image.shape[1]] * 2), bool)
    for b, numbers in enumerate(image):
        for number in range(numbers.max() + 1):
            seen[b, 0] |= np.outer(numbers == number, numbers == number)
    return seen[:, :, : sizes.q, : sizes.k]


def _numbered(position_id: Array) -> Array:
    """Hugging Face: a document begins where the position is not the one before plus 1."""
    return np.cumsum(np.diff(position_id, prepend=position_id[:, :1] - 1) != 1, axis=1)


def position_reset(sizes: Sizes, position_id: Array) -> Array:
    number = _numbered(position_id)
    return (number[:, : sizes.q, None] == number[:, None, : sizes.k])[:, None]


def position_reset_causal(sizes: Sizes, position_id: Array) -> Array:
    return np.tril(position_reset(sizes, position_id))


def _documents(*names: str) -> Draw:
    """`document` with what is asked for."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> Tables:
        found = documents(rng, sizes)
        n = int(found.max()) + 1
        last = ends(found, n)
        prompt = np.minimum(rng.integers(0, 4, (sizes.b, n)), np.arange(n))
        every = {
            "document": found,
            "start": np.concatenate([np.zeros((sizes.b, 1), np.int32), last[:, :-1]], 1),
            "prefix": rng.integers(0, 4, (sizes.b, n)).astype(np.int32),
            "prompt": np.take_along_axis(prompt, prompt, 1).astype(np.int32),
            "last": found.max(axis=1),
        }
        every["prefix"] = np.minimum(every["prefix"], last - every["start"])
        return {name: every[name] for name in names}

    return draw


def _trie(rng: np.random.Generator, sizes: Sizes) -> Tables:
    """Trees of up to seven segments, numbered depth first."""
    n = 7
    enter, leave = np.tile(np.arange(n), (sizes.b, 1)), np.zeros((sizes.b, n), int)
    for b in range(sizes.b):
        parents = [-1]
        for s in range(1, n):
            line = [s - 1]
            while parents[line[-1]] >= 0:
                line.append(parents[line[-1]])
            parents.append(int(rng.choice(line)))
        for s in reversed(range(n)):
            leave[b, s] = max([s + 1, *(leave[b, c] for c in range(n) if parents[c] == s)])
    segment = np.sort(rng.integers(0, n, (sizes.b, max(sizes.q, sizes.k))), axis=1)
    return {"segment": segment.astype(np.int32), "enter": enter.astype(np.int32), "leave": leave.astype(np.int32)}


def _items(rng: np.random.Generator, sizes: Sizes) -> Tables:
    found = np.zeros((sizes.b, max(sizes.q, sizes.k)), np.int16)
    for row in found:
        for i in range(1, len(row)):
            row[i] = 0 if rng.random() < 0.2 else row[i - 1] + 1
    return {"prefix": per_row(lambda s: s.q)(rng, sizes), "item_position": found}


def _turns(rng: np.random.Generator, sizes: Sizes) -> Tables:
    role = rng.integers(1, 5, (sizes.b, max(sizes.q, sizes.k))).astype(np.int8)
    return {"conversation": ascending(rng, sizes, 2), "turn": ascending(rng, sizes, 4), "role": role}


def _gist(rng: np.random.Generator, sizes: Sizes) -> Tables:
    first, last = np.sort(rng.integers(0, sizes.k, (2, sizes.b)), axis=0).astype(np.int32)
    return {"gist_start": first, "gist_end": last}


def _segments(name: str) -> Draw:
    return lambda rng, sizes: {name: rng.integers(-1, 3, (sizes.b, max(sizes.q, sizes.k))).astype(np.int32)}


def _kept(rng: np.random.Generator, sizes: Sizes) -> Tables:
    queries, keys = rng.random((2, sizes.b, sizes.h, max(sizes.q, sizes.k))) < 0.7
    return {"keep_query": queries, "keep_key": keys}


def _buckets(rng: np.random.Generator, sizes: Sizes) -> Tables:
    shape = (sizes.b, sizes.h, max(sizes.q, sizes.k))
    found = {}
    for axis in "qk":
        bucket = rng.integers(0, 4, shape).astype(np.int32)
        place = np.argsort(bucket, axis=2, kind="stable")
        found |= {f"{axis}_bucket": np.take_along_axis(bucket, place, 2), f"{axis}_place": place.astype(np.int32)}
    return found


def _evictions(rng: np.random.Generator, sizes: Sizes) -> Tables:
    length = max(sizes.q, sizes.k)
    return {"evicted_at": rng.integers(0, 2 * length + 1, (sizes.b, sizes.h, length)).astype(np.int32)}


def _windows(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"window": ascending(rng, sizes, 4), **_context_end(rng, sizes)}


def _context_end(rng: np.random.Generator, sizes: Sizes) -> Tables:
    return {"context_end": per_row(lambda s: s.q)(rng, sizes)}


def _positions(rng: np.random.Generator, sizes: Sizes) -> Tables:
    found = _documents("document", "start")(rng, sizes)
    start = np.take_along_axis(found["start"], found["document"], 1)
    return {"position_id": (np.arange(start.shape[1]) - start).astype(np.int32)}


ORACLES: dict[str, Oracle] = {
    "packed_causal_interval": Oracle(mask=whole(packed_causal_interval), inputs=_documents("document", "start")),
    "prefix_lm_document": Oracle(mask=whole(prefix_lm_document), inputs=_documents("document", "start", "prefix")),
    "causal_blockwise": Oracle(mask=whole(causal_blockwise), inputs=_documents("document", "last")),
    "share_question": Oracle(mask=whole(share_question), inputs=_documents("document")),
    "shared_prefix": Oracle(mask=whole(shared_prefix), inputs=_documents("document", "prompt")),
    "prefix_trie": Oracle(mask=whole(prefix_trie), inputs=_trie),
    "multi_item_scoring": Oracle(mask=whole(multi_item_scoring), inputs=_items),
    "multi_turn_reasoning": Oracle(mask=whole(multi_turn_reasoning), inputs=_turns),
    "gist_tokens": Oracle(mask=whole(gist_tokens), inputs=_gist),
    "qk_sparse": Oracle(mask=whole(qk_sparse), inputs=_segments("segment")),
    "qk_dropping": Oracle(mask=whole(qk_dropping), inputs=_kept),
    "hash_sparse": Oracle(mask=whole(hash_sparse), inputs=_buckets),
    "random_eviction": Oracle(mask=whole(random_eviction), inputs=_evictions),
    "parallel_context_windows": Oracle(mask=whole(parallel_context_windows), inputs=_windows),
    "star_attention": Oracle(
        mask=whole(star_attention),
        inputs=_context_end,
        constants=({}, {"block": 4, "anchor": 4}, {"block": 7, "anchor": 3}, {"block": 1, "anchor": 0}),
    ),
    "packed_images": Oracle(mask=whole(packed_images), inputs=_segments("image")),
    "position_reset": Oracle(mask=whole(position_reset), inputs=_positions),
    "position_reset_causal": Oracle(mask=whole(position_reset_causal), inputs=_positions),
}
