"""ProtoGCN: DG-STGCN's graph unit, wider, and a network that rebuilds the last graph from prototypes.

The rebuilt graph is for training alone: `forward_with_graph` gives it to an auxiliary objective (the
publication's class-specific contrastive loss, weight 0.2); `forward` does not compute it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_cache.store import Layout
from mmcl_train.backbones.base import Backbone, BodyNorm, pool_bodies
from mmcl_train.backbones.dgstgcn import DYNAMIC_GROUP_RULES, DynamicGroupGraphConv, draw_adjacency
from mmcl_train.backbones.multibranch import (
    Block,
    Stage,
    create_small_classifier,
    plan_stages,
    stack_blocks,
)
from mmcl_train.backbones.published import rules
from mmcl_train.backbones.temporal import norm_rules

NUM_PROTOTYPES = 400  # as released for NTU-120
PROTOTYPE_DROPOUT = 0.1


class PrototypeReconstruction(nn.Module):
    """Each joint pair's graph vector as a softmax mixture of prototypes: (N, C, V, V) → (N, V·V).

    Source: ProtoGCN (arXiv:2411.18941), Prototype Reconstruction Network.
    """

    def __init__(self, channels: int, num_prototypes: int = NUM_PROTOTYPES) -> None:
        super().__init__()
        self.query = nn.Linear(channels, num_prototypes, bias=False)
        self.memory = nn.Linear(num_prototypes, channels, bias=False)
        self.dropout = nn.Dropout(PROTOTYPE_DROPOUT)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, graph: Tensor) -> Tensor:
        pairs = graph.flatten(2).transpose(1, 2)  # (N, V·V, C)
        rebuilt = self.dropout(self.memory(torch.softmax(self.query(pairs), dim=-1)))
        rebuilt = rebuilt.transpose(1, 2).unflatten(2, graph.shape[2:])  # (N, C, V, V)
        return F.relu(self.norm(self.mix(rebuilt))).mean(dim=1).flatten(1)


class ProtoGCN(Backbone):
    """ProtoGCN, ten blocks of 96, 192 and 384 channels.

    Source: Liu, Liu, Ren, Wang, Wang, Sun, CVPR 2025 (arXiv:2411.18941).
    """

    publication = "ProtoGCN (CVPR 2025, arXiv:2411.18941)"
    year = 2025
    min_clip_length = 1
    # Parameters (regex) that only `forward_with_graph` reaches.
    auxiliary_parameters = (r"reconstruction\..*",)
    own_auxiliary = "protogcn"
    published_rules = rules(
        norm_rules(r"reconstruction\.(query|memory)", r"backbone.prn.\1_matrix"),
        norm_rules(r"reconstruction\.mix", "backbone.post"),
        norm_rules(r"reconstruction\.norm", "backbone.bn"),
        DYNAMIC_GROUP_RULES,
    )
    # The class means and projection of the contrastive loss, where a checkpoint of training holds them.
    published_ignored = (r"cls_head\.(?!fc_cls\.).*",)

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
        stages = plan_stages(in_channels, 96, width)

        def create_graph(stage: Stage) -> nn.Module:
            return DynamicGroupGraphConv(stage.in_channels, stage.out_channels, adjacency)

        self.body_norm = BodyNorm(in_channels, layout.num_joints, num_bodies, per_body=False)
        self.blocks = stack_blocks(stages, create_graph, layout.num_joints)
        self.num_features = stages[-1].out_channels
        self.num_graph_features = layout.num_joints**2
        self.reconstruction = PrototypeReconstruction(self.num_features)

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) → (N, num_features)."""
        self.check_input(joints)
        x = self.body_norm(joints)
        for block in self.blocks:
            x = block(x)
        return pool_bodies(x, self.num_bodies)

    def forward_with_graph(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the last block's graph rebuilt from the prototypes.

        Args:
            joints: (N, C, T, V, M).

        Returns:
            (N, num_features), as `forward`; (N, V·V), the mean over bodies and channels, not negative.
        """
        self.check_input(joints)
        x = self.body_norm(joints)
        for block in self.blocks[:-1]:
            x = block(x)
        last, graph_unit = self.blocks[-1], self.blocks[-1].graph
        assert isinstance(last, Block) and isinstance(graph_unit, DynamicGroupGraphConv)
        graph = graph_unit.infer_graph(x)  # (N·M, K, D, V, V)
        features = pool_bodies(last.finish(x, graph_unit.aggregate(x, graph)), self.num_bodies)
        of_sample = graph.flatten(1, 2).unflatten(0, (-1, self.num_bodies)).mean(dim=1)  # (N, C, V, V)
        return features, self.reconstruction(of_sample)

    def create_classifier(self, num_classes: int) -> nn.Module:
        """Linear with small weights, as PYSKL's head."""
        return create_small_classifier(self.num_features, num_classes)
