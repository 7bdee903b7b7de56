"""A trial of the fused kernels on the device at hand, before a run believes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .plain import plain_graph_product, plain_norm

SAMPLES, SUBSETS, CHANNELS, RELATION, FRAMES, JOINTS = 2, 3, 32, 8, 16, 25
TOLERANCE = 1e-2  # of the largest value: products in TF32 keep ten bits

Operation = Callable[..., Tensor]


def find_product_fault(product: Operation, device: torch.device) -> str:
    """ "" where the graph product and its gradients agree with the plain ones there; else what is wrong."""
    shapes = (
        (SAMPLES, SUBSETS, RELATION, JOINTS),
        (SAMPLES, SUBSETS, RELATION, JOINTS),
        (SUBSETS, CHANNELS, RELATION),
        (SUBSETS, CHANNELS),
        (1,),
        (SUBSETS, JOINTS, JOINTS),
        (SAMPLES, SUBSETS * CHANNELS, FRAMES, JOINTS),
    )
    return find_fault(product, plain_graph_product, draw_inputs(shapes, device))


def find_norm_fault(norm: Callable[..., tuple[Tensor, ...]], device: torch.device) -> str:
    """The same of the norm with residual and ReLU, over rows that count more than once."""
    shape = (SAMPLES, CHANNELS, FRAMES, JOINTS)
    counts = torch.arange(1.0, SAMPLES + 1, device=device)

    def fixed(norm: Callable[..., tuple[Tensor, ...]]) -> Operation:
        return lambda *inputs: norm(*inputs, counts, int(counts.sum()), 1e-5, True)[0]

    return find_fault(
        fixed(norm), fixed(plain_norm), draw_inputs((shape, (CHANNELS,), (CHANNELS,), shape), device)
    )


def find_fault(operation: Operation, plain: Operation, inputs: list[Tensor]) -> str:
    """ "" where an operation and its gradients agree with the plain one in float64; else what is wrong.

    A GPU, driver or Triton that this was never run on may fail in ways of its own, so any error counts.
    """
    try:
        found = run(operation, inputs)
    except Exception as error:
        return f"the fused kernels failed here: {type(error).__name__}: {(str(error) or '-').splitlines()[0][:120]}"
    expected = run(plain, [value.double() for value in inputs])
    worst = max(
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
    return "" if worst < TOLERANCE else f"the fused kernels are off by {worst:.0%} here"


def draw_inputs(shapes: Sequence[tuple[int, ...]], device: torch.device) -> list[Tensor]:
    """float32 arguments of these shapes, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device) for shape in shapes]


def run(operation: Operation, inputs: list[Tensor]) -> list[Tensor]:
    """The result and all gradients of its sum of squares, as float64 on the host; NaN counts as far off."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    made = operation(*leaves)
    gradients = torch.autograd.grad(made.square().sum(), leaves)
    return [torch.nan_to_num(value.detach().double().cpu(), nan=1e30) for value in (made, *gradients)]
