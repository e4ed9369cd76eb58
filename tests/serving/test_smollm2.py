"""The example: its engine on a small network of random weights, and SmolLM2 itself beside transformers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gathered import GatheredAttention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from examples.smollm2 import eager
from examples.smollm2.engine import Engine, Request
from examples.smollm2.model import Model, Shape
from maskdsl.serving.pages import Pages

VOCABULARY, HIDDEN = 40, 24
SHAPE = Shape(layers=2, heads=6, kv_heads=2, head_dim=8, theta=100.0, epsilon=1e-5)


@pytest.fixture(scope="module")
def model() -> Model:
    """A Llama of two layers and random weights."""
    shapes = {"model.embed_tokens": (VOCABULARY, HIDDEN), "model.norm": (HIDDEN,)}
    for i in range(SHAPE.layers):
        layer = {
            "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,), "self_attn.q_proj": (48, HIDDEN),
            "self_attn.k_proj": (16, HIDDEN), "self_attn.v_proj": (16, HIDDEN), "self_attn.o_proj": (HIDDEN, 48),
            "mlp.gate_proj": (32, HIDDEN), "mlp.up_proj": (32, HIDDEN), "mlp.down_proj": (HIDDEN, 32),
        }  # fmt: skip
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    draw = torch.Generator().manual_seed(0)
    return Model(SHAPE, {f"{name}.weight": torch.randn(shape, generator=draw) for name, shape in shapes.items()})


class Unpaged:
    """Causal attention of one request whose tokens all come at once: no cache is read."""

    def append(self, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor) -> None:
        self.k, self.v = k, v

    def run(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        rows = (x.transpose(0, 1)[None] for x in (q, self.k, self.v))
        return scaled_dot_product_attention(*rows, is_causal=True, enable_gqa=True)[0].transpose(0, 1)


def continue_alone(model: Model, request: Request) -> tuple[list[int], Tensor]:
    """The answer to a prompt, everything computed anew for every token, and the scores."""
    tokens, logits = list(request.prompt), []
    while len(tokens) < len(request.prompt) + request.new and not (logits and tokens[-1] == request.stop):
        hidden = model.forward(torch.tensor(tokens), torch.arange(len(tokens)), Unpaged(), model.caches(1, 1))
        logits.append(model.logits(hidden[-1]))
        tokens.append(int(logits[-1].argmax()))
    return tokens[len(request.prompt) :], torch.stack(logits)


def make_engine(model: Model, number: int, size: int, chunk: int, seed: int = 0) -> Engine:
    """An engine over poisoned caches: what no step has written is not a number."""
    pages = Pages(number, size, random.Random(seed).sample(range(number), number))
    engine = Engine(model, GatheredAttention(), pages, 4, 4 + chunk, number, chunk, keep_logits=True)
    engine.caches.fill_(torch.nan)
    return engine


def check_answers(model: Model, engine: Engine, requests: list[Request]) -> None:
    """Serve the requests: each is answered as if it were alone, and all pages come back."""
    for _ in engine.serve(requests):
        assert len(engine.running) <= engine.max_requests
    for request in requests:
        tokens, logits = continue_alone(model, request)
        assert request.answer == tokens
        torch.testing.assert_close(torch.stack(request.logits), logits, atol=1e-3, rtol=1e-4)
    assert engine.pages.free_pages == engine.pages.num_pages


@pytest.mark.parametrize(("size", "chunk", "stagger"), [(1, 1, 0), (2, 3, 1), (4, 5, 2), (16, 16, 3), (5, 100, 0)])
def test_requests_are_answered_as_if_each_were_alone(model: Model, size: int, chunk: int, stagger: int) -> None:
    draw = random.Random(size)
    requests = [
        Request([draw.randrange(VOCABULARY) for _ in range(length)], new, arrival=i * stagger)
        for i, (length, new) in enumerate([(1, 5), (7, 4), (16, 6), (3, 1), (11, 9)])
    ]
    check_answers(model, make_engine(model, 80 // size, size, chunk), requests)


def test_an_answer_ends_with_the_stop_token(model: Model) -> None:
    whole = Request([3, 1, 4, 1, 5], 12)
    check_answers(model, make_engine(model, 8, 4, 4), [whole])
    stopped = Request(whole.prompt, 12, stop=whole.answer[4])
    check_answers(model, make_engine(model, 8, 4, 4), [stopped])
    assert stopped.answer == whole.answer[: whole.answer.index(whole.answer[4]) + 1]


def test_requests_that_begin_alike_share_pages(model: Model) -> None:
    draw = random.Random(1)
    preamble = [draw.randrange(VOCABULARY) for _ in range(10)]
    requests = [Request([*preamble, i, i], 6, arrival=4 * i) for i in range(3)]
    engine = make_engine(model, 20, 4, 4)
    check_answers(model, engine, requests)
    assert engine.shared == 16  # two full pages, found by two requests


def test_requests_wait_while_pages_are_few(model: Model) -> None:
    requests = [Request([i + 1] * 5, 8) for i in range(4)]
    check_answers(model, make_engine(model, 7, 4, 4), requests)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: several would wait for each other, spinning, where tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.skipif(bool(eager.missing()), reason=eager.missing())
@pytest.mark.usefixtures("one_thread")
def test_smollm2_answers_as_transformers_does(tmp_path: Path) -> None:
    from examples.smollm2.__main__ import main

    main(["--device", "cpu", "--verify", "--perplexity", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["eager"]["tokens_equal"] == found["eager"]["of"] == [64] * 4
    assert found["eager"]["largest_logit_difference"] < 1e-3
    assert found["perplexity"]["relative_difference"] < 1e-5
