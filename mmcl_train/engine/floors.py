"""How fast a training step could be at best on a machine: the operations and bytes that no way of doing it can save.

Operations are those of matrix products and convolutions, forward and backward, counted as our formulation performs
them; element-wise work and norms count as free. Bytes: every distinct input of a layer with weights written once and
read once (the gradient of the weights needs it), and the weights. All other traffic counts as saved by fusion, a
gradient passed from layer to layer too. A measured step cannot be faster than either over the machine's peak.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from mmcl_train.backbones.base import Backbone

from .stopwatch import measure

PRODUCTS = frozenset({"conv1d", "conv2d", "linear", "matmul", "__matmul__", "bmm", "mm", "addmm", "einsum"})
# A weight is read forward and backward, its gradient written and read, momentum read and written, itself written.
PASSES_OVER_WEIGHTS, WEIGHT_BYTES = 7, 4
MATRIX, COPIED = {"cpu": 1536, "cuda": 8192}, {"cpu": 1 << 27, "cuda": 1 << 30}


@dataclass(frozen=True)
class Peaks:
    """Of a machine: FLOP/s of a large matrix product, and bytes/s of a large copy, read and written ones together."""

    name: str
    flops: float
    bytes: float


# As NVIDIA publishes them for the SXM boards, dense: to compute a floor for a machine that is not at hand.
PUBLISHED_PEAKS = (
    Peaks("H200 bfloat16", 989e12, 4.8e12),
    Peaks("H200 TF32", 494e12, 4.8e12),
)


@dataclass(frozen=True)
class Layer:
    """What one part of a model has to do at least in a step: FLOP, and bytes to and from memory."""

    name: str
    flops: float
    bytes: float

    def seconds(self, peaks: Peaks) -> float:
        """Neither operations nor traffic can be faster."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bytes)


def total_of(layers: Sequence[Layer], name: str = "all") -> Layer:
    """Their sum: over a whole step, operations of one layer may hide behind another's traffic."""
    return Layer(name, sum(layer.flops for layer in layers), sum(layer.bytes for layer in layers))


def count_layers(
    model: nn.Module, shape: Sequence[int], *, item_bytes: int = 4, training: bool = True, share: float = 1.0
) -> list[Layer]:
    """Least work of each layer of a model at an input of that shape, by shapes alone; nothing is computed.

    Args:
        model: left on the meta device: build one for this.
        shape: of the input, the batch first.
        item_bytes: of an activation.
        training: forward, backward and optimiser; else one forward pass.
        share: of the bodies that cannot be left out, of `count_distinct`.
    """
    model = model.to("meta").train(training)
    x = torch.empty(tuple(shape), device="meta")
    names = name_layers(model)
    counter, kept = FlopCounterMode(display=False), KeptActivations(model, names)
    with counter, kept, torch.set_grad_enabled(training):
        out = model(x)
        forward = count_by_layer(counter, model, names)
        if training:
            out.sum().backward()
    both = count_by_layer(counter, model, names)
    layers = []
    for name in names:
        weights = sum(p.numel() for p in model.get_submodule(name).parameters())
        # A gradient by operand takes as many operations as the product; what a formulation spends beyond can be saved.
        flops = share * min(both[name], 3 * forward[name])
        if training:
            moved = share * 2 * kept.numbers[name] * item_bytes + PASSES_OVER_WEIGHTS * WEIGHT_BYTES * weights
        else:
            moved = item_bytes * weights
        layers.append(Layer(name, flops, moved))
    return layers


def count_distinct(joints: Tensor) -> float:
    """Share of the bodies of (N, C, T, V, M) that differ: absent ones, all zeros, are alike and need computing once."""
    present = joints.abs().amax(dim=(1, 2, 3)) > 0
    absent = bool((~present).any())
    return (int(present.sum()) + absent) / present.numel()


def name_layers(model: nn.Module, prefix: str = "") -> list[str]:
    """Parts to tell apart: containers and backbones are opened, everything else is a layer. In order."""
    names = []
    for name, child in model.named_children():
        opened = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict | Backbone)
        names += name_layers(child, f"{prefix}{name}.") if opened else [f"{prefix}{name}"]
    return names


def count_by_layer(counter: FlopCounterMode, model: nn.Module, names: Iterable[str]) -> dict[str, float]:
    """FLOP of each layer so far."""
    counts = counter.get_flop_counts()
    root = type(model).__name__
    return {name: float(sum(counts.get(f"{root}.{name}", {}).values())) for name in names}


class KeptActivations(TorchFunctionMode):
    """Watches a forward pass for the inputs of layers with weights, and counts each distinct one once.

    Attributes:
        numbers: layer → elements first used there.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.numbers = dict.fromkeys(names, 0)
        self._root = type(model).__name__
        self._weights = {_storage(parameter) for parameter in model.parameters()}
        self._seen: dict[tuple[int, int], Tensor] = {}
        self._tracker = ModuleTracker()

    def __enter__(self) -> Self:
        self._tracker.__enter__()
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._tracker.__exit__(kind, error, trace)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in PRODUCTS:
            operands = [value for value in args if isinstance(value, Tensor)]
            if any(_storage(value) in self._weights for value in operands):
                for value in operands:
                    self._note(value)
        return func(*args, **(kwargs or {}))

    def _note(self, value: Tensor) -> None:
        """Slices of one tensor that begin at the same place are one, the largest."""
        if _storage(value) in self._weights:
            return
        place = (_storage(value), int(value.storage_offset()))
        known = self._seen.get(place)
        more = value.numel() - (known.numel() if known is not None else 0)
        if more <= 0:
            return
        self._seen[place] = value  # held, so that no other tensor gets its place
        for name in self.numbers:
            if f"{self._root}.{name}" in self._tracker.parents:
                self.numbers[name] += more


def _storage(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)


def measure_peaks(device: torch.device, dtype: torch.dtype, rounds: int) -> Peaks:
    """Of this machine now, with the threads torch has: the best of `rounds` large products and copies."""
    size, count = MATRIX.get(device.type, 1536), COPIED.get(device.type, 1 << 27)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.ones(count // 4, device=device)
    target = torch.empty_like(source)
    parts = {"product": lambda: left @ right, "copy": lambda: target.copy_(source)}
    found = measure(parts, rounds, device, best=True)
    return Peaks(
        f"here {str(dtype).removeprefix('torch.')}",
        2 * size**3 / found["product"].work,
        2 * count / found["copy"].work,
    )
