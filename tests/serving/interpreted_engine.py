"""Runs attention objects as on a GPU in Triton's interpreter, on the CPU: plans, new keys, decoding, tiles and the rest.

Only torch's own kernel is stood in for, by the plain rendering of its lists. A program of its own (TRITON_INTERPRET must
be set before Triton is imported): `test_serving_kernels` runs it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton.language.extra

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "ir")]

import lists_kernel  # noqa: E402
from steps import Sizes, Step, at_other_places, moved, random_step  # noqa: E402
from test_ops_triton import stand_in  # noqa: E402

triton.language.extra.libdevice = stand_in()

import maskdsl  # noqa: E402
from maskdsl.serving import PagedAttention  # noqa: E402
from maskdsl.serving.kernels import Phase  # noqa: E402
from maskdsl.serving.limits import Limits  # noqa: E402

Limits.on_gpu = property(lambda self: True)  # type: ignore[assignment]
Phase.attend = lists_kernel.attend  # type: ignore[method-assign,assignment]

SIZES = Sizes(max_requests=4, max_tokens=140, num_pages=40, max_pages_per_request=5)
PROGRAMS = (
    "mask m = 0 <= q - k < 30",
    "score s(slope: float[head]) = score - slope[h] * (q - k) variant v(slope: float[head]) { mask = k <= q score = s(slope) sink = slope[h] }",
    "mask m(first: int[batch]) = k <= q or k < first[b]",
)


def run(attention: PagedAttention, step: Step, **told: int) -> torch.Tensor:
    """A step planned and run, its new keys written, two queries of nobody behind it."""
    attention.plan(step.page_table, step.seq_lens, step.query_start, **told)
    caches = step.caches(new=False)
    new = [torch.cat([x[len(x) - n :] for x, n in zip(part, step.news, strict=True)]) for part in (step.keys, step.values)]
    attention.append(new[0], new[1], *caches)
    torch.testing.assert_close(caches, step.caches(), equal_nan=True, rtol=0, atol=0)
    q = torch.cat((step.q, torch.ones(2, *step.q.shape[1:])))[: attention.limits.max_tokens]
    out = attention.run(q, *caches)
    wider = torch.nn.functional.pad(q.flatten(1), (0, q[0].numel() + len(step.news) % 2))  # as beside keys, or anywhere
    assert torch.equal(out, attention.run(wider[:, : q[0].numel()].unflatten(1, q.shape[1:]), *caches))
    assert out.is_contiguous() and not out[len(step.q) :].any()
    return out[: len(step.q)]


def told(step: Step) -> dict[str, int]:
    """What an engine tells."""
    decoded = [n for n in step.news if 0 < n <= step.sizes.decode_tokens]
    return {"longest_query": max(step.news), "decode_requests": len(decoded), "longest_decode": max(decoded, default=0)}


def agree(found: torch.Tensor, step: Step, program: Any, tables: dict[str, torch.Tensor]) -> None:
    """The step's output is the reference's."""
    np.testing.assert_allclose(found.numpy(), step.reference(program, tables), rtol=2e-4, atol=2e-5)


def main() -> None:
    """Steps of all kinds by some programs; layers that share a step; pages at several places; freed ones."""
    rng, kinds = np.random.default_rng(0), set()
    for text in PROGRAMS:
        program = maskdsl.compile(text, *(["v"] if "variant" in text else []))
        drawn = {"slope": torch.rand(SIZES.heads), "first": torch.randint(0, 60, (SIZES.max_requests,), dtype=torch.int32)}
        tables = {t.name: drawn[t.name] for t in program.variant.tables}
        attention = PagedAttention(program, **SIZES.limits(), tables=tables, places="one")
        for number in range(3):
            step = random_step(rng, SIZES)
            numbers = told(step) if number % 2 else {}
            found = run(attention, step, **numbers)
            agree(found, step, program, tables)
            kinds.add((attention.decodes, attention.prefills, attention.step.host.longest_decode == 1))
        assert torch.equal(found, run(attention, moved(step, rng), **numbers))
        print(text[:40], "agrees", flush=True)
    one = replace(SIZES, decode_tokens=1)
    for step in (random_step(rng, one), random_step(rng, one)):
        near = PagedAttention(maskdsl.compile(PROGRAMS[0]), **one.limits())
        far = PagedAttention(maskdsl.get("causal"), **one.limits(), step=near.step)
        agree(run(near, step), step, maskdsl.compile(PROGRAMS[0]), {})
        far.plan_lists()
        agree(far.run(step.q, *step.caches()), step, maskdsl.get("causal"), {})
    step = at_other_places(random_step(rng, Sizes(), share=False))
    attention = PagedAttention(maskdsl.get("causal"), **step.sizes.limits(), places="auto")
    agree(run(attention, step), step, maskdsl.get("causal"), {})
    assert attention.step.places is not None
    print("steps of", len(kinds), "kinds agree")


if __name__ == "__main__":
    main()
