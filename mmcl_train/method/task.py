"""Co-learning as a task that wraps any skeleton model; thrown away at test time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmcl_train.backbones.norm import widen
from mmcl_train.data.batch import Batch
from mmcl_train.method.auxiliary.base import Auxiliary, Observed
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.frm import FeatureRefinement
from mmcl_train.method.losses import (
    classification_loss,
    contrastive_loss,
    masked_mean,
    refinement_losses,
)
from mmcl_train.method.model import SkeletonModel


@dataclass(frozen=True)
class LossWeights:
    """λ1 and λ2 of the publication, and the weight of an auxiliary objective."""

    contrastive: float = 0.1
    refinement: float = 0.2
    auxiliary: float = 1.0


class Losses(NamedTuple):
    """() float each, nats. A loss that is off is zero. The auxiliary one is before its weight."""

    classification: Tensor
    contrastive: Tensor
    refinement: Tensor
    total: Tensor
    auxiliary: Tensor


class TaskOutput(NamedTuple):
    """losses; logits (N, classes); refined logits (N, classes), None without refinement."""

    losses: Losses
    logits: Tensor
    refined: Tensor | None


def keep_rows(rows: Tensor) -> Tensor:
    """The gathering of a single process."""
    return rows


class CoLearningTask(nn.Module):
    """total = classification + λ1 · contrastive + λ2 · refinement (+ weight · auxiliary).

    Without `fam`, `frm` and `auxiliary` it is the classification alone, on the same path.

    With several processes `gather` must give all processes' rows in the same order everywhere, with gradients
    that are summed over processes on the way back. Every process then has the same contrastive and refinement
    loss, that of the global batch; classification is the mean of its own rows. Averaging gradients over
    processes (DistributedDataParallel) gives those of one process with the whole batch, masks included, where
    every process has equally many rows.

    Args:
        model: backbone and classifier. fam: RGB to the skeleton feature's space; None leaves the contrastive
        loss out. frm: logits weighed by text; None leaves the refinement loss out. weights: λ1, λ2.
        temperature: of the contrastive loss. gather: (n, …) rows of this process → rows of all processes.
        cnn: (N, 3, S, S) uint8 strips → (N, D), trained in the loop; None where the rgb feature comes from
        the cache. auxiliary: another publication's objective beside these (`method.auxiliary`), None for none.

    Raises:
        ValueError: a CNN without `fam`.
    """

    def __init__(
        self,
        model: SkeletonModel,
        fam: FeatureAlignment | None = None,
        frm: FeatureRefinement | None = None,
        weights: LossWeights | None = None,
        temperature: float = 0.4,
        gather: Callable[[Tensor], Tensor] = keep_rows,
        cnn: nn.Module | None = None,
        auxiliary: Auxiliary | None = None,
    ) -> None:
        super().__init__()
        if cnn is not None and fam is None:
            raise ValueError(
                "a CNN trained in the loop has a use only with feature alignment (method.fam=true)"
            )
        self.model = model
        self.fam = fam
        self.frm = frm
        self.cnn = cnn
        self.auxiliary = auxiliary
        self.weights = weights or LossWeights()
        self.temperature = temperature
        self.gather = gather

    def forward(self, batch: Batch) -> TaskOutput:
        """Losses and logits of a batch.

        Raises:
            ValueError: the batch has no rgb or text though a module wants it.
        """
        features, watched = self._observe(batch)
        logits = self.model.classifier(features)
        rgb = self._rgb(batch)
        # The method's own part is small: in full precision also where the backbone runs in half.
        with torch.autocast(features.device.type, enabled=False):
            classification = classification_loss(logits, batch.labels)
            contrastive = refinement = torch.zeros_like(classification)
            refined: Tensor | None = None
            if self.fam is not None:
                contrastive = contrastive_loss(
                    self.gather(widen(features)),
                    self.gather(self.fam(widen(rgb))),
                    self.temperature,
                    self.gather(batch.rgb_valid),
                )
            if self.frm is not None:
                if batch.text is None:
                    raise ValueError("the batch has no text, and refinement wants it: load a text variant")
                refined = self.frm(batch.text, widen(logits))
                losses = refinement_losses(refined, batch.labels)
                refinement = masked_mean(self.gather(losses), self.gather(batch.text_valid))
            total = (
                classification + self.weights.contrastive * contrastive + self.weights.refinement * refinement
            )
            auxiliary = torch.zeros_like(classification)
            if self.auxiliary is not None:
                seen = Observed(features, watched, logits, batch.labels, batch.indices)
                auxiliary = self.auxiliary(seen, self.gather)
                total = total + self.weights.auxiliary * auxiliary
        return TaskOutput(Losses(classification, contrastive, refinement, total, auxiliary), logits, refined)

    def _observe(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The global skeleton feature, and what the auxiliary objective watches on the way to it."""
        if self.auxiliary is None:
            return self.model.forward_features(batch.joints, batch.bodies), ()
        return self.auxiliary.observe(self.model.backbone, batch.joints)

    def _rgb(self, batch: Batch) -> Tensor:
        """(N, D) from the cache, or from the CNN in the loop; empty without alignment."""
        if self.fam is None:
            return batch.joints.new_empty(0)
        if self.cnn is not None:
            if batch.images is None:
                raise ValueError("the batch has no images, and the CNN in the loop wants them")
            seen: Tensor = self.cnn(batch.images)
            return seen
        if batch.rgb is None:
            raise ValueError("the batch has no rgb, and alignment wants it: load an rgb variant")
        return batch.rgb
