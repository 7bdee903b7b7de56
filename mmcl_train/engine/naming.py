"""Names of run folders."""

from __future__ import annotations

from pathlib import Path

from mmcl_train.config import RunConfig


def default_out(config: RunConfig, dataset: str, root: Path = Path("runs")) -> Path:
    """runs/<data set>-<protocol>-<backbone>-<stream>[-skeleton-only]-seed<seed>, of a resolved config."""
    parts = [dataset, config.data.protocol, config.model.backbone, config.data.stream]
    if not config.method.enabled:
        parts.append("skeleton-only")
    return root / "-".join([*parts, f"seed{config.train.seed}"])
