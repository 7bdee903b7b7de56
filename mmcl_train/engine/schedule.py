"""Learning rate by epoch, a pure function."""

from __future__ import annotations

from collections.abc import Sequence


def get_lr(epoch: int, *, base: float, warmup: int, steps: Sequence[int], gamma: float) -> float:
    """Learning rate of an epoch: linear warm-up, then multiplied by `gamma` once for each step reached.

    Source: CTR-GCN and MMCL, released code: base · (epoch + 1) / warmup while epoch < warmup, and
    base · gamma^(number of steps ≤ epoch) afterwards.

    Args:
        epoch: 0-based.
        base: learning rate after the warm-up.
        warmup: epochs of warm-up; 0 for none.
        steps: epochs at which the rate drops.
        gamma: factor of a drop.
    """
    if epoch < warmup:
        return base * (epoch + 1) / warmup
    return base * gamma ** sum(epoch >= step for step in steps)
