"""HD-GCN (Lee et al., ICCV 2023, arXiv:2208.10741): graphs between the levels of the skeleton's hierarchy.

For every pair of neighbouring levels: three graph convolutions (self, outward, inward) and an EdgeConv among
the joints' time means, concatenated; attention over the pairs (A-HA) weighs and sums them.

Against the plain formulation: the pairs' 1×1 convolutions are one grouped convolution taken before one
batched graph product, their norms one norm; an EdgeConv's convolution comes before its gathering of
neighbours, and its result, constant in time, is never spread over time until the sum.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.blocks import (
    FRAME_RULES,
    GraphResidual,
    TenBlockBackbone,
    block_rules,
    graph_residual_rules,
    residual_rules,
)
from mmcl_train.backbones.ctrgcn import create_temporal
from mmcl_train.backbones.initialise import init_conv_fan_out
from mmcl_train.backbones.published import KeyRule
from mmcl_train.backbones.temporal import multi_scale_rules, norm_rules
from mmcl_train.graphs.hierarchy import Groups, hierarchy_stack, joint_groups, trunk_joint

SUBSETS = 3


class EdgeConv(nn.Module):
    """Max over each node's nearest neighbours f of leaky(norm(W [f − x, x])), for G graphs at once.

    Source: DGCNN (arXiv:1801.07829), as HD-GCN section 3.2 uses it. W₁(f − x) + W₂x = W₁f + (W₂ − W₁)x.
    """

    def __init__(self, graphs: int, channels: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.weight = nn.Parameter(torch.empty(graphs, channels, 2 * channels))
        for weight in self.weight.detach():
            nn.init.kaiming_normal_(weight[..., None], mode="fan_out")
        self.norm = nn.BatchNorm2d(graphs * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, G, C, V) → (N, G, C, V)."""
        count = min(self.neighbours, x.shape[-1])
        length = (x * x).sum(dim=2)
        nearness = 2 * x.transpose(2, 3) @ x - length.unsqueeze(2) - length.unsqueeze(3)
        chosen = nearness.topk(count, dim=-1).indices.flatten(2)  # (N, G, V·k)
        of_neighbour, of_own = self.weight.chunk(2, dim=-1)
        moved = torch.matmul(torch.cat([of_neighbour, of_own - of_neighbour], dim=1), x)
        near, own = moved.chunk(2, dim=2)
        gathered = near.gather(-1, chosen.unsqueeze(2).expand(-1, -1, near.shape[2], -1))
        edges = gathered.unflatten(-1, (-1, count)) + own.unsqueeze(-1)  # (N, G, C, V, k)
        edges = F.leaky_relu(self.norm(edges.flatten(1, 2)), 0.2)
        return edges.max(dim=-1).values.unflatten(1, x.shape[1:3])


class HierarchyAttention(nn.Module):
    """A-HA: a weight for every pair of levels and channel, from the joints of the pair."""

    members: Tensor

    def __init__(self, channels: int, groups: Groups, joints: int) -> None:
        super().__init__()
        members = torch.zeros(len(groups) - 1, joints)
        for pair, (upper, lower) in enumerate(pairwise(groups)):
            members[pair, [*upper, *lower]] = 1.0 / len((*upper, *lower))
        self.register_buffer("members", members, persistent=False)
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.reduce_norm = nn.BatchNorm2d(channels // 4)
        init_conv_fan_out(self.reduce)
        self.edge = EdgeConv(1, channels // 4, 3)
        self.aggregate = nn.Conv1d(channels // 4, channels, 1)

    def forward(self, x_NCLV: Tensor) -> Tensor:
        """(N, C, L, V), the maxima over time → (N, C, L) in 0 … 1."""
        reduced = F.relu(self.reduce_norm(self.reduce(x_NCLV)))
        sampled = torch.einsum("nclv,lv->ncl", reduced, self.members.to(reduced.dtype))
        return torch.sigmoid(self.aggregate(self.edge(sampled.unsqueeze(1)).squeeze(1)))


class HierarchyConv(nn.Module):
    """Hierarchically decomposed graph convolution (section 3.2), all pairs of levels at once."""

    def __init__(
        self, in_channels: int, out_channels: int, adjacency: Tensor, groups: Groups, *, attend: bool
    ) -> None:
        super().__init__()
        self.pairs, self.inner = adjacency.shape[0], out_channels // (SUBSETS + 1)
        inner = self.pairs * self.inner
        self.adjacency = nn.Parameter(adjacency.clone())
        self.reduce = nn.Conv2d(in_channels, inner, 1)
        self.reduce_norm = nn.BatchNorm2d(inner)
        # A grouped 1×1 convolution, held as one, run as a batched product.
        self.value = nn.Conv2d(inner, SUBSETS * inner, 1, groups=self.pairs, bias=False)
        self.bias = nn.Parameter(torch.zeros(SUBSETS * inner))
        self.value_norm = nn.BatchNorm2d(SUBSETS * inner)
        self.edge = EdgeConv(self.pairs, self.inner, 5)
        self.attention = HierarchyAttention(out_channels, groups, adjacency.shape[-1]) if attend else None
        self.finish = GraphResidual(in_channels, out_channels)
        init_conv_fan_out(self.reduce, self.pairs)
        init_conv_fan_out(self.value, self.pairs * SUBSETS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) → (N, C', T, V)."""
        frames = x.shape[2]
        reduced = F.relu(self.reduce_norm(self.reduce(x)), inplace=True)
        shape = (self.pairs * SUBSETS, self.inner * frames)
        grouped = reduced.flatten(2).unflatten(1, (self.pairs, self.inner))  # (N, L, c, T·V)
        weight = self.value.weight.reshape(self.pairs, SUBSETS * self.inner, self.inner)
        values = torch.matmul(weight, grouped).reshape(x.shape[0], *shape, x.shape[3])
        spread = torch.matmul(values, self.adjacency.flatten(0, 1).transpose(1, 2))
        spread = spread.reshape(x.shape[0], -1, frames, x.shape[3]) + self.bias[:, None, None]
        joints = self.value_norm(spread).unflatten(1, (self.pairs, SUBSETS * self.inner))  # (N, L, 3c, T, V)
        edges = self.edge(reduced.mean(dim=2).unflatten(1, (self.pairs, self.inner)))  # (N, L, c, V)
        if self.attention is None:
            joints, edges = joints.sum(dim=1), edges.sum(dim=1)
        else:
            peaks = torch.cat([joints.max(dim=3).values, edges], dim=2).transpose(1, 2).contiguous()
            weight = self.attention(peaks).transpose(1, 2).contiguous()  # (N, L, 4c)
            of_joints, of_edges = weight.split([SUBSETS * self.inner, self.inner], dim=2)
            joints = (joints * of_joints[..., None, None]).sum(dim=1)
            edges = (edges * of_edges[..., None]).sum(dim=1)
        return self.finish(torch.cat([joints, edges.unsqueeze(2).expand(-1, -1, frames, -1)], dim=1), x)


class HDGCN(TenBlockBackbone):
    """The centre of mass is the layout's centre (joint 21 of NTU).

    For layouts other than NTU's 25 joints the hierarchy is the breadth-first levels of the tree.
    """

    publication = "HD-GCN (ICCV 2023, arXiv:2208.10741)"
    year = 2023
    trunk_steps = 0  # from the layout's centre down its trunk to the centre of mass

    def __init__(
        self,
        *,
        layout: Layout,
        num_bodies: int = 2,
        clip_length: int = 64,
        in_channels: int = 3,
        width: float = 1.0,
    ) -> None:
        self.groups = joint_groups(layout, trunk_joint(layout, self.trunk_steps))
        self.attend = False  # as published the first block sums, all others attend
        super().__init__(
            layout=layout,
            num_bodies=num_bodies,
            clip_length=clip_length,
            in_channels=in_channels,
            width=width,
        )
        if not layout.name.startswith("ntu25"):
            self.remark = (
                f"HD-GCN has published no hierarchy for layout {layout.name}: its levels are those of the tree below "
                f"{layout.joints[self.groups[0][0]]}"
            )
        pairs = len(self.groups) - 1
        self.published_rules = hdgcn_rules(pairs, len(self.plan))
        # The released class registers its last pair of levels twice.
        self.published_aliases = {r"(l\d+\.gcn1)\.conv_d\.(.*)": rf"\1.conv.{pairs - 1}.\2"}

    def create_parts(self, in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
        adjacency = torch.from_numpy(hierarchy_stack(self.groups, self.layout.num_joints)).float()
        graph = HierarchyConv(in_channels, out_channels, adjacency, self.groups, attend=self.attend)
        self.attend = True
        return graph, create_temporal(out_channels, stride)


class HDGCNBelly(HDGCN):
    """Centre of mass one joint down the trunk: joint 2 of NTU."""

    trunk_steps = 1


class HDGCNPelvis(HDGCN):
    """Centre of mass two joints down the trunk: joint 1 of NTU."""

    trunk_steps = 2


def hdgcn_rules(pairs: int, blocks: int) -> tuple[KeyRule, ...]:
    """Rules for `pairs` pairs of levels."""

    def of_block(ours: str, published: str) -> list[KeyRule]:
        graph, unit = rf"{ours}\.graph", f"{published}.gcn1"
        attention, edge = rf"{graph}\.attention", "edge_conv.conv"
        each = [(p, s) for p in range(pairs) for s in range(SUBSETS)]
        down = [tuple(rf"{unit}.conv_down.{p}.{part}.\1" for p in range(pairs)) for part in (0, 1)]
        edges = [f"{unit}.conv.{p}.{SUBSETS}.conv" for p in range(pairs)]
        return [
            KeyRule(rf"{graph}\.adjacency", f"{unit}.PA"),
            KeyRule(rf"{graph}\.reduce\.(\w+)", down[0], "cat"),
            KeyRule(rf"{graph}\.reduce_norm\.(\w+)", down[1], "cat"),
            KeyRule(
                rf"{graph}\.value\.weight", tuple(f"{unit}.conv.{p}.{s}.0.weight" for p, s in each), "cat"
            ),
            KeyRule(rf"{graph}\.bias", tuple(f"{unit}.conv.{p}.{s}.0.bias" for p, s in each), "cat"),
            KeyRule(
                rf"{graph}\.value_norm\.(\w+)", tuple(rf"{unit}.conv.{p}.{s}.1.\1" for p, s in each), "cat"
            ),
            KeyRule(rf"{graph}\.edge\.weight", tuple(f"{name}.0.weight" for name in edges), "stack"),
            KeyRule(rf"{graph}\.edge\.norm\.(\w+)", tuple(rf"{name}.1.\1" for name in edges), "cat"),
            *norm_rules(rf"{attention}\.reduce", f"{unit}.aha.conv_down.0"),
            *norm_rules(rf"{attention}\.reduce_norm", f"{unit}.aha.conv_down.1"),
            KeyRule(rf"{attention}\.edge\.weight", f"{unit}.aha.{edge}.0.weight"),
            *norm_rules(rf"{attention}\.edge\.norm", f"{unit}.aha.{edge}.1"),
            *norm_rules(rf"{attention}\.aggregate", f"{unit}.aha.aggregate"),
            *graph_residual_rules(rf"{graph}\.finish", unit),
            # This publication's temporal units keep their bias beside the convolution.
            *(
                KeyRule(rf"{ours}\.temporal\.convs\.{b}\.bias", f"{published}.tcn1.branches.{b}.3.bias")
                for b in range(2)
            ),
            *multi_scale_rules(rf"{ours}\.temporal", f"{published}.tcn1.branches", 2),
            *residual_rules(ours, published),
        ]

    return (*FRAME_RULES, *block_rules(blocks, "l{number}", of_block))
