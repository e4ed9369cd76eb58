"""Builds the kernels of a definition for a GPU, which need not be here: the forms of its calls, and its lists of tiles.

Not here: compiling them (`backends.launch_build`), running them (`backends.launched_calls`), the whole folder (`made`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from torch import Tensor

from maskdsl.backends import flex, offline
from maskdsl.backends.block_mask_triton import kernel_for
from maskdsl.backends.contract import QKV, Call, TableOf, contract_of
from maskdsl.backends.cubins import toolkit
from maskdsl.backends.flex_kernels import attend, lists_of
from maskdsl.backends.flex_limits import decode_rows
from maskdsl.backends.kernel_choice import WHOLE, Machine
from maskdsl.backends.launch_build import Wanted, build_form, build_lists, build_training
from maskdsl.backends.launch_plan import KernelPlan
from maskdsl.backends.launched_calls import Plan
from maskdsl.backends.launched_lists import ListsPlan
from maskdsl.backends.targets import TARGETS, Target, target_here
from maskdsl.binding.artifact import CallShape
from maskdsl.binding.bound import Bound
from maskdsl.binding.choice import Wish
from maskdsl.binding.lowered import Lowering
from maskdsl.binding.shapes import check_call
from maskdsl.binding.tables import BoundTables
from maskdsl.source.diagnostic import MaskError

BLOCK = (128, 128)
"""The sides of the tiles that calls have unless they say otherwise."""

TablesFor = Callable[[CallShape], tuple[BoundTables, CallShape]]
"""Tables for a call of this shape, and the call that they are for."""


@dataclass(frozen=True, slots=True)
class Variation:
    """A form of a definition's calls: its name, the call that it is built from, and the sizes that are free in it."""

    name: str
    call: CallShape
    free: frozenset[str]
    whole: bool = False
    any_length: bool = False


def target_of(call: CallShape) -> Target:
    """The GPU that a call's kernels are for."""
    return TARGETS[call.target] if call.target else target_here()


def variations(call: CallShape, free: frozenset[str]) -> Iterator[Variation]:
    """The forms for a call and those that differ from it in free sizes; the last one serves most.

    Few queries have torch's decode kernel, which is for one number of them and of batch rows. Lengths that are free are
    multiples of 128 in one form, whose kernel checks no bounds, and any in another.
    """
    if not {"q_len", "kv_len"} <= free:
        yield Variation("exact", call, free)
        return
    if decode_rows(call.q_len, call.heads // call.kv_heads, BLOCK[0]):
        yield Variation("decode", call, free - {"batch", "q_len"})
    # With one row alone, what there is one of for every row and what there is one of at all look the same.
    several = replace(call, batch=max(2, call.batch))
    yield Variation("whole", replace(several, q_len=3 * WHOLE, kv_len=4 * WHOLE), free, whole=True, any_length=True)
    yield Variation("any", replace(several, q_len=300, kv_len=428), free, any_length=True)


def build_plan(lowering: Lowering, call: CallShape, free: frozenset[str], tables: TablesFor, folder: Path) -> Plan:
    """Compile every form of a call and write it to a folder.

    Raises MaskError E0714 where nothing can be compiled, as `Bound.attention` does, and what torch and Triton raise.
    """
    offline.require()
    try:
        return _build(variations(call, free), lowering, call, tables, folder)
    except MaskError as problem:
        if problem.diagnostics[0].code != "E0605":
            raise
    exact = Variation("exact", call, free - {"q_len", "kv_len"})  # the facts are for no other lengths
    for variation in variations(call, free):  # what was compiled before that was found out
        rmtree(folder / variation.name, ignore_errors=True)
    return _build([exact], lowering, call, tables, folder)


def _build(
    forms_of: Iterable[Variation], lowering: Lowering, call: CallShape, tables: TablesFor, folder: Path
) -> Plan:
    target, forms = target_of(call), []
    lists: dict[str, ListsPlan] = {}
    for variation in forms_of:
        made = _Made.of(lowering, variation, tables, target)
        forms.append(build_form(made.wanted(variation), target, folder))
        kernel, read = made.lists()
        if kernel.source not in lists:
            lists[kernel.source] = build_lists(kernel, read, target, folder / f"lists{len(lists) or ''}")
    plan = Plan(tuple(forms), tuple(lists.values()), toolkit(target))
    plan.write(folder)
    return plan


def build_backward(lowering: Lowering, call: CallShape, tables: TablesFor, folder: Path) -> tuple[KernelPlan, ...]:
    """Compile the kernels of a call's backward pass and write them to the folder `backward`, for people to look at."""
    offline.require()
    target = target_of(call)
    variation = Variation("backward", call, frozenset())
    made = _Made.of(lowering, variation, tables, target, gradients=True)
    signature, mask = made.call.signature, made.call.mask
    lists, closures, sink = lists_of(mask), made.call.mods, made.call.sink
    scale, finish, options, block = signature.scale, signature.finish, dict(signature.options), mask.BLOCK_SIZE

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return attend(q, k, v, lists, *closures, sink, scale, finish, options, block)

    return build_training(attention, made.call.qkv, target, folder / "backward")


@dataclass(frozen=True, slots=True)
class _Made:
    """A call on the CPU as it would be on the GPU."""

    bound: Bound
    mods: flex.Mods
    call: Call
    qkv: QKV
    table_of: TableOf

    @classmethod
    def of(
        cls, lowering: Lowering, variation: Variation, tables: TablesFor, target: Target, *, gradients: bool = False
    ) -> _Made:
        """The call of a variation. Raises MaskError as `Bound.attention` does."""
        given, call = tables(replace(variation.call, device="cpu"))
        if gradients:
            for tensor in given.tensors.values():
                tensor.requires_grad_(tensor.is_floating_point())
        bound = Bound(lowering, given, {})
        qkv = zeros(call)
        if gradients:
            qkv = (qkv[0].requires_grad_(), qkv[1].requires_grad_(), qkv[2].requires_grad_())
        lengths = check_call(*qkv, lowering.variant.span)
        machine = Machine("cuda", target.capability, target.card, target.multiprocessors)
        with torch.set_grad_enabled(gradients):
            wish = Wish("triton", False, BLOCK, any_length=variation.any_length, guarded=True)
            mods, blocks, settled = bound.planned(lengths, qkv, wish, machine)
            made = flex.cuda_call(mods, qkv, blocks, settled.block, settled.plan, gradients=gradients)
            signature, padded, mask = made
            sink = mods.sink if signature.finish == "sink" else None
            closures = flex.made_mods(mods)
        known = {x.data_ptr(): table for table, x in bound.tables_of_call(lengths, qkv[0].device).items()}
        return cls(
            bound, mods, Call(signature, padded, mask, closures, sink), qkv, lambda x: known.get(x.data_ptr())
        )

    def wanted(self, variation: Variation) -> Wanted:
        """The form that the call asks for."""
        contract = contract_of(self.call, self.table_of, variation.free)
        options = self.call.signature.options
        return Wanted(
            variation.name, contract, self.call.mods, options, variation.whole, variation.any_length
        )

    def lists(self) -> tuple[Any, list[Tensor]]:
        """The kernel that lists the tiles, and the tables that it reads."""
        lengths = check_call(*self.qkv, self.mods.span)
        builder = self.bound.list_builder(self.mods, lengths, self.qkv, self.call.mask.BLOCK_SIZE)
        kernel = kernel_for(builder.plan.verdict, both=False)
        return kernel, [builder.tables[t] for t in kernel.tables]


def zeros(call: CallShape) -> QKV:
    """Query, key and value of a call, all zero."""
    dtype = getattr(torch, call.dtype)
    query = (call.batch, call.heads, call.q_len, call.head_dim)
    key = (call.batch, call.kv_heads, call.kv_len, call.head_dim)
    q, k, v = (torch.zeros(s, dtype=dtype, device=call.device) for s in (query, key, key))
    return q, k, v
