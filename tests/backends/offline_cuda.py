"""flex_attention's CUDA kernels on a machine without a GPU: Triton source by Inductor, PTX by Triton, nothing launched.

The graphs are traced on the CPU, forward and backward; then every value in them is said to lie on an H100, and Inductor
and Triton compile for it. All private interfaces of torch that the tests need are used here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3", type="cuda", index=0, major=9, minor=0, multi_processor_count=132, warp_size=32,
    regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048, max_threads_per_block=1024,
    shared_memory_per_block_optin=232448, shared_memory_per_block=49152, total_memory=80 << 30, gcnArchName="",
)  # fmt: skip


def cuda_sources(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], *, backward: bool) -> list[str]:
    """The text of Inductor's modules for the function on an H100: forward, then backward if wanted."""
    graphs = _traced(function, inputs, backward)
    return [_source(graph, examples) for graph, examples in graphs]


def ptx_of(source: str) -> dict[str, str]:
    """The PTX for sm_90 of every Triton kernel in the text of one of Inductor's modules, by the kernel's name."""
    with _pretended_gpu(), tempfile.TemporaryDirectory() as folder:
        return {name: _compiled(name, kernel, Path(folder)) for name, kernel in _kernels(source).items()}


def _traced(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], backward: bool
) -> list[tuple[torch.fx.GraphModule, list[Tensor]]]:
    """The graphs that AOTAutograd hands to Inductor, traced on the CPU, where flex refuses gradients by itself."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._inductor.decomposition import select_decomp_table

    graphs: list[tuple[torch.fx.GraphModule, list[Tensor]]] = []

    def keep(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Any:
        graphs.append((graph, examples))
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep, decompositions=select_decomp_table)
    torch._dynamo.reset()
    with mock.patch("torch.nn.attention.flex_attention._validate_device", lambda *_: None):
        out = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)(*inputs)
        if backward:
            out.sum().backward()
    return graphs


def _source(graph: torch.fx.GraphModule, examples: list[Tensor]) -> str:
    from torch._inductor.debug import DebugContext
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode

    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    _say_cuda(graph, fakes)
    placed = [n.meta["val"] for n in graph.graph.nodes if n.op == "placeholder"]
    with _pretended_gpu(), V.set_fake_mode(fakes), V.set_debug_handler(DebugContext()):
        lowering = GraphLowering(graph, example_inputs=placed)
        with V.set_graph_handler(lowering):
            lowering.run(*placed)
            code, *_ = lowering.codegen()
    return str(getattr(code, "value", code))


def _say_cuda(graph: torch.fx.GraphModule, fakes: Any) -> None:
    """Every value of the graph, and of the graphs in it, is on cuda:0."""
    cuda = torch.device("cuda", 0)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with fakes:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=cuda)

    for module in graph.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            if "val" in node.meta:
                node.meta["val"] = torch.utils._pytree.tree_map(moved, node.meta["val"])
            if node.kwargs.get("device") is not None:
                node.kwargs = {**node.kwargs, "device": cuda}
        module.recompile()


@contextlib.contextmanager
def _pretended_gpu() -> Iterator[None]:
    import triton.runtime.driver
    from torch._dynamo.device_interface import CudaInterface
    from triton.backends.compiler import GPUTarget

    target = GPUTarget("cuda", 90, 32)
    driver = SimpleNamespace(
        get_current_target=lambda: target, get_current_device=lambda: 0, is_active=lambda: True,
        get_current_stream=lambda device=None: 0, get_device_interface=lambda: None,
    )  # fmt: skip
    patches = [
        mock.patch.object(CudaInterface.Worker, "get_device_properties", staticmethod(lambda *_: H100)),
        mock.patch.object(CudaInterface, "get_device_properties", staticmethod(lambda *_: H100)),
        mock.patch.object(CudaInterface, "get_compute_capability", staticmethod(lambda *_: "90")),
        mock.patch.object(CudaInterface, "is_available", staticmethod(lambda: True)),
        mock.patch("torch.cuda.get_device_capability", lambda *_: (9, 0)),
        mock.patch("torch.cuda.get_device_properties", lambda *_: H100),
        mock.patch("torch.cuda.is_available", lambda: True),
        mock.patch("torch.cuda.current_device", lambda: 0),
        mock.patch("torch._inductor.runtime.triton_helpers.set_driver_to_gpu", lambda: None),
        mock.patch("torch._inductor.utils.is_big_gpu", lambda *_: True),
        mock.patch("torch._inductor.scheduler.has_triton", lambda *_: True),
        mock.patch.object(type(triton.runtime.driver), "active", property(lambda _: driver), create=True),
    ]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def _kernels(source: str) -> dict[str, str]:
    """The texts of a module's Triton kernels: what it gives to `async_compile.triton`."""
    return {m[1]: m[2] for m in re.finditer(r"async_compile\.triton\('(\w+)', '{3}(.*?)'{3}", source, re.DOTALL)}


def _compiled(name: str, text: str, folder: Path) -> str:
    """The PTX of a kernel at its first configuration; Triton reads a kernel's source from a file."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"offline_{name}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tuner = getattr(module, name)
    config = tuner.configs[0]
    source = ASTSource(tuner.fn, tuner.triton_meta["signature"], dict(config.kwargs))
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return str(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"])
