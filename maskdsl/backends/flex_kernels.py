"""Keeps one compiled `flex_attention` wrapper for every emitted text and kind of call.

Dynamo caches by code object and gives up after a few recompilations of one. Each wrapper here is therefore a code
object of its own: what would force a recompilation is part of its key, so that only lengths and table sizes are left
to Dynamo.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from maskdsl.backends.flex_blocks import MaskMod
from maskdsl.backends.kernel_choice import WHOLE

ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Signature(NamedTuple):
    """What a wrapper is compiled for.

    `text` is the emitted source. `finish` is what follows the softmax: "" nothing, "sink" one more logit in the
    denominator, "sum" no division. `static` holds whatever else forces a compilation: every size where `dynamic` is
    false, else only those that Dynamo cannot leave open.
    """

    text: str
    scale: float
    finish: str
    options: tuple[tuple[str, int | bool | str], ...]
    dynamic: bool
    static: tuple[Any, ...]


OWN_KERNELS = 2
"""How many lengths have a training kernel of their own: the backward pass of free lengths took 7 % longer (causal,
8192 tokens, head_dim 128, torch 2.11 on an H200)."""

_SCALES_RIGHT = any("stats_are_log2" in c.co_varnames for c in flex_attention.__code__.co_consts if type(c) is CodeType)

FLASH_LSE = 1.0 if _SCALES_RIGHT else 1.0 / math.log(2.0)
"""The factor for the log-sum-exp that flex gives by FlashAttention-4: torch before 2.13 takes it for a logarithm to the
base 2, which it is not, and multiplies it by ln 2."""

_TRAINED: dict[Signature, set[tuple[torch.Size, ...]]] = {}

Kernel = Callable[
    [Signature, tuple[Tensor, Tensor, Tensor], BlockMask, tuple[MaskMod, ScoreMod | None], Tensor | None], Tensor
]
"""What runs a call: as `call` does by compiling, or from what was compiled before."""


def call(
    signature: Signature,
    qkv: tuple[Tensor, Tensor, Tensor],
    mask: BlockMask,
    mods: tuple[MaskMod, ScoreMod | None],
    sink: Tensor | None,
) -> Tensor:
    """The attention of one call, [B, Hq, Q, Dv] in q's dtype; compiles when the signature is new.

    `sink` is float32 [B or 1, Hq], read when `finish` is "sink".
    """
    signature = with_whole_tiles(signature, qkv)
    settings = (signature.scale, signature.finish, dict(signature.options), mask.BLOCK_SIZE)
    out: Tensor = _compiled(signature)(*qkv, lists_of(mask), *mods, sink, *settings)
    return out


def trains_at(free: Signature, lengths: tuple[torch.Size, ...]) -> bool:
    """Whether a training call's lengths are numbers in its kernel: so are those of the first calls of a signature.

    All others share a kernel of free lengths, whose backward pass is slower.
    """
    known = _TRAINED.setdefault(free, set())
    if len(known) < OWN_KERNELS:
        known.add(lengths)
    return lengths in known


def with_whole_tiles(signature: Signature, qkv: tuple[Tensor, Tensor, Tensor]) -> Signature:
    """The signature of a call of free lengths; where they fill their tiles, the kernel is told.

    torch sees it only of lengths that are numbers in the kernel: of free ones it would check every bound.
    """
    whole = signature.dynamic and not any(x.shape[2] % WHOLE for x in qkv[:2])
    return signature._replace(options=(*signature.options, ("IS_DIVISIBLE", True))) if whole else signature


@functools.cache
def _compiled(signature: Signature) -> Callable[..., Any]:
    digest = hashlib.sha256(repr(signature).encode()).hexdigest()[:16]
    # Dynamo remembers which sizes varied by file, line and name, so those must differ as well.
    code = attend.__code__.replace(co_name=f"attention_{digest}", co_filename=f"<maskdsl {digest}>")
    wrapper = FunctionType(code, attend.__globals__, code.co_name)
    dynamic = None if signature.dynamic else False
    return torch.compile(wrapper, fullgraph=True, dynamic=dynamic, options=inductor_options())  # type: ignore[no-any-return]


def inductor_options() -> dict[str, Any]:
    """Options under which Inductor's C++ keeps the language's ints, which wrap around.

    In C++ an overflow may mean anything: g++ takes `v + q < v` for `q < 0`, unless it is told not to. No option is for
    further arguments, but the text of this one ends up among them as it is.
    """
    from torch._inductor import config

    name = "enable_floating_point_contract_flag"
    flag = getattr(config.cpp, name, None)
    return {f"cpp.{name}": f"{flag} -fwrapv"} if isinstance(flag, str) else {}


def lists_of(mask: BlockMask) -> tuple[Tensor | None, ...]:
    """The eight lists of a BlockMask."""
    forward = (mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices)
    return (*forward, mask.q_num_blocks, mask.q_indices, mask.full_q_num_blocks, mask.full_q_indices)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lists: tuple[Tensor | None, ...],
    mask_mod: MaskMod,
    score_mod: ScoreMod | None,
    sink: Tensor | None,
    scale: float,
    finish: str,
    options: dict[str, int | bool | str],
    block: tuple[int, int],
) -> Tensor:
    """What `torch.compile` and `torch.export` trace: flex_attention, and what `finish` says of its output.

    `lists` are the eight of a BlockMask of tiles of `block`, q and k [B, heads, length, D], `sink` [B or 1, Hq].
    """
    # Built in here, the mask takes its lengths from q and k, so Dynamo need not guard them as numbers.
    mask = BlockMask((q.size(-2), k.size(-2)), *lists, BLOCK_SIZE=block, mask_mod=mask_mod)
    grouped = q.size(1) != k.size(1)
    if not finish:
        return flex_attention(q, k, v, score_mod, mask, scale=scale, enable_gqa=grouped, kernel_options=options)
    wish = AuxRequest(lse=True)
    out, aux = flex_attention(
        q, k, v, score_mod, mask, scale=scale, enable_gqa=grouped, kernel_options=options, return_aux=wish
    )
    lse = aux.lse * FLASH_LSE if options.get("BACKEND") == "FLASH" else aux.lse
    factor = torch.exp(lse) if sink is None else torch.sigmoid(lse - sink[:, :, None])
    return (out * factor[..., None]).to(out.dtype)
