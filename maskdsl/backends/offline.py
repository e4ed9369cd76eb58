"""flex_attention's CUDA kernels for a named GPU, on any machine: Triton source by Inductor, PTX and cubin by Triton.

Graphs are traced on the CPU; then every value in them is said to lie on the named GPU, and Inductor and Triton compile
for it. Nothing is launched, and no driver is needed. All private interfaces of torch and Triton that this takes are in
this file; they were read and run in the versions of `TORCH` and `TRITON`, and others are refused. While a block of
`pretended` runs, this process believes in the named GPU: no other thread may use CUDA meanwhile.
Not here: what is compiled (`exported`), what an artifact keeps of it (`launch_build`).
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from maskdsl.backends.package_patches import sizes_of_tensors
from maskdsl.backends.targets import Target
from maskdsl.source.diagnostic import Diagnostic, MaskError

TORCH, TRITON = ("2.11", "2.12", "2.13"), ("3.6", "3.7")
"""The versions whose private interfaces were looked at."""

Graph = tuple[Any, list[Any]]
"""An FX graph module, and a value for each of its inputs."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What Inductor wrote: a Python module that holds the kernels and calls them.

    `conditions` are Python expressions that must hold for the module to be right, over the symbols of `sizes`: each is
    the size of an input (its number) along an axis.
    """

    source: str
    conditions: tuple[str, ...]
    sizes: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Triton kernel, compiled.

    `arguments` are the names of what `.run` is given in order, `signature` the type of every one that the GPU gets;
    `grid` is the text of a function of the arguments, `constants` are what the source leaves open, `scratch` the bytes
    that each program needs of global memory.
    """

    name: str
    source: str
    arguments: tuple[str, ...]
    signature: tuple[tuple[str, str], ...]
    grid: str
    constants: dict[str, Any]
    entry: str
    warps: int
    shared: int
    scratch: int
    ptx: str
    cubin: bytes


def missing() -> str:
    """Why nothing can be compiled for a named GPU here; empty if it can."""
    if _release(torch.__version__) not in TORCH:
        return f"this is torch {torch.__version__}, and {', '.join(TORCH)} are the releases that this was made for"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: `pip install triton` installs it on Linux"
    from triton import __version__ as triton

    if _release(triton) not in TRITON:
        return f"this is Triton {triton}, and {', '.join(TRITON)} are the releases that this was made for"
    return ""


def require() -> None:
    """Raise MaskError E0714 where nothing can be compiled for a named GPU."""
    why = missing()
    if why:
        raise MaskError(Diagnostic(
            "E0714", "kernels for a GPU that is not here cannot be compiled", notes=(why,),
            help=("`--device cpu` needs no Triton; on a machine with the GPU, `--device cuda` compiles for it",),
        ))  # fmt: skip


def exported_graph(program: Any) -> Graph:
    """The graph of an ExportedProgram as Inductor takes it. Raises ValueError where it has inputs beside the call's."""
    from torch._inductor.decomposition import select_decomp_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of itself
        program = program.run_decompositions(select_decomp_table())
    graph = program.graph_module
    inputs = [n for n in graph.graph.nodes if n.op == "placeholder"]
    if len(inputs) != len(program.graph_signature.user_inputs):
        raise ValueError("the graph holds tensors of its own")
    return graph, [n.meta["val"] for n in inputs]


def training_graphs(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[Graph]:
    """The graphs of the forward and the backward pass of a function of CPU tensors, which flex itself refuses there.

    Neither is run: every pair would be evaluated.
    """
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._inductor.decomposition import select_decomp_table

    graphs: list[Graph] = []

    def keep(graph: Any, examples: list[Any]) -> Any:
        graphs.append((graph, examples))
        return make_boxed_func(lambda *given: _zeros_of_outputs(graph))

    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep, decompositions=select_decomp_table)
    torch._dynamo.reset()
    with any_device(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of what it does at tracing time
        out = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)(*inputs)
        if out.requires_grad:
            out.sum().backward()
    return graphs


def _zeros_of_outputs(graph: Any) -> list[Tensor | None]:
    """Tensors such as a graph gives, all zero."""
    (outputs,) = next(reversed(graph.graph.nodes)).args
    known = (None if node is None else node.meta["val"] for node in outputs)
    return [x if x is None else torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).zero_() for x in known]


def any_device() -> Any:
    """Within the block, flex_attention takes CPU tensors for what it refuses on the CPU."""
    return mock.patch("torch.nn.attention.flex_attention._validate_device", lambda *_: None)


def generated(graph: Graph, target: Target, *, any_length: bool = False) -> Generated:
    """Inductor's module for a graph on the target. With `any_length` never the decode kernel, whatever the lengths.

    Raises what Inductor raises.
    """
    from torch._inductor.debug import DebugContext
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode

    module, examples = graph
    fake = next((x.fake_mode for x in examples if hasattr(x, "fake_mode")), None)
    fakes = fake or FakeTensorMode(allow_non_fake_inputs=True)
    _say_cuda(module, fakes)
    placed = [n.meta["val"] for n in module.graph.nodes if n.op == "placeholder"]
    # The question itself would limit the lengths that the module is right for.
    never = mock.patch("torch._inductor.kernel.flex.flex_attention._use_flex_decoding", lambda *_, **__: False)
    with (
        pretended(target), sizes_of_tensors(), V.set_fake_mode(fakes), V.set_debug_handler(DebugContext()),
        never if any_length else contextlib.nullcontext(),
    ):  # fmt: skip
        lowering = GraphLowering(module, example_inputs=placed, shape_env=fakes.shape_env)
        with V.set_graph_handler(lowering):
            lowering.run(*placed)
            code, *_ = lowering.codegen()
    sizes = _symbols(placed)
    return Generated(str(getattr(code, "value", code)), _conditions(fakes.shape_env, sizes), sizes)


def compiled(source: str, target: Target) -> dict[str, Compiled]:
    """The Triton kernels in the text of one of Inductor's modules, by name; each at its first configuration.

    Raises what Triton raises.
    """
    with pretended(target), tempfile.TemporaryDirectory() as folder:
        return {name: _compiled(name, text, Path(folder)) for name, text in kernel_texts(source).items()}


def compiled_function(function: Any, signature: dict[str, str], constants: dict[str, int], target: Target,
                      warps: int) -> Any:  # fmt: skip
    """A `triton.jit` function compiled for the target: what `triton.compile` gives."""
    import triton
    from triton.compiler import ASTSource

    with pretended(target):
        source = ASTSource(function, {**signature, **dict.fromkeys(constants, "constexpr")}, constants)
        return triton.compile(source, target=_gpu_target(target), options={"num_warps": warps})


def kernel_texts(source: str) -> dict[str, str]:
    """The texts of a module's Triton kernels: what it gives to `async_compile.triton`."""
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    named = [c for c in calls if ast.unparse(c.func) == "async_compile.triton"]
    return {ast.literal_eval(c.args[0]): ast.literal_eval(c.args[1]) for c in named}


# ---------------------------------------------------------------- Inductor


def _release(version: object) -> str:
    return ".".join(str(version).split(".")[:2])


def _say_cuda(graph: Any, fakes: Any) -> None:
    """Every value of the graph, and of the graphs in it, is on cuda:0."""
    cuda = torch.device("cuda", 0)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with fakes:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=cuda)

    with _no_context():
        for module in graph.modules():
            if not isinstance(module, torch.fx.GraphModule):
                continue
            for node in module.graph.nodes:
                if "val" in node.meta:
                    node.meta["val"] = torch.utils._pytree.tree_map(moved, node.meta["val"])
                if node.kwargs.get("device") is not None:
                    node.kwargs = {**node.kwargs, "device": cuda}
            module.recompile()


def _symbols(placed: list[Any]) -> dict[str, tuple[int, int]]:
    """Where the free sizes of the inputs stand."""
    found: dict[str, tuple[int, int]] = {}
    for number, value in enumerate(placed):
        for axis, size in enumerate(getattr(value, "shape", ())):
            if not isinstance(size, int):
                found.setdefault(str(size.node.expr), (number, axis))
    return found


def _conditions(shapes: Any, sizes: dict[str, tuple[int, int]]) -> tuple[str, ...]:
    """What Inductor took for granted of the free sizes, as Python. Raises ValueError for what no size tells."""
    from torch.utils._sympy.printers import PythonPrinter

    told: dict[str, None] = {}
    for guard in getattr(shapes, "guards", ()):
        known = shapes.simplify(guard.expr)
        if known.free_symbols and not {str(s) for s in known.free_symbols} <= sizes.keys():
            raise ValueError(f"the kernel depends on {known}")
        text = PythonPrinter().doprint(known)
        if text != "True":
            told[text] = None
    return tuple(told)


# ---------------------------------------------------------------- Triton


def _compiled(name: str, text: str, folder: Path) -> Compiled:
    """A kernel compiled by Inductor's own way to Triton, whose result is taken before anything loads it."""
    from torch._inductor.runtime.triton_heuristics import GridExpr

    tuner = getattr(_imported(f"maskdsl_offline_{name}", text, folder / f"{name}.py"), name)
    config, made = tuner.configs[0], _Made()
    with made.recorded():
        tuner._precompile_config(config)
    (binary,) = made.found
    meta = binary.metadata
    unknown = (meta.num_ctas != 1, meta.launch_cooperative_grid, meta.launch_pdl, meta.profile_scratch_size)
    if any(unknown):
        raise ValueError(f"`{name}` is launched in a way that is not known here")
    extra = tuner.inductor_meta.get("extra_launcher_args", ())
    arguments = (*(a for a in tuner.fn.arg_names if a not in config.kwargs), *extra)
    grid = GridExpr.from_meta(tuner.inductor_meta, config)
    body = "".join(f"    {line}\n" for line in grid.prefix)
    function = f"def grid({', '.join(arguments)}):\n{body}    return {grid.x_grid}, {grid.y_grid}, {grid.z_grid}\n"
    signature = tuple((a, t) for a, t in binary.src.signature.items() if t != "constexpr")
    return Compiled(
        name, text, arguments, signature, function, dict(config.kwargs), meta.name, meta.num_warps, meta.shared,
        meta.global_scratch_size, binary.asm["ptx"], binary.asm["cubin"],
    )  # fmt: skip


class _Made:
    """What `triton.compile` gave."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Within the block, results are kept, and none is loaded onto a GPU."""
        import triton

        compile = triton.compile

        def record(*arguments: Any, **named: Any) -> Any:
            self.found.append(compile(*arguments, **named))
            return self.found[-1]

        static = torch._inductor.config.patch(use_static_cuda_launcher=False)
        with mock.patch.object(triton, "compile", record), static:
            yield


def _imported(name: str, text: str, file: Path) -> ModuleType:
    """A module from its text; Triton reads a kernel's source from a file."""
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- the pretended GPU


def _gpu_target(target: Target) -> Any:
    from triton.backends.compiler import GPUTarget

    return GPUTarget("cuda", target.arch, 32)


def _properties(target: Target) -> SimpleNamespace:
    major, minor = target.capability
    return SimpleNamespace(
        name=target.card, type="cuda", index=0, major=major, minor=minor, warp_size=32, gcnArchName="",
        multi_processor_count=target.multiprocessors, regs_per_multiprocessor=65536, max_threads_per_block=1024,
        max_threads_per_multi_processor=target.threads, shared_memory_per_block=49152,
        shared_memory_per_block_optin=target.shared, total_memory=80 << 30,
    )  # fmt: skip


@contextlib.contextmanager
def pretended(target: Target) -> Iterator[None]:
    """Within the block, torch and Triton believe that the current device is the target."""
    # Imported in this order, or the template's module finds itself half made.
    import torch._inductor.graph
    import torch._inductor.kernel.flex  # noqa: F401
    import triton.runtime.driver
    from torch._dynamo.device_interface import CudaInterface

    found, arch = _properties(target), _gpu_target(target)
    driver = SimpleNamespace(
        get_current_target=lambda: arch, get_current_device=lambda: 0, is_active=lambda: True,
        get_current_stream=lambda device=None: 0, get_device_interface=lambda: None,
    )  # fmt: skip
    patches = [
        mock.patch.object(CudaInterface.Worker, "get_device_properties", staticmethod(lambda *_: found)),
        mock.patch.object(CudaInterface, "get_device_properties", staticmethod(lambda *_: found)),
        mock.patch.object(CudaInterface, "get_compute_capability", staticmethod(lambda *_: target.arch)),
        mock.patch.object(CudaInterface, "is_available", staticmethod(lambda: True)),
        mock.patch("torch.cuda.get_device_capability", lambda *_: target.capability),
        mock.patch("torch.cuda.get_device_properties", lambda *_: found),
        mock.patch("torch.cuda.is_available", lambda: True),
        mock.patch("torch.cuda.current_device", lambda: 0),
        mock.patch("torch._inductor.runtime.triton_helpers.set_driver_to_gpu", lambda: None),
        mock.patch("torch._inductor.utils.is_big_gpu", lambda *_: True),
        mock.patch("torch._inductor.scheduler.has_triton", lambda *_: True),
        mock.patch.object(type(triton.runtime.driver), "active", property(lambda _: driver), create=True),
        _no_context(),
    ]
    _forget_devices()
    with contextlib.ExitStack() as stack:
        stack.callback(_forget_devices)
        for patch in patches:
            stack.enter_context(patch)
        yield


def _no_context() -> Any:
    """Within the block, values that are said to lie on a GPU do not make torch look for one."""
    return mock.patch("torch._subclasses.fake_tensor.init_gpu_context", lambda *_: None, create=True)


def _forget_devices() -> None:
    """Empties what torch remembers of devices from one question to the next."""
    from torch._inductor.runtime.hints import DeviceProperties

    DeviceProperties.create.cache_clear()
    for name in ("torch.utils._triton", "torch._inductor.utils", "torch._inductor.runtime.runtime_utils"):
        for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
            if callable(clear := getattr(value, "cache_clear", None)):
                clear()
