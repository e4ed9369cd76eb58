"""Models' layers and values beside the configuration classes of Hugging Face's transformers; skipped where it is missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

import pytest

import maskdsl

LOCAL, GLOBAL = "sliding_attention", "full_attention"


class Config(NamedTuple):
    """A class of `transformers.models`, the definitions of its layer types, and its attributes by our constants."""

    model: str
    function: str
    types: dict[str, str | None]
    values: dict[str, dict[str, str]] = {}
    given: dict[str, Any] = {}


def two(model: str, function: str, values: dict[str, str] | None = None, **given: Any) -> Config:
    """A model of local and global layers; `values` are the local ones'."""
    types: dict[str, str | None] = {LOCAL: f"{model}_local", GLOBAL: f"{model}_global"}
    return Config(model, function, types, {f"{model}_local": values or {}}, given)


WINDOW = {"window": "sliding_window"}
GRANITE = {**WINDOW, "attention_multiplier": "attention_multiplier"}
CONFIGS = (
    two("gemma2", "gemma2:Gemma2Config", {
        **WINDOW, "cap": "attn_logit_softcapping", "query_pre_attn_scalar": "query_pre_attn_scalar",
    }),
    two("gemma3", "gemma3:Gemma3TextConfig", {"query_pre_attn_scalar": "query_pre_attn_scalar"}),
    two("gemma3", "gemma3:Gemma3TextConfig", num_hidden_layers=62),
    two("gemma3n", "gemma3n:Gemma3nTextConfig", WINDOW),
    two("gemma4", "gemma4:Gemma4TextConfig", WINDOW),
    two("gemma4", "gemma4:Gemma4TextConfig", num_hidden_layers=33),
    two("gpt_oss", "gpt_oss:GptOssConfig", WINDOW),
    two("cohere2", "cohere2:Cohere2Config", WINDOW),
    two("olmo3", "olmo3:Olmo3Config", WINDOW),
    two("exaone4", "exaone4:Exaone4Config", WINDOW),
    two("afmoe", "afmoe:AfmoeConfig", WINDOW),
    two("cwm", "cwm:CwmConfig", WINDOW),
    two("modernbert", "modernbert:ModernBertConfig", {"radius": "sliding_window"}),
    two("mimo_v2", "mimo_v2_flash:MiMoV2FlashConfig", WINDOW),
    Config("llama4", "llama4:Llama4TextConfig", {"chunked_attention": "llama4_local", GLOBAL: "llama4_global"}, {
        "llama4_local": {"chunk": "attention_chunk_size"},
        "llama4_global": {"attn_scale": "attn_scale", "floor_scale": "floor_scale"},
    }),
    Config("granite_swa", "granite_swa:GraniteSWAConfig", {LOCAL: "granite_swa", GLOBAL: "granite_swa_global"}, {
        "granite_swa": GRANITE, "granite_swa_global": {"attention_multiplier": "attention_multiplier"},
    }),
    Config("inkling", "inkling:InklingTextConfig", {"hybrid_sliding": "inkling_local", "hybrid": "inkling_global"}, {
        "inkling_local": {"window": "sliding_window_size", "head_dim": "swa_head_dim"},
        "inkling_global": {"alpha": "log_scaling_alpha", "head_dim": "head_dim"},
    }),
    Config("recurrent_gemma", "recurrent_gemma:RecurrentGemmaConfig", {
        LOCAL: "recurrent_gemma", "linear_attention": None,
    }, {"recurrent_gemma": {"lookback": "attention_window_size"}}),
    Config("deepseek_v3_2", "deepseek_v32:DeepseekV32Config", {"indexed_attention": "deepseek_v3_2"}),
)  # fmt: skip


def load(function: str, **given: Any) -> Any:
    """A configuration with its defaults but for what is given; the test is skipped without transformers."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed: pip install maskdsl[peers]")
    folder, _, name = function.partition(":")
    module = importlib.import_module(f"transformers.models.{folder}.configuration_{folder}")
    return getattr(module, name)(**given)


def defaults(definition: str) -> dict[str, Any]:
    """The constants of a definition."""
    one = next(m for m in maskdsl.list() if m.path == f"models/{definition}")
    return {p.name: p.default for p in one.constants}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.model}-{c.given.get('num_hidden_layers', 'default')}")
def test_layers_and_values_are_the_configurations(config: Config) -> None:
    theirs = load(config.function, **config.given)
    types = theirs.layers_block_type if config.model == "recurrent_gemma" else theirs.layer_types
    assert list(maskdsl.model(config.model).names(len(types))) == [config.types[t] for t in types]
    for definition, values in config.values.items():
        found = defaults(definition)
        assert {n: found[n] for n in values} == {n: getattr(theirs, attribute) for n, attribute in values.items()}


def test_qwen_vision_layers_are_the_configurations() -> None:
    theirs = load("qwen2_5_vl:Qwen2_5_VLVisionConfig")
    names = maskdsl.model("qwen2_5_vl").names(theirs.depth)
    assert [i for i, n in enumerate(names) if n == "qwen2_5_vl_full"] == list(theirs.fullatt_block_indexes)


def test_dilations_are_the_configurations() -> None:
    theirs = load("dinat:DinatConfig")
    steps = [step for stage in theirs.dilations for step in stage]
    names = maskdsl.model("dinat").names(len(steps))
    assert [defaults(str(name)).get("dilation", 1) for name in names] == steps
    assert defaults("nat")["kernel"] == theirs.kernel_size


@pytest.mark.parametrize(
    ("definition", "function", "values"),
    [
        ("mistral", "mistral:MistralConfig", WINDOW),
        ("bigbird_encoder", "big_bird:BigBirdConfig", {"block": "block_size"}),
        ("longt5_encoder", "longt5:LongT5Config", {
            "radius": "local_radius", "max_distance": "relative_attention_max_distance",
        }),
        ("t5_encoder", "t5:T5Config", {"max_distance": "relative_attention_max_distance"}),
        ("wavlm", "wavlm:WavLMConfig", {"max_distance": "max_bucket_distance"}),
        ("swin", "swin:SwinConfig", {"height": "window_size", "width": "window_size"}),
        ("minimax_m3_sparse", "minimax_m3_vl:MiniMaxM3VLTextConfig", {"block": "index_block_size"}),
        ("deepseek_v4_sparse", "deepseek_v4:DeepseekV4Config", WINDOW),
        ("mpt", "mpt:MptAttentionConfig", {"bias_max": "alibi_bias_max"}),
    ],
)  # fmt: skip
def test_values_are_the_configurations(definition: str, function: str, values: dict[str, str]) -> None:
    theirs, ours = load(function), defaults(definition)
    assert {n: ours[n] for n in values} == {n: getattr(theirs, attribute) for n, attribute in values.items()}
