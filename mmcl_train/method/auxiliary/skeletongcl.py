"""SkeletonGCL: graphs of one class drawn together across the whole training set, by a memory bank."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.base import Backbone
from mmcl_train.backbones.norm import widen
from mmcl_train.method.auxiliary.base import Auxiliary, Gather, Observed, refuse
from mmcl_train.method.losses import masked_mean

HIDDEN = 256
TEMPERATURE = 0.8
POSITIVES, NEGATIVES = 128, 512


class SkeletonGCL(Auxiliary):
    """InfoNCE of each sample's projected graph with the bank: hard positives against hard and random negatives.

    The bank holds the last embedding of every training sample. Of each row, the P least alike of its class
    are positives; each stands against the Q most alike of other classes, and against Q random ones. A row whose
    class has not P entries yet (or others not Q) is left out. P = 128 and Q = 512 as released, and less for small
    training sets: at most half the samples an average class has, and half of all.

    Source: Huang et al., ICLR 2023 (arXiv:2301.10900); weight 1, τ = 0.8. In the released code the
    projection is left as it was drawn, because no optimiser has it; here it learns.
    """

    publication = "SkeletonGCL (ICLR 2023, arXiv:2301.10900)"
    weight = 1.0

    bank: Tensor
    bank_labels: Tensor

    def __init__(self, backbone: Backbone, *, num_classes: int, num_samples: int) -> None:
        super().__init__(backbone, num_classes=num_classes, num_samples=num_samples)
        if not backbone.num_graph_features:
            raise refuse("skeletongcl", backbone, "gives no graph of the sample to contrast")
        self.positives = max(min(POSITIVES, num_samples // (2 * num_classes)), 1)
        self.negatives = max(min(NEGATIVES, num_samples // 2), 1)
        self.project = nn.Linear(backbone.num_graph_features, HIDDEN)
        nn.init.normal_(self.project.weight, 0.0, math.sqrt(2.0 / num_classes))
        nn.init.zeros_(self.project.bias)
        self.register_buffer("bank", torch.zeros(num_samples, HIDDEN))
        self.register_buffer("bank_labels", torch.full((num_samples,), -1))  # −1: not seen yet

    def observe(self, backbone: Backbone, joints: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        features, graph = backbone.forward_with_graph(joints)
        return features, (graph,)

    def forward(self, seen: Observed, gather: Gather) -> Tensor:
        embedded = gather(F.normalize(self.project(widen(seen.watched[0])), dim=1))
        labels, indices = gather(seen.labels), gather(seen.indices)
        if self.training:
            self.bank[indices] = embedded.detach().to(self.bank.dtype)
            self.bank_labels[indices] = labels
        alike = embedded @ self.bank.to(embedded.dtype).T  # (N, S)
        losses, usable = contrast_with_bank(
            alike, labels, self.bank_labels, self.positives, self.negatives, torch.rand_like(alike)
        )
        return masked_mean(losses, usable)


def contrast_with_bank(
    alike: Tensor,
    labels: Tensor,
    bank_labels: Tensor,
    positives: int,
    negatives: int,
    draws: Tensor,
    temperature: float = TEMPERATURE,
) -> tuple[Tensor, Tensor]:
    """Mean InfoNCE of every row over its positives and both sorts of negatives.

    Args:
        alike: (N, S) cosines with the bank.
        labels: (N,); bank_labels: (S,), −1 where an entry is empty.
        positives: P hardest of the same class. negatives: Q hardest, and Q random, of other classes.
        draws: (N, S) uniform numbers in [0, 1): the highest choose the random negatives.
        temperature: > 0.

    Returns:
        (N,) nats, and (N,) bool: rows that have as many as are asked for; the others' values mean nothing.
    """
    same = labels.unsqueeze(1) == bank_labels
    other = ~same & (bank_labels >= 0)
    usable = (same.sum(dim=1) >= positives) & (other.sum(dim=1) >= negatives)
    with torch.no_grad():
        hardest = alike.masked_fill(~same, torch.inf).topk(positives, largest=False).indices
        nearest = alike.masked_fill(~other, -torch.inf).topk(negatives).indices
        random = draws.masked_fill(~other, -1.0).topk(negatives).indices
    positive = alike.gather(1, hardest) / temperature  # (N, P)
    losses = []
    for chosen in (nearest, random):
        against = (alike.gather(1, chosen) / temperature).logsumexp(dim=1, keepdim=True)
        losses.append(torch.logaddexp(positive, against) - positive)
    return torch.cat(losses, dim=1).mean(dim=1), usable
