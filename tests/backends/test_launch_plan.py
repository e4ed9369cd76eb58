"""What is taken out of Inductor's module, what is refused, and which calls a form is for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from maskdsl.backends import launched_calls
from maskdsl.backends.contract import Call, Contract, Input
from maskdsl.backends.flex_kernels import Signature
from maskdsl.backends.launch_build import verify_fits
from maskdsl.backends.launch_plan import KernelPlan, Unplannable, call_function, call_text, verify_plan
from maskdsl.backends.launched_calls import Form, LaunchedKernel, Plan
from maskdsl.backends.targets import TARGETS
from maskdsl.source.diagnostic import MaskError

MODULE = """
import torch
from torch._C import _cuda_getCurrentRawStream as get_raw_stream
empty_strided_cuda = torch._C._dynamo.guards._empty_strided_cuda
kernel_0 = async_compile.triton('kernel_0', '''...''', device_str='cuda')

class Runner:
    def __init__(self, partitions):
        self.partitions = partitions

    def call(self, args):
        a, = args
        args.clear()
        s0 = a.size()[0]
        with torch.cuda._DeviceGuard(0):
            torch.cuda.set_device(0)
            assert_size_stride(a, (s0, 4), (4, 1), 'input')
            buf0 = empty_strided_cuda((s0, 4), (4, 1), torch.bfloat16)
            stream0 = get_raw_stream(0)
            kernel_0.run(a, buf0, 4*s0, max(1, s0), stream=stream0)
            del a
            buf1 = reinterpret_tensor(buf0, (2, 2), (4, 1), 1)
        return (buf1, )

runner = Runner(partitions=[])
call = runner.call
"""
LINE = "            kernel_0.run("


def test_a_call_is_taken_out_and_runs() -> None:
    text = call_text(MODULE, ["kernel_0"])
    assert not {"Guard", "set_device", "assert", "clear"} & set(text.replace(".", " ").replace("(", " ").split())
    ran: list[tuple[Any, ...]] = []
    kernel = SimpleNamespace(run=lambda *given, stream: ran.append((*given, stream)))
    a = torch.zeros(3, 4)
    (out,) = call_function(text, {"kernel_0": kernel}, torch.device("cpu"))([a])
    ((seen, buffer, numel, most, stream),) = ran
    assert seen is a and (numel, most, stream) == (12, 3, 0)
    assert (tuple(buffer.shape), buffer.dtype) == ((3, 4), torch.bfloat16)
    assert (tuple(out.shape), out.stride(), out.data_ptr()) == ((2, 2), (4, 1), buffer.data_ptr() + 2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("extern_kernels.mm(a, a, out=buf0)", "extern_kernels"),
        ("kernel_1.run(a, stream=stream0)", "kernel_1"),
        ("buf0 = a.clone()", "a.clone"),
        ("open('/etc/passwd')", "open"),
        ("torch.load(a)", "torch.load"),
        ("for i in range(3): kernel_0.run(a, stream=stream0)", "for i in range"),
        ("import os", "import os"),
        ("buf0 = self.partitions[0]([a])", "self"),
    ],
)
def test_a_module_that_does_more_is_refused(line: str, said: str) -> None:
    with pytest.raises(Unplannable, match=said.replace(".", r"\.")):
        call_text(MODULE.replace(LINE, f"            {line}\n{LINE}"), ["kernel_0"])


PTX = """
.visible .entry kernel(
	.param .u64 .ptr .global .align 16 kernel_param_0,
	.param .u32 kernel_param_1,
	.param .u64 .ptr .global .align 1 kernel_param_2,
	.param .u64 .ptr .global .align 1 kernel_param_3
)
.reqntid 128
{ .param .b32 unrelated; }
"""


@pytest.mark.parametrize(
    ("signature", "fits"),
    [
        ((("p", "*fp32"), ("n", "i32")), True),
        ((("p", "*fp32"), ("n", "i64")), False),
        ((("p", "*fp32"),), False),
        ((("p", "*fp32"), ("n", "i32"), ("m", "i32")), False),
        ((("p", "*fp32"), ("n", "fp64")), False),
    ],
)
def test_parameters_are_held_against_the_ptx(signature: tuple[tuple[str, str], ...], fits: bool) -> None:
    plan = KernelPlan("k", "", "k", ("p", "n"), signature, "", 4, 0, 0)
    if fits:
        return verify_plan(plan, PTX)
    with pytest.raises(Unplannable, match="parameters"):
        verify_plan(plan, PTX)


# ---------------------------------------------------------------- forms

SIGNATURE = Signature("text", 0.25, "", (), True, ())
HASH = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"  # of "text"
LISTS = (("batch", 1, "q_tiles"), ("batch", 1, "q_tiles", "kv_tiles"))
CONTRACT = Contract(
    HASH, 0.25, "", (128, 128),
    (Input("q", "float32", ("batch", 2, "q_len", 16)), *(Input(n, "float32", ("batch", 1, "kv_len", 16)) for n in "kv"),
     *(Input(n, "int32", LISTS[i % 2]) for i, n in enumerate(("counts", "indices", "full counts", "full indices")))),
)  # fmt: skip
FORM = Form("any", CONTRACT, False, ("32*a*b <= 1000000",), {"a": (0, 0), "b": (0, 2)}, ())


def call(batch: int = 1, q_len: int = 5, kv_len: int = 7, **other: Any) -> Call:
    """A call over zeros; `other` replaces parts of its signature."""
    mask = SimpleNamespace(BLOCK_SIZE=(128, 128))
    for name in ("kv_num_blocks", "full_kv_num_blocks"):
        setattr(mask, name, torch.zeros(batch, 1, 1, dtype=torch.int32))
        setattr(mask, name.replace("num_blocks", "indices"), torch.zeros(batch, 1, 1, 1, dtype=torch.int32))
    q, k = torch.zeros(batch, 2, q_len, 16), torch.zeros(batch, 1, kv_len, 16)
    return Call(SIGNATURE._replace(**other), (q, k, k.clone()), mask, (lambda *_: None, None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "made", "said"),
    [
        (FORM, call(), ""),
        (FORM, call(3, 1, 900), ""),
        (FORM, call(text="other"), "its mods read otherwise"),
        (FORM, call(scale=1.0), "its scale is 1"),
        (FORM, call(finish="sink"), "its tiles"),
        (FORM, call(1, 40_000), "32\\*a\\*b <= 1000000 does not hold"),
        (replace(FORM, whole=True), call(1, 128, 256), ""),
        (replace(FORM, whole=True), call(1, 128, 200), "multiples of 128"),
        (replace(FORM, whole=True), call(1, 1, 128), "multiples of 128"),
    ],
)
def test_a_form_is_for_the_calls_that_it_says(form: Form, made: Call, said: str) -> None:
    import re

    why = form.why_not(made, made.tensors)
    assert bool(why) == bool(said) and re.search(said, why), why


def test_more_numbers_than_32_bits_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launched_calls, "MOST", 500)
    made = call(1, 20)
    assert "kernel counts to 500" in replace(FORM, conditions=()).why_not(made, made.tensors)


class Refusing:
    """A driver that nobody should ask."""

    def load(self, *arguments: Any) -> Any:
        raise AssertionError("loaded")

    launch = load


def kernel(*forms: Form) -> LaunchedKernel:
    """A kernel of these forms."""
    from pathlib import Path

    return LaunchedKernel(Plan(forms, (), ""), Path("/nowhere"), Refusing())


def test_a_call_without_a_form_is_refused_with_the_last_forms_reason() -> None:
    with pytest.raises(MaskError, match=r"E0712(.|\n)*its scale is 1(.|\n)*free are: batch, q_len, kv_len"):
        kernel(replace(FORM, whole=True), FORM)(*call(scale=1.0))


def test_gradients_are_refused_rather_than_lost() -> None:
    made = call()
    made.qkv[0].requires_grad_()
    with pytest.raises(MaskError, match=r"E0712(.|\n)*gradient"):
        kernel(FORM)(*made)


def test_tensors_that_do_not_lie_as_kernels_expect_are_copied() -> None:
    base = torch.arange(40.0)
    for x in (base[1:17], base.view(4, 10).mT):
        placed = launched_calls._placed(x)
        assert torch.equal(placed, x) and placed.is_contiguous() and placed.data_ptr() % 16 == 0
    assert launched_calls._placed(base).data_ptr() == base.data_ptr()


def test_a_plan_is_read_as_it_was_written(tmp_path: Any) -> None:
    kernel = KernelPlan("k", "k.cubin", "k", ("p", "n"), (("p", "*fp32"),), "def grid…", 4, 8, 0, {"X": 1}, 30, 2)
    lists = launched_calls.ListsPlan("source", ("int32",), (kernel,))
    plan = Plan((replace(FORM, kernels=(kernel,)),), (lists,), "12.8")
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan
    assert plan.files == ("launches.json", "any/call.py", "any/k.cubin", "k.cubin")


def test_a_kernel_that_the_card_could_not_launch_is_refused() -> None:
    kernel = KernelPlan("k", "k.cubin", "k", (), (), "", 4, 101_376, 0)
    verify_fits(kernel, TARGETS["sm_89"])
    with pytest.raises(Unplannable, match=r"wants 101,377 bytes of shared memory, and the L40S has 101,376"):
        verify_fits(replace(kernel, shared=101_377), TARGETS["sm_89"])
