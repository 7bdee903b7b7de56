"""The three losses, as pure functions.

Rows without RGB or text are masked: each loss equals what it would be on the rows that are valid alone, its
gradient too, with shapes that do not depend on the mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_train.backbones.norm import widen


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, mean over rows: (N, classes) and (N,) int64 → (), nats."""
    return F.cross_entropy(widen(logits), labels)


def refinement_losses(refined: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the refined logits, row by row: (N, classes) and (N,) int64 → (N,), nats."""
    return F.cross_entropy(widen(refined), labels, reduction="none")


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the rows that are valid; 0 where none is. (N,) float and (N,) bool → ().

    A row that is not valid gives no gradient, whatever its value, as long as that is finite.
    """
    total = torch.where(valid, values, torch.zeros_like(values)).sum()
    return total / valid.sum().clamp(min=1).to(values.dtype)


def contrastive_loss(
    skeleton: Tensor, rgb: Tensor, temperature: float = 0.4, valid: Tensor | None = None
) -> Tensor:
    """Symmetric contrastive loss between the skeleton and the RGB view of a batch.

    Row n of both inputs is the same sample; every other row of either view is a negative, those of the same
    view included. In the logarithm of sums, so that a low temperature cannot overflow.

    Source: MMCL (arXiv:2407.15706), Feature Alignment Module.

    Args:
        skeleton: (N, D) float, any length; normalised here. Half precision is widened to float32.
        rgb: (N, D) float, same D.
        temperature: > 0, no unit.
        valid: (N,) bool, false for rows to be left out, as anchors and as negatives; None for all.

    Returns:
        () float, nats: mean over valid rows and both directions; 0 where no row is valid.

    Raises:
        ValueError: shapes differ, no rows, or temperature <= 0.
    """
    if skeleton.shape != rgb.shape or skeleton.dim() != 2 or not skeleton.shape[0]:
        raise ValueError(
            f"both views must be (N, D) alike, not {tuple(skeleton.shape)} and {tuple(rgb.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    rows = skeleton.shape[0]
    same = torch.eye(rows, dtype=torch.bool, device=skeleton.device)
    if valid is None:
        valid = same.new_ones(rows)
    skeleton, rgb = widen(skeleton), widen(rgb)
    # Not valid rows may hold anything; zeros keep them finite, and their gradient zero.
    skeleton = F.normalize(torch.where(valid[:, None], skeleton, 0.0), dim=1)
    rgb = F.normalize(torch.where(valid[:, None], rgb, 0.0), dim=1)
    # A row always keeps its own pair, so that no sum is empty: an infinite loss would turn the masked gradient to NaN.
    no_pair = ~(valid | same)
    no_negative = same | ~valid
    across = (skeleton @ rgb.T / temperature).masked_fill(no_pair, -torch.inf)
    back = (rgb @ skeleton.T / temperature).masked_fill(no_pair, -torch.inf)
    among_skeletons = (skeleton @ skeleton.T / temperature).masked_fill(no_negative, -torch.inf)
    among_rgb = (rgb @ rgb.T / temperature).masked_fill(no_negative, -torch.inf)
    forth_losses = torch.cat((across, among_skeletons), dim=1).logsumexp(dim=1) - across.diagonal()
    back_losses = torch.cat((back, among_rgb), dim=1).logsumexp(dim=1) - back.diagonal()
    return masked_mean((forth_losses + back_losses) / 2, valid)
