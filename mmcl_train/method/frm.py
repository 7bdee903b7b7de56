"""Feature Refinement Module: class scores weighed by what a language model sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 64  # units of Φ, as published


class FeatureRefinement(nn.Module):
    """S_R = Σ_i Φ(text)^i · M_i ∘ S_M, Φ = Linear(d → 64) – ReLU – Linear(64 → K) – softmax.

    Each M_i is a learnable vector of one weight a class, ones at the start, so that S_R = S_M until training
    moves them.

    Source: MMCL (arXiv:2407.15706), where K = 2 (`PosMatrix`, `NegMatrix`) and d = 3, the three token ids of
    an answer.

    Args:
        text_features: d, as the cache has it.
        num_classes: length of each M_i.
        num_matrices: K.
    """

    def __init__(self, text_features: int, num_classes: int, num_matrices: int = 2) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(text_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_matrices))
        self.matrices = nn.Parameter(torch.ones(num_matrices, num_classes))

    def forward(self, text: Tensor, logits: Tensor) -> Tensor:
        """(N, d) and (N, classes) → refined logits (N, classes)."""
        weights = self.mlp(text).softmax(dim=1)
        return (weights @ self.matrices) * logits
