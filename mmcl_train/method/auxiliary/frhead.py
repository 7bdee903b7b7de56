"""FR-Head: ambiguous samples are pulled to their class and apart from the class they are taken for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcl_train.backbones.base import Backbone
from mmcl_train.backbones.norm import widen
from mmcl_train.method.auxiliary.base import Auxiliary, Gather, Observed, refuse
from mmcl_train.method.auxiliary.class_memory import ClassMemory, cosine_scores, one_hot

HIDDEN = 256
TEMPERATURE = 0.125
COMPENSATION = 0.125  # α of the two terms for samples near a decision
LEVEL_WEIGHTS = (0.1, 0.2, 0.5, 1.0)  # low, middle, high, final


class AmbiguityContrast(nn.Module):
    """Two cross entropies over cosines with the class means, one a compensated row's own class.

    Of row n of class k, classified rightly with probability p, the score of k is lowered by
    α (1 − p)(1 − cos to the mean of k's missed rows) in one, and by α (1 − p)(1 + cos to the mean of rows taken
    for k) in the other, where the batch has such rows: what is nearly wrong has to come nearer.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(num_features, HIDDEN)
        self.memory = ClassMemory(num_classes, HIDDEN)

    def forward(self, features: Tensor, logits: Tensor, labels: Tensor, gather: Gather) -> Tensor:
        """(n, D) of this process; (N, K), (N,) of all → ()."""
        projected = gather(self.project(features))
        chance = logits.softmax(dim=1).to(projected.dtype)
        own, taken = one_hot(labels, chance), one_hot(logits.argmax(dim=1), chance)
        right, missed, mistaken = own * taken, own * (1 - taken), taken * (1 - own)
        doubt = COMPENSATION * right * (1 - chance)
        scores = cosine_scores(projected, self.memory(projected, right))
        near_missed = doubt * (cosine_scores(projected, _means(projected, missed)) - 1)
        near_mistaken = doubt * (-cosine_scores(projected, _means(projected, mistaken)) - 1)
        any_missed, any_mistaken = missed.any(dim=0).to(own.dtype), mistaken.any(dim=0).to(own.dtype)
        pulled = F.cross_entropy((scores + near_missed * any_missed) / TEMPERATURE, labels)
        pushed = F.cross_entropy((scores + near_mistaken * any_mistaken) / TEMPERATURE, labels)
        return pulled + pushed


class Level(nn.Module):
    """The contrast of one map's means over time (places are joints) or over joints (places are frames)."""

    def __init__(self, channels: int, places: int, num_classes: int) -> None:
        super().__init__()
        squeezed = max(HIDDEN // places, 1)
        self.squeeze = nn.Sequential(
            nn.Conv1d(channels, squeezed, 1), nn.BatchNorm1d(squeezed), nn.ReLU(inplace=True)
        )
        self.contrast = AmbiguityContrast(squeezed * places, num_classes)

    def forward(self, means: Tensor, logits: Tensor, labels: Tensor, gather: Gather) -> Tensor:
        """(n, channels, places) of this process; (N, K), (N,) of all → ()."""
        loss: Tensor = self.contrast(self.squeeze(means).flatten(1), logits, labels, gather)
        return loss


class FRHead(Auxiliary):
    """Contrast at four depths, each over joints (time averaged) and over frames (joints averaged).

    Maps are averaged over bodies, squeezed by a 1×1 convolution to 256 values in all, and contrasted.

    Source: Zhou, Liu, Wang, CVPR 2023 (arXiv:2303.03729); weights, temperature and
    version ("V1": right rows only are compensated) as in the released configurations.
    """

    publication = "FR-Head (CVPR 2023, arXiv:2303.03729)"
    weight = 0.1

    def __init__(self, backbone: Backbone, *, num_classes: int, num_samples: int) -> None:
        super().__init__(backbone, num_classes=num_classes, num_samples=num_samples)
        shapes = backbone.map_shapes(backbone.clip_length)
        if len(shapes) != len(LEVEL_WEIGHTS):
            raise refuse("frhead", backbone, "gives no feature maps of four depths")
        self.num_bodies = backbone.num_bodies
        joints = backbone.layout.num_joints
        self.over_joints = nn.ModuleList(Level(channels, joints, num_classes) for channels, _ in shapes)
        self.over_frames = nn.ModuleList(Level(channels, frames, num_classes) for channels, frames in shapes)

    def observe(self, backbone: Backbone, joints: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return backbone.forward_with_maps(joints)

    def forward(self, seen: Observed, gather: Gather) -> Tensor:
        logits, labels = gather(widen(seen.logits.detach())), gather(seen.labels)
        total = logits.new_zeros(())
        for weight, x, *levels in zip(
            LEVEL_WEIGHTS, seen.watched, self.over_joints, self.over_frames, strict=True
        ):
            of_sample = widen(x).unflatten(0, (-1, self.num_bodies)).mean(dim=1)  # (N, C, T, V)
            for level, means in zip(levels, (of_sample.mean(dim=2), of_sample.mean(dim=3)), strict=True):
                total = total + weight * level(means, logits, labels, gather)
        return total


def _means(features: Tensor, member: Tensor) -> Tensor:
    """(N, D), (N, K) 0 or 1 → (K, D) means over each class's members, zeros without any."""
    return member.T @ features / torch.clamp(member.sum(dim=0), min=1).unsqueeze(1)
