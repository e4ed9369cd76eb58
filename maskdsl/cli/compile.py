"""`maskdsl compile`: definitions as compiled kernels, tried against the reference where they can run, in folders.

Not here: one definition (`compile_one`), many in processes of their own (`compile_many`), what is printed of a kernel
(`compile_report`).
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from maskdsl.cli.bounds import MOST_HEADS, MOST_ROWS


class Dtype(StrEnum):
    """The type of query, key and value."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def run(
    what: Annotated[list[str], typer.Argument(metavar="FILE[:NAME]|FOLDER|NAME…", help="What to compile.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write into.")],
    set: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|cuda:sm_90", help="Where it is to run.")] = "cpu",
    dtype: Annotated[Dtype, typer.Option(help="The type of query, key and value.")] = Dtype.FLOAT32,
    batch: Annotated[int, typer.Option(min=1, max=MOST_HEADS, help="Batch rows.")] = 1,
    heads: Annotated[int, typer.Option(min=1, max=MOST_HEADS, help="Query heads.")] = 4,
    kv_heads: Annotated[int | None, typer.Option(min=1, help="Key/value heads; as many as query heads.")] = None,
    head_dim: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="The length of a head's vectors.")] = 64,
    q_len: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="Queries.")] = 128,
    kv_len: Annotated[int | None, typer.Option(min=1, max=MOST_ROWS, help="Keys; as many as queries.")] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Take missing arguments from an example.")] = False,
    backward: Annotated[bool, typer.Option("--backward", help="With a named GPU, the backward kernels too.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many definitions compile at once.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Compile kernels, try them, and write each to a folder.

    A GPU that is not here is named by its compute capability, such as cuda:sm_90. Several definitions, of files,
    folders and models, each get a folder in DIR; arguments that they lack come from their examples.
    """
    from maskdsl.cli.measure import Shape

    shape = Shape(batch, heads, kv_heads or heads, head_dim, q_len, kv_len or q_len)
    if shape.heads % shape.kv_heads:
        raise typer.BadParameter(f"{heads} query heads cannot share {shape.kv_heads} evenly", param_hint="--kv-heads")
    where = _checked_device(device)
    if backward and where in ("cpu", "cuda"):
        raise typer.BadParameter("it is for GPUs named as `cuda:sm_90` is", param_hint="--backward")
    if jobs is not None or len(what) > 1 or os.path.isdir(what[0]):
        from maskdsl.cli.compile_many import compile_many

        settings = {"--device": device, "--dtype": dtype.value, **shape.options()}
        flags = [f"--set={s}" for s in set or ()] + (["--backward"] if backward else [])
        compile_many(what, output, [*(w for pair in settings.items() for w in pair), *flags], jobs, json)
        return
    from maskdsl.cli.compile_one import Wanted, compile_one

    compile_one(what[0], output, Wanted(tuple(set or ()), where, dtype.value, shape, examples, backward), json)


def _checked_device(device: str) -> str:
    """`cpu`, `cuda`, or the name of a target such as `sm_90`. Raises MaskError E0713 for an unknown target."""
    from maskdsl.backends.targets import target_named

    target = target_named(device)
    if target is not None:
        return target.name
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{device!r} is not `cpu`, `cuda`, or a GPU as in `cuda:sm_90`", param_hint="--device")
    return device
