"""Inputs of the graph product, and how far two answers to them are apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NAMES = ("query", "key", "weight", "bias", "alpha", "adjacency", "values")
Product = Callable[..., Tensor]


def make_inputs(
    samples: int, channels: int, relation: int, frames: int, joints: int, subsets: int = 3
) -> list[Tensor]:
    """Random float64 arguments of `graph_product`; query, key and adjacency are views, as in CTR-GCN."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    pooled = draw(samples, 2, subsets, relation, joints)
    return [
        pooled[:, 0],
        pooled[:, 1],
        draw(subsets, channels, relation) / relation**0.5,
        draw(subsets, channels) / 10,
        draw(1),
        draw(subsets, joints, joints).transpose(1, 2) / 3,
        draw(samples, subsets * channels, frames, joints),
    ]


def run(product: Product, inputs: list[Tensor], weights: Tensor) -> list[Tensor]:
    """The product and the gradients of Σ weights · product, as float64 on the host."""
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    out = product(*leaves)
    out.backward(weights.to(out))
    return [value.detach().double().cpu() for value in (out, *(leaf.grad for leaf in leaves))]


def relative_errors(found: list[Tensor], expected: list[Tensor]) -> dict[str, float]:
    """Largest difference of each, as a share of its largest value."""
    return {
        name: float((one - other).abs().max() / other.abs().max())
        for name, one, other in zip(("out", *NAMES), found, expected, strict=True)
    }


def draw_weights(inputs: list[Tensor]) -> Tensor:
    """A gradient (N, C, T, V), not contiguous."""
    samples, _, frames, joints = inputs[-1].shape
    channels = inputs[2].shape[1]
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn((samples, frames, channels, joints), generator=generator, dtype=torch.float64)
    return drawn.transpose(1, 2)
