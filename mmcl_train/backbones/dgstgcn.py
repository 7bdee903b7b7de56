"""DG-STGCN: graphs learnt from noise, refined for every sample by channel and by joint pair.

ProtoGCN builds on the same graph unit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies
from mmcl_train.backbones.multibranch import (
    MULTIBRANCH_RULES,
    Stage,
    create_down,
    create_small_classifier,
    plan_stages,
    stack_blocks,
)
from mmcl_train.backbones.published import KeyRule, rules
from mmcl_train.backbones.temporal import norm_rules

NUM_GROUPS = 8  # K, channel groups with a graph of their own


def draw_adjacency(num_joints: int) -> Tensor:
    """(K, V, V) from N(0.04, 0.02²): no skeleton in it. Drawn once a model; every block starts from it."""
    return 0.04 + 0.02 * torch.randn(NUM_GROUPS, num_joints, num_joints)


class DynamicGroupGraphConv(nn.Module):
    """Graph convolution in K channel groups with sample-wise graphs: (N, C, T, V) → (N, C', T, V).

    With p and q two 1×1 convolutions of the time-averaged input, group k and channel c of it use

        A_k + α tanh(p_kc[v] - q_kc[w]) + β softmax_v(Σ_c p_kc[v] q_kc[w]).

    As released, one α and one β serve all groups: the first of K that are stored.

    Source: DG-STGCN (arXiv:2210.05895), DG-GCN.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        groups = adjacency.shape[0]
        inner = groups * max(1, out_channels // groups)  # K · D
        self.adjacency = nn.Parameter(adjacency.clone())  # (K, V from, V to)
        self.alpha = nn.Parameter(torch.zeros(groups))
        self.beta = nn.Parameter(torch.zeros(groups))
        self.pre = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)
        )
        self.pair = nn.Conv2d(in_channels, 2 * inner, 1)  # p, then q
        self.post = nn.Conv2d(inner, out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.down = create_down(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.aggregate(x, self.infer_graph(x))

    def infer_graph(self, x: Tensor) -> Tensor:
        """The sample's own part of the graph: (N, C, T, V) → (N, K, D, V, V)."""
        groups = self.adjacency.shape[0]
        pooled = x.mean(dim=2, keepdim=True)  # the mean commutes with the 1×1 convolution
        p, q = self.pair(pooled).squeeze(2).unflatten(1, (2, groups, -1)).unbind(1)  # (N, K, D, V) each
        by_channel = torch.tanh(p.unsqueeze(-1) - q.unsqueeze(-2))  # (N, K, D, V, V)
        by_pair = torch.softmax(p.transpose(-1, -2) @ q, dim=-2)  # (N, K, V, V)
        return self.alpha[0] * by_channel + (self.beta[0] * by_pair).unsqueeze(2)

    def aggregate(self, x: Tensor, graph: Tensor) -> Tensor:
        """(N, C, T, V) over A plus the sample's graph (N, K, D, V, V) → (N, C', T, V)."""
        channelwise = (self.adjacency.unsqueeze(1) + graph).flatten(1, 2)  # (N, K·D, V, V)
        y = self.norm(self.post(self.pre(x) @ channelwise))
        return F.relu(y + (x if self.down is None else self.down(x)))


_GRAPH, _PUBLISHED = r"blocks\.(\d+)\.graph", r"backbone.gcn.\1.gcn"
DYNAMIC_GROUP_RULES = rules(
    KeyRule(rf"{_GRAPH}\.(alpha|beta)", rf"{_PUBLISHED}.\2"),
    norm_rules(rf"{_GRAPH}\.pre\.([01])", rf"{_PUBLISHED}.pre.\2"),
    norm_rules(rf"{_GRAPH}\.post", rf"{_PUBLISHED}.post"),
    KeyRule(rf"{_GRAPH}\.pair\.(\w+)", (rf"{_PUBLISHED}.conv1.\2", rf"{_PUBLISHED}.conv2.\2"), "cat"),
    MULTIBRANCH_RULES,
)


class DGSTGCN(Backbone):
    """DG-STGCN, ten blocks of 64, 128 and 256 channels, eight groups.

    Source: Duan, Wang, Chen, Lin, 2022 (arXiv:2210.05895).
    """

    publication = "DG-STGCN (2022, arXiv:2210.05895)"
    year = 2022
    min_clip_length = 1
    published_rules = DYNAMIC_GROUP_RULES

    def __init__(
        self,
        *,
        layout: Layout,
        num_bodies: int = 2,
        clip_length: int = 64,
        in_channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__(
            layout=layout,
            num_bodies=num_bodies,
            clip_length=clip_length,
            in_channels=in_channels,
            width=width,
        )
        adjacency = draw_adjacency(layout.num_joints)
        stages = plan_stages(in_channels, 64, width)

        def create_graph(stage: Stage) -> nn.Module:
            return DynamicGroupGraphConv(stage.in_channels, stage.out_channels, adjacency)

        self.body_norm = BodyNorm(in_channels, layout.num_joints, num_bodies, per_body=False)
        self.blocks = stack_blocks(stages, create_graph, layout.num_joints)
        self.num_features = stages[-1].out_channels

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.body_norm(joints)
        for block in self.blocks:
            x = block(x)
        return pool_bodies(x, self.num_bodies)

    def create_classifier(self, num_classes: int) -> nn.Module:
        """Linear with small weights, as PYSKL's head."""
        return create_small_classifier(self.num_features, num_classes)
