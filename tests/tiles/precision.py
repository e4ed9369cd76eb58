"""How close the tile analysis comes to the truth for every shipped mask, and what is in the way of the few it is far from.

    python -m tests.tiles.precision [NAME …]

measures all masks, or those named and those not yet known, and writes `variants/precision.json`, which `test_shipped` holds to what it measures:

    {"causal": {"visited": 1.0, "full": 1.0, "why": null}, …}

`visited` is the number of tiles that the analysis lets a kernel visit, over those that hold a visible pair (1 is best);
`full` the full tiles that it finds, over those that there are; both summed over `CALLS` and a mask's first two sets of
constants, and rounded to three decimals. `why` is null where `visited` is at most 1.05 and `full` at least 0.95.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

import maskdsl

ROOT = Path(__file__).parents[2]
FILE = ROOT / "variants" / "precision.json"
VARIANTS = ROOT / "tests" / "variants"
sys.path.insert(0, str(VARIANTS))

from collected import ORACLES  # noqa: E402
from oracle import Oracle, Sizes  # noqa: E402

MASKS = [name for name, oracle in ORACLES.items() if oracle.mask is not None]

CALLS = (
    (Sizes(1, 2, 512, 512), (128, 128)),
    (Sizes(2, 2, 300, 420), (64, 128)),
    (Sizes(1, 3, 210, 210), (16, 32)),
)
"""Batch rows, heads, lengths, some of which no tile divides, and sides of tiles."""

SMALL = (Sizes(2, 2, 37, 37), (8, 4))
"""For masks of few positions."""

VISITED, FULL = 1.05, 0.95
"""Beyond these a mask needs a reason."""

PERIODS = "many periods of a few tokens in one tile: rows and columns are bounded one by one"
LISTS = "queries list blocks one by one, and of a tile's lists the least and the greatest block are known"
RUNS = "several short runs of keys in one tile, bounded from the first to the last"
UNION = "tiles that are full by two conditions together, by none alone"

REASONS = {
    **dict.fromkeys(("local_2d", "local_2d_distance", "batchify", "nat", "gna_1d"), PERIODS),
    **dict.fromkeys(("longnet_branch", "longnet_branch_grouped"), PERIODS),
    **dict.fromkeys(("nsa_selected", "nsa_selected_layer", "blockbert", "vsa"), LISTS),
    **dict.fromkeys(("block_diffusion_packed", "vision_cross_attention"), RUNS),
    **dict.fromkeys(("bagel", "longformer_blocks"), UNION),
    "hash_sparse": "tiles across the border of two buckets: the places of both are bounded together",
    "tree_window": "a table of two axes, at wide ranges of both, is bounded as a whole",
}
"""Why the masks that are beyond are so."""

UNKNOWN = "unknown"
"""What stands there until somebody looks; the tests do not accept it."""


def measure(name: str) -> dict[str, Any]:
    """The entry of a mask. Asserts on the way that `exact=True` is torch's own BlockMask."""
    oracle, tried = ORACLES[name], []
    for constants in oracle.constants[:2]:
        for number, call in enumerate(CALLS):
            tried += compare(name, oracle, constants, call, number)
    tried = tried or compare(name, oracle, oracle.constants[0], SMALL, 0)
    visited, needed, found, real = map(sum, zip(*tried, strict=True))
    ratios = round(visited / needed, 3) if needed else 1.0 + visited, round(found / real, 3) if real else 1.0
    is_close = ratios[0] <= VISITED and ratios[1] >= FULL
    return {"visited": ratios[0], "full": ratios[1], "why": None if is_close else REASONS.get(name, UNKNOWN)}


def compare(
    name: str, oracle: Oracle, constants: dict[str, Any], at: tuple[Sizes, tuple[int, int]], seed: int
) -> list[tuple[int, int, int, int]]:
    """Tiles visited, to be visited, full ones found and in truth; nothing where the mask refuses the lengths."""
    sizes, block = at
    call = (sizes.b, sizes.h, sizes.q, sizes.k)
    try:
        tables = oracle.inputs(np.random.default_rng(seed), sizes)
        bound = maskdsl.get(name, **constants, **oracle.masks).bind(
            **tables, sizes={"batch": sizes.b, "head": sizes.h, "kv_head": sizes.h}
        )
        plain, exact = (bound.block_mask(*call, device="cpu", block_size=block, exact=e) for e in (False, True))
    except maskdsl.MaskError as problem:
        assert {d.code for d in problem.diagnostics} == {"E0605"}, problem  # a table of blocks for other lengths
        return []
    rows = exact.kv_indices.shape[:2]
    wanted = create_block_mask(exact.mask_mod, *rows, *call[2:], device="cpu", BLOCK_SIZE=block)
    for one, other in zip(all_tiles(exact), all_tiles(wanted), strict=True):
        torch.testing.assert_close(one, other)
    (partial, full), (some, every) = (all_tiles(m)[:2] for m in (plain, exact))
    assert not (full & ~every).any() and not ((some | every) & ~(partial | full)).any()
    return [tuple(int(t.sum()) for t in (partial | full, some | every, full, every))]  # type: ignore[list-item]


def all_tiles(mask: BlockMask) -> list[torch.Tensor]:
    """Which tiles are partial and which are full, by rows, and by columns from the lists for the backward pass."""
    names = ("kv", "full_kv", "q", "full_q")
    return [listed(getattr(mask, f"{n}_num_blocks"), getattr(mask, f"{n}_indices")) for n in names]


def listed(counts: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Which tiles a list holds, bool [B, H, rows, columns]."""
    columns = indices.shape[-1]
    valid = torch.arange(columns) < counts[..., None]
    tiles = torch.zeros((*indices.shape[:-1], columns + 1), dtype=torch.bool)
    return tiles.scatter_(-1, torch.where(valid, indices, columns).long(), True)[..., :-1]


def main() -> None:
    """Measure and write."""
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() and sys.argv[1:] else {}
    found = {n: known[n] if n in known and n not in sys.argv[1:] else measure(n) for n in sorted(MASKS)}
    lines = (f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    far = [name for name, entry in found.items() if entry["why"]]
    print(f"{len(found)} masks, {len(far)} of them beyond {VISITED} or {FULL}: {', '.join(far)}")


if __name__ == "__main__":
    main()
