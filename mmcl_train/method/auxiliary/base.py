"""What every auxiliary objective is: it watches a backbone's forward pass, and adds one loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from mmcl_cache.store import UserError
from mmcl_train.backbones.base import Backbone

Gather = Callable[[Tensor], Tensor]  # (n, …) rows of this process → rows of all processes


@dataclass(frozen=True)
class Observed:
    """One training batch, as an objective sees it.

    Args:
        features: (N, num_features). watched: what `observe` gave. logits: (N, K). labels: (N,) int64.
        indices: (N,) int64 rows of the training split.
    """

    features: Tensor
    watched: tuple[Tensor, ...]
    logits: Tensor
    labels: Tensor
    indices: Tensor


class Auxiliary(nn.Module):
    """Base of all objectives.

    Args:
        backbone: read for its sizes. num_classes: K. num_samples: S of the training split.

    Raises:
        UserError: the backbone does not give what the objective reads.
    """

    publication: ClassVar[str] = ""
    weight: ClassVar[float] = 1.0  # as published, of the term in the total

    def __init__(self, backbone: Backbone, *, num_classes: int, num_samples: int) -> None:
        super().__init__()
        self.num_classes, self.num_samples = num_classes, num_samples

    def observe(self, backbone: Backbone, joints: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, C, T, V, M) joints → features (N, num_features) as `backbone(joints)`, and what is watched."""
        return backbone(joints), ()

    def forward(self, seen: Observed, gather: Gather) -> Tensor:
        """The loss of a batch, (), nats or no unit. With several processes, of all their rows."""
        raise NotImplementedError


def refuse(objective: str, backbone: Backbone, lacks: str) -> UserError:
    """The error of a backbone that lacks what an objective reads."""
    return UserError(
        f"method.auxiliary={objective}: {type(backbone).__name__} {lacks}; "
        "choose another backbone, or method.auxiliary=none"
    )
