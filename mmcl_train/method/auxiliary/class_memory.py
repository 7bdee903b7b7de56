"""A running mean feature for every class, which contrastive objectives compare samples with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.9


class ClassMemory(nn.Module):
    """(K, D) means over the samples that were classified rightly.

    Sources: FR-Head (CVPR 2023), ProtoGCN (arXiv:2411.18941); momentum 0.9 and a start at N(0, 1) as released.
    """

    means: Tensor

    def __init__(self, num_classes: int, num_features: int, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("means", torch.randn(num_classes, num_features))

    def forward(self, features: Tensor, counted: Tensor) -> Tensor:
        """The means with this batch blended in, with its gradient; training keeps them.

        Args:
            features: (N, D).
            counted: (N, K) 0 or 1, the class that a row counts for.

        Returns:
            (K, D); a class without a counted row keeps its mean.
        """
        means = self.means.to(features.dtype)
        count = counted.sum(dim=0).unsqueeze(1)  # (K, 1)
        of_batch = counted.T @ features / count.clamp(min=1)
        blended = torch.where(count > 0, self.momentum * means + (1 - self.momentum) * of_batch, means)
        if self.training:
            self.means.copy_(blended.detach())
        return blended


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """(N,) int64 → (N, K) in the shape and dtype of `like`."""
    return F.one_hot(labels, like.shape[1]).to(like.dtype)


def cosine_scores(features: Tensor, means: Tensor) -> Tensor:
    """(N, D), (K, D) → (N, K) cosines; a row of zeros has cosine 0 with everything."""
    return F.normalize(features, dim=1) @ F.normalize(means, dim=1).T
