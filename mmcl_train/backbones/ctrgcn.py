"""CTR-GCN and its shared-topology baseline (Chen et al., ICCV 2021, arXiv:2107.12213).

The channel-wise topology of subset k is  R_k = α · refine_k(tanh(q_k(u) − k_k(v))) + A_k  with q and k
1×1 convolutions averaged over time; a block sums  R_k · value_k(x)  over the three subsets.

Against the plain formulation: the mean over time comes before q and k (a 1×1 convolution commutes with
it), all q, k and value convolutions of a block are one convolution each, α, the refinement's bias and A
ride inside its matrix product, and the three graph products are one.
"""

from __future__ import annotations

from typing import Any

import torch
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
from mmcl_train.backbones.initialise import init_conv_branch, init_conv_fan_out, init_norm
from mmcl_train.backbones.norm import is_quick
from mmcl_train.backbones.published import KeyRule
from mmcl_train.backbones.temporal import (
    MultiScaleTemporalConv,
    TemporalConv,
    even_sizes,
    multi_scale_rules,
    temporal_rules,
)
from mmcl_train.graphs.adjacency import spatial_stack
from mmcl_train.kernels import graph_product, runs_fused

SUBSETS = 3


def relation_channels(in_channels: int) -> int:
    """Width of the relation: an eighth of the input, but 8 for raw joints."""
    return 8 if in_channels == 9 or in_channels < 8 else in_channels // 8


class TopologyProduct(nn.Module):
    """y[n, c, t, u] = Σ_k Σ_v values[n, k, c, t, v] · topology[n, k, c, v, u]; no parameters.

    Topologies are held from-joint first, so that neither operand nor gradient is ever transposed in memory.
    """

    def forward(self, topology: Tensor, values: Tensor) -> Tensor:
        """(N, K, C, V, V), (N, K, C, T, V) → (N, C, T, V)."""
        if is_quick(values):
            summed: Tensor = _SumOfProducts.apply(topology, values)
            return summed
        return torch.matmul(values, topology).sum(dim=1)


class _SumOfProducts(torch.autograd.Function):
    """The same, one sample after the other: the sum over k happens in the product's own output, the gradient of
    y is not repeated K times in memory, and a sample's operands are still in the cache for the next subset.
    """

    @staticmethod
    def forward(ctx: Any, topology: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(topology, values)
        n, k, c, t, v = values.shape
        y = values.new_empty(n, c, t, v)
        for sample in range(n):
            torch.bmm(values[sample, 0], topology[sample, 0], out=y[sample])
            for subset in range(1, k):
                y[sample].baddbmm_(values[sample, subset], topology[sample, subset])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        topology, values = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_topology, grad_values = torch.empty_like(topology), torch.empty_like(values)
        for sample in range(values.shape[0]):
            for subset in range(values.shape[1]):
                at = sample, subset
                torch.bmm(grad[sample], topology[at].mT, out=grad_values[at])
                torch.bmm(values[at].mT, grad[sample], out=grad_topology[at])
        return grad_topology, grad_values


def refine_topology(
    difference: Tensor,
    adjacency: Tensor,
    weight: Tensor,
    bias: Tensor,
    refine_scale: Tensor,
    graph_scale: Tensor,
) -> Tensor:
    """refine_scale · (weight @ difference + bias) + graph_scale · adjacency, in one batched product.

    Args:
        difference: (N, K, R, V, V).
        adjacency: (K, V, V), the same for all samples and channels.
        weight, bias: (K, C, R), (K, C).
        refine_scale, graph_scale: one element each.

    Returns:
        (N, K, C, V, V). The graph and the bias are two more rows of the product: adding them afterwards
        would read and write the largest tensor here twice more.
    """
    rows = difference.flatten(3)
    graph = adjacency.to(rows.dtype).flatten(1).unsqueeze(1).expand(rows.shape[0], -1, -1, -1)
    rows = torch.cat([rows, graph, torch.ones_like(rows[:, :, :1])], dim=2)
    weight = torch.cat(
        [
            refine_scale * weight,
            (graph_scale * torch.ones_like(bias)).unsqueeze(-1),
            (refine_scale * bias).unsqueeze(-1),
        ],
        dim=2,
    )
    return torch.matmul(weight, rows).unflatten(-1, difference.shape[-2:])


class ChannelTopologyConv(nn.Module):
    """Channel-wise topology refinement graph convolution, all subsets at once (section 3.2)."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        subsets, relation = adjacency.shape[0], relation_channels(in_channels)
        self.subsets, self.relation, self.out_channels = subsets, relation, out_channels
        self.adjacency = nn.Parameter(adjacency.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.relate = nn.Conv1d(in_channels, 2 * subsets * relation, 1)  # q of all subsets, then k
        self.value = nn.Conv2d(in_channels, subsets * out_channels, 1)
        self.refine_weight = nn.Parameter(torch.empty(subsets, out_channels, relation))
        self.refine_bias = nn.Parameter(torch.zeros(subsets, out_channels))
        self.product = TopologyProduct()
        self.finish = GraphResidual(in_channels, out_channels)
        init_conv_fan_out(self.relate, 2 * subsets)
        init_conv_fan_out(self.value, subsets)
        for weight in self.refine_weight.detach():
            nn.init.kaiming_normal_(weight[..., None], mode="fan_out")

    def relations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """q and k, the mean over time taken: (N, C, T, V) → twice (N, K, R, V)."""
        query, key = self.relate(x.mean(dim=2)).unflatten(1, (2, self.subsets, self.relation)).unbind(dim=1)
        return query, key

    def topology(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, K, C', V from, V to)."""
        query, key = self.relations(x)
        return refine_topology(
            torch.tanh(query.unsqueeze(-2) - key.unsqueeze(-1)),
            self.adjacency.transpose(1, 2),
            self.refine_weight,
            self.refine_bias,
            self.alpha,
            torch.ones_like(self.alpha),
        )

    def infer_graph(self, x: Tensor) -> Tensor:
        """The refinement alone, without α and A, its mean over channels: (N, C, T, V) → (N, K, V to, V from)."""
        query, key = self.relations(x)
        difference = torch.tanh(query.unsqueeze(-1) - key.unsqueeze(-2))
        graph = torch.einsum("kr,nkruv->nkuv", self.refine_weight.mean(dim=1), difference)
        return graph + self.refine_bias.mean(dim=1)[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        values = self.value(x)
        if runs_fused(values):
            from_to = self.adjacency.transpose(1, 2)
            relations, refinement = self.relations(x), (self.refine_weight, self.refine_bias, self.alpha)
            return self.finish(graph_product(*relations, *refinement, from_to, values), x)
        y = self.product(self.topology(x), values.unflatten(1, (self.subsets, self.out_channels)))
        return self.finish(y, x)


class SharedTopologyConv(nn.Module):
    """The baseline: Σ_k W_k (x A_k) + b_k with learnt A_k, columns of unit length, the same for all channels."""

    def __init__(self, in_channels: int, out_channels: int, subsets: int, joints: int) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(torch.eye(joints).repeat(subsets, 1, 1))
        self.mix = nn.Conv2d(subsets * in_channels, out_channels, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(subsets, out_channels))
        for weight in self.mix.weight.detach().chunk(subsets, dim=1):
            init_conv_branch(weight, subsets)
        self.finish = GraphResidual(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        length = self.adjacency.norm(dim=1, keepdim=True) + 1e-4
        spread = torch.einsum("nctv,kvw->nkctw", x, self.adjacency / length).flatten(1, 2)
        y = nn.functional.conv2d(spread, self.mix.weight, self.bias.sum(dim=0))
        return self.finish(y, x)


class CTRGCN(TenBlockBackbone):
    """Channel-wise topology refinement GCN."""

    publication = "CTR-GCN (ICCV 2021, arXiv:2107.12213)"
    year = 2021
    merges_absent_bodies = True
    num_graphs = SUBSETS

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        adjacency = torch.from_numpy(spatial_stack(self.layout)).float()
        graph = ChannelTopologyConv(in_channels, out_channels, adjacency)
        return graph, create_temporal(out_channels, stride)

    def infer_graph(self, x: Tensor) -> Tensor:
        """The last block's refinement, as SkeletonGCL reads it."""
        last = self.blocks[-1].graph
        assert isinstance(last, ChannelTopologyConv)
        return last.infer_graph(x)


class CTRSGCN(TenBlockBackbone):
    """CTR-GCN's baseline: one learnt topology a subset for all channels, plain 5×1 temporal convolution."""

    publication = "shared-topology baseline of CTR-GCN (ICCV 2021, arXiv:2107.12213)"
    year = 2021
    merges_absent_bodies = True

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        temporal = TemporalConv(out_channels, out_channels, 5, stride)
        init_conv_fan_out(temporal.conv)
        init_norm(temporal.norm)
        return SharedTopologyConv(in_channels, out_channels, SUBSETS, self.layout.num_joints), temporal


def create_temporal(channels: int, stride: int) -> MultiScaleTemporalConv:
    """Two dilated 5×1 branches, max pool and point, a quarter of the channels each."""
    unit = MultiScaleTemporalConv(channels, even_sizes(channels, 4), [(5, 1), (5, 2)], stride)
    unit.init_fan_out()
    return unit


def ctr_block_rules(ours: str, published: str) -> list[KeyRule]:
    """One block of CTR-GCN (and of what is built from its blocks)."""
    graph, unit = rf"{ours}\.graph", f"{published}.gcn1"
    subsets = range(SUBSETS)
    return [
        KeyRule(rf"{graph}\.adjacency", f"{unit}.PA"),
        KeyRule(rf"{graph}\.alpha", f"{unit}.alpha"),
        KeyRule(
            rf"{graph}\.relate\.(\w+)",
            tuple(rf"{unit}.convs.{k}.conv{side}.\1" for side in (1, 2) for k in subsets),
            "cat",
        ),
        KeyRule(rf"{graph}\.value\.(\w+)", tuple(rf"{unit}.convs.{k}.conv3.\1" for k in subsets), "cat"),
        KeyRule(rf"{graph}\.refine_(\w+)", tuple(rf"{unit}.convs.{k}.conv4.\1" for k in subsets), "stack"),
        *graph_residual_rules(rf"{graph}\.finish", unit),
        *multi_scale_rules(rf"{ours}\.temporal", f"{published}.tcn1.branches", 2),
        *residual_rules(ours, published),
    ]


def ctrs_block_rules(ours: str, published: str) -> list[KeyRule]:
    """One block of the baseline."""
    graph, unit = rf"{ours}\.graph", f"{published}.gcn1"
    return [
        KeyRule(rf"{graph}\.adjacency", f"{unit}.PA"),
        KeyRule(
            rf"{graph}\.mix\.weight", tuple(f"{unit}.conv_d.{k}.weight" for k in range(SUBSETS)), "cat", 1
        ),
        KeyRule(rf"{graph}\.bias", tuple(f"{unit}.conv_d.{k}.bias" for k in range(SUBSETS)), "stack"),
        *graph_residual_rules(rf"{graph}\.finish", unit),
        *temporal_rules(rf"{ours}\.temporal", f"{published}.tcn1"),
        *residual_rules(ours, published),
    ]


CTRGCN.published_rules = (*FRAME_RULES, *block_rules(len(TEN_BLOCKS), "l{number}", ctr_block_rules))
# MMCL's released model is a CTR-GCN with its training branches inside.
CTRGCN.published_ignored = (r"(mlp|inception_v3|FAM_Aligh)\..*", "PosMatrix", "NegMatrix")
CTRSGCN.published_rules = (*FRAME_RULES, *block_rules(len(TEN_BLOCKS), "l{number}", ctrs_block_rules))
CTRSGCN.published_ignored = CTRGCN.published_ignored
