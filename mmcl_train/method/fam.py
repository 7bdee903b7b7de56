"""Feature Alignment Module: the RGB feature brought to the skeleton feature's space."""

from __future__ import annotations

from torch import Tensor, nn


class FeatureAlignment(nn.Module):
    """M_align = Linear(D → F) – ReLU – Linear(F → F), F = 256 in the publication.

    Source: MMCL (arXiv:2407.15706). There D = 1000, the ImageNet logits of Inception-v3 on the strip.

    Args:
        in_features: D of the RGB feature, as the cache has it.
        num_features: F, length of the backbone's feature.
    """

    def __init__(self, in_features: int, num_features: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_features, num_features), nn.ReLU(), nn.Linear(num_features, num_features)
        )

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, D) → (N, F)."""
        aligned: Tensor = self.mlp(rgb)
        return aligned
