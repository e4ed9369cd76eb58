"""Which layers of real checkpoints use which definition, and with which values, listed apart from the files.

Lists are cycles of the configurations' `layer_types`, numbers of layers those of checkpoints or of the
configuration classes (transformers 5.23, DeepSeek-V4's published `compress_ratios`, MiniMax-M3's sparse layers).
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import pytest

import maskdsl
from maskdsl.library.models import find_models
from maskdsl.library.registry import shared

Names = list[str | None]


def turns(total: int, *names: str | None) -> Names:
    """So many layers, the names in turn."""
    return list(islice(cycle(names), total))


def local_global(model: str, local: int, total: int) -> tuple[str, None, Names]:
    """`local` local layers and a global one, in turn."""
    return model, None, turns(total, *[f"{model}_local"] * local, f"{model}_global")


def alike(model: str, name: str, *totals: int, kind: str | None = None) -> list[tuple[str, str | None, Names]]:
    """Checkpoints whose layers are all alike."""
    return [(model, kind, [name] * total) for total in totals]


def images(names: Names) -> Names:
    """Gemma 3 with images: the same layers, the other masks."""
    return [str(n).replace("gemma3_", "gemma3_image_") for n in names]


GEMMA3 = [local_global("gemma3", 5, total) for total in (26, 34, 48, 62)]
GEMMA4 = [*turns(30, *["gemma4_local"] * 5, "gemma4_global")]
LOCAL, SHIFTED = "swin", "swin_shifted"
FLASH = ["deepseek_v4_window"] * 2 + ["deepseek_v4_sparse", "deepseek_v4_compressed"] * 20 + ["deepseek_v4_sparse"]
PRO = ["deepseek_v4_compressed"] * 2 + turns(59, "deepseek_v4_sparse", "deepseek_v4_compressed")
DINAT = [[0, 8, 0], [0, 4, 0, 4], [0, 2, 0, 2, 0, 2], [0, 0, 0, 0, 0]]

CHECKPOINTS: list[tuple[str, str | None, Names]] = [
    *(local_global("gemma2", 1, total) for total in (26, 42, 46)),
    *GEMMA3,
    *(("gemma3", "image", images(names)) for _, _, names in GEMMA3[1:]),
    local_global("gemma3n", 4, 30),
    local_global("gemma3n", 4, 35),
    ("gemma4", None, GEMMA4),
    ("gemma4", None, [*GEMMA4, *["gemma4_local"] * 2, "gemma4_global"]),
    ("gemma4", None, turns(60, *["gemma4_local"] * 5, "gemma4_global")),
    ("gemma4", "e2b", turns(35, *["gemma4_local"] * 4, "gemma4_global")),
    ("gemma4", "image", [str(n).replace("gemma4_local", "gemma4_image_local") for n in GEMMA4]),
    *alike("mistral", "mistral", 32),
    local_global("gpt_oss", 1, 24),
    local_global("gpt_oss", 1, 36),
    local_global("llama4", 3, 48),
    local_global("cohere2", 3, 32),
    local_global("cohere2", 3, 64),
    local_global("olmo3", 3, 32),
    local_global("olmo3", 3, 64),
    local_global("exaone4", 3, 64),
    *alike("exaone4", "exaone4_global", 30, kind="1.2b"),
    local_global("afmoe", 3, 32),
    ("cwm", None, turns(64, "cwm_global", "cwm_local", "cwm_local", "cwm_local")),
    ("granite_swa", None, turns(24, "granite_swa_global", "granite_swa", "granite_swa", "granite_swa")),
    ("mimo_v2", None, ["mimo_v2_global", *["mimo_v2_local"] * 4, *turns(43, "mimo_v2_global", *["mimo_v2_local"] * 5)]),
    local_global("inkling", 5, 66),
    ("recurrent_gemma", None, turns(26, None, None, "recurrent_gemma")),
    ("recurrent_gemma", None, turns(38, None, None, "recurrent_gemma")),
    *(
        ("modernbert", None, turns(n, "modernbert_global", "modernbert_local", "modernbert_local"))
        for n in (22, 28)
    ),
    *alike("mpt", "mpt", 32, 48),
    *alike("bloom", "bloom", 24, 30, 70),
    *alike("falcon", "falcon_rw", 24, 36),
    *alike("t5", "t5_encoder", 6, 24, kind="encoder"),
    *alike("t5", "t5_decoder", 6, 24, kind="decoder"),
    *alike("longformer_encoder", "longformer_encoder", 12, 24),
    *alike("bigbird_encoder", "bigbird_encoder", 12, 24),
    *alike("longt5_encoder", "longt5_encoder", 12, 24, kind="local"),
    *alike("longt5_encoder", "longt5_global_encoder", 12, 24, kind="transient_global"),
    *alike("longt5_encoder", "longt5_decoder", 12, 24, kind="decoder"),
    *(("swin_transformer", None, [n for d in depths for n in turns(d, LOCAL, SHIFTED)])
      for depths in ((2, 2, 6, 2), (2, 2, 18, 2))),
    ("dinat", None, [f"dinat_dilated_{d}" if d else "nat" for stage in DINAT for d in stage]),
    *alike("dinat", "nat", 18, 30, kind="nat"),
    ("qwen2_5_vl", None, [f"qwen2_5_vl_{'full' if i in (7, 15, 23, 31) else 'window'}" for i in range(32)]),
    ("phi3_small", None, turns(32, "phi3_small_sparse", "phi3_small_dense")),
    *alike("deepseek_v3_2", "deepseek_v3_2", 61),
    ("deepseek_v4_layers", "flash", FLASH),
    ("deepseek_v4_layers", "pro", PRO),
    *(alike("nsa_branches", f"nsa_{branch}_layer", 30, kind=branch)[0]
      for branch in ("compressed", "selected", "window")),
    ("moba_layers", None, ["moba_sparse"] * 29 + ["moba_dense"] * 3),
    ("minimax_m3_sparse", None, ["minimax_m3_dense"] * 3 + ["minimax_m3_sparse"] * 57),
    *alike("bd3_lm", "bd3_lm", 12),
    *alike("self_forcing", "self_forcing", 30),
    *alike("self_forcing", "self_forcing_image_to_video", 30, kind="image_to_video"),
    *alike("paligemma", "paligemma", 18),
    *alike("transfusion_model", "transfusion_model", 32),
    *alike("deberta", "deberta", 6, 12, 24),
    *alike("wavlm", "wavlm", 12, 24),
    *alike("granite", "granite", 40),
    *alike("grok1", "grok1", 64),
    *alike("ministral3", "ministral3", 26, 34),
]  # fmt: skip

VALUES: dict[str, dict[str, Any]] = {
    "gemma2_local": {"window": 4096, "cap": 50.0, "query_pre_attn_scalar": 256},
    "gemma2_global": {"cap": 50.0, "query_pre_attn_scalar": 256},
    "gemma3_local": {"window": 1024, "query_pre_attn_scalar": 256},
    "gemma3_image_local": {"window": 1024, "query_pre_attn_scalar": 256},
    "gemma3_global": {"query_pre_attn_scalar": 256},
    "gemma3_image_global": {"query_pre_attn_scalar": 256},
    "gemma3n_local": {"window": 512},
    "gemma4_local": {"window": 512},
    "gemma4_image_local": {"window": 1024},
    "mistral": {"window": 4096},
    "gpt_oss_local": {"window": 128},
    "llama4_local": {"chunk": 8192},
    "llama4_global": {"attn_scale": 0.1, "floor_scale": 8192},
    "cohere2_local": {"window": 4096},
    "olmo3_local": {"window": 4096},
    "exaone4_local": {"window": 4096},
    "afmoe_local": {"window": 1024},
    "cwm_local": {"window": 8192},
    "granite_swa": {"window": 128, "attention_multiplier": 1.0},
    "granite_swa_global": {"attention_multiplier": 1.0},
    "mimo_v2_local": {"window": 129},
    "inkling_local": {"window": 512, "head_dim": 128},
    "inkling_global": {"start": None, "alpha": 0.1, "head_dim": 128},
    "recurrent_gemma": {"lookback": 2048},
    "modernbert_local": {"radius": 64},
    "mpt": {"bias_max": 8.0},
    "t5_encoder": {"max_distance": 128},
    "t5_decoder": {"max_distance": 128},
    "longformer_encoder": {"radius": 256},
    "bigbird_encoder": {"block": 64},
    "longt5_encoder": {"radius": 127, "max_distance": 128},
    "longt5_global_encoder": {"radius": 127, "max_distance": 128},
    "longt5_decoder": {"max_distance": 128},
    "swin": {"height": 7, "width": 7},
    "swin_shifted": {"height": 7, "width": 7},
    "nat": {"height": None, "width": None, "kernel": 7},
    **{f"dinat_dilated_{d}": {"height": None, "width": None, "kernel": 7, "dilation": d} for d in (8, 4, 2)},
    "phi3_small_sparse": {"block": 64, "local": 16, "stride": 8, "head_dim": 128},
    "phi3_small_dense": {"head_dim": 128},
    "deepseek_v4_sparse": {"window": 128, "ratio": 4},
    "deepseek_v4_compressed": {"window": 128, "ratio": 128},
    "deepseek_v4_window": {"window": 128},
    "nsa_compressed_layer": {"block": 32, "stride": 16},
    "nsa_selected_layer": {"block": 64},
    "nsa_window_layer": {"window": 512},
    "moba_sparse": {"chunk": 4096},
    "minimax_m3_sparse": {"block": 128},
    "bd3_lm": {"block": 4},
    "self_forcing": {"frame": 1560, "chunk": 1},
    "self_forcing_image_to_video": {"frame": 1560, "chunk": 4},
    "deberta": {"head_dim": 64, "buckets": 256, "max_distance": 512},
    "wavlm": {"max_distance": 800},
    "grok1": {"cap": 30.0},
    "granite": {"attention_multiplier": 1.0},
    "ministral3": {"beta": 0.1, "original": 16384},
    "falcon_rw": {"head_dim": 64},
}


@pytest.mark.parametrize(("name", "kind", "names"), CHECKPOINTS, ids=lambda v: len(v) if isinstance(v, list) else v)
def test_layers_are_those_of_the_checkpoint(name: str, kind: str | None, names: Names) -> None:
    model = maskdsl.model(name, kind)
    assert list(model.names(len(names))) == names
    needed = any(p.kind == "constant" and p.default is None for v in model.variants for p in v.parameters)
    for layer in () if needed else (0, 1, len(names) - 1):
        if names[layer] is not None:
            assert model.layer(layer, len(names)).name == names[layer]


def test_every_model_and_kind_has_a_checkpoint() -> None:
    models = {(m.name, kind) for m in find_models(shared()) for kind in m.kinds}
    assert models == {(name, kind) for name, kind, _ in CHECKPOINTS}


def test_every_variant_of_a_model_file_is_used_by_some_layer() -> None:
    files = {m.file: m for m in maskdsl.list() if m.path.startswith("models/")}
    assert len(files) == len(find_models(shared()))
    used = {n for _, _, names in CHECKPOINTS for n in names if n is not None}
    assert {m.name for m in maskdsl.list() if m.path.startswith("models/") and m.kind == "variant"} == used


def test_constants_are_those_of_the_configurations() -> None:
    for one in maskdsl.list():
        if one.path.startswith("models/") and one.kind == "variant":
            assert {p.name: p.default for p in one.constants} == VALUES.get(one.name, {}), one.name
