"""The compiled part of an artifact's folder: what it holds, for which machine and calls, and whether it may be opened.

`manifest.json` has a section `artifact`, which names the other files with their hashes: `program.json`, the definition,
and `package.pt2`, a kernel for the CPU compiled ahead of time, or `launches.json` with kernels for a GPU, or
`caches.zip`, what a compiler's caches held.
The rule of trust: what is in the folder is run like a Python module that is imported. Hashes tell damage, not malice.
Not here: running it (`opened`), building it (`made`), what the rest of the manifest tells people (`cli.artifact`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskdsl.binding.machine import differences, launch_differences, this_machine
from maskdsl.ir.nodes import Variant
from maskdsl.ir.stored import from_plain, to_plain
from maskdsl.library.files import reason, writing
from maskdsl.source.diagnostic import Diagnostic, MaskError

FORMAT = 2
"""Counts the ways in which artifacts have been laid out."""

MANIFEST, PROGRAM = "manifest.json", "program.json"
PACKAGE, LAUNCHES, CACHES = "package.pt2", "launches.json", "caches.zip"


AGAIN = "`maskdsl.open(DIR, recompile=True)` compiles it again, in place"
ANEW = "`maskdsl compile … -o DIR` writes it anew"


@dataclass(frozen=True, slots=True)
class CallShape:
    """A call that an artifact is built from: query [batch, heads, q_len, head_dim], key on `kv_heads` and `kv_len`.

    `sizes` gives the axes of tables that the text of the mods depends on; `target` names the GPU, such as `sm_90`, that
    kernels are for, empty for the one that is here.
    """

    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    q_len: int
    kv_len: int
    dtype: str = "float32"
    device: str = "cpu"
    sizes: Mapping[str, int] = field(default_factory=dict)
    target: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The section `artifact` of a manifest.

    `kind` is "package" or "launches", whose calls compile nothing, or "caches" (`why_caches` says why it is no better).
    `machine` is what the code depends on, `contract` for which calls a package is, `tables` the dtype of every table,
    `files` the hash of every file.
    """

    kind: str
    machine: Mapping[str, Any]
    call: CallShape
    tables: Mapping[str, str]
    contract: Mapping[str, Any] | None
    free: tuple[str, ...]
    formula: str
    files: Mapping[str, str]
    why_caches: str = ""

    def plain(self) -> dict[str, Any]:
        """The section as JSON says it, with its own hash."""
        whole = {"format": FORMAT, **asdict(self)}
        return {**whole, "digest": _digest(whole)}


def store_program(folder: Path, variant: Variant) -> None:
    """Write the definition; the package or the caches are written by those who build them."""
    replace_text(folder / PROGRAM, json.dumps(to_plain(variant), allow_nan=False))


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step, so that nobody reads half of it."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    made.write_text(text, encoding="utf-8")
    made.replace(path)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest. Raises MaskError E0107 when the folder cannot be written."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    with writing(folder):
        replace_text(folder / MANIFEST, f"{text}\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact's folder. Raises MaskError E0107 without one, E0711 for one that does not read."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        told = f"`{path}` cannot be read: {reason(problem)}"
        raise MaskError(Diagnostic("E0107", told, help=_artifacts_below(folder))) from None
    except (ValueError, RecursionError):
        raise MaskError(damaged(folder, f"`{MANIFEST}` is no JSON")) from None
    if not isinstance(found, dict) or not isinstance(found.get("artifact"), dict):
        raise MaskError(damaged(folder, f"`{MANIFEST}` describes no compiled kernel"))
    return found


def _artifacts_below(folder: Path) -> tuple[str, ...]:
    """Advice where a folder is one of artifacts, as a compilation of many definitions leaves it."""
    first = min(folder.glob(f"*/{MANIFEST}"), default=None)
    return () if first is None else (f"open one of the artifacts in it, such as `{first.parent}`",)


def read_section(folder: Path, manifest: Mapping[str, Any]) -> Section:
    """The section of a manifest. Raises MaskError E0710 for another format, E0711 for one that was changed."""
    plain = dict(manifest["artifact"])
    if plain.get("format") != FORMAT:
        told = f"it is laid out in format {plain.get('format')}, and this maskdsl reads format {FORMAT}"
        raise MaskError(stale(folder, [told], ANEW))
    digest = plain.pop("digest", None)
    try:
        if digest != _digest(plain):
            raise ValueError
        named = {name: plain[name] for name in Section.__dataclass_fields__}
        return Section(**{**named, "call": CallShape(**plain["call"]), "free": tuple(plain["free"])})
    except (KeyError, TypeError, ValueError):
        raise MaskError(damaged(folder, f"`{MANIFEST}` is not as it was written")) from None


def read_program(folder: Path, section: Section) -> Variant:
    """The definition. Raises MaskError E0711 for what is not as it was written, E0710 for another compiler's."""
    verify_file(folder, section, PROGRAM)
    try:
        return from_plain(json.loads((folder / PROGRAM).read_text(encoding="utf-8")))
    except (ValueError, AssertionError) as problem:
        raise MaskError(stale(folder, [str(problem)], ANEW)) from None


def verify_file(folder: Path, section: Section, name: str) -> None:
    """Raise MaskError E0711 unless a file is there and as it was written."""
    try:
        found = hash_of(folder / name)
    except OSError as problem:
        raise MaskError(damaged(folder, f"`{name}`: {reason(problem)}")) from None
    if found != section.files.get(name):
        raise MaskError(damaged(folder, f"`{name}` is not as it was written"))


def verify_machine(folder: Path, section: Section) -> None:
    """Raise MaskError E0701 without the GPU that it needs, E0710 where the code was made for another machine."""
    import torch

    from maskdsl.backends.flex_limits import require_device

    require_device(torch.device(section.call.device), None)
    if section.kind == "launches":
        told = launch_differences(section.machine)
    else:
        told = differences(section.machine, this_machine(section.call.device), traced=section.kind == "caches")
    if told:
        raise MaskError(stale(folder, told))


def stale(folder: Path, told: list[str], help: str = AGAIN) -> Diagnostic:
    """E0710: an artifact that must not run here, and why."""
    return Diagnostic(
        "E0710", f"the artifact `{folder.name}` was not made for this machine and these versions", notes=tuple(told),
        help=(help,),
    )  # fmt: skip


def damaged(folder: Path, told: str) -> Diagnostic:
    """E0711: an artifact whose files are not those that were written."""
    return Diagnostic(
        "E0711", f"the artifact `{folder.name}` is damaged", notes=(told,), help=(ANEW,),
    )  # fmt: skip


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()
