"""TD-GCN (Liu et al., IEEE TMM 2023): temporal-dependent topologies beside channel-dependent ones.

CTR-GCN's channel-wise topology, with one relation convolution for both sides (q = k), weighted β, plus a
topology a frame, weighted γ:  S_k[t, u, v] = tanh(s_k[t, u] − s_k[t, v]), s_k the values' channel mean.

Against the plain formulation (see ctrgcn.py too): the channel mean of a 1×1 convolution is a 1×1 convolution
by its mean weight, so the values are not read again; β rides in the topology's weights and γ in S.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.blocks import (
    FRAME_RULES,
    TEN_BLOCKS,
    GraphResidual,
    TenBlockBackbone,
    block_rules,
    graph_residual_rules,
    residual_rules,
)
from mmcl_train.backbones.ctrgcn import (
    SUBSETS,
    TopologyProduct,
    create_temporal,
    refine_topology,
    relation_channels,
)
from mmcl_train.backbones.initialise import init_conv_fan_out
from mmcl_train.backbones.published import KeyRule
from mmcl_train.backbones.temporal import multi_scale_rules
from mmcl_train.graphs.adjacency import spatial_stack


class TemporalTopologyConv(nn.Module):
    """Channel-dependent and temporal-dependent graph convolution, all subsets at once."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        subsets, relation = adjacency.shape[0], relation_channels(in_channels)
        self.subsets, self.relation, self.out_channels = subsets, relation, out_channels
        self.adjacency = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.tensor(0.5))
        self.gamma = nn.Parameter(torch.tensor(0.1))
        self.relate = nn.Conv1d(in_channels, subsets * relation, 1)
        self.value = nn.Conv2d(in_channels, subsets * out_channels, 1)
        self.refine_weight = nn.Parameter(torch.empty(subsets, out_channels, relation))
        self.refine_bias = nn.Parameter(torch.zeros(subsets, out_channels))
        self.product = TopologyProduct()
        self.finish = GraphResidual(in_channels, out_channels)
        init_conv_fan_out(self.relate, subsets)
        init_conv_fan_out(self.value, subsets)
        for weight in self.refine_weight.detach():
            nn.init.kaiming_normal_(weight[..., None], mode="fan_out")

    def channel_topology(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, K, C', V from, V to), times β."""
        pooled = self.relate(x.mean(dim=2)).unflatten(1, (self.subsets, self.relation))
        difference = torch.tanh(pooled.unsqueeze(-2) - pooled.unsqueeze(-1))
        return refine_topology(
            difference,
            self.adjacency.transpose(1, 2),
            self.refine_weight,
            self.refine_bias,
            self.alpha * self.beta,
            self.beta,
        )

    def frame_topology(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, K, T, V, V), times γ."""
        assert self.value.bias is not None
        shape = (self.subsets, self.out_channels)
        weight = self.value.weight.unflatten(0, shape).mean(dim=1)
        mean = F.conv2d(x, weight, self.value.bias.unflatten(0, shape).mean(dim=1))  # (N, K, T, V)
        return self.gamma * torch.tanh(mean.unsqueeze(-1) - mean.unsqueeze(-2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        values = self.value(x).unflatten(1, (self.subsets, self.out_channels))
        y = self.product(self.channel_topology(x), values)
        y = y + torch.einsum("nktuv,nkctv->nctu", self.frame_topology(x), values)
        return self.finish(y, x)


class TDGCN(TenBlockBackbone):
    """Temporal decoupling GCN."""

    publication = "TD-GCN (IEEE TMM 2023)"
    year = 2023

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        adjacency = torch.from_numpy(spatial_stack(self.layout)).float()
        graph = TemporalTopologyConv(in_channels, out_channels, adjacency)
        return graph, create_temporal(out_channels, stride)


def tdgcn_block_rules(ours: str, published: str) -> list[KeyRule]:
    graph, unit = rf"{ours}\.graph", f"{published}.gcn1"

    def convs(number: int) -> tuple[str, ...]:
        return tuple(rf"{unit}.convs.{k}.conv{number}.\1" for k in range(SUBSETS))

    return [
        KeyRule(rf"{graph}\.adjacency", f"{unit}.PA"),
        KeyRule(rf"{graph}\.(alpha|beta|gamma)", rf"{unit}.\1"),
        KeyRule(rf"{graph}\.relate\.(\w+)", convs(1), "cat"),
        KeyRule(rf"{graph}\.value\.(\w+)", convs(3), "cat"),
        KeyRule(rf"{graph}\.refine_(\w+)", convs(4), "stack"),
        *graph_residual_rules(rf"{graph}\.finish", unit),
        *multi_scale_rules(rf"{ours}\.temporal", f"{published}.tcn1.branches", 2),
        *residual_rules(ours, published),
    ]


TDGCN.published_rules = (*FRAME_RULES, *block_rules(len(TEN_BLOCKS), "l{number}", tdgcn_block_rules))
# Some released weight files hold a second relation convolution that nothing reads.
TDGCN.published_ignored = (r"l\d+\.gcn1\.convs\.\d\.conv2\.\w+",)
