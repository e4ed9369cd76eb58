"""SmolLM2, a Llama, on packed tokens: the tokens of all requests in one row, and no batch axis.

Not here: attention, which reads and writes the paged caches (`maskdsl.serving.PagedAttention`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear, silu


class Attention(Protocol):
    """What a layer asks of attention; the step was planned before."""

    def append(self, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor) -> None:
        """Write the step's keys and values, (tokens, kv_heads, dim), into their pages."""

    def run(self, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        """Attention of the step's queries, (tokens, heads, dim), over the pages."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Llama, and its two constants."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    theta: float
    epsilon: float


class Model:
    """A Llama with tied embeddings. `weights` has transformers' names; its dtype and device are the model's."""

    def __init__(self, shape: Shape, weights: Mapping[str, Tensor]) -> None:
        self.shape = shape
        self.embedding = weights["model.embed_tokens.weight"]
        self.norm = weights["model.norm.weight"]
        self.layers = [_layer(weights, f"model.layers.{i}.") for i in range(shape.layers)]
        even = torch.arange(0, shape.head_dim, 2, device=self.embedding.device, dtype=torch.float32)
        self.frequency = shape.theta ** (-even / shape.head_dim)

    def caches(self, num_pages: int, page_size: int) -> Tensor:
        """Empty caches: [layer, keys or values, page, offset in the page, kv_head, dim]."""
        shape = self.shape
        return self.embedding.new_zeros(shape.layers, 2, num_pages, page_size, shape.kv_heads, shape.head_dim)

    def forward(self, tokens: Tensor, positions: Tensor, attention: Attention, caches: Tensor) -> Tensor:
        """The last layer's output for packed tokens, (tokens, hidden); `positions` are those within the requests."""
        angle = positions[:, None, None].float() * self.frequency
        rotation = angle.cos().to(self.embedding.dtype), angle.sin().to(self.embedding.dtype)
        x = self.embedding[tokens]
        for layer, (keys, values) in zip(self.layers, caches, strict=True):
            y = self._normalize(x, layer["input_layernorm"])
            q, k, v = (self._project(y, layer[f"self_attn.{name}_proj"]) for name in "qkv")
            attention.append(_rotate(k, *rotation), v, keys, values)
            found = attention.run(_rotate(q, *rotation), keys, values)
            x = x + linear(found.flatten(1), layer["self_attn.o_proj"])
            y = self._normalize(x, layer["post_attention_layernorm"])
            gate = silu(linear(y, layer["mlp.gate_proj"])) * linear(y, layer["mlp.up_proj"])
            x = x + linear(gate, layer["mlp.down_proj"])
        return self._normalize(x, self.norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """The scores of the next token, (tokens, vocabulary): the head is the embedding."""
        return linear(hidden, self.embedding)

    def _project(self, x: Tensor, weight: Tensor) -> Tensor:
        return linear(x, weight).unflatten(1, (-1, self.shape.head_dim))

    def _normalize(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm, in float32."""
        wide = x.float()
        return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.shape.epsilon)).to(x.dtype)


def from_transformers(llama: Any) -> Model:
    """The model with the weights of a `LlamaForCausalLM`, shared and not copied."""
    config = llama.config
    shape = Shape(
        layers=config.num_hidden_layers, heads=config.num_attention_heads, kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim, theta=config.rope_parameters["rope_theta"], epsilon=config.rms_norm_eps,
    )  # fmt: skip
    return Model(shape, {name: weight.detach() for name, weight in llama.state_dict().items()})


def _layer(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = (name for name in weights if name.startswith(prefix))
    return {name.removeprefix(prefix).removesuffix(".weight"): weights[name] for name in found}


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: the two halves of each head's dimensions are the two coordinates of its pairs."""
    one, other = x.chunk(2, dim=-1)
    return torch.cat((one * cos - other * sin, other * cos + one * sin), dim=-1)
