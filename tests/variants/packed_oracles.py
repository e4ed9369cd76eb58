"""Oracles of the packed family: documents, shared prefixes, formats of training, evictions."""

from __future__ import annotations

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


def causal_blockwise(sizes: Sizes, document: Array, last: Array) -> Array:
    return pairs(sizes, lambda b, q, k: k <= q and document[b, q] in (document[b, k], last[b]))


def share_question(sizes: Sizes, document: Array) -> Array:
    return pairs(sizes, lambda b, q, k: k <= q and document[b, k] in (0, document[b, q]))


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
    return pairs(sizes, lambda b, q, k: k <= q and not (q > gist_end[b] and k < gist_start[b]))


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


def hash_sparse(sizes: Sizes, bucket: Array, place: Array) -> Array:
    """Causal within buckets where the tokens stood, then both axes sorted by bucket."""
    length = bucket.shape[-1]
    seen = np.zeros((sizes.b, sizes.h, length, length), bool)
    for index in np.ndindex(sizes.b, sizes.h):
        before = np.empty(length, int)
        before[place[index]] = bucket[index]
        causal = np.tril(before[:, None] == before[None])
        seen[index] = causal[np.ix_(place[index], place[index])]
    return seen[:, :, : sizes.q, : sizes.k]


def random_eviction(sizes: Sizes, evicted_at: Array) -> Array:
    """Step by step over a cache."""
    seen = np.zeros((sizes.b, sizes.h, sizes.q, sizes.k), bool)
    for b, h in np.ndindex(sizes.b, sizes.h):
        for q in range(sizes.q):
            seen[b, h, q, : q + 1] = evicted_at[b, h, : min(q + 1, sizes.k)] > q
    return seen


def parallel_context_windows(sizes: Sizes, window: Array, context_end: Array) -> Array:
    return pairs(sizes, lambda b, q, k: k <= q and (q >= context_end[b] or window[b, q] == window[b, k]))


def star_attention(sizes: Sizes, context_end: Array, block: int = 4096, anchor: int = 4096) -> Array:
    def visible(b: int, q: int) -> set[int]:
        if q >= context_end[b]:
            return set(range(q + 1))
        return set(range(min(anchor, q + 1))) | set(range(q - q % block, q + 1))

    return pairs(sizes, lambda b, q, k: k in visible(b, q))


def packed_images(sizes: Sizes, image: Array) -> Array:
    return pairs(sizes, lambda b, q, k: image[b, q] != -1 and image[b, q] == image[b, k])


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
    place = rng.permuted(np.broadcast_to(np.arange(shape[2]), shape), axis=2)
    return {"bucket": np.sort(rng.integers(0, 4, shape), axis=2).astype(np.int32), "place": place.astype(np.int32)}


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
