"""The skeleton model: a backbone and its classifier. All that is left of a run at test time."""

from __future__ import annotations

from torch import Tensor, nn

from mmcl_train.backbones.absent import BodyRows
from mmcl_train.backbones.base import Backbone


class SkeletonModel(nn.Module):
    """Joints → logits.

    Args:
        backbone: of `mmcl_train.backbones`.
        num_classes: of the cache.
    """

    backbone: Backbone
    classifier: nn.Module

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = backbone
        self.classifier = backbone.create_classifier(num_classes)

    def forward_features(self, joints: Tensor, bodies: BodyRows | None = None) -> Tensor:
        """(N, C, T, V, M) → global skeleton feature (N, num_features); `bodies` are those to compute, None for all."""
        known = (bodies,) if self.backbone.merges_absent_bodies else ()
        features: Tensor = self.backbone(joints, *known)
        return features

    def forward(self, joints: Tensor, bodies: BodyRows | None = None) -> Tensor:
        """(N, C, T, V, M) → logits (N, classes)."""
        logits: Tensor = self.classifier(self.forward_features(joints, bodies))
        return logits
