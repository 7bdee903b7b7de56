"""Auxiliary objectives by name: other publications' training-time terms beside the classification.

One file each. An objective has its own state, apart from the model's and thrown away with the task.
"""

from __future__ import annotations

from mmcl_train.backbones.base import Backbone
from mmcl_train.method.auxiliary.base import Auxiliary, Observed
from mmcl_train.method.auxiliary.frhead import FRHead
from mmcl_train.method.auxiliary.infogcn import InfoGCNObjective
from mmcl_train.method.auxiliary.protogcn import ClassContrast
from mmcl_train.method.auxiliary.skeletongcl import SkeletonGCL

# One line an objective, by name (`method.auxiliary`).
AUXILIARIES: dict[str, type[Auxiliary]] = {
    "frhead": FRHead,
    "infogcn": InfoGCNObjective,
    "protogcn": ClassContrast,
    "skeletongcl": SkeletonGCL,
}


def create_auxiliary(name: str, backbone: Backbone, *, num_classes: int, num_samples: int) -> Auxiliary:
    """Build an objective by its registered name.

    Args:
        name: one of `AUXILIARIES`.
        backbone: of the model it trains; it is asked for its sizes, and not kept.
        num_classes: K.
        num_samples: S, rows of the training split.

    Raises:
        ValueError: unknown name (the known ones are listed).
        UserError: the backbone does not give what the objective reads.
    """
    if name not in AUXILIARIES:
        raise ValueError(f"unknown auxiliary objective {name!r}; known: {', '.join(AUXILIARIES)}")
    return AUXILIARIES[name](backbone, num_classes=num_classes, num_samples=num_samples)


__all__ = ["AUXILIARIES", "Auxiliary", "Observed", "create_auxiliary"]
