"""Bytes that a compiled step moves: what torch's compiler counts once it has fused, without writing any code.

The graphs of forward and backward go through its lowering and its scheduler for Triton, and stop there. It counts every
buffer that a fused program reads or writes once; libraries' operations get the same additions as in `traffic`, but for
the bias of a convolution, which fuses.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._inductor import config as inductor
from torch._inductor.graph import GraphLowering
from torch._inductor.ir import FallbackKernel, IRNode
from torch._subclasses.fake_tensor import FakeTensorMode

from mmcl_train.backbones.norm import formulated_for_gpu

from .traffic import AGAIN, Kept, Moved, Step, Traffic

LOOPS = "fused loops"


class FusedTraffic:
    """Stands for the compiler's code generator.

    Attributes:
        bytes, calls: of each operation of a library, and of all loops that the compiler writes.
    """

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def count(self, graph: GraphLowering) -> SimpleNamespace:
        """In place of `GraphLowering.compile_to_module`: a module whose results have the graph's shapes."""
        graph._update_scheduler()
        for node in graph.scheduler.nodes:
            kernel = node.node if node.is_extern() else None
            name = name_of(kernel)
            self.bytes[name] += node.get_read_write_buffers_sizes() + added_of(kernel)
            self.calls[name] += 1
        names = list(graph.graph_inputs)
        outputs = list(graph.graph_outputs)

        def call(arguments: list[Any]) -> tuple[Any, ...]:
            given = dict(zip(names, arguments, strict=True))
            arguments.clear()
            return tuple(make_output(output, given) for output in outputs)

        return SimpleNamespace(call=call, __file__="", key="", cache_key="")


def name_of(kernel: Any) -> str:
    """The operation of a library, as `traffic` names it; `LOOPS` for what the compiler writes itself."""
    if kernel is None:
        return LOOPS
    overload = getattr(kernel, "op_overload", None)
    if overload is not None:
        return str(getattr(overload, "overloadpacket", overload))
    return str(getattr(kernel, "python_kernel_name", None) or type(kernel).__name__).replace(
        "extern_kernels", "aten"
    )


def added_of(kernel: Any) -> int:
    """Bytes beyond each buffer once, of `traffic.AGAIN`."""
    name = name_of(kernel)
    if name not in AGAIN or not isinstance(kernel, FallbackKernel):
        return 0
    arguments, _ = kernel.unflatten_args(kernel.inputs, kernel.constant_args)
    shapes = [shape_of(value) if isinstance(value, IRNode) else value for value in arguments]
    if name == "aten.convolution_backward":
        shapes[10] = [*shapes[10][:2], False]  # the bias's gradient is a sum that fuses
    return AGAIN[name](shapes, ())


def shape_of(value: IRNode) -> Tensor:
    """A tensor of a buffer's size, order and type."""
    size, stride = ([int(n) for n in numbers] for numbers in (value.get_size(), value.get_stride()))
    return torch.empty_strided(size, stride, dtype=value.get_dtype(), device="meta")


def make_output(output: IRNode, given: dict[str, Any]) -> Any:
    """What a graph returns: one of its inputs, nothing, or a tensor of that shape."""
    name = output.maybe_get_name()
    if name in given:
        return given[name]
    if output.maybe_get_size() is None:
        return None
    return torch.empty_like(shape_of(output), device="cpu")


@contextmanager
def no_code(traffic: FusedTraffic, *, reorder: bool) -> Iterator[None]:
    """Let the compiler stop after its scheduler, which fuses for Triton, and tell `traffic` what it made."""
    write = GraphLowering.compile_to_module
    setattr(GraphLowering, "compile_to_module", lambda graph: traffic.count(graph))  # noqa: B010
    torch._dynamo.reset()
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of code that is not made
            torch.backends.mkldnn.flags(enabled=False),  # choices that are a processor's library's
            inductor.patch(
                cpu_backend="triton", fx_graph_cache=False, compile_threads=1, layout_optimization=reorder
            ),
        ):
            yield
    finally:
        setattr(GraphLowering, "compile_to_module", write)  # noqa: B010
        torch._dynamo.reset()


def count_compiled_step(step: Step, *, reorder: bool = False) -> Moved:
    """What forward and backward move where torch compiles them, and the optimiser where it does not.

    Args:
        step: to count.
        reorder: let the compiler give convolutions the channels innermost, as it does by itself.
    """
    fake, fused, rest = FakeTensorMode(allow_non_fake_inputs=True), FusedTraffic(), Traffic()
    with fake, formulated_for_gpu(), no_code(fused, reorder=reorder):
        module, batch, optimiser = step.prepare(fake)
        kept = Kept(module)
        compiled = torch.compile(module, fullgraph=True)
        with step.autocast(), kept.watch():
            loss = step.loss_of(compiled, batch)
        loss.backward()
        with rest:
            optimiser.step()
    return Moved(fused.bytes + rest.bytes, fused.calls + rest.calls, kept.bytes)
