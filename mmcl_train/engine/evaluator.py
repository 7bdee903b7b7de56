"""Logits of a split under a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcl_train.data.resident import ResidentSplit

from .parallel import gather_rows, num_processes


@torch.no_grad()
def predict_split(
    model: nn.Module,
    split: ResidentSplit,
    *,
    batch: int,
    rank: int = 0,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> NDArray[np.float32]:
    """Logits of every sample of a split, test clips, in the split's order.

    Args:
        model: joints (N, C, T, V, M) and bodies to compute → logits; left in the mode it came in.
        split: resident samples.
        batch: samples a forward pass.
        rank: of this process; each takes an equal share of the split and gets all logits.
        precision: makes the context a forward pass runs in (autocast).

    Returns:
        (N, classes) float32.
    """
    training = model.training
    model.eval()
    share = -(-len(split) // num_processes())
    rows = (torch.arange(share) + rank * share).clamp_(
        max=len(split) - 1
    )  # the last process repeats the last row
    parts: list[Tensor] = []
    for start in range(0, share, batch):
        cut = split.batch(rows[start : start + batch], None, train=False)
        with precision():
            logits = model(cut.joints, cut.bodies)
        parts.append(logits.float())
    model.train(training)
    gathered = gather_rows(torch.cat(parts))[: len(split)]
    result: NDArray[np.float32] = gathered.cpu().numpy()
    return result
