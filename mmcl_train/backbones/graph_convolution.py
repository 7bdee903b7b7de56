"""Graph convolutions over (N, C, T, V) as one product with the joints and one with the channels.

Adjacencies are read as the field's `nctv,kvw->nctw`: `A[k, v, w]` carries joint v to joint w.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def aggregate_then_mix(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Σ_k W_k (x A_k) + b: joints first, then channels.

    The K aggregations stand side by side along the joint axis, (N, C, T, K·W), straight out of one
    product. A 1×K convolution of dilation W then meets joint w of all K subsets at once, so the sum
    over subsets needs neither a loop nor a copy into (N, K·C, T, W).

    Args:
        x: (N, C, T, V).
        adjacency: (K, V, W) for the whole batch, or (N, K, V, W).
        weight: (K, C', C).
        bias: (C',), added once.

    Returns:
        (N, C', T, W).
    """
    num_out = adjacency.shape[-1]
    if adjacency.ndim == 3:
        aggregated = x @ adjacency.permute(1, 0, 2).flatten(1)
    else:
        side_by_side = adjacency.permute(0, 2, 1, 3).flatten(2)  # (N, V, K·W)
        aggregated = (x.flatten(1, 2) @ side_by_side).unflatten(1, x.shape[1:3])
    # Contiguous, or a weight whose strides look like channels-last would have the largest tensor copied.
    kernel = weight.permute(1, 2, 0).unsqueeze(2).contiguous()  # (C', C, 1, K)
    return F.conv2d(aggregated, kernel, bias, dilation=(1, num_out))


def subset_convolution(x: Tensor, adjacency: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Σ_k (W_k x + b_k) A_k, one convolution to K·C' channels whose bias travels over the graph too.

    Joints first here as well: what b_k becomes on its way, Σ_k b_k (Σ_v A_k[v, w]), does not depend on x
    and is added at the end.

    Args:
        x: (N, C, T, V).
        adjacency: (K, V, W).
        weight: (K·C', C, 1, 1), subset by subset.
        bias: (K·C',).

    Returns:
        (N, C', T, W).
    """
    subsets = adjacency.shape[0]
    mixed = aggregate_then_mix(x, adjacency, weight.view(subsets, -1, x.shape[1]))
    if bias is None:
        return mixed
    arrived = bias.view(subsets, -1).T @ adjacency.sum(dim=1)  # (C', W)
    return mixed + arrived.unsqueeze(1)
