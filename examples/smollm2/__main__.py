"""The command: `python -m examples.smollm2` serves four prompts, and says what came and how fast."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import maskdsl
from examples.smollm2 import eager
from examples.smollm2.engine import Engine, Request
from examples.smollm2.model import Model, from_transformers
from maskdsl.serving import PagedAttention
from maskdsl.serving.pages import Pages

PROMPTS = (
    "Hello, my name is", "The president of the United States is", "The capital of France is", "The future of AI is",
)  # fmt: skip
TEXT = Path(__file__).parent / "alice.txt"
SEED = 0


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.smollm2", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--page-size", type=int, default=16, help="tokens in a page")
    parser.add_argument("--tokens", type=int, default=64, help="the most tokens of an answer")
    parser.add_argument("--chunk", type=int, default=4, help="the most tokens of a prompt in one step")
    parser.add_argument("--stagger", type=int, default=3, help="steps between two arrivals")
    parser.add_argument("--preamble", default="", help="what every prompt begins with; its full pages are shared")
    parser.add_argument("--ignore-eos", action="store_true", help="answer to the last token, whatever the model says")
    parser.add_argument("--verify", action="store_true", help="compare with transformers' eager attention")
    parser.add_argument("--perplexity", nargs="?", const=TEXT, type=Path, metavar="FILE", help="of a text, both ways")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args(arguments)


def make_engine(model: Model, longest: int, options: argparse.Namespace, *, requests: int, chunk: int) -> Engine:
    """An engine for `requests` requests at once, of at most `longest` tokens, on pages in a shuffled order.

    Single tokens are decoded and all others prefilled, so that a step of both runs two kernels.
    """
    shape, size = model.shape, options.page_size
    max_pages = -(-longest // size)
    number = requests * max_pages
    limits = {"max_requests": requests, "max_tokens": requests * chunk}
    attention = PagedAttention(
        maskdsl.get("causal"), **limits, num_pages=number, page_size=size, max_pages_per_request=max_pages,
        heads=shape.heads, kv_heads=shape.kv_heads, head_dim=shape.head_dim, decode_tokens=1,
        dtype=model.embedding.dtype, device=model.embedding.device,
    )  # fmt: skip
    pages = Pages(number, size, order=random.Random(SEED).sample(range(number), number))
    return Engine(model, attention, pages, **limits, max_pages=max_pages, chunk=chunk, keep_logits=options.verify)


def make_requests(tokenizer: Any, options: argparse.Namespace) -> list[Request]:
    """The four prompts, each arriving some steps after the one before."""
    stop = None if options.ignore_eos or options.verify else tokenizer.eos_token_id
    texts = (f"{options.preamble}{prompt}" for prompt in PROMPTS)
    return [
        Request(tokenizer(text)["input_ids"], options.tokens, arrival=i * options.stagger, stop=stop)
        for i, text in enumerate(texts)
    ]


def serve(engine: Engine, requests: list[Request], console: Console) -> dict[str, Any]:
    """Serve the requests under a progress bar; the figures."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    steps, started = 0, time.perf_counter()
    with Progress(*columns, console=console) as progress:
        bars = {id(r): progress.add_task(text, total=r.new) for r, text in zip(requests, PROMPTS, strict=True)}
        for answered in engine.serve(requests):
            steps += 1
            for request in answered:
                done = len(request.answer)
                progress.update(bars[id(request)], completed=done, total=done if request.done else request.new)
    seconds = time.perf_counter() - started
    tokens = sum(len(request.answer) for request in requests)
    return {
        "tokens": tokens, "steps": steps, "shared_tokens": engine.shared,
        "seconds": seconds, "tokens_per_second": tokens / seconds,
    }  # fmt: skip


def compare(llama: Any, requests: list[Request]) -> dict[str, Any]:
    """Whether transformers' eager attention answers the same, and the largest difference of the scores."""
    equal, largest = [], 0.0
    for request in requests:
        tokens, logits = eager.continue_greedily(llama, request.prompt, request.new)
        equal.append(sum(a == b for a, b in zip(tokens, request.answer, strict=True)))
        largest = max(largest, float((torch.stack(request.logits) - logits).abs().max()))
    return {"tokens_equal": equal, "of": [request.new for request in requests], "largest_logit_difference": largest}


def measure_perplexity(llama: Any, model: Model, tokens: list[int], options: argparse.Namespace) -> dict[str, float]:
    """The perplexity of a text read in chunks of 64 tokens through the pages, and transformers' of the whole."""
    engine = make_engine(model, len(tokens), options, requests=1, chunk=64)
    request = Request(tokens, 1)
    engine.pages.admit(request, tokens)
    chunks = (tokens[start : start + engine.chunk] for start in range(0, len(tokens), engine.chunk))
    logits = torch.cat([model.logits(engine.forward([(request, chunk)])) for chunk in chunks])
    ours, theirs = eager.mean_perplexity(logits[:-1], tokens[1:]), eager.perplexity(llama, tokens)
    return {"tokens": len(tokens), "maskdsl": ours, "eager": theirs, "relative_difference": abs(ours - theirs) / theirs}


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
        models = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
        name = f"{next(iter(models), platform.processor())}, {os.cpu_count()} cores"
    return {
        "machine": name, "torch": torch.__version__, "python": platform.python_version(),
        "date": datetime.date.today().isoformat(), "load_average": os.getloadavg()[0],
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    options, console = read_options(arguments), Console()
    if why := eager.missing():
        sys.exit(why)
    with console.status("loading SmolLM2-135M-Instruct"):
        llama, tokenizer = eager.load(getattr(torch, options.dtype), options.device)
    model = from_transformers(llama)
    figures = {**machine(options.device), "dtype": options.dtype, "page_size": options.page_size}
    requests = make_requests(tokenizer, options)
    longest = max(len(request.prompt) for request in requests) + options.tokens
    engine = make_engine(model, longest, options, requests=len(requests), chunk=options.chunk)
    with console.status("compiling the kernels"):
        for _ in engine.serve([Request(r.prompt, 2, r.arrival) for r in requests]):
            pass
    figures["serving"] = served = serve(engine, requests, console)
    for request in requests:
        console.print(tokenizer.decode(request.tokens, skip_special_tokens=True), markup=False, highlight=False)
        console.rule()
    line = "{tokens} tokens in {steps} steps and {seconds:.1f} s: {tokens_per_second:.1f} tokens/s"
    console.print(line.format(**served))
    if engine.shared:
        console.print(f"{engine.shared} tokens of the prompts were found in shared pages")
    if options.verify:
        figures["eager"] = found = compare(llama, requests)
        console.print(
            f"transformers' eager attention: {sum(found['tokens_equal'])} of {sum(found['of'])} tokens equal, "
            f"scores differ by at most {found['largest_logit_difference']:.1e}"
        )
    if options.perplexity:
        tokens = tokenizer(options.perplexity.read_text(encoding="utf-8"))["input_ids"]
        figures["perplexity"] = found = measure_perplexity(llama, model, tokens, options)
        console.print(
            "perplexity of {tokens} tokens: {maskdsl:.4f}, transformers' eager attention {eager:.4f}, "
            "relative difference {relative_difference:.1e}".format(**found)
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
