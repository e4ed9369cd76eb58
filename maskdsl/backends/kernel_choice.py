"""Which kernel a call gets: FlashAttention-4's through FlexAttention (`flash`), Triton's (`triton`), the CPU's (`cpu`).

`auto` takes the first that can do the call, in this order; for narrow heads with a sink, or whose scores depend on
places, Triton is before FlashAttention-4. Not here: the options that a kernel runs with
(`kernel_options`), what no kernel can do (`flex_limits`), the forms in which mods are written (`mods_text`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span

WHOLE = 128
"""What lengths are multiples of where they fill their tiles."""

MANY_VISITS = (inf, inf)
"""The tiles that a row visits where lengths vary: kernels for any length count on many."""

KERNELS = ("flash", "triton", "cpu")
"""The kernels in the order in which `auto` tries them."""

BACKENDS = ("auto", *KERNELS)
"""What a user may ask for."""

FLASH_CAPABILITIES = (9, 10)
"""Major compute capabilities whose FlashAttention-4 takes mods and block lists: Hopper and Blackwell's data centre."""

FLASH_HEAD_DIMS = (16, 128)
"""The least and the greatest head_dim, multiples of 8, that FlashAttention-4 is given here."""

NARROW = 64
"""Up to this head_dim Triton is faster with a sink, or where a score reads more than the score: 278 against 237 TFLOP/s
for ALiBi, 75 against 65 for GPT-OSS's window of 128 (8192 tokens, head_dim 64, an H100 with torch 2.11)."""

SHORT = 128
"""Queries below this go to torch's decode kernel, which FlashAttention-4 has no counterpart of in flex."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a call runs: a device type, a CUDA device's compute capability and multiprocessors, and its name.

    `flash` says that `flash_attn.cute` can be imported.
    """

    device: str
    capability: tuple[int, int] | None = None
    name: str = ""
    multiprocessors: int = 0
    flash: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a kernel.

    `unwritable` are the functions of the variant that CuteDSL has no form for, `learned` the float tables that require
    a gradient. `group` is the number of query heads to a key/value head, `rows` that of batch rows times those. `lse`
    says that the log-sum-exp is used after the softmax, as by a sink, `placed` that scores read more than the score: a
    coordinate or a table. `visits` are the fewest and the most key tiles that a row of queries visits on average.
    """

    dtype: str = "bfloat16"
    head_dim: int = 128
    v_head_dim: int = 128
    q_len: int = 2048
    kv_len: int = 2048
    block: tuple[int, int] = (128, 128)
    unwritable: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    group: int = 1
    rows: int = 1
    gradients: bool = False
    layout: str = "dense"
    lse: bool = False
    placed: bool = False
    visits: tuple[float, float] = MANY_VISITS


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel that a call gets, and for every other one why it cannot have the call (nothing: it could)."""

    kernel: str
    why_not: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a CUDA call is run: by FlashAttention-4 or by Triton, with these options beside those that it needs.

    With `fixed`, lengths are part of the kernel, which is compiled again for others.
    """

    flash: bool = False
    options: tuple[tuple[str, int | bool | str], ...] = ()
    fixed: bool = False


PLAIN = Plan()
"""Triton with torch's own options."""


def choose(wanted: str, machine: Machine, request: Request, span: Span | None = None) -> Choice:
    """The kernel for a call. Raises MaskError E0703 for an unknown backend, or one that cannot do the call."""
    if wanted not in BACKENDS:
        raise MaskError(_unknown(wanted, span))
    reasons = {name: tuple(reasons_against(name, machine, request)) for name in KERNELS}
    if wanted != "auto":
        if reasons[wanted]:
            raise MaskError(_cannot(wanted, reasons[wanted], span))
        return Choice(wanted, {n: r for n, r in reasons.items() if n != wanted})
    late = ("flash",) if (request.placed or request.lse) and request.head_dim <= NARROW else ()
    possible = sorted((n for n in KERNELS if not reasons[n]), key=late.__contains__)
    # What no kernel takes is told by the kernel's own limits, better than here.
    chosen = possible[0] if possible else "cpu" if machine.device == "cpu" else "triton"
    return Choice(chosen, {n: r for n, r in reasons.items() if n != chosen})


def reasons_against(kernel: str, machine: Machine, request: Request) -> Iterable[str]:
    """Why a kernel cannot do a call; nothing if it can."""
    if kernel == "cpu":
        return () if machine.device == "cpu" else (f"the tensors are on `{machine.device}`",)
    if machine.device != "cuda":
        return (f"it runs on CUDA devices, and the tensors are on `{machine.device}`",)
    return () if kernel == "triton" else _against_flash(machine, request)


def _against_flash(machine: Machine, request: Request) -> Iterable[str]:
    if not machine.flash:
        yield "`flash_attn.cute` cannot be imported: `pip install maskdsl[flash]` installs it"
    if machine.capability is None or machine.capability[0] not in FLASH_CAPABILITIES:
        known = " or ".join(f"{major}.x" for major in FLASH_CAPABILITIES)
        told = ".".join(map(str, machine.capability)) if machine.capability else "unknown"
        yield f"it takes mods on devices of compute capability {known}, and this one's is {told}"
    if request.dtype not in ("bfloat16", "float16"):
        yield f"it computes in bfloat16 and float16, and the tensors are {request.dtype}"
    yield from _against_sizes(request)
    yield from request.unwritable
    if request.gradients and request.lse:
        yield "its backward pass knows no gradient of the log-sum-exp, which a sink and `normalize = false` need"
    if request.gradients and request.placed:
        yield "its backward pass gave NaN for scores that read more than the score (4.0.0b14, torch 2.11, an H100)"
    for name in request.learned:
        yield f"`{name}` requires a gradient, which FlashAttention-4 gives to no table"


def _against_sizes(request: Request) -> Iterable[str]:
    least, most = FLASH_HEAD_DIMS
    dims = (request.head_dim, request.v_head_dim)
    if dims[0] != dims[1] or dims[0] % 8 or not least <= dims[0] <= most:
        yield f"the head_dims are {dims[0]} and {dims[1]}: it takes one multiple of 8 from {least} to {most} for both"
    if request.q_len < SHORT:
        yield f"there are {request.q_len} queries: below {SHORT} the decode kernel is Triton's"
    if any(side % 128 for side in request.block):
        yield f"its tiles are 128 x 128, and the blocks are {request.block[0]} x {request.block[1]}"


def flash_is_here() -> bool:
    """Whether `flash_attn.cute` can be imported."""
    try:
        return importlib.util.find_spec("flash_attn.cute") is not None
    except (ImportError, ValueError):
        return False


def flash_block(machine: Machine, block: tuple[int, int]) -> tuple[int, int]:
    """The block sizes for FlashAttention-4: on Blackwell a tile has 256 queries."""
    rows = 256 if machine.capability is not None and machine.capability[0] == 10 else 128
    return (-(-block[0] // rows) * rows, block[1])


def _unknown(wanted: str, span: Span | None) -> Diagnostic:
    known = ", ".join(f"`{name}`" for name in BACKENDS)
    help = did_you_mean(wanted, BACKENDS) or (f"it is one of {known}",)
    return Diagnostic("E0703", f"there is no backend `{wanted}`", span, help=help)


def _cannot(wanted: str, reasons: tuple[str, ...], span: Span | None) -> Diagnostic:
    help = ('`backend="auto"` takes the fastest kernel that can do the call',)
    return Diagnostic("E0703", f"the backend `{wanted}` cannot do this call", span, notes=reasons, help=help)
