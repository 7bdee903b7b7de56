"""The fused kernels in plain tensor operations: what they are held to, and the product that runs where they do not."""

from __future__ import annotations

import torch
from torch import Tensor


def make_topology(
    query: Tensor, key: Tensor, weight: Tensor, bias: Tensor, alpha: Tensor, adjacency: Tensor
) -> Tensor:
    """alpha · (weight @ tanh(q_u − k_v) + bias) + A_k, of the sizes `graph_product` tells: (N, K, C, V from, V to)."""
    difference = torch.tanh(query.unsqueeze(-2) - key.unsqueeze(-1))
    refined = torch.matmul(weight.to(difference.dtype), difference.flatten(3)).unflatten(
        -1, difference.shape[-2:]
    )
    return alpha * (refined + bias[..., None, None]) + adjacency.unsqueeze(1)


def plain_graph_product(
    query: Tensor,
    key: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    adjacency: Tensor,
    values: Tensor,
) -> Tensor:
    """What `graph_product` computes, with the topologies in memory."""
    topology = make_topology(query, key, weight, bias, alpha, adjacency)
    subsets = values.unflatten(1, weight.shape[:2])
    return torch.matmul(subsets, topology.to(values.dtype)).sum(dim=1)


def plain_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    row_counts: Tensor | None,
    total: int,
    eps: float,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """relu(weight · (x − mean) / √(variance + eps) + bias + residual), with the statistics of the batch.

    The gradient of a row is taken to be the sum over all that it stands for.

    Args:
        x: (N, C, T, V).
        weight, bias: (C,).
        residual: of x's shape; None for none.
        row_counts: (N,) how often a row counts; None: once.
        total: their sum.
        eps: of the norm.
        relu: whether negative values become 0.

    Returns:
        y; mean and variance (C,), without gradients.
    """
    counts = x.new_ones(x.shape[0]) if row_counts is None else row_counts.to(x.dtype)
    shares = (counts / (total * x.shape[2] * x.shape[3])).view(-1, 1, 1, 1)
    mean = (shares * x).sum(dim=(0, 2, 3), keepdim=True)
    centred = x - mean
    variance = (shares * centred.square()).sum(dim=(0, 2, 3), keepdim=True)
    y = centred * (weight.view(-1, 1, 1) * (variance + eps).rsqrt()) + bias.view(-1, 1, 1)
    if residual is not None:
        y = y + residual
    return torch.relu(y) if relu else y, mean.flatten().detach(), variance.flatten().detach()
