"""The programs that pages print: each names what there is, those of the layouts run and compute the same."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest

import maskdsl
from maskdsl.cli.gallery_pages import below_library, page_keys, python_names
from maskdsl.gallery.page import Page
from maskdsl.gallery.usage import usages
from maskdsl.library.registry import shared


def test_the_programs_name_what_there_is() -> None:
    for page in bare_pages():
        for usage in usages(page):
            ast.parse(usage.code)
            assert all(len(line) <= 80 for line in usage.code.splitlines()), usage.code
        code = usages(page)[0].code
        program = next(n for n in ast.parse(code).body if isinstance(n, ast.Assign))
        space: dict[str, Any] = {"maskdsl": maskdsl}
        exec(ast.unparse(program), space)
        bound = [k.arg for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call) for k in n.keywords]
        assert set(space["program"].tables) <= set(bound), page.key
        assert space["program"].name == page.manifest.name


def test_the_packed_program_runs() -> None:
    import torch

    page = next(p for p in bare_pages() if p.key == "base.causal")
    dense, packed, *_ = (usage.code for usage in usages(page))
    space: dict[str, Any] = {"maskdsl": maskdsl, "cu_seqlens": torch.tensor([0, 2, 5])}
    lines = [line for code in (dense, packed) for line in code.splitlines() if not line.startswith("out = ")]
    exec("\n".join(lines), space)
    q, k = torch.arange(5)[:, None], torch.arange(5)
    seen = space["packed"].mask_mod(torch.tensor(0), torch.tensor(0), q, k)
    assert seen.int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]


def test_the_paged_program_fits_the_class() -> None:
    from maskdsl.serving import PagedAttention

    page = next(p for p in bare_pages() if p.key == "base.causal")
    calls = [n for n in ast.walk(ast.parse(usages(page)[2].code)) if isinstance(n, ast.Call)]
    functions = {"PagedAttention": PagedAttention.__init__} | {
        name: getattr(PagedAttention, name) for name in ("plan", "append", "run")
    }
    for call in calls:
        name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr  # type: ignore[attr-defined]
        inspect.signature(functions.pop(name)).bind(None, *call.args, **{str(k.arg): 0 for k in call.keywords})
    assert not functions


@pytest.mark.slow
@pytest.mark.compiled
def test_the_programs_of_the_layouts_compute_the_same() -> None:
    """All as a page prints them, but for smaller numbers, against the reference request by request."""
    import torch

    page = next(p for p in bare_pages() if p.key == "local.sliding_window")
    dense, packed, paged, sharded = (usage.code for usage in usages(page))
    smaller = {"requests=64": "requests=2", "tokens=4096": "tokens=32", "pages=8192": "pages=8", "request=512": "request=4"}
    smaller |= {"heads=32": "heads=4", "kv_heads=8": "kv_heads=2", "head_dim=128": "head_dim=16"}
    for large, small in smaller.items():
        paged = paged.replace(large, small)
    q, k, v = torch.randn(1, 4, 10, 16), *torch.randn(2, 1, 2, 10, 16)
    space: dict[str, Any] = {"maskdsl": maskdsl, "q": q, "k": k, "v": v, "cu_seqlens": torch.tensor([0, 4, 10])}
    exec(dense.replace("window=4096", "window=3"), space)
    exec(packed, space)
    parts = [space["program"].reference(*(x[:, :, a:b] for x in (q, k, v))) for a, b in ((0, 4), (4, 10))]
    exact = torch.from_numpy(np.concatenate(parts, 2))
    assert (space["out"] - exact).abs().max() < 1e-5
    space |= {name: x[0].transpose(0, 1).contiguous() for name, x in (("q", q), ("k", k), ("v", v))}
    space |= dict(zip(("k_cache", "v_cache"), torch.zeros(2, 8, 16, 2, 16), strict=True))
    space |= {"page_table": torch.tensor([[3, 0, 0, 0], [5, 0, 0, 0]], dtype=torch.int32)}
    space |= {"seq_lens": torch.tensor([4, 6]).int(), "query_start": torch.tensor([0, 4, 10]).int()}
    exec(paged, space)
    assert (space["out"].transpose(0, 1)[None] - exact).abs().max() < 1e-5
    for large, small in smaller.items():
        sharded = sharded.replace(large, small)
    q, k, v = torch.randn(1, 4, 8, 16), *torch.randn(2, 1, 2, 8, 16)
    exact = torch.from_numpy(space["program"].reference(q, k, v))
    for rank, own in enumerate(([0, 1, 6, 7], [2, 3, 4, 5])):
        space |= {"q": q[:, :, own], "k": k, "v": v, "rank": rank, "ranks": 2, "tokens": 8}
        exec(sharded, space)
        assert (space["out"] - exact[:, :, own]).abs().max() < 1e-5


def test_a_layer_of_the_model_leads_to_its_definition() -> None:
    told = 0
    for page in bare_pages():
        for usage in (u for u in usages(page) if u.layout == "by layer"):
            model, *rest = ast.parse(usage.code).body
            space: dict[str, Any] = {"maskdsl": maskdsl, "layers": 64}
            exec(ast.unparse(model), space)
            assert any(leads_to(page.manifest.name, rest, {**space, "layer": n}) for n in range(64)), usage.code
            told += 1
    assert told >= 30


def leads_to(name: str, program: list[ast.stmt], space: dict[str, Any]) -> bool:
    """Whether the statements make a program of that name; layers without attention make none."""
    try:
        exec("\n".join(map(ast.unparse, program)), space)
    except maskdsl.MaskError as problem:
        assert "has no attention" in problem.diagnostics[0].message
        return False
    return bool(space["program"].name == name)


@cache
def bare_pages() -> list[Page]:
    """Pages without pictures: what the programs are made from."""
    from maskdsl.cli.gallery_pictures import arguments

    entries = shared().entries()
    keys, names = page_keys(entries), python_names(entries)
    pages = []
    for entry in entries:
        module = shared().check(entry.source)
        given = arguments(module, module.definitions[entry.name])
        manifest = shared().manifest(entry.source, entry.name)
        file = below_library(entry)
        pages.append(Page(keys[entry], names[entry], manifest, "maskdsl", "", file, 1, constants=given))
    return pages
