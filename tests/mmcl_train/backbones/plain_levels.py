"""HD-GCN as its paper states it: one pair of levels and one graph at a time, joints before channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones.hdgcn import SUBSETS, EdgeConv, HierarchyAttention, HierarchyConv

from .plain_layers import bias_of, part_norm


def edge_conv(unit: EdgeConv, x: Tensor, graph: int) -> Tensor:
    """DGCNN's edge convolution of one graph, (N, C, V) → (N, C, V): neighbours gathered, then convolved."""
    n, channels, joints = x.shape
    length = (x * x).sum(dim=1)
    nearness = 2 * x.transpose(1, 2) @ x - length.unsqueeze(1) - length.unsqueeze(2)
    chosen = nearness.topk(min(unit.neighbours, joints), dim=-1).indices  # (N, V, k)
    neighbours = x.transpose(1, 2)[torch.arange(n)[:, None, None], chosen].permute(0, 3, 1, 2)  # (N, C, V, k)
    own = x.unsqueeze(-1).expand_as(neighbours)
    edges = F.conv2d(torch.cat([neighbours - own, own], dim=1), unit.weight[graph][..., None, None])
    edges = part_norm(unit.norm, edges, slice(graph * channels, (graph + 1) * channels))
    return F.leaky_relu(edges, 0.2).max(dim=-1).values


def level_attention(unit: HierarchyAttention, x_NCLTV: Tensor) -> Tensor:
    """A-HA's weights, (N, C, L): a mean over the members of a pair, a pair at a time."""
    reduced = F.relu(unit.reduce_norm(unit.reduce(x_NCLTV.max(dim=3).values)))
    means = []
    for pair, share in enumerate(unit.members):  # 1 / number of members, rounded as float32 for members
        joints = share.nonzero().squeeze(1)
        means.append((reduced[:, :, pair, joints] * share[joints]).sum(dim=-1))
    return unit.aggregate(edge_conv(unit.edge, torch.stack(means, dim=-1), 0)).sigmoid()


def hierarchy(unit: HierarchyConv, x: Tensor) -> Tensor:
    """HD-GCN's graph unit, pair by pair and subset by subset."""
    down = list(
        zip(unit.reduce.weight.chunk(unit.pairs), bias_of(unit.reduce).chunk(unit.pairs), strict=True)
    )
    weights, biases = (part.chunk(unit.pairs * SUBSETS) for part in (unit.value.weight, unit.bias))
    levels = []
    for pair in range(unit.pairs):
        own = slice(pair * unit.inner, (pair + 1) * unit.inner)
        reduced = F.relu(part_norm(unit.reduce_norm, F.conv2d(x, *down[pair]), own))
        out = []
        for s in range(SUBSETS):
            k = pair * SUBSETS + s
            spread = torch.einsum("nctu,vu->nctv", reduced, unit.adjacency[pair, s])
            y = F.conv2d(spread, weights[k], biases[k])
            out.append(part_norm(unit.value_norm, y, slice(k * unit.inner, (k + 1) * unit.inner)))
        edges = edge_conv(unit.edge, reduced.mean(dim=2), pair)
        out.append(edges.unsqueeze(2).expand(-1, -1, x.shape[2], -1))
        levels.append(torch.cat(out, dim=1))
    stacked = torch.stack(levels, dim=2)  # (N, C', L, T, V)
    if unit.attention is not None:
        stacked = stacked * level_attention(unit.attention, stacked)[..., None, None]
    return unit.finish(stacked.sum(dim=2), x)


METHODS = ((HierarchyConv, "forward", hierarchy),)
