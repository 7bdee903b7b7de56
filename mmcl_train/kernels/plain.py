"""The graph product in plain tensor operations: what runs where the fused kernels do not, and what they are held to."""

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
