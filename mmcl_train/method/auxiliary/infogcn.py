"""InfoGCN's information bottleneck loss: it belongs to the backbone, which makes it."""

from __future__ import annotations

from torch import Tensor

from mmcl_train.backbones.base import Backbone
from mmcl_train.method.auxiliary.base import Auxiliary, Gather, Observed, refuse


class InfoGCNObjective(Auxiliary):
    """λ₁ ‖mean z‖ + λ₂ mean squared distance of class means of z to their priors, λ as released (weight 1).

    The released training also smooths the labels of its cross entropy by 0.1; that is not done here.

    Source: InfoGCN (CVPR 2022), marginal and conditional maximum mean discrepancy.
    """

    publication = "InfoGCN (CVPR 2022)"
    weight = 1.0

    def __init__(self, backbone: Backbone, *, num_classes: int, num_samples: int) -> None:
        super().__init__(backbone, num_classes=num_classes, num_samples=num_samples)
        regulariser = backbone.create_regulariser(num_classes)
        if regulariser is None:
            raise refuse("infogcn", backbone, "has no latent with an information bottleneck")
        self.regulariser = regulariser

    def forward(self, seen: Observed, gather: Gather) -> Tensor:
        loss: Tensor = self.regulariser(gather(seen.features), gather(seen.labels))
        return loss
