"""Definitions beside modules of Hugging Face's transformers that are made and run: their tables, their scores, what they see.

What a whole attention layer sees is read off its weights, or off what each output depends on.
Not here: its mask functions (`transformers_peers`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from oracle import Sizes
from peer import Peer, Posed, added, looked_up, tensor

Generator = np.random.Generator


def _rel_shift(shift: Any, rng: Generator, sizes: Sizes) -> Posed:
    """XLNet's products of query and relative position: 2 * n of them, the first for a key n tokens to the left."""
    bias = rng.standard_normal((sizes.b, sizes.h, sizes.q, 2 * sizes.q))
    return Posed(added(shift(tensor(bias), klen=sizes.k)), tables={"bias": bias})


def _window_bias(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    """Windows of 3 rows of 4 tokens; its table holds rows and columns as one axis."""
    module, bias = make(sizes.h, (3, 4)), rng.standard_normal((5, 7, sizes.h))
    module.relative_position_bias_table.data = tensor(bias).reshape(-1, sizes.h)
    return Posed(added(module().detach()), {"height": 3, "width": 4}, {"bias": bias})


def _beit(index: Any, rng: Generator, sizes: Sizes) -> Posed:
    """The same with a class token in front, whose three entries are the table's last."""
    bias, class_bias = rng.standard_normal((5, 7, sizes.h)), rng.standard_normal((3, sizes.h))
    table = torch.cat([tensor(bias).reshape(-1, sizes.h), tensor(class_bias)])
    own = added(table[index((3, 4))].permute(2, 0, 1)[None])
    return Posed(own, {"height": 3, "width": 4}, {"bias": bias, "class_bias": class_bias})


def _relative_logits(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    module = make(8, 5).double()
    module.proj.data = tensor(rng.standard_normal((8, 5)))
    states = tensor(rng.standard_normal((sizes.b, sizes.q, sizes.h, 8)))
    own = added(module(states, torch.arange(sizes.q), torch.arange(sizes.k)).detach())
    return Posed(own, tables={"bias": (states @ module.proj).transpose(1, 2).detach().numpy()})


def _tiles(prepare: Any, rng: Generator, sizes: Sizes) -> Posed:
    """Images of two tiles of 3 keys each; every token sees one tile at least, for it lets the others see them all."""
    visible = rng.random((sizes.b, sizes.q, -(-sizes.k // 6), 2)) < 0.5
    visible[..., 0] |= ~visible.any((2, 3))[..., None]
    found, _ = prepare(tensor(visible).float(), num_vision_tokens=3, dtype=torch.float32)
    tables = {"visible": visible.reshape(sizes.b, sizes.q, -1)}
    return Posed(looked_up(found == 0), {"tile_tokens": 3}, tables)


def _ministral(scale: Any, rng: Generator, sizes: Sizes) -> Posed:
    factor = scale(torch.arange(sizes.q)[None].double(), 0.5, 6)[0, 0, :, 0]
    return Posed(lambda score, b, h, q, k: score * factor[q], {"beta": 0.5, "original": 6})


def _scalable(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    module, (gain, offset) = make(sizes.h), rng.standard_normal((2, sizes.h))
    module.scale.data, module.bias.data = tensor(gain), tensor(offset)
    ones = torch.ones(1, sizes.h, sizes.q, 1, dtype=torch.float64)
    factor = module(ones, torch.arange(sizes.q)[None], head_dim_first=True)[0, ..., 0].detach()
    return Posed(lambda score, b, h, q, k: score * factor[h, q], tables={"gain": gain, "offset": offset})


def _total_width(overlay: Any, rng: Generator, sizes: Sizes) -> Posed:
    """ESMFold 2 halves its width and gives the radius."""
    width = int(rng.integers(0, 12))
    return Posed(overlay(width // 2), {"width": width})


def _summaries(compute: Any, rng: Generator, sizes: Sizes) -> tuple[Any, dict[str, Any]]:
    """LongT5's bias of summaries of 4 tokens [1, H, Q, K - Q], and our tables for the same."""
    from transformers.models.longt5 import modeling_longt5 as longt5

    side_bias, mask = rng.standard_normal((32, sizes.h)), torch.ones(1, sizes.q)
    block, segments = longt5._make_global_fixed_block_ids(mask, 4)
    own = SimpleNamespace(
        global_block_size=4, is_decoder=False, relative_attention_num_buckets=32, relative_attention_max_distance=128,
        global_relative_attention_bias=lambda bucket: tensor(side_bias)[bucket],
        _relative_position_bucket=longt5.LongT5TransientGlobalAttention._relative_position_bucket,
    )  # fmt: skip
    return compute(own, mask, segments), {"block": block.numpy(), "side_bias": side_bias, "valid": segments.numpy() > 0}


def _side_bias(compute: Any, rng: Generator, sizes: Sizes) -> Posed:
    from transformers.models.longt5.modeling_longt5 import LongT5TransientGlobalAttention as Attention

    side, tables = _summaries(compute, rng, sizes)
    bias = rng.standard_normal((32, sizes.h))
    relative = torch.arange(sizes.q)[None, :] - torch.arange(sizes.q)[:, None]
    bucket = Attention._relative_position_bucket(relative, bidirectional=True, num_buckets=32, max_distance=128)
    own = torch.cat([tensor(bias)[bucket].permute(2, 0, 1)[None], side], 3)
    return Posed(added(own), tables={"bias": bias, "side_bias": tables["side_bias"], "block": tables["block"]})


def _side_mask(compute: Any, rng: Generator, sizes: Sizes) -> Posed:
    from transformers.models.longt5.modeling_longt5 import _get_local_attention_mask

    side, tables = _summaries(compute, rng, sizes)
    folded = _get_local_attention_mask(torch.ones(1, sizes.q), 5, torch.device("cpu"))[0, 0]
    local = torch.zeros(len(folded) * 5, (len(folded) + 2) * 5, dtype=torch.bool)
    for i, part in enumerate(folded):
        local[i * 5 : (i + 1) * 5, i * 5 : (i + 3) * 5] = part
    seen = torch.cat([local[: sizes.q, 5 : 5 + sizes.q], (side > -1e9)[0, 0]], 1)
    return Posed(looked_up(seen[None, None]), {"radius": 4}, {"valid": tables["valid"]})


def _blocks_of_groups(build: Any, rng: Generator, sizes: Sizes) -> Posed:
    """MiniMax-M3's blocks of 4 keys for each key head, of which its own block is always one."""
    groups, blocks = sizes.h // 2, -(-sizes.k // 4)
    selected = rng.random((sizes.b, groups, sizes.q, blocks)) < 0.4
    chosen = selected | (np.arange(sizes.q)[:, None] // 4 == np.arange(blocks))
    index = torch.from_numpy(np.where(chosen, np.arange(blocks), -1))
    own = SimpleNamespace(block_size=4, config=SimpleNamespace(num_attention_heads=sizes.h))
    places = torch.arange(sizes.q).expand(sizes.b, -1)
    found = build(own, index, None, sizes.k, torch.float32, torch.device("cpu"), places)
    return Posed(looked_up(found == 0), {"block": 4}, {"selected": selected})


def _random_blocks(make: Any, rng: Generator, sizes: Sizes) -> Posed:
    """BigBird in training, its random blocks taken down; values that are unit vectors show the weights."""
    from transformers import BigBirdConfig, BigBirdModel

    n, config = sizes.q, BigBirdConfig(hidden_size=2, num_attention_heads=1, block_size=4, attention_type="block_sparse")
    module, drawn = make(config), []
    draw = module._bigbird_block_rand_mask_with_head
    module._bigbird_block_rand_mask_with_head = lambda **given: drawn.extend(draw(**given)) or drawn
    blocked, band, rows, columns = BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(1, n), 4)
    np.random.seed(int(rng.integers(1000)))
    weights, _ = module.train().bigbird_block_sparse_attention(
        torch.randn(1, sizes.h, n, n), torch.randn(1, sizes.h, n, n), torch.eye(n).expand(1, sizes.h, n, n),
        band, rows, columns, blocked, blocked, sizes.h, 3, n, 4, 4, 1, n, n, None, None, None,
    )  # fmt: skip
    seen = weights.reshape(1, n, sizes.h, n).transpose(1, 2) > 0
    return Posed(looked_up(seen), {"block": 4}, {"pick": np.stack(drawn)})


def _staggered(moved: bool) -> Any:
    """Pegasus-X's encoder layer, 16 tokens behind three learned ones: what each output depends on."""

    def pose(make: Any, rng: Generator, sizes: Sizes) -> Posed:
        from transformers import PegasusXConfig

        config = PegasusXConfig(
            d_model=8, encoder_attention_heads=1, encoder_ffn_dim=4, num_global_tokens=3, block_size=4, dropout=0.0,
            attention_dropout=0.0, activation_dropout=0.0,
        )  # fmt: skip
        torch.manual_seed(0)
        layer, direction = make(moved, config).eval(), torch.randn(8)

        def outputs(tokens: torch.Tensor) -> torch.Tensor:
            found = layer(hidden_states=tokens[:, 3:], global_hidden_states=tokens[:, :3], attention_mask=torch.zeros(1, 16))
            return torch.cat([found[1], found[0]], 1)[0] @ direction

        seen = torch.autograd.functional.jacobian(outputs, torch.randn(1, 19, 8))[:, 0].abs().sum(-1) > 1e-9
        return Posed(looked_up(seen[None, None]), {"block": 4, "shift": 2 * moved, "globals": 3})

    return pose


MODELS = "transformers.models"
WINDOW = (Sizes(1, 3, 12, 12),)
SUMMARIES = (Sizes(1, 2, 20, 25), Sizes(1, 3, 60, 75))
EVEN = (Sizes(1, 2, 1, 1), Sizes(2, 4, 7, 7), Sizes(1, 6, 33, 33))
SHORT = (Sizes(1, 1, 1, 1), Sizes(2, 3, 7, 7), Sizes(1, 2, 20, 20))

PEERS = (
    Peer("shifted_bias", f"{MODELS}.xlnet.modeling_xlnet:XLNetRelativeAttention.rel_shift_bnij", _rel_shift, SHORT),
    Peer("swin_bias", f"{MODELS}.swin.modeling_swin:SwinRelativePositionBias", _window_bias, WINDOW),
    Peer("beit_bias", f"{MODELS}.beit.modeling_beit:BeitRelativePositionBias.generate_relative_position_index", _beit, (Sizes(1, 3, 13, 13),)),
    Peer("relative_logits", f"{MODELS}.inkling.modeling_inkling:InklingRelativeLogits", _relative_logits),
    Peer("mllama_cross_attention", f"{MODELS}.mllama.modeling_mllama:_prepare_cross_attention_mask", _tiles, (Sizes(1, 1, 1, 6), Sizes(2, 2, 9, 12))),
    Peer("ministral3_temperature", f"{MODELS}.ministral3.modeling_ministral3:get_llama_4_attn_scale", _ministral),
    Peer("scalable_softmax", f"{MODELS}.mistral_large4.modeling_mistral_large4:MistralLarge4TextSoftmaxScaling", _scalable),
    Peer("total_width_window", "transformers.masking_utils:sliding_window_bidirectional_overlay", _total_width),
    Peer("longt5_bias", f"{MODELS}.longt5.modeling_longt5:LongT5TransientGlobalAttention.compute_side_bias", _side_bias, SUMMARIES),
    Peer("longt5_transient_global", f"{MODELS}.longt5.modeling_longt5:LongT5TransientGlobalAttention.compute_side_bias", _side_mask, SUMMARIES),
    Peer("minimax_m3", f"{MODELS}.minimax_m3_vl.modeling_minimax_m3_vl:MiniMaxM3VLIndexer.build_block_mask", _blocks_of_groups, EVEN),
    Peer("bigbird", f"{MODELS}.big_bird.modeling_big_bird:BigBirdBlockSparseAttention", _random_blocks, (Sizes(1, 2, 48, 48), Sizes(1, 3, 64, 64))),
    Peer("pegasus_x", f"{MODELS}.pegasus_x.modeling_pegasus_x:PegasusXEncoderLayer", _staggered(False), (Sizes(1, 1, 19, 19),)),
    Peer("pegasus_x", f"{MODELS}.pegasus_x.modeling_pegasus_x:PegasusXEncoderLayer", _staggered(True), (Sizes(1, 1, 19, 19),)),
)  # fmt: skip
