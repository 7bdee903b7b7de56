"""Bytes that a step moves through memory, operation by operation, counted by shapes alone: nothing is computed.

Every operation of torch reads its operands once from memory and writes its results once; what runs in between stays on
the chip. Views and allocations move nothing. A cache that keeps a result for the next operation is not counted, nor are
copies that a library makes inside one operation. Where an operation's parts are known to be programs of their own, each
reads for itself: see `AGAIN`.

The step is traced on fake tensors of a processor, as autograd has no other device without its driver, but formulated as
for a GPU.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import SGD
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from mmcl_train.backbones.norm import NARROW, formulated_for_gpu
from mmcl_train.data.batch import Batch
from mmcl_train.kernels.parts import shape_parts

# An operation of these names allocates or shows what is there in another way, beside those that torch marks as views.
FREE = frozenset(
    {
        *("aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.new_empty_strided"),
        *("aten._unsafe_view", "aten.lift_fresh", "aten.detach"),
    }
)
# The first operand is written without being read.
OVERWRITES = frozenset({"aten.copy_", "aten.fill_", "aten.zero_"})
# Under autocast a GPU makes these float32 whatever they are given; a processor leaves them narrow.
WIDENED = frozenset({"sum", "prod", "cumsum", "cumprod", "softmax", "log_softmax"})


def bytes_of(value: Tensor) -> int:
    """Of the elements that differ: an axis expanded from one element is there once."""
    count = 1
    for size, stride in zip(value.shape, value.stride(), strict=True):
        count *= size if stride else min(size, 1)
    return min(count * value.element_size(), value.untyped_storage().nbytes())


def norm_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """Batch norm in training reads its input for the statistics, then for the values."""
    return bytes_of(arguments[0]) if arguments[5] else 0


def norm_gradient_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """Its backward pass sums over gradient and input, then reads the gradient for the input's, and in training the
    input too."""
    return bytes_of(arguments[0]) + (bytes_of(arguments[1]) if arguments[7] else 0)


def convolution_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """torch adds the bias to cuDNN's result in a pass of its own, which reads and writes it."""
    added = 2 * bytes_of(results[0]) if arguments[2] is not None else 0
    return added + copied(arguments[0])


def convolution_gradient_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """Gradients of the input, the weight and the bias are programs of their own; each reads the result's gradient."""
    gradient, x = arguments[:2]
    return (sum(arguments[10]) - 1) * bytes_of(gradient) + copied(gradient) + copied(x)


def copied(value: Tensor) -> int:
    """cuDNN is given a copy of what is a slice."""
    whole = value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last)
    return 0 if whole else 2 * bytes_of(value)


def product_gradient_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """The fused graph product's is two programs that read the gradient each, and what the second leaves to be summed,
    float32, is written and read."""
    gradient, query, weight = arguments[0], arguments[1], arguments[3]
    samples, subsets, relation, joints = query.shape
    parts = shape_parts(samples, subsets, weight.shape[1], relation, joints)
    return bytes_of(gradient) + 2 * 4 * sum(math.prod(shape) for shape in parts)


def fused_norm_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """The fused norm is a program for the statistics and one for the values; two numbers a row and channel between."""
    x = arguments[0]
    return bytes_of(x) + 2 * 4 * 2 * math.prod(x.shape[:2])


def fused_norm_gradient_again(arguments: Sequence[Any], results: Sequence[Tensor]) -> int:
    """Its backward pass is one for the sums and one for the gradient. Both read the norm's result for its ReLU, but the
    second reads what the first wrote for the residual where there is one; without a ReLU nobody reads the result."""
    gradient, result, x, relu, own = (*arguments[:3], *arguments[9:11])
    again = bytes_of(gradient) + bytes_of(x) + 2 * 4 * 2 * math.prod(x.shape[:2])
    if not relu:
        return again - bytes_of(result)
    return again if own else again + bytes_of(result)


# Operation → bytes beyond its operands read once and its results written once, from its arguments and results.
AGAIN: dict[str, Callable[[Sequence[Any], Sequence[Tensor]], int]] = {
    "aten.native_batch_norm": norm_again,
    "aten.native_batch_norm_backward": norm_gradient_again,
    "aten.convolution": convolution_again,
    "aten.convolution_backward": convolution_gradient_again,
    "mmcl.graph_product_backward": product_gradient_again,
    "mmcl.norm": fused_norm_again,
    "mmcl.norm_backward": fused_norm_gradient_again,
}


class Traffic(TorchDispatchMode):
    """Adds up what the operations under it move, forward and backward.

    Attributes:
        bytes: operation → bytes.
        calls: operation → times it ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket)
        if func.is_view or name in FREE or func.namespace == "prim":
            return out
        operands = tensors_of((args, kwargs))
        results = tensors_of(out)
        if not operands and not results:
            return out
        # A list of tensors changed in place is no result of its operation.
        changed = [value for value in tensors_of(changed_of(func, args)) if not contains(results, value)]
        read = operands[1:] if name in OVERWRITES else operands
        moved = sum(bytes_of(value) for value in (*read, *results, *changed))
        self.bytes[name] += moved + (AGAIN[name](args, results) if name in AGAIN else 0)
        self.calls[name] += 1
        return out


def tensors_of(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def contains(values: Sequence[Tensor], value: Tensor) -> bool:
    return any(one is value for one in values)


def changed_of(func: Any, args: Sequence[Any]) -> list[Any]:
    """The arguments that an operation writes to."""
    schema = func._schema.arguments
    return [
        value
        for value, known in zip(args, schema, strict=False)
        if known.alias_info is not None and known.alias_info.is_write
    ]


class Kept:
    """What autograd keeps for the backward pass: distinct pieces of memory, those of the module left out."""

    def __init__(self, module: nn.Module) -> None:
        own = (*module.parameters(), *module.buffers())
        self._own = {value.untyped_storage()._cdata for value in own}
        self._kept: dict[int, Tensor] = {}  # held, so that no other gets its place

    @property
    def bytes(self) -> int:
        return sum(value.untyped_storage().nbytes() for value in self._kept.values())

    def watch(self) -> saved_tensors_hooks:
        """A context for the forward pass."""
        return saved_tensors_hooks(self._note, lambda value: value)

    @torch.compiler.disable
    def _note(self, value: Tensor) -> Tensor:
        place = value.untyped_storage()._cdata
        if place not in self._own:
            self._kept.setdefault(place, value.detach())
        return value


class GpuAutocast(TorchFunctionMode):
    """Autocast on a processor, with the float32 results that it has on a GPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (
            getattr(func, "__name__", "") in WIDENED
            and torch.is_autocast_enabled("cpu")
            and args[0].dtype in NARROW
            and kwargs.get("dtype") is None
        ):
            kwargs = {**kwargs, "dtype": torch.float32}
        return func(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class Moved:
    """By one step.

    Args:
        by_name: operation → bytes moved. calls: operation → times it ran. kept: bytes that autograd keeps for the
            backward pass.
    """

    by_name: Counter[str]
    calls: Counter[str]
    kept: int

    @property
    def bytes(self) -> int:
        return self.by_name.total()


Module = Callable[..., Any]  # compiled or not


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step to count.

    Args:
        create: makes the module, whose weights will be shapes only.
        batch: on the host.
        loss_of: the loss of the module and the batch.
        optimiser_of: the module's.
        narrow: bfloat16 where autocast has it.
    """

    create: Callable[[], nn.Module]
    batch: Batch
    loss_of: Callable[[Module, Batch], Tensor]
    optimiser_of: Callable[[nn.Module], SGD]
    narrow: bool = False

    def autocast(self) -> torch.autocast:
        """A context for the forward pass."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.narrow)

    def prepare(self, fake: FakeTensorMode) -> tuple[nn.Module, Batch, SGD]:
        """Module, batch and optimiser without content; momentum is there. Under `fake`."""
        module = self.create().train()
        optimiser = self.optimiser_of(module)
        for group in optimiser.param_groups:
            group["foreach"] = True  # what torch chooses by itself on a GPU
        for parameter in module.parameters():
            parameter.grad = torch.empty_like(parameter)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return module, fake_batch(self.batch, fake), optimiser


def count_step(step: Step) -> Moved:
    """What forward, backward and optimiser move, operation by operation."""
    fake, traffic = FakeTensorMode(allow_non_fake_inputs=True), Traffic()
    with fake, formulated_for_gpu():
        module, batch, optimiser = step.prepare(fake)
        kept = Kept(module)
        with traffic:
            with GpuAutocast(), step.autocast(), kept.watch():
                loss = step.loss_of(module, batch)
            loss.backward()
            optimiser.step()
    return Moved(traffic.bytes, traffic.calls, kept.bytes)


def fake_batch(batch: Batch, fake: FakeTensorMode) -> Batch:
    """The same shapes and memory order, no content."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return dataclasses.replace(batch, **tree_map_only(Tensor, fake.from_tensor, values))
