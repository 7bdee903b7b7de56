"""What a training step is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcl_train.backbones.absent import BodyRows


@dataclass(frozen=True)
class Batch:
    """N samples.

    Args:
        joints: (N, C, T, V, M) float32; a view whose memory order may be another. labels: (N,) int64. rgb:
        (N, D) float32, zeros where not valid; None where no rgb was loaded. rgb_valid: (N,) bool. text: (N,
        Dt) float32, zeros where not valid; None where no text was loaded. text_valid: (N,) bool. indices:
        (N,) int64 rows of the split. images: (N, 3, S, S) uint8 strips for a CNN trained in the loop; None
        otherwise. `rgb_valid` says which are there. bodies: those to compute, where some are absent; None for all.
    """

    joints: Tensor
    labels: Tensor
    rgb: Tensor | None
    rgb_valid: Tensor
    text: Tensor | None
    text_valid: Tensor
    indices: Tensor
    images: Tensor | None = None
    bodies: BodyRows | None = None

    def __len__(self) -> int:
        return self.labels.shape[0]

    def to(self, device: torch.device) -> Batch:
        """The same on another device; from pinned memory without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same in page-locked host memory."""
        return self._each(lambda tensor: tensor.contiguous().pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        bodies = values.pop("bodies")
        changed: dict[str, Any] = {n: None if value is None else change(value) for n, value in values.items()}
        return Batch(**changed, bodies=None if bodies is None else BodyRows(*map(change, bodies)))
