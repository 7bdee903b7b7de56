"""What the plain statements are made of: parts of a layer on their own, and graph products a subset at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def part_norm(norm: nn.Module, x: Tensor, channels: slice) -> Tensor:
    """Some channels of a batch norm on their own."""
    if not isinstance(norm, nn.BatchNorm2d):
        return x
    assert norm.running_mean is not None and norm.running_var is not None
    kept = (norm.running_mean[channels], norm.running_var[channels])
    scale = (norm.weight[channels], norm.bias[channels])
    return F.batch_norm(x, *kept, *scale, norm.training, norm.momentum or 0.1, norm.eps)


def bias_of(conv: nn.Conv1d | nn.Conv2d) -> Tensor:
    """Its bias, which all convolutions here have."""
    assert conv.bias is not None
    return conv.bias


def aggregate_then_mix(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Σ_k W_k (x A_k) + b, a graph product and a convolution a subset."""
    graphs = adjacency.unsqueeze(0) if adjacency.ndim == 3 else adjacency
    total = torch.zeros((), dtype=x.dtype)
    for k in range(graphs.shape[1]):
        total = total + F.conv2d(x @ graphs[:, k].unsqueeze(1), weight[k][..., None, None])
    return total if bias is None else total + bias[:, None, None]


def subset_convolution(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One convolution to all subsets' channels, then the field's `nkctv,kvw->nctw`."""
    mixed = F.conv2d(x, weight, bias).unflatten(1, (adjacency.shape[0], -1))
    return torch.einsum("nkctv,kvw->nctw", mixed, adjacency)
