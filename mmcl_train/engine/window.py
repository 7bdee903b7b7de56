"""Losses between two looks at the device, and the stop when one is not finite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcl_cache.store import UserError

# Sums over a batch's rows, in this order: losses times their rows, hits, rows, and rows with rgb and text.
LOSSES = ("loss", "classification", "contrastive", "refinement", "auxiliary")
COLUMNS = (*LOSSES, "hits", "rows", "rgb_rows", "text_rows")
NAMED = 8


class NonFiniteLoss(UserError):
    """A loss became NaN or infinite; the message names the batch."""


class LossWindow:
    """Keeps each step's numbers on the device and reads them all at once.

    Args:
        name_samples: rows of the training split → their sample ids.
    """

    def __init__(self, name_samples: Callable[[Tensor], list[str]]) -> None:
        self._name = name_samples
        self._values: list[Tensor] = []
        self._batches: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, values: Tensor, rows: Tensor) -> None:
        """One step's sums in the order of `COLUMNS`, of the batch of these rows (host). Waits for nothing."""
        self._values.append(values)
        self._batches.append(rows)

    def collect(self, reduce: Callable[[Tensor], Tensor], where: str) -> NDArray[np.float64]:
        """Sums over the window; empties it. The one place that waits for the device.

        Args:
            reduce: sums a tensor over all processes.
            where: epoch and step, for the message.

        Raises:
            NonFiniteLoss: naming the sample ids of the first bad batch.
        """
        if not self._values:
            return np.zeros(len(COLUMNS))
        table = reduce(torch.stack(self._values)).double().cpu().numpy()
        batches, self._values, self._batches = self._batches, [], []
        bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
        if len(bad):
            raise NonFiniteLoss(self._describe(table[bad[0]], batches[bad[0]], where))
        sums: NDArray[np.float64] = table.sum(axis=0)
        return sums

    def _describe(self, values: NDArray[np.float64], rows: Tensor, where: str) -> str:
        losses = ", ".join(
            f"{name} {value:.4g}" for name, value in zip(LOSSES, values[: len(LOSSES)], strict=True)
        )
        ids = self._name(rows)
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        return (
            f"the loss is not finite {where} ({losses}), in the batch of samples {', '.join(ids[:NAMED])}{more}; "
            "look at these, or lower optimiser.lr; the last good checkpoint is kept"
        )


def average(sums: NDArray[np.float64], auxiliary: str = "none") -> dict[str, float]:
    """Means over rows of a window's or an epoch's sums: losses in nats, accuracy and shares between 0 and 1.

    `auxiliary`: name of the run's auxiliary objective, whose loss is told under it.
    """
    rows = max(sums[COLUMNS.index("rows")], 1.0)
    means = dict(zip(COLUMNS, (sums / rows).tolist(), strict=True))
    return {
        "loss": means["loss"],
        "loss_classification": means["classification"],
        "loss_contrastive": means["contrastive"],
        "loss_refinement": means["refinement"],
        **({} if auxiliary in ("", "none") else {f"loss_{auxiliary}": means["auxiliary"]}),
        "train_top1": means["hits"],
        "usable_rgb": means["rgb_rows"],
        "usable_text": means["text_rows"],
    }
