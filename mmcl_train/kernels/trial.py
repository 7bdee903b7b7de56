"""A trial of a graph product on the device at hand, before a run believes it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .plain import plain_graph_product

SAMPLES, SUBSETS, CHANNELS, RELATION, FRAMES, JOINTS = 2, 3, 32, 8, 16, 25
TOLERANCE = 1e-2  # of the largest value: products in TF32 keep ten bits

Product = Callable[..., Tensor]


def find_fault(product: Product, device: torch.device) -> str:
    """ "" where the product and its gradients agree with the plain ones there; else what is wrong, in a few words.

    A GPU, driver or Triton that this was never run on may fail in ways of its own, so any error counts.
    """
    inputs = draw_inputs(device)
    try:
        found = run(product, inputs)
    except Exception as error:
        return f"the fused kernels failed here: {type(error).__name__}: {(str(error) or '-').splitlines()[0][:120]}"
    expected = run(plain_graph_product, [value.double() for value in inputs])
    worst = max(
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
    return "" if worst < TOLERANCE else f"the fused kernels are off by {worst:.0%} here"


def draw_inputs(device: torch.device) -> list[Tensor]:
    """float32 arguments of `graph_product`, the same every time."""
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (SAMPLES, SUBSETS, RELATION, JOINTS),
        (SAMPLES, SUBSETS, RELATION, JOINTS),
        (SUBSETS, CHANNELS, RELATION),
        (SUBSETS, CHANNELS),
        (1,),
        (SUBSETS, JOINTS, JOINTS),
        (SAMPLES, SUBSETS * CHANNELS, FRAMES, JOINTS),
    )
    return [torch.randn(shape, generator=generator).to(device) for shape in shapes]


def run(product: Product, inputs: list[Tensor]) -> list[Tensor]:
    """The product and all gradients of its sum of squares, as float64 on the host; NaN counts as far off."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    made = product(*leaves)
    gradients = torch.autograd.grad(made.square().sum(), leaves)
    return [torch.nan_to_num(value.detach().double().cpu(), nan=1e30) for value in (made, *gradients)]
