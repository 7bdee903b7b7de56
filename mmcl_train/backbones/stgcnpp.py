"""ST-GCN++: a learned graph with a residual, and multi-branch temporal convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies
from mmcl_train.backbones.graph_convolution import subset_convolution
from mmcl_train.backbones.multibranch import (
    MULTIBRANCH_RULES,
    Stage,
    create_down,
    create_small_classifier,
    plan_stages,
    stack_blocks,
)
from mmcl_train.backbones.published import rules
from mmcl_train.backbones.temporal import norm_rules
from mmcl_train.graphs.adjacency import spatial_stack


class LearnedGraphConv(nn.Module):
    """Graph convolution over K learned matrices, with a residual: (N, C, T, V) → (N, C', T, V).

    y = ReLU(norm(Σ_k (W_k x + b_k) A_k) + down(x)); the A_k start as the spatial partition.
    """

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(adjacency.clone())  # (K, V from, V to)
        self.conv = nn.Conv2d(in_channels, len(adjacency) * out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.down = create_down(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = subset_convolution(x, self.adjacency, self.conv.weight, self.conv.bias)
        return F.relu(self.norm(y) + (x if self.down is None else self.down(x)))


class STGCNPP(Backbone):
    """ST-GCN++, ten blocks of 64, 128 and 256 channels.

    Source: Duan, Wang, Chen, Lin, MM 2022 (arXiv:2205.09443).
    """

    publication = "ST-GCN++ (MM 2022, arXiv:2205.09443)"
    year = 2022
    min_clip_length = 1
    published_rules = rules(
        norm_rules(r"blocks\.(\d+)\.graph\.conv", r"backbone.gcn.\1.gcn.conv"), MULTIBRANCH_RULES
    )

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
        adjacency = torch.tensor(spatial_stack(layout), dtype=torch.get_default_dtype())
        stages = plan_stages(in_channels, 64, width)

        def create_graph(stage: Stage) -> nn.Module:
            return LearnedGraphConv(stage.in_channels, stage.out_channels, adjacency)

        self.body_norm = BodyNorm(in_channels, layout.num_joints, num_bodies, per_body=False)
        self.blocks = stack_blocks(stages, create_graph)
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
