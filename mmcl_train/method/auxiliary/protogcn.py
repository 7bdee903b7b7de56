"""ProtoGCN's class-specific contrastive loss: rebuilt graphs against their classes' mean graphs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.base import Backbone
from mmcl_train.backbones.norm import widen
from mmcl_train.method.auxiliary.base import Auxiliary, Gather, Observed, refuse
from mmcl_train.method.auxiliary.class_memory import ClassMemory, cosine_scores, one_hot

HIDDEN = 256
TEMPERATURE = 0.125


class ClassContrast(Auxiliary):
    """Cross entropy of cosine(graph, class mean) / τ, the graph projected to 256; τ = 0.125.

    The memory takes in rows that the classifier has right. Written for ProtoGCN's reconstructed graph; works
    with any backbone that gives one.

    Source: ProtoGCN (CVPR 2025, arXiv:2411.18941), class-specific contrastive learning; weight 0.2 as released.
    """

    publication = "ProtoGCN (CVPR 2025, arXiv:2411.18941)"
    weight = 0.2

    def __init__(self, backbone: Backbone, *, num_classes: int, num_samples: int) -> None:
        super().__init__(backbone, num_classes=num_classes, num_samples=num_samples)
        if not backbone.num_graph_features:
            raise refuse("protogcn", backbone, "gives no graph of the sample to contrast")
        self.project = nn.Linear(backbone.num_graph_features, HIDDEN)
        self.memory = ClassMemory(num_classes, HIDDEN)

    def observe(self, backbone: Backbone, joints: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        features, graph = backbone.forward_with_graph(joints)
        return features, (graph,)

    def forward(self, seen: Observed, gather: Gather) -> Tensor:
        projected = gather(self.project(widen(seen.watched[0])))
        logits, labels = gather(widen(seen.logits.detach())), gather(seen.labels)
        right = one_hot(labels, logits) * one_hot(logits.argmax(dim=1), logits)
        means = self.memory(projected, right.to(projected.dtype))
        return F.cross_entropy(cosine_scores(projected, means) / TEMPERATURE, labels)
